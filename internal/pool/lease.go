package pool

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/remuda"
)

// Lease is one instance for one holder: a slot, and an instance once Start has
// returned it. Its methods may be called from several goroutines, Start once.
type Lease struct {
	pool    *Pool
	herd    *herd
	claim   Claim
	def     remuda.Definition // what the instance is made from
	narrow  narrowing
	began   time.Time
	took    time.Duration
	peers   int           // how many instances its organization held with it, if the node was shared; else 0
	burned  time.Duration // by its instance, as last seen; guarded by Pool.mu
	making  bool          // a cold start that has not ended; guarded by Pool.mu
	over    bool          // released; guarded by Pool.mu
	slot    bool          // has a slot, or waits for one; guarded by Pool.mu
	refill  *time.Timer   // has the instance replaced if it is held for long; may be nil
	release sync.Once
	gone    chan struct{}

	confining sync.Mutex // held while the network rules of the instance change
	confined  *rules     // in force since a change, nil before the first; guarded by confining

	cut       *remuda.Egress // what its runtime's list has left of it since it was shortened, else nil; guarded by Pool.mu
	shortened *remuda.Egress // the cut that is in force; guarded by confining

	mu      sync.Mutex
	warm    bool            // the instance was there already
	cold    string          // why the claim could not have a warm one
	victim  engine.Instance // idle instance whose slot a cold start takes over
	inst    engine.Instance
	timings remuda.Timings
	begun   bool // a cold start goes on, or has failed
	failed  bool
	ended   bool // released: an instance that comes later is destroyed at once
}

// Reserve takes a slot for an instance of the runtime's current generation and,
// when there is one that serves, a warm instance. It does not block. Errors: not_found for a
// runtime that the pool does not know, exhausted when every slot is in use,
// unavailable once the pool is closed.
func (p *Pool) Reserve(claim Claim) (*Lease, error) {
	began := time.Now()
	for {
		l, err := p.take(claim)
		if err != nil {
			return nil, err
		}
		// The kernel is asked outside the lock: the instance is ours already.
		if !l.warm || l.inst.Alive() {
			l.took = time.Since(began)
			return l, nil
		}
		p.buryLeased(l)
	}
}

// take is one try of Reserve; a warm instance in it may be dead.
func (p *Pool) take(claim Claim) (*Lease, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, remuda.ShuttingDown()
	}
	h := p.current[claim.Runtime]
	if h == nil {
		return nil, remuda.NotFound("runtime", string(claim.Runtime))
	}
	if err := p.withinShare(claim.Organization); err != nil {
		return nil, err
	}
	l := &Lease{pool: p, herd: h, claim: claim, def: h.def, narrow: narrow(claim, h.def), began: time.Now(), gone: make(chan struct{})}
	if l.cold = claim.distrust; l.cold == "" {
		l.cold = l.narrow.impossibleWarm(h.ready)
	}
	if n := len(h.ready); n > 0 && l.cold == "" {
		l.warm, l.inst = true, h.ready[n-1].Instance
		h.ready[n-1] = warm{}
		h.ready = h.ready[:n-1]
		l.slot = true
	} else {
		p.hurry()
		if err := p.takeSlot(l); err != nil {
			return nil, err
		}
		p.beginMaking(l)
	}
	h.leases[l] = struct{}{}
	p.held[claim.Organization]++
	if p.contest.claimed(claim.Organization, l.began); p.contested(l.began) {
		l.peers = p.held[claim.Organization]
	}
	p.demanded(h, l.began)
	if _, spent := p.spent(claim.Organization); spent {
		p.hurry() // what rests may be its next one's
	}
	if l.warm && 2*len(h.ready) >= h.target {
		l.refill = time.AfterFunc(p.set.RefillDelay, p.wake)
	} else {
		p.hurry()
		p.wake()
	}
	return l, nil
}

// beginMaking and endMaking book a cold start of l. Need mu.
func (p *Pool) beginMaking(l *Lease) {
	l.making = true
	l.herd.making++
	p.waiting++
}

func (p *Pool) endMaking(l *Lease) {
	if l.making {
		l.making = false
		l.herd.making--
		p.waiting--
	}
}

// takeSlot gives l a slot, if need be that of an idle instance, or the promise
// of one that is just being freed. Needs mu.
func (p *Pool) takeSlot(l *Lease) error {
	if p.slots+p.promised < p.set.Capacity {
		p.slots++
		l.slot = true
		return nil
	}
	if p.slots+p.promised < p.set.Capacity+p.dying {
		p.promised++
		return nil
	}
	from := p.fattest()
	if from == nil {
		return &remuda.Error{
			Code: remuda.CodeExhausted, Message: "no instance can be started now",
			Cause:             fmt.Sprintf("all %d slots of this node are in use", p.set.Capacity),
			Remedy:            "try again shortly, close runspaces that are not needed, or raise the number of slots",
			RetryAfterSeconds: 1,
		}
	}
	l.victim = from.ready[0].Instance
	from.ready = from.ready[1:]
	l.slot = true
	return nil
}

// fattest is the generation that can best spare a warm instance: the one
// furthest above its minimum. nil when there is no warm instance. Needs mu.
func (p *Pool) fattest() *herd {
	var best *herd
	spare := func(h *herd) int { return len(h.ready) - h.def.Pool.MinCached }
	for _, h := range p.current {
		if len(h.ready) > 0 && (best == nil || spare(h) > spare(best)) {
			best = h
		}
	}
	return best
}

// buryLeased ends a lease whose warm instance was found dead.
func (p *Pool) buryLeased(l *Lease) {
	p.metrics.DeadWarm()
	p.log.Warn("warm instance was dead before its lease", "instance", l.inst.ID(), "runtime", l.herd.key.Runtime, "generation", l.herd.key.Number, "reason", exitReason(l.inst))
	l.Release()
}

// Generation is the generation of the instance.
func (l *Lease) Generation() remuda.GenerationKey { return l.herd.key }

// Definition is what the instance is made from. Do not change its maps.
func (l *Lease) Definition() remuda.Definition { return l.def }

// Warm reports whether the instance was there already. Start may find that it
// cannot be narrowed as the claim wants; then it is false afterwards.
func (l *Lease) Warm() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.warm
}

// Narrowed names what the claim lowers below the runtime's; nil is nothing.
func (l *Lease) Narrowed() []string { return l.narrow.names }

// Ready reports whether Start returns at once: the instance is there, and is to
// be used as it is.
func (l *Lease) Ready() bool { return l.Warm() && l.narrow.none() }

// ColdReason says what of the claim rules a warm instance out, "" when nothing
// does. Complete once Start has returned.
func (l *Lease) ColdReason() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.cold
}

// Timings says how long the lease took ("lease") and, of a cold start, its
// stages. Complete once Start has returned.
func (l *Lease) Timings() remuda.Timings {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.timings)
}

// Start returns the instance, at once when it is warm and nothing is narrowed.
// Call it once. After an error the lease has ended and nothing is left of it.
func (l *Lease) Start(ctx context.Context) (engine.Instance, error) {
	if l.Warm() {
		inst, err := l.startWarm(ctx)
		if inst != nil || err != nil {
			return inst, err
		}
	} else if err := l.begin(); err != nil {
		return nil, err
	}
	return l.start(ctx, nil)
}

// start makes the instance of a cold start that has begun.
func (l *Lease) start(ctx context.Context, workspace engine.Workspace) (engine.Instance, error) {
	began := time.Now()
	inst, err := l.create(ctx, workspace)
	l.pool.started(l, err)
	if err != nil {
		l.fail()
		return nil, err
	}
	took := l.took + time.Since(began)
	l.pool.metrics.Lease(false, took)
	timings := remuda.Timings{}
	maps.Copy(timings, inst.Timings())
	timings["lease"] = took
	l.mu.Lock()
	l.inst, l.timings = inst, timings
	ended := l.ended
	l.mu.Unlock()
	if !ended {
		l.share(inst)
		l.confine(ctx)
	}
	if ended { // Release came first and left the instance to us
		l.pool.dispose(l, inst)
		return nil, errReleased()
	}
	return inst, nil
}

// begin marks that from here on it is Start that cleans up after a Release.
func (l *Lease) begin() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		return errReleased()
	}
	l.begun = true
	return nil
}

// fail ends the lease after a start that did not succeed.
func (l *Lease) fail() {
	l.mu.Lock()
	ended := l.ended
	l.failed = true
	l.mu.Unlock()
	if ended { // Release came first and left the slot to us
		l.pool.dispose(l, l.takeVictim())
		return
	}
	l.Release()
}

func errReleased() error {
	return remuda.Errorf(remuda.CodeCanceled, "the lease was released before its instance was made")
}

// create makes the instance of a cold start, in its turn.
func (l *Lease) create(ctx context.Context, workspace engine.Workspace) (engine.Instance, error) {
	p := l.pool
	defer p.wake()
	if err := p.cold.take(ctx, l.claim.Organization); err != nil {
		return nil, err
	}
	defer p.cold.give()
	if err := p.awaitSlot(ctx, l); err != nil {
		return nil, err
	}
	if victim := l.takeVictim(); victim != nil {
		p.destroy(victim)
	}
	wanted := spec(l.herd.key, l.def, l.herd.layers)
	wanted.Last = p.comesLast(l.claim.Organization)
	l.narrow.apply(&wanted)
	wanted.Workspace = workspace
	return p.engine.Create(ctx, wanted)
}

// awaitSlot waits for the slot that was promised to l.
func (p *Pool) awaitSlot(ctx context.Context, l *Lease) error {
	for {
		p.mu.Lock()
		freed := p.freed
		if !l.slot && p.slots < p.set.Capacity {
			p.slots++
			p.promised--
			l.slot = true
		}
		has := l.slot
		p.mu.Unlock()
		if has {
			return nil
		}
		select {
		case <-freed:
		case <-ctx.Done():
			return remuda.Errorf(remuda.CodeCanceled, "wait for a slot that is being freed: %w", ctx.Err())
		}
	}
}

func (l *Lease) takeVictim() engine.Instance {
	l.mu.Lock()
	defer l.mu.Unlock()
	victim := l.victim
	l.victim = nil
	return victim
}

func spec(key remuda.GenerationKey, def remuda.Definition, layers []engine.Layer) engine.Spec {
	return engine.Spec{
		ID: remuda.NewInstanceID(), Generation: key, Language: def.Language, Version: def.Version, Environment: def.Environment,
		Isolation: def.Isolation, Resources: def.Resources, Env: def.Env, Preload: def.Preload, Egress: def.Egress,
		Layers: layers,
	}
}

// started books the outcome of a cold start.
func (p *Pool) started(l *Lease, err error) {
	p.metrics.Start(false, err)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.endMaking(l)
	if h := l.herd; err != nil {
		h.lastError = err
	} else {
		h.lastError, h.failures, h.notBefore = nil, 0, time.Time{}
	}
}
