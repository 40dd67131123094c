package pool

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/remuda-run/remuda/internal/remuda"
)

// youngDeath is the age up to which a dead warm instance counts as a start that
// failed: it holds the next start back, so that instances that die at once do
// not keep the node busy with starting them.
const youngDeath = 5 * time.Second

// Run keeps the pools at their targets until ctx ends, and returns once no start
// goes on any more.
func (p *Pool) Run(ctx context.Context) error {
	var starts sync.WaitGroup
	defer starts.Wait()
	tick := time.NewTicker(p.set.Tick)
	defer tick.Stop()
	var retry <-chan time.Time   // the next time at which a held back start may go on
	var burning <-chan time.Time // the next look at who burns how much
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			p.buryDead()
			p.follow(time.Now())
			p.divide(time.Now())
			if burning == nil && p.weighBurning(time.Now()) {
				burning = time.After(lookAtBurning)
			}
		case <-burning:
			burning = nil
			if p.weighBurning(time.Now()) {
				burning = time.After(lookAtBurning)
			}
			continue
		case <-p.kick:
		case <-retry:
		}
		retry = nil
		if held := p.fill(ctx, &starts); held > 0 {
			retry = time.After(held)
		}
	}
}

// fill starts what is missing and may be started now. It returns how long the
// earliest held back start has to wait, 0 for none.
func (p *Pool) fill(ctx context.Context, starts *sync.WaitGroup) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	p.plan()
	for p.slots+p.promised < p.set.Capacity && p.starting < p.parallel() {
		h := p.neediest(now)
		if h == nil {
			break
		}
		p.slots++
		p.starting++
		h.making++
		h.filling++
		p.fills++
		h.filled = p.fills
		starts.Go(func() { p.startWarm(ctx, h) })
	}
	return p.heldBack(now)
}

// parallel is how many warm starts may go on now. Needs mu.
func (p *Pool) parallel() int {
	if p.waiting > 0 {
		return 1 // a user waits for a cold start: leave the cores to it
	}
	ready, target := 0, 0
	for _, h := range p.current {
		ready += min(len(h.ready), h.target)
		target += h.target
	}
	if 2*ready >= target {
		return max(1, p.set.ParallelStarts/2)
	}
	return p.set.ParallelStarts
}

// neediest is the generation that has less than its target and whose last start
// was longest ago: whoever is emptied all the time must not keep others from being
// filled. nil when all have what they should. Needs mu.
func (p *Pool) neediest(now time.Time) *herd {
	var best *herd
	for _, h := range p.current {
		if len(h.ready)+h.filling >= h.target || now.Before(h.notBefore) || p.rests(h) {
			continue
		}
		if best == nil || h.filled < best.filled {
			best = h
		}
	}
	return best
}

// heldBack is the time until the first held back start. Needs mu.
func (p *Pool) heldBack(now time.Time) time.Duration {
	var first time.Duration
	for _, h := range p.current {
		wait := h.notBefore.Sub(now)
		if wait > 0 && len(h.ready)+h.filling < h.target && (first == 0 || wait < first) {
			first = wait
		}
	}
	return first
}

// startWarm makes one instance and keeps it if it is still wanted.
func (p *Pool) startWarm(run context.Context, h *herd) {
	ctx, cancel := context.WithTimeout(run, p.set.StartTimeout)
	defer cancel()
	p.mu.Lock()
	wanted := spec(h.key, h.def, h.layers)
	wanted.Background = !p.pressed(h)
	p.mu.Unlock()
	began := time.Now()
	inst, err := p.engine.Create(ctx, wanted)
	took, weight := time.Since(began), weigh(inst, err)
	stopping := run.Err() != nil // a start that we ended ourselves has not failed
	if !stopping {
		p.metrics.Start(true, err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	defer p.wake()
	p.starting--
	h.making--
	h.filling--
	if err != nil {
		p.freeSlot()
		if !stopping {
			p.failed(h, err)
		}
		p.forget(h)
		return
	}
	h.failures, h.lastError, h.notBefore = 0, nil, time.Time{}
	p.learn(h, took, weight)
	outdated := !sameRules(wanted.Egress.Within, h.def.Egress.Within)
	if outdated || stopping || h.retired || p.closed || len(h.ready) >= h.def.Pool.MaxCached {
		p.discard(inst)
		p.forget(h)
		return
	}
	h.ready = append(h.ready, warm{Instance: inst, since: time.Now()})
}

// failed books a start that failed and holds the next one back. Needs mu.
func (p *Pool) failed(h *herd, err error) {
	h.failures++
	h.lastError = err
	wait := p.set.BackoffMax
	if shift := h.failures - 1; shift < 16 {
		wait = min(wait, p.set.BackoffMin<<shift)
	}
	wait = wait/2 + rand.N(wait/2+1) //nolint:gosec // jitter, not a secret
	h.notBefore = time.Now().Add(wait)
	if !h.retired && !p.closed {
		p.log.Warn("warm instance could not be started", "runtime", h.key.Runtime, "generation", h.key.Number, "failures", h.failures, "retry_in", wait, "error", err)
	}
}

// buryDead removes the warm instances that died while they waited.
func (p *Pool) buryDead() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, h := range p.current {
		living := h.ready[:0]
		for _, w := range h.ready {
			if w.Alive() {
				living = append(living, w)
				continue
			}
			p.metrics.DeadWarm()
			reason := exitReason(w.Instance)
			p.log.Warn("warm instance died", "instance", w.ID(), "runtime", h.key.Runtime, "generation", h.key.Number, "reason", reason)
			p.discard(w.Instance)
			if time.Since(w.since) < youngDeath {
				p.failed(h, remuda.Errorf(remuda.CodeUnavailable, "the instance died while it waited: %s", reason))
			}
		}
		clear(h.ready[len(living):])
		h.ready = living
	}
}

// follow brings the targets up to the time and removes what is above them, the
// oldest first.
func (p *Pool) follow(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, h := range p.current {
		p.reconsider(h, now)
	}
	p.plan()
	for _, h := range p.current {
		for len(h.ready) > h.target {
			p.discard(h.ready[0].Instance)
			h.ready[0] = warm{}
			h.ready = h.ready[1:]
		}
	}
}
