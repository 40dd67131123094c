package pool

import (
	"time"

	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/remuda"
)

// contestedFor is how long a node counts as shared after two organizations have
// claimed instances, one after the other.
const contestedFor = 10 * time.Second

// contest knows whether several organizations use the node now. Where one is alone
// there is nothing to divide.
type contest struct {
	last  remuda.OrganizationID // who has claimed last
	until time.Time
}

// claimed books a claim. Needs Pool.mu.
func (c *contest) claimed(org remuda.OrganizationID, now time.Time) {
	if c.last != org && c.last != "" {
		c.until = now.Add(contestedFor)
	}
	c.last = org
}

// contested reports whether several organizations use the node now: they hold
// instances, or have claimed some in turns. Needs mu.
func (p *Pool) contested(now time.Time) bool { return len(p.held) > 1 || now.Before(p.contest.until) }

// divide tells the engine when several organizations begin to use the node together,
// and when they do so no more: then the server, which works for all of them, comes
// before what one of them runs. Only Run calls it.
func (p *Pool) divide(now time.Time) {
	p.mu.Lock()
	on := p.contested(now)
	changed := on != p.yielded
	p.yielded = on
	p.mu.Unlock()
	if y, ok := p.engine.(engine.Yielder); ok && changed {
		y.Yield(on)
	}
}

// share tells the instance of l how many its organization holds, if others use the
// node too: together they have as much of a busy processor as one of another
// organization. It also tells it whether it comes last.
func (l *Lease) share(inst engine.Instance) {
	if able, ok := inst.(engine.Laster); ok {
		able.Last(l.pool.comesLast(l.claim.Organization))
	}
	if able, ok := inst.(engine.Sharer); ok && l.peers > 1 {
		able.Share(l.peers)
	}
}

// Share does so anew, from the next execution on, for a lease that is used more than
// once: what its organization holds, and who else is there, may have changed.
func (l *Lease) Share() {
	p := l.pool
	l.mu.Lock()
	able, ok := l.inst.(engine.Sharer)
	l.mu.Unlock()
	if !ok {
		return
	}
	among := 1
	p.mu.Lock()
	if p.contested(time.Now()) {
		among = p.held[l.claim.Organization]
	}
	p.mu.Unlock()
	able.Share(among)
}

// pressed reports whether a warm start of the generation should not give way to what
// runs: its stock runs out while several organizations want the processor, and one
// that keeps it busy must not keep others from being filled. Needs mu.
func (p *Pool) pressed(h *herd) bool {
	return 2*len(h.ready) < h.target && p.contested(time.Now())
}
