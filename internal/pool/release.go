package pool

import (
	"context"

	"github.com/remuda-run/remuda/internal/remuda"
)

// Release gives the slot back and has the instance destroyed without waiting.
// It may be called more than once.
func (l *Lease) Release() {
	l.release.Do(l.end)
}

// Destroy releases and waits until nothing is left of the instance.
func (l *Lease) Destroy(ctx context.Context) error {
	l.Release()
	l.pool.mu.Lock()
	l.pool.hurry()
	l.pool.mu.Unlock()
	select {
	case <-l.gone:
		return nil
	case <-ctx.Done():
		return remuda.Errorf(remuda.CodeDeadline, "wait for the instance to be destroyed: %w", ctx.Err())
	}
}

// end is the body of Release.
func (l *Lease) end() {
	if l.refill != nil {
		l.refill.Stop()
	}
	l.mu.Lock()
	l.ended = true
	inst, begun, failed := l.inst, l.begun, l.failed
	l.mu.Unlock()
	if inst == nil && begun && !failed {
		return // Start is at work and will clean up
	}
	if inst == nil && !begun {
		l.pool.abandon(l)
	}
	if inst == nil {
		inst = l.takeVictim()
	}
	l.pool.dispose(l, inst)
}

// abandon books a cold start that was never begun.
func (p *Pool) abandon(l *Lease) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.endMaking(l)
}
