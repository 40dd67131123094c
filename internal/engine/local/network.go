package local

import (
	"context"
	"fmt"
	"sync"

	"github.com/remuda-run/remuda/internal/egress"
	"github.com/remuda-run/remuda/internal/engine/local/netslot"
	"github.com/remuda-run/remuda/internal/remuda"
)

// connection is an instance's place on the network. An instance that may reach
// nothing has none: its namespace holds a loopback and no more.
type connection struct {
	mu       sync.Mutex
	attached *netslot.Attached // nil is nothing
	ended    bool
}

// newSlots prepares the network of sandboxes. Nothing is made before a sandbox
// needs it.
func (e *Engine) newSlots() error {
	slots, err := netslot.New(netslot.Options{Herd: e.dir.herd, Settings: e.opts.Network, Logger: e.log, Outlive: !e.opts.Ephemeral})
	if err != nil {
		return fmt.Errorf("prepare the network of sandboxes: %w", err)
	}
	e.slots = slots
	return nil
}

// connect lets a new instance reach what its runtime lists. It comes before
// anything of the runtime runs.
func (i *Instance) connect(ctx context.Context) error {
	if e := i.spec.Egress; len(e.CIDRs)+len(e.Names) == 0 {
		return nil // to compile the site's rules takes a while
	}
	return i.SetEgress(ctx, i.spec.Egress)
}

// SetEgress is engine.Narrower's.
func (i *Instance) SetEgress(ctx context.Context, e remuda.Egress) error {
	policy := i.engine.slots.Compile(e)
	i.net.mu.Lock()
	defer i.net.mu.Unlock()
	switch {
	case i.net.ended:
		return remuda.Errorf(remuda.CodeUnavailable, "the sandbox has ended")
	case i.net.attached != nil:
		return i.net.attached.Set(policy)
	case policy.None():
		return nil
	}
	attached, err := i.engine.slots.Attach(ctx, i.blank.proc.pid, string(i.spec.ID), policy)
	if err != nil {
		return err
	}
	i.net.attached = attached
	return nil
}

// reconnect takes over the place that an instance of an earlier server has, or had.
// It reaches what its runtime lists now, and nothing else, when this returns. It
// comes after the Recover of the slots, which was told to keep it.
func (i *Instance) reconnect(ctx context.Context, pid int) error {
	policy := i.engine.slots.Compile(i.spec.Egress)
	i.net.mu.Lock()
	defer i.net.mu.Unlock()
	attached, err := i.engine.slots.Adopt(ctx, i.spec.ID, pid, policy)
	if err != nil {
		return err
	}
	i.net.attached = attached
	return nil
}

// letGo leaves the place as it is to the next server.
func (i *Instance) letGo() {
	i.net.mu.Lock()
	defer i.net.mu.Unlock()
	i.net.ended = true
	if i.net.attached != nil {
		i.net.attached.Detach()
	}
}

// disconnect gives the place back.
func (i *Instance) disconnect(ctx context.Context) error {
	i.net.mu.Lock()
	defer i.net.mu.Unlock()
	i.net.ended = true
	if i.net.attached == nil {
		return nil
	}
	return i.net.attached.Release(ctx)
}

// resolvConf is the same in every sandbox: where there is no network, asking
// fails at once.
func resolvConf(s egress.Settings) string {
	if !s.Range.IsValid() {
		s = egress.DefaultSettings()
	}
	four, _ := s.Gateway()
	return fmt.Sprintf("nameserver %s\noptions timeout:3 attempts:2\n", four)
}
