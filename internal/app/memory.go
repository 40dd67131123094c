package app

import (
	"context"
	"runtime/debug"
	"time"

	"github.com/remuda-run/remuda/internal/organizations"
	"github.com/remuda-run/remuda/internal/remuda"
)

// trimmer gives memory back to the machine after what needs much of it for a
// moment: the start, and checking a password (argon2id wants 19 MiB by design).
// The runtime would keep it for minutes, which is what an idle server weighs.
type trimmer struct {
	kick chan struct{}
}

// trimPause bounds how often, because each time costs a garbage collection.
const trimPause = 5 * time.Second

func newTrimmer() *trimmer {
	t := &trimmer{kick: make(chan struct{}, 1)}
	t.soon()
	return t
}

// soon asks for it and does not wait.
func (t *trimmer) soon() {
	select {
	case t.kick <- struct{}{}:
	default: // asked for already
	}
}

// Run does what was asked for until ctx ends.
func (t *trimmer) Run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.kick:
		}
		debug.FreeOSMemory()
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(trimPause):
		}
	}
}

// trimmed is an authenticator that asks for it after every password.
type trimmed struct {
	*organizations.Service

	trimmer *trimmer
}

// AuthenticateBasic implements native.Authenticator and strategy.Logins.
func (a trimmed) AuthenticateBasic(ctx context.Context, user, password, organization string) (remuda.Principal, error) {
	defer a.trimmer.soon()
	return a.Service.AuthenticateBasic(ctx, user, password, organization)
}
