package pool

import (
	"context"
	"slices"
	"time"

	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/remuda"
)

// narrowing is what a claim lowers below its runtime's definition.
type narrowing struct {
	limits remuda.Resources // fields that are 0 stay
	egress *remuda.Egress   // nil stays
	names  []string         // of what is lowered, as on the wire
}

// narrow leaves out what is the definition's own: it costs nothing to have.
func narrow(c Claim, def remuda.Definition) narrowing {
	var n narrowing
	has := def.Resources
	if v := c.Limits.CPU; v != 0 && v != has.CPU {
		n.limits.CPU, n.names = v, append(n.names, "cpu")
	}
	if v := c.Limits.MemoryMB; v != 0 && v != has.MemoryMB {
		n.limits.MemoryMB, n.names = v, append(n.names, "memory_mb")
	}
	if v := c.Limits.DiskMB; v != 0 && v != has.DiskMB {
		n.limits.DiskMB, n.names = v, append(n.names, "disk_mb")
	}
	if v := c.Limits.Pids; v != 0 && v != has.Pids {
		n.limits.Pids, n.names = v, append(n.names, "pids")
	}
	n.reach(c, def.Egress)
	return n
}

// reach narrows the egress to what the claim asks for and its organization may
// reach. Of a runtime that is not the organization's own, the warm instances
// have other rules than it.
func (n *narrowing) reach(c Claim, has remuda.Egress) {
	if has.None() {
		return
	}
	if c.Egress != nil {
		has.CIDRs, has.Names = c.Egress.CIDRs, c.Egress.Names
		n.names = append(n.names, "egress")
	} else if sameRules(c.Within, has.Within) {
		return
	}
	has.Within = c.Within
	n.egress = &has
}

func sameRules(a, b []remuda.EgressRules) bool {
	return slices.EqualFunc(a, b, func(a, b remuda.EgressRules) bool {
		return slices.Equal(a.Allow, b.Allow) && slices.Equal(a.Forbid, b.Forbid)
	})
}

// none reports whether there is nothing to be narrowed.
func (n *narrowing) none() bool { return n.limits == (remuda.Resources{}) && n.egress == nil }

// impossibleWarm says what rules a warm instance out from the start, so that none
// is spent on it. Its disk is made at its full size before the request comes.
func (n *narrowing) impossibleWarm(ready []warm) string {
	if n.limits.DiskMB != 0 {
		return "disk_mb is lower than the runtime's, and the disk of a warm instance has its full size already"
	}
	if len(ready) > 0 && !n.none() {
		if _, able := ready[len(ready)-1].Instance.(engine.Narrower); !able {
			return "the engine cannot narrow an instance that exists"
		}
	}
	return ""
}

// apply lowers a spec.
func (n *narrowing) apply(s *engine.Spec) {
	lower(&s.Resources.CPU, n.limits.CPU)
	lower(&s.Resources.MemoryMB, n.limits.MemoryMB)
	lower(&s.Resources.DiskMB, n.limits.DiskMB)
	lower(&s.Resources.Pids, n.limits.Pids)
	if n.egress != nil {
		s.Egress = *n.egress
	}
}

func lower[T int | float64](field *T, v T) {
	if v != 0 {
		*field = v
	}
}

// warmly narrows an instance that exists.
func (n *narrowing) warmly(ctx context.Context, inst engine.Instance) error {
	if n.none() {
		return nil
	}
	able, ok := inst.(engine.Narrower)
	if !ok {
		return remuda.Errorf(remuda.CodeUnsupported, "the engine cannot narrow an instance that exists")
	}
	if n.limits != (remuda.Resources{}) {
		if err := able.Narrow(ctx, n.limits); err != nil {
			return err
		}
	}
	if n.egress != nil {
		return able.SetEgress(ctx, *n.egress)
	}
	return nil
}

// startWarm narrows the warm instance and returns it. When that fails the lease
// has become cold, and nothing is returned.
func (l *Lease) startWarm(ctx context.Context) (engine.Instance, error) {
	began := time.Now()
	l.mu.Lock()
	inst := l.inst
	l.mu.Unlock()
	if err := l.narrow.warmly(ctx, inst); err != nil {
		return nil, l.chill(err)
	}
	if l.narrow.egress != nil {
		l.unconfine()
	}
	l.confine(ctx)
	l.share(inst)
	took := l.took + time.Since(began)
	l.pool.metrics.Lease(true, took)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.timings = remuda.Timings{"lease": took}
	return inst, nil
}

// chill makes a warm lease a cold one. The instance that it had goes, whatever
// became of it: it was on its way to a holder.
func (l *Lease) chill(cause error) error {
	p := l.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		return errReleased()
	}
	p.log.Info("a warm instance could not be narrowed and is replaced by a cold start", "instance", l.inst.ID(), "narrowed", l.narrow.names, "error", cause)
	l.begun, l.warm, l.cold = true, false, "a warm instance could not be narrowed: "+remuda.Public(cause)
	l.victim, l.inst = l.inst, nil
	p.beginMaking(l)
	return nil
}
