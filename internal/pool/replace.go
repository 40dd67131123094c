package pool

import (
	"context"

	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/remuda"
)

// Replace destroys the instance of a lease that was started and makes a fresh one of
// the same generation in its slot, with the workspace. After an error the lease has
// ended and nothing is left of it.
func (l *Lease) Replace(ctx context.Context, workspace engine.Workspace) (engine.Instance, error) {
	old, err := l.recommence()
	if err != nil {
		return nil, err
	}
	l.pool.destroy(old)
	l.unconfine()
	return l.start(ctx, workspace)
}

// recommence makes a lease with an instance a cold start that has begun, and returns
// the instance, which is the caller's to destroy.
func (l *Lease) recommence() (engine.Instance, error) {
	p := l.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.ended:
		return nil, errReleased()
	case l.inst == nil:
		return nil, remuda.Errorf(remuda.CodeConflict, "the lease has no instance yet that could be replaced")
	}
	old := l.inst
	l.inst, l.begun, l.warm, l.cold = nil, true, false, "the instance replaces another one"
	p.beginMaking(l)
	return old, nil
}
