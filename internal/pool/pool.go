package pool

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/remuda"
	"github.com/remuda-run/remuda/internal/telemetry"
)

// Engine is what a pool needs of an engine.
type Engine interface {
	Create(ctx context.Context, spec engine.Spec) (engine.Instance, error)
}

// Pool is the warm instances of every runtime of a node. Make it with New, run
// it with Run, end it with Close.
type Pool struct {
	engine  Engine
	set     Settings
	log     *slog.Logger
	metrics *telemetry.Metrics
	kick    chan struct{} // the filler has something to look at
	cold    *line         // of the cold starts

	mu       sync.Mutex
	current  map[remuda.RuntimeID]*herd
	all      map[remuda.GenerationKey]*herd // current ones, and retired ones that are not yet gone
	held     map[remuda.OrganizationID]int  // leases
	contest  contest                        // whose claims they were
	yielded  bool                           // the engine was told that there is a contest
	burning  burning
	rules    map[remuda.OrganizationID]rules // of organizations whose rules have changed
	planned  bool                            // the targets of all herds are up to date
	fills    int64                           // warm starts so far
	slots    int
	dying    int           // slots whose instance is being destroyed
	promised int           // cold starts that wait for one of these
	freed    chan struct{} // closed and replaced when a slot is free
	starting int           // fills that go on
	waiting  int           // cold starts that go on or wait in line
	tasks    int           // background work that Close waits for
	resting  []*rester     // what is put off until a better moment
	drained  chan struct{}
	closed   bool
}

// herd is one generation's share of the pool. Its fields are guarded by Pool.mu.
type herd struct {
	key     remuda.GenerationKey
	def     remuda.Definition
	layers  []engine.Layer
	ready   []warm // oldest first
	making  int    // warm and cold starts that go on
	filling int    // the warm ones of these
	leases  map[*Lease]struct{}
	retired bool
	let     bool // the engine was told that it is retired
	demand  meter
	start   time.Duration // that one takes, on average
	memory  int64         // bytes that one takes, on average
	weighed bool          // memory is no guess
	wanted  int           // warm instances by recent demand
	target  int           // what the plan gives of that
	filled  int64         // number of the last warm start
	// failures counts failed starts in a row, notBefore holds off the next one.
	failures  int
	notBefore time.Time
	lastError error
}

// active is how many are leased and made.
func (h *herd) active() int {
	n := 0
	for l := range h.leases {
		if !l.making {
			n++
		}
	}
	return n
}

// warm is an instance that waits for its one user.
type warm struct {
	engine.Instance
	since time.Time
}

// New returns a pool without runtimes. metrics may be nil.
func New(eng Engine, log *slog.Logger, metrics *telemetry.Metrics, set Settings) *Pool {
	set = set.WithDefaults()
	p := &Pool{
		engine: eng, set: set, log: log, metrics: metrics,
		kick: make(chan struct{}, 1), cold: newLine(set.ParallelCold),
		current: map[remuda.RuntimeID]*herd{}, all: map[remuda.GenerationKey]*herd{}, freed: make(chan struct{}),
		held: map[remuda.OrganizationID]int{}, rules: map[remuda.OrganizationID]rules{},
	}
	metrics.WatchInstances(p.counts)
	return p
}

// SetGeneration makes key the generation of its runtime that is handed out from
// now on. Nothing of an older one is handed out to a Reserve that begins after
// it returns. An older key than the present one changes nothing. The warm
// instances of the generation before are being destroyed; Wait says when they
// are gone. layers are what its instances have installed.
func (p *Pool) SetGeneration(key remuda.GenerationKey, def remuda.Definition, layers ...engine.Layer) *Retirement {
	p.mu.Lock()
	defer p.mu.Unlock()
	old := p.current[key.Runtime]
	if p.closed || (old != nil && old.key.Number >= key.Number) {
		return &Retirement{}
	}
	h := p.revive(key, def, layers)
	if old != nil {
		h.demand, h.start = old.demand, old.start
	}
	h.wanted = h.demand.want(time.Now(), h.start)
	p.current[key.Runtime], p.all[key] = h, h
	p.planned = false
	p.wake()
	return p.retire(old)
}

// Retire ends a runtime: nothing of it is handed out to a Reserve that begins
// after it returns.
func (p *Pool) Retire(runtime remuda.RuntimeID) *Retirement {
	p.mu.Lock()
	defer p.mu.Unlock()
	old := p.current[runtime]
	delete(p.current, runtime)
	p.planned = false
	return p.retire(old)
}

// Retirement is the end of a generation's warm instances.
type Retirement struct {
	gone []chan struct{}
}

// Wait returns when the warm instances are gone from the machine.
func (r *Retirement) Wait(ctx context.Context) error {
	for _, gone := range r.gone {
		select {
		case <-gone:
		case <-ctx.Done():
			return remuda.Errorf(remuda.CodeCanceled, "wait for the warm instances of the old generation: %w", ctx.Err())
		}
	}
	return nil
}

// retire marks h and has its warm instances destroyed. h may be nil. Needs mu.
func (p *Pool) retire(h *herd) *Retirement {
	r := &Retirement{}
	if h == nil {
		return r
	}
	h.retired = true
	for _, w := range h.ready {
		r.gone = append(r.gone, p.discard(w.Instance))
	}
	h.ready = nil
	p.forget(h)
	return r
}

// forget lets go of a retired herd: of what the engine keeps for it once nothing
// of it is being made, and of itself once no instance is left. Needs mu.
func (p *Pool) forget(h *herd) {
	if !h.retired || h.making > 0 {
		return
	}
	if able, ok := p.engine.(engine.Retirer); ok && !h.let {
		h.let = true
		p.background(func() { able.Retire(h.key) }, func() {})
	}
	if len(h.leases) == 0 {
		delete(p.all, h.key)
	}
}

// wake makes the filler look. It never blocks.
func (p *Pool) wake() {
	select {
	case p.kick <- struct{}{}:
	default:
	}
}

// Status is what one generation's pool is doing.
type Status struct {
	Generation remuda.GenerationKey
	Ready      int
	Making     int
	Active     int
	Target     int
	Retired    bool
	Failures   int       // failed starts in a row
	LastError  string    // of the last failed start, until one succeeds
	NextTry    time.Time // when failures hold starts back
}

// Status describes every generation that has an instance or is current.
func (p *Pool) Status() []Status {
	p.mu.Lock()
	defer p.mu.Unlock()
	list := make([]Status, 0, len(p.all))
	for _, h := range p.all {
		s := Status{
			Generation: h.key, Ready: len(h.ready), Making: h.making, Active: h.active(), Target: h.target,
			Retired: h.retired, Failures: h.failures, NextTry: h.notBefore,
		}
		if h.lastError != nil {
			s.LastError = h.lastError.Error()
		}
		list = append(list, s)
	}
	slices.SortFunc(list, func(a, b Status) int {
		if a.Generation.Runtime != b.Generation.Runtime {
			if a.Generation.Runtime < b.Generation.Runtime {
				return -1
			}
			return 1
		}
		return a.Generation.Number - b.Generation.Number
	})
	return list
}

// Slots says how much of the node is in use.
func (p *Pool) Slots() telemetry.Slots {
	p.mu.Lock()
	defer p.mu.Unlock()
	return telemetry.Slots{InUse: p.slots, Capacity: p.set.Capacity}
}

func (p *Pool) counts() ([]telemetry.InstanceCount, telemetry.Slots) {
	status := p.Status()
	counts := make([]telemetry.InstanceCount, 0, 3*len(status))
	for _, s := range status {
		counts = append(counts,
			telemetry.InstanceCount{Generation: s.Generation, State: remuda.InstanceCreating, Count: s.Making},
			telemetry.InstanceCount{Generation: s.Generation, State: remuda.InstanceReady, Count: s.Ready},
			telemetry.InstanceCount{Generation: s.Generation, State: remuda.InstanceActive, Count: s.Active})
	}
	return counts, p.Slots()
}

// Close refuses further leases, destroys every warm instance and waits for the
// destruction of released ones. Leased instances stay their holders' to
// release. End Run first.
func (p *Pool) Close(ctx context.Context) error {
	p.mu.Lock()
	p.closed = true
	p.hurry()
	for _, h := range p.current {
		p.retire(h)
	}
	clear(p.current)
	drained := make(chan struct{})
	if p.tasks == 0 {
		close(drained)
	} else if p.drained == nil {
		p.drained = drained
	} else {
		drained = p.drained
	}
	p.mu.Unlock()
	select {
	case <-drained:
		return nil
	case <-ctx.Done():
		return remuda.Errorf(remuda.CodeDeadline, "close the pool: instances are still being destroyed: %w", ctx.Err())
	}
}
