package pool

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"

	"pgregory.net/rapid"

	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/engine/fake"
	"github.com/remuda-run/remuda/internal/remuda"
)

// TestHandedOutAtMostOnce has many holders lease, use and release while warm
// instances die and the generation changes. No instance may be seen twice, none
// of a generation that was retired before the lease began, and in the end none
// may be left.
func TestHandedOutAtMostOnce(t *testing.T) {
	t.Parallel()
	eng := fake.New()
	p := New(eng, slog.New(slog.DiscardHandler), nil, Settings{Capacity: 64})
	p.SetGeneration(generation(1), definition(8, 16))
	ctx, stop := context.WithCancel(t.Context())
	var run sync.WaitGroup
	run.Go(func() { _ = p.Run(ctx) })

	var seen sync.Map
	var acknowledged atomic.Int64 // the newest generation whose change has returned
	acknowledged.Store(1)
	var holders sync.WaitGroup
	for range 16 {
		holders.Go(func() {
			for range 100 {
				least := acknowledged.Load()
				l, err := p.Reserve(Claim{Runtime: "rt_a"})
				if err != nil {
					t.Errorf("Reserve: %v", err)
					return
				}
				inst, err := l.Start(t.Context())
				if err != nil {
					t.Errorf("Start: %v", err)
					return
				}
				if _, twice := seen.LoadOrStore(inst.ID(), true); twice {
					t.Errorf("instance %s was handed out twice", inst.ID())
				}
				if int64(l.Generation().Number) < least {
					t.Errorf("generation %d was handed out after %d was acknowledged", l.Generation().Number, least)
				}
				if _, err := inst.Execute(t.Context(), engine.Request{Script: "print 1"}, nil); err != nil {
					// The killer below may have been faster than the lease.
					if inst.Alive() {
						t.Errorf("Execute: %v", err)
					}
				}
				l.Release()
			}
		})
	}
	changed := make(chan struct{})
	go func() {
		defer close(changed)
		for n := 2; n <= 20; n++ {
			if living := eng.Living(); len(living) > 0 {
				living[len(living)-1].Kill(remuda.KilledByMemory, "killed from outside")
			}
			if err := p.SetGeneration(generation(n), definition(8, 16)).Wait(t.Context()); err != nil {
				t.Errorf("SetGeneration: %v", err)
			}
			acknowledged.Store(int64(n))
		}
	}()
	holders.Wait()
	<-changed
	stop()
	run.Wait()
	if err := p.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, inst := range eng.Created() {
		if inst.Executed() > 1 {
			t.Errorf("instance %s ran %d executions", inst.ID(), inst.Executed())
		}
	}
	if n, slots := len(eng.Living()), p.Slots().InUse; n != 0 || slots != 0 {
		t.Errorf("%d instances live and %d slots are in use after Close, want none", n, slots)
	}
}

// TestPoolProperties drives a pool by hand through random steps and looks at its
// books after each.
func TestPoolProperties(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		const capacity = 6
		m := &machine{eng: fake.New(), seen: map[remuda.InstanceID]bool{}}
		m.p = New(m.eng, slog.New(slog.DiscardHandler), nil, Settings{Capacity: capacity, ParallelStarts: 3})
		m.change(t)
		t.Repeat(map[string]func(*rapid.T){
			"reserve": m.reserve,
			"start":   m.start,
			"release": m.release,
			"fill":    m.fill,
			"kill":    m.kill,
			"bury":    func(*rapid.T) { m.p.buryDead() },
			"change":  m.change,
			"":        func(t *rapid.T) { m.check(t, capacity) },
		})
		m.end(t)
	})
}

// machine is the model beside the pool.
type machine struct {
	eng      *fake.Engine
	p        *Pool
	number   int
	reserved []*Lease
	started  []*Lease
	seen     map[remuda.InstanceID]bool
}

func (m *machine) change(t *rapid.T) {
	low := rapid.IntRange(0, 3).Draw(t, "min")
	high := low + rapid.IntRange(0, 3).Draw(t, "more")
	m.number++
	if err := m.p.SetGeneration(generation(m.number), definition(low, high)).Wait(context.Background()); err != nil {
		t.Fatal(err)
	}
	for _, s := range m.p.Status() {
		if s.Retired && s.Ready != 0 {
			t.Fatalf("retired generation has warm instances: %+v", s)
		}
	}
}

func (m *machine) reserve(t *rapid.T) {
	l, err := m.p.Reserve(Claim{Runtime: "rt_a"})
	if remuda.CodeOf(err) == remuda.CodeExhausted {
		for _, s := range m.p.Status() {
			if s.Ready > 0 {
				t.Fatalf("refused although there are warm instances: %+v", s)
			}
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	if l.Generation().Number != m.number {
		t.Fatalf("leased generation %d, current is %d", l.Generation().Number, m.number)
	}
	m.reserved = append(m.reserved, l)
}

func (m *machine) start(t *rapid.T) {
	if len(m.reserved) == 0 {
		t.Skip("nothing reserved")
	}
	l := m.reserved[0]
	m.reserved = m.reserved[1:]
	if rapid.Bool().Draw(t, "engine fails") && !l.Warm() {
		m.eng.FailCreate(remuda.Errorf(remuda.CodeUnavailable, "broken"))
		if _, err := l.Start(context.Background()); err == nil {
			t.Fatal("Start did not tell the engine's error")
		}
		return
	}
	inst, err := l.Start(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if m.seen[inst.ID()] {
		t.Fatalf("instance %s was handed out twice", inst.ID())
	}
	m.seen[inst.ID()] = true
	m.started = append(m.started, l)
}

func (m *machine) release(t *rapid.T) {
	from := &m.started
	if rapid.Bool().Draw(t, "before start") {
		from = &m.reserved
	}
	if len(*from) == 0 {
		t.Skip("nothing to release")
	}
	l := (*from)[0]
	*from = (*from)[1:]
	if err := l.Destroy(context.Background()); err != nil {
		t.Fatal(err)
	}
	l.Release() // a second one does nothing
}

func (m *machine) fill(*rapid.T) {
	var starts sync.WaitGroup
	m.p.fill(context.Background(), &starts)
	starts.Wait()
}

func (m *machine) kill(t *rapid.T) {
	living := m.eng.Living()
	if len(living) == 0 {
		t.Skip("nothing lives")
	}
	rapid.SampledFrom(living).Draw(t, "victim").Kill(remuda.KilledByMemory, "killed from outside")
}

func (m *machine) check(t *rapid.T, capacity int) {
	slots := m.p.Slots().InUse
	if slots < 0 || slots > capacity {
		t.Fatalf("%d slots in use of %d", slots, capacity)
	}
	held := 0
	for _, s := range m.p.Status() {
		if s.Ready < 0 || s.Making < 0 || s.Active < 0 {
			t.Fatalf("negative count: %+v", s)
		}
		held += s.Making + s.Active
	}
	if want := len(m.reserved) + len(m.started); held < want {
		t.Fatalf("%d instances are held or being made, but there are %d leases", held, want)
	}
}

func (m *machine) end(t *rapid.T) {
	for _, l := range append(m.reserved, m.started...) {
		if err := l.Destroy(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.p.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	if n, slots := len(m.eng.Living()), m.p.Slots().InUse; n != 0 || slots != 0 {
		t.Fatalf("%d instances live and %d slots are in use after Close, want none", n, slots)
	}
}
