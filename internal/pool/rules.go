package pool

import (
	"context"
	"time"

	"github.com/remuda-run/remuda/internal/egress"
	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/remuda"
)

// rules are the network rules of an organization after a change.
type rules []remuda.EgressRules

// SetRules puts the network rules of a runtime's owner in force for instances
// that are made from now on. Warm ones of before are destroyed; Wait says when
// they are gone. A runtime that reaches nothing is left as it is.
func (p *Pool) SetRules(runtime remuda.RuntimeID, within []remuda.EgressRules) *Retirement {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := &Retirement{}
	h := p.current[runtime]
	if h == nil || h.def.Egress.None() || sameRules(h.def.Egress.Within, within) {
		return r
	}
	h.def.Egress.Within = within
	for _, w := range h.ready {
		r.gone = append(r.gone, p.discard(w.Instance))
	}
	h.ready = nil
	p.wake()
	return r
}

// confineTimeout bounds how long one instance may take to be confined. One that
// cannot be is destroyed.
const confineTimeout = 10 * time.Second

// Confine puts the network rules of an organization in force for every instance
// that it holds, and returns when they are. What cannot be confined is destroyed:
// a weaker fence is not an option.
func (p *Pool) Confine(org remuda.OrganizationID, within []remuda.EgressRules) {
	p.mu.Lock()
	p.rules[org] = within
	var held []*Lease
	for _, h := range p.all {
		for l := range h.leases {
			if l.claim.Organization == org {
				held = append(held, l)
			}
		}
	}
	p.mu.Unlock()
	confineAll(held)
}

// confine brings the instance of l, if there is one yet, under the present rules
// of its organization and the present list of its runtime. Start calls it too, for
// what changed while it was at work.
func (l *Lease) confine(ctx context.Context) {
	p := l.pool
	l.confining.Lock()
	defer l.confining.Unlock()
	p.mu.Lock()
	within, changed := p.rules[l.claim.Organization]
	cut := l.cut
	p.mu.Unlock()
	reach := l.def.Egress
	if l.narrow.egress != nil {
		reach = *l.narrow.egress
	}
	if changed = changed && !sameRules(within, l.within(reach)); !changed {
		within = l.within(reach)
	}
	l.mu.Lock()
	inst := l.inst
	l.mu.Unlock()
	if inst == nil || reach.None() || (!changed && cut == l.shortened) {
		return
	}
	if cut != nil {
		reach = egress.Intersect(reach, *cut)
	}
	reach.Within = within
	ctx, cancel := context.WithTimeout(ctx, confineTimeout)
	defer cancel()
	err := error(remuda.Errorf(remuda.CodeUnsupported, "the engine cannot narrow an instance that exists"))
	if able, ok := inst.(engine.Narrower); ok {
		err = able.SetEgress(ctx, reach)
	}
	if err == nil {
		l.confined, l.shortened = &within, cut
		return
	}
	p.log.Warn("an instance could not be confined to a narrower network and is destroyed", "instance", inst.ID(), "organization", l.claim.Organization, "error", err)
	p.destroy(inst)
}

// unconfine forgets what is in force for the instance, because its network was
// just set to what the claim says. Call confine after it.
func (l *Lease) unconfine() {
	l.confining.Lock()
	defer l.confining.Unlock()
	l.confined, l.shortened = nil, nil
}

// within are the rules that are in force for the instance. Needs confining.
func (l *Lease) within(reach remuda.Egress) rules {
	if l.confined != nil {
		return *l.confined
	}
	return reach.Within
}
