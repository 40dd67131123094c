package executions

import (
	"context"
	"maps"
	"time"

	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/pool"
	"github.com/remuda-run/remuda/internal/remuda"
	"github.com/remuda-run/remuda/internal/runspaces"
)

// place is where an execution runs.
type place interface {
	// ready reports whether start returns at once, and for whom it is the first.
	ready() (now, fresh bool)
	// start returns the instance and how long it took to get it. After an error
	// there is nothing to release.
	start(ctx context.Context) (engine.Instance, remuda.Timings, error)
	// patient says that start may take as long as others run there.
	patient() bool
	// warmth says whether the instance was there before the request, and what of
	// the request ruled that out. Meaningful once it is started.
	warmth() (warm bool, cold string)
	// env is what every script in this place sees beside its runtime's variables.
	env() map[string]string
	// killOnTimeout says whether the sandbox may go when the time is up.
	killOnTimeout() bool
	// cut says why the script is cut off by what happens to the place, nil if it is
	// not.
	cut() *runspaces.Cut
	// left says that the server lets go of the place, in which the script goes on.
	left() bool
	// holds says that the instance keeps output until it is acknowledged, because the
	// script may outlive the server.
	holds() bool
	// another releases the place, whose instance has died before its script began,
	// and returns what the script can run on instead; nil where that is nothing.
	another() (*pool.Lease, error)
	// release gives the place back. It does not wait for the sandbox to be gone.
	release(o runspaces.Outcome)
}

// oneShot is a fresh instance that is destroyed after its one run.
type oneShot struct{ lease *pool.Lease }

func (o oneShot) ready() (now, fresh bool) {
	return o.lease.Ready(), true
}

func (o oneShot) warmth() (warm bool, cold string) { return o.lease.Warm(), o.lease.ColdReason() }

func (o oneShot) start(ctx context.Context) (engine.Instance, remuda.Timings, error) {
	inst, err := o.lease.Start(ctx)
	return inst, o.lease.Timings(), err
}

func (o oneShot) another() (*pool.Lease, error) { return o.lease.Another() }

func (oneShot) patient() bool               { return false }
func (oneShot) env() map[string]string      { return nil }
func (oneShot) killOnTimeout() bool         { return true }
func (oneShot) cut() *runspaces.Cut         { return nil }
func (oneShot) left() bool                  { return false }
func (oneShot) holds() bool                 { return false }
func (o oneShot) release(runspaces.Outcome) { o.lease.Release() }

// merge returns a with the variables of b over it.
func merge(a, b map[string]string) map[string]string {
	if len(a) == 0 {
		return b
	}
	all := maps.Clone(a)
	maps.Copy(all, b)
	return all
}

// micros cuts timings to what the store keeps, so that an answer and a later one
// from the store are the same.
func micros(t remuda.Timings) remuda.Timings {
	for stage, d := range t {
		t[stage] = max(0, d).Truncate(time.Microsecond)
	}
	return t
}
