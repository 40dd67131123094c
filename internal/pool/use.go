package pool

import (
	"context"
	"time"

	"github.com/remuda-run/remuda/internal/remuda"
)

// Count counts the instances of a runtime.
func (p *Pool) Count(runtime remuda.RuntimeID) remuda.InstanceCounts {
	p.mu.Lock()
	defer p.mu.Unlock()
	var c remuda.InstanceCounts
	for key, h := range p.all {
		if key.Runtime == runtime {
			c.Ready += len(h.ready)
			c.Starting += h.making
			c.Active += h.active()
		}
	}
	return c
}

// Held is how many leases of a runtime there are, of whatever generation.
func (p *Pool) Held(runtime remuda.RuntimeID) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.leases(runtime)
}

// leases counts the leases of a runtime. Needs mu.
func (p *Pool) leases(runtime remuda.RuntimeID) int {
	n := 0
	for key, h := range p.all {
		if key.Runtime == runtime {
			n += len(h.leases)
		}
	}
	return n
}

// lookAgain is how often AwaitUnheld looks besides when a slot is freed: a lease
// that never had a slot frees none.
const lookAgain = 100 * time.Millisecond

// AwaitUnheld returns when there is no lease of a runtime any more, and its
// instances are gone.
func (p *Pool) AwaitUnheld(ctx context.Context, runtime remuda.RuntimeID) error {
	tick := time.NewTicker(lookAgain)
	defer tick.Stop()
	for {
		p.mu.Lock()
		n, freed := p.leases(runtime), p.freed
		p.mu.Unlock()
		if n == 0 {
			return nil
		}
		select {
		case <-freed:
		case <-tick.C:
		case <-ctx.Done():
			return remuda.Errorf(remuda.CodeDeadline, "wait for %d instances of the runtime to be given back: %w", n, ctx.Err())
		}
	}
}

// Living lists the generations of which there are instances, or can be.
func (p *Pool) Living() []remuda.GenerationKey {
	p.mu.Lock()
	defer p.mu.Unlock()
	keys := make([]remuda.GenerationKey, 0, len(p.all))
	for key := range p.all {
		keys = append(keys, key)
	}
	return keys
}
