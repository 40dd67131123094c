package pool

import (
	"slices"
	"time"

	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/remuda"
)

// Spec is what an instance of a generation for a claim is made from. It tells an
// engine what a server knows of an instance of the one before it.
func Spec(id remuda.InstanceID, key remuda.GenerationKey, def remuda.Definition, layers []engine.Layer, claim Claim) engine.Spec {
	s := spec(key, def, layers)
	s.ID = id
	n := narrow(claim, def)
	n.apply(&s)
	return s
}

// Adopt books an instance of an earlier server, which the engine has attached by
// the Spec of the same arguments, as a lease of its holder. It counts as any other
// does, also where that is beyond the capacity or a share: it is there already. The
// generation need not be one that serves.
func (p *Pool) Adopt(inst engine.Instance, key remuda.GenerationKey, def remuda.Definition, layers []engine.Layer, claim Claim) (*Lease, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, remuda.ShuttingDown()
	}
	h := p.all[key]
	if h == nil {
		h = p.newHerd(key, def, layers)
		h.retired = true
		p.all[key] = h
	}
	l := &Lease{
		pool: p, herd: h, claim: claim, def: def.Clone(), narrow: narrow(claim, def), began: time.Now(), gone: make(chan struct{}),
		slot: true, inst: inst, timings: inst.Timings(), cold: "it is an instance of an earlier server",
	}
	p.slots++
	h.leases[l] = struct{}{}
	p.held[claim.Organization]++
	p.planned = false
	return l, nil
}

// newHerd is a generation of which there is nothing yet. Needs mu.
func (p *Pool) newHerd(key remuda.GenerationKey, def remuda.Definition, layers []engine.Layer) *herd {
	return &herd{
		key: key, def: def.Clone(), layers: slices.Clone(layers), leases: map[*Lease]struct{}{}, memory: guess(def),
		demand: meter{half: p.set.Window, at: time.Now()},
	}
}

// revive has a generation serve of which there were only instances of an earlier
// server. Needs mu.
func (p *Pool) revive(key remuda.GenerationKey, def remuda.Definition, layers []engine.Layer) *herd {
	h := p.newHerd(key, def, layers)
	if old := p.all[key]; old != nil {
		old.def, old.layers, old.retired, old.let = h.def, h.layers, false, false
		return old
	}
	return h
}
