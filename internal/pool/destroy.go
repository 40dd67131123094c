package pool

import (
	"context"
	"time"

	"github.com/remuda-run/remuda/internal/engine"
)

// dispose ends a lease: when the moment is good it destroys the instance (nil is
// none) in the background, gives the slot back once it is gone and then closes l.gone.
func (p *Pool) dispose(l *Lease, inst engine.Instance) {
	p.mu.Lock()
	defer p.mu.Unlock()
	l.over = true
	p.tally(l)
	finish := func() {
		if l.slot {
			p.freeSlot()
		} else {
			p.promised--
			p.wake()
		}
		p.drop(l)
		close(l.gone)
	}
	if inst == nil {
		finish()
		return
	}
	p.atEase(l, func() { p.bury(inst, finish) })
}

// drop ends the books of a lease. Needs mu.
func (p *Pool) drop(l *Lease) {
	delete(l.herd.leases, l)
	if org := l.claim.Organization; p.held[org] > 1 {
		p.held[org]--
	} else {
		delete(p.held, org)
	}
	p.forget(l.herd)
}

// discard destroys a warm instance that nobody leased, in the background, and
// gives its slot back. The channel is closed when it is gone. Needs mu.
func (p *Pool) discard(inst engine.Instance) chan struct{} {
	gone := make(chan struct{})
	p.bury(inst, func() {
		p.freeSlot()
		close(gone)
	})
	return gone
}

// bury destroys an instance in the background and then calls finish, with mu.
// Needs mu.
func (p *Pool) bury(inst engine.Instance, finish func()) {
	p.dying++
	p.background(func() { p.destroy(inst) }, func() {
		p.dying--
		finish()
	})
}

// background does what Close is to wait for, and then calls finish, with mu. Needs
// mu.
func (p *Pool) background(do, finish func()) {
	p.tasks++
	go func() {
		do()
		p.mu.Lock()
		defer p.mu.Unlock()
		finish()
		p.tasks--
		if p.tasks == 0 && p.drained != nil {
			close(p.drained)
			p.drained = nil
		}
	}()
}

// freeSlot gives one slot back and tells those who wait for it. Needs mu.
func (p *Pool) freeSlot() {
	p.slots--
	close(p.freed)
	p.freed = make(chan struct{})
	p.wake()
}

// destroyAttempts is how often the removal of an instance is tried; what is
// left after that is reported and cleared away by the engine's next Recover.
const destroyAttempts = 3

// destroy removes an instance whatever the caller's context says: nothing may
// be left on the machine because somebody hung up.
func (p *Pool) destroy(inst engine.Instance) {
	var err error
	for attempt := range destroyAttempts {
		if attempt > 0 {
			time.Sleep(time.Duration(attempt) * 100 * time.Millisecond)
		}
		ctx, cancel := context.WithTimeout(context.Background(), p.set.DestroyTimeout)
		err = inst.Destroy(ctx)
		cancel()
		if err == nil {
			return
		}
	}
	p.metrics.DestroyFailed()
	p.log.Error("instance could not be removed", "instance", inst.ID(), "attempts", destroyAttempts, "error", err)
}

// exitReason says why an instance that is not alive ended, as far as known.
func exitReason(inst engine.Instance) string {
	select {
	case <-inst.Done():
		if exit := inst.Exit(); exit.Reason != "" {
			return exit.Reason
		}
		return "it ended without a reason"
	default:
		return "it does not answer"
	}
}
