package pool

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/engine/fake"
	"github.com/remuda-run/remuda/internal/remuda"
	"github.com/remuda-run/remuda/internal/telemetry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func definition(low, high int) remuda.Definition {
	return remuda.Definition{
		Name: "r", Language: remuda.LanguagePython, Environment: remuda.EnvironmentHost,
		Resources: remuda.Resources{CPU: 1, MemoryMB: 64, DiskMB: 16, Pids: 16}, ExecTimeout: time.Minute,
		Pool: remuda.PoolBounds{MinCached: low, MaxCached: high},
	}
}

func generation(n int) remuda.GenerationKey {
	return remuda.GenerationKey{Runtime: "rt_a", Number: n}
}

// start runs a pool for the length of a synctest bubble.
func start(t *testing.T, eng Engine, set Settings) *Pool {
	t.Helper()
	p := New(eng, slog.New(slog.DiscardHandler), nil, set)
	ctx, cancel := context.WithCancel(t.Context())
	var run sync.WaitGroup
	run.Go(func() {
		if err := p.Run(ctx); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(func() {
		cancel()
		run.Wait()
		if err := p.Close(context.Background()); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return p
}

func lease(t *testing.T, p *Pool) (*Lease, engine.Instance) {
	t.Helper()
	l, err := p.Reserve(Claim{Runtime: "rt_a"})
	if err != nil {
		t.Fatalf("Reserve: %v", err)
	}
	inst, err := l.Start(t.Context())
	if err != nil {
		t.Fatalf("Start: %v", err)
	}
	return l, inst
}

func status(t *testing.T, p *Pool, n int) Status {
	t.Helper()
	for _, s := range p.Status() {
		if s.Generation == generation(n) {
			return s
		}
	}
	return Status{}
}

func TestWarmIsReplaced(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		eng := fake.New()
		p := start(t, eng, Settings{})
		p.SetGeneration(generation(1), definition(2, 2))
		synctest.Wait()
		if s := status(t, p, 1); s.Ready != 2 || s.Making != 0 {
			t.Fatalf("after the start: %+v, want 2 ready", s)
		}
		l, inst := lease(t, p)
		if !l.Warm() || l.Generation() != generation(1) || !inst.Alive() {
			t.Errorf("lease of a full pool: warm %v, generation %v, alive %v", l.Warm(), l.Generation(), inst.Alive())
		}
		synctest.Wait()
		if s := status(t, p, 1); s.Ready != 1 || s.Making != 0 {
			t.Errorf("right after a lease: %+v, want the cores left to its holder", s)
		}
		time.Sleep(25 * time.Millisecond)
		synctest.Wait()
		if s := status(t, p, 1); s.Ready != 2 || s.Active != 1 {
			t.Errorf("after a lease: %+v, want 2 ready and 1 active", s)
		}
		if err := l.Destroy(t.Context()); err != nil {
			t.Fatal(err)
		}
		if inst.Alive() || len(eng.Living()) != 2 || p.Slots().InUse != 2 {
			t.Errorf("after the release: alive %v, living %d, slots %d; want false, 2, 2", inst.Alive(), len(eng.Living()), p.Slots().InUse)
		}
	})
}

func TestShortUseIsReplacedOnRelease(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := start(t, fake.New(), Settings{})
		p.SetGeneration(generation(1), definition(2, 2))
		synctest.Wait()
		first, _ := lease(t, p)
		first.Release()
		synctest.Wait()
		if s := status(t, p, 1); s.Ready != 1 {
			t.Errorf("right after a short use: %+v, want the cores left to its answer", s)
		}
		time.Sleep(breath)
		synctest.Wait()
		if s := status(t, p, 1); s.Ready != 2 {
			t.Errorf("after a short use: %+v, want 2 ready after a breath", s)
		}
		second, _ := lease(t, p)
		third, _ := lease(t, p) // leaves the pool less than half full
		synctest.Wait()
		if s := status(t, p, 1); s.Ready != 2 {
			t.Errorf("of an empty pool: %+v, want 2 ready without delay", s)
		}
		second.Release()
		third.Release()
	})
}

func TestDryPoolStartsCold(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		eng := fake.New()
		eng.DelayCreate(20 * time.Millisecond)
		p := start(t, eng, Settings{})
		p.SetGeneration(generation(1), definition(0, 0))
		l, _ := lease(t, p)
		timings := l.Timings()
		if l.Warm() || timings["lease"] < 20*time.Millisecond || timings["interpreter"] == 0 {
			t.Errorf("cold lease: warm %v, timings %v", l.Warm(), timings)
		}
		l.Release()
		time.Sleep(breath)
		synctest.Wait()
		if n := len(eng.Living()); n != 0 {
			t.Errorf("%d instances live after the release; a pool of 0 to 0 keeps none", n)
		}
	})
}

func TestFollowsDemandAndGoesBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := start(t, fake.New(), Settings{})
		p.SetGeneration(generation(1), definition(1, 4))
		synctest.Wait()
		for range 10 {
			l, _ := lease(t, p)
			l.Release()
		}
		synctest.Wait()
		if s := status(t, p, 1); s.Ready != 4 {
			t.Errorf("after ten leases: %d ready, want the maximum of 4", s.Ready)
		}
		time.Sleep(130 * time.Second) // what ten at once leave after four half lives, and a tick
		synctest.Wait()
		if s := status(t, p, 1); s.Ready != 1 {
			t.Errorf("after two minutes without demand: %d ready, want the minimum of 1", s.Ready)
		}
	})
}

func TestDeadWarmIsNotHandedOut(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		eng := fake.New()
		p := start(t, eng, Settings{})
		p.SetGeneration(generation(1), definition(2, 2))
		synctest.Wait()
		for _, inst := range eng.Living() {
			inst.Kill(remuda.KilledByMemory, "killed from outside")
		}
		l, inst := lease(t, p)
		defer l.Release()
		if l.Warm() || !inst.Alive() {
			t.Errorf("lease from a pool of dead instances: warm %v, alive %v; want a living cold one", l.Warm(), inst.Alive())
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if s := status(t, p, 1); s.Ready != 2 {
			t.Errorf("%d ready, want the dead ones replaced", s.Ready)
		}
	})
}

func TestDeadWarmIsReplacedWithoutALease(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		eng := fake.New()
		p := start(t, eng, Settings{})
		p.SetGeneration(generation(1), definition(1, 1))
		time.Sleep(10 * time.Second) // no young death
		first := eng.Living()[0]
		first.Kill(remuda.KilledByMemory, "killed from outside")
		time.Sleep(1100 * time.Millisecond)
		synctest.Wait()
		if s := status(t, p, 1); s.Ready != 1 || s.Failures != 0 || first.Destroyed() == 0 {
			t.Errorf("after the death: %+v, destroyed %d times", s, first.Destroyed())
		}
	})
}

func TestFailingStartsBackOff(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		eng := fake.New()
		broken := make([]error, 1000)
		for i := range broken {
			broken[i] = errors.New("no interpreter")
		}
		eng.FailCreate(broken...)
		p := start(t, eng, Settings{})
		p.SetGeneration(generation(1), definition(1, 1))
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		s := status(t, p, 1)
		if s.Failures < 20 || s.Failures > 60 {
			t.Errorf("%d starts were tried in ten minutes, want a few dozen at 15 to 30 s each", s.Failures)
		}
		if s.LastError != "no interpreter" || s.NextTry.IsZero() {
			t.Errorf("the reason is not kept: %+v", s)
		}
		// A user who asks gets an answer at once, and its error is told.
		l, err := p.Reserve(Claim{Runtime: "rt_a"})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := l.Start(t.Context()); err == nil || err.Error() != "no interpreter" {
			t.Errorf("cold start: %v, want the engine's error", err)
		}
		if n := p.Slots().InUse; n != 0 {
			t.Errorf("%d slots in use after failures, want 0", n)
		}
	})
}

func TestCapacity(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		eng := fake.New()
		p := start(t, eng, Settings{Capacity: 2})
		p.SetGeneration(generation(1), definition(0, 0))
		p.SetGeneration(remuda.GenerationKey{Runtime: "rt_b", Number: 1}, definition(2, 2))
		synctest.Wait()
		if n := len(eng.Living()); n != 2 {
			t.Fatalf("%d instances, want 2", n)
		}
		// Idle warm instances of another runtime give way.
		l1, _ := lease(t, p)
		l2, _ := lease(t, p)
		if n := len(eng.Living()); n != 2 || p.Slots().InUse != 2 {
			t.Errorf("%d instances and %d slots, want 2 of each", n, p.Slots().InUse)
		}
		_, err := p.Reserve(Claim{Runtime: "rt_a"})
		var full *remuda.Error
		if !errors.As(err, &full) || full.Code != remuda.CodeExhausted || full.RetryAfterSeconds == 0 {
			t.Errorf("third lease: %v, want exhausted with a time to retry", err)
		}
		if err := l1.Destroy(t.Context()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		l3, _ := lease(t, p) // the filler may have taken the slot: it gives way
		l3.Release()
		l2.Release()
	})
}

// slow is an instance that takes a second to destroy.
type slow struct{ engine.Instance }

func (s slow) Destroy(ctx context.Context) error {
	time.Sleep(time.Second)
	return s.Instance.Destroy(ctx)
}

type slowEngine struct{ *fake.Engine }

func (e slowEngine) Create(ctx context.Context, spec engine.Spec) (engine.Instance, error) {
	inst, err := e.Engine.Create(ctx, spec)
	return slow{inst}, err
}

func TestSlotThatIsBeingFreedIsWaitedFor(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		eng := slowEngine{fake.New()}
		p := start(t, eng, Settings{Capacity: 1})
		p.SetGeneration(generation(1), definition(0, 1))
		l, _ := lease(t, p)
		l.Release()
		began := time.Now()
		next, _ := lease(t, p) // must not be refused, and must not exceed the capacity
		if took := time.Since(began); took != time.Second || len(eng.Living()) != 1 {
			t.Errorf("the next lease took %s and %d instances live; want 1s and 1", took, len(eng.Living()))
		}
		third, err := p.Reserve(Claim{Runtime: "rt_a"})
		if remuda.CodeOf(err) != remuda.CodeExhausted {
			t.Errorf("Reserve while the only slot is held: %v, %v; want exhausted", third, err)
		}
		next.Release()
		gone, err := p.Reserve(Claim{Runtime: "rt_a"})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if _, err := gone.Start(ctx); remuda.CodeOf(err) != remuda.CodeCanceled {
			t.Errorf("Start that is given up while it waits for a slot: %v, want canceled", err)
		}
		time.Sleep(3 * time.Second)
		synctest.Wait()
		if slots := p.Slots().InUse; slots > 1 { // the filler may have taken it
			t.Errorf("%d slots in use of 1", slots)
		}
	})
}

func TestReleaseAtAnyTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		eng := fake.New()
		p := start(t, eng, Settings{})
		p.SetGeneration(generation(1), definition(0, 0))

		before, err := p.Reserve(Claim{Runtime: "rt_a"})
		if err != nil {
			t.Fatal(err)
		}
		if err := before.Destroy(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := before.Start(t.Context()); remuda.CodeOf(err) != remuda.CodeCanceled {
			t.Errorf("Start after Release: %v, want canceled", err)
		}

		eng.DelayCreate(time.Second)
		during, err := p.Reserve(Claim{Runtime: "rt_a"})
		if err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(500*time.Millisecond, during.Release)
		if _, err := during.Start(t.Context()); remuda.CodeOf(err) != remuda.CodeCanceled {
			t.Errorf("Release during Start: %v, want canceled", err)
		}
		time.Sleep(breath)
		synctest.Wait()
		if n, slots := len(eng.Living()), p.Slots().InUse; n != 0 || slots != 0 {
			t.Errorf("%d instances live and %d slots are in use, want none", n, slots)
		}
		if s := status(t, p, 1); s.Active != 0 || s.Making != 0 {
			t.Errorf("counts are off: %+v", s)
		}
	})
}

func TestRetireDestroysBeforeWaitReturns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		eng := fake.New()
		p := start(t, eng, Settings{})
		p.SetGeneration(generation(1), definition(3, 3))
		synctest.Wait()
		old := eng.Living()
		release := eng.HoldCreate() // a fill of the old generation comes late
		l, _ := lease(t, p)
		time.Sleep(25 * time.Millisecond)
		synctest.Wait()
		if s := status(t, p, 1); s.Making != 1 {
			t.Fatalf("no fill is going on: %+v", s)
		}
		if err := p.SetGeneration(generation(2), definition(1, 1)).Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, inst := range old {
			if inst.ID() != l.inst.ID() && inst.Alive() {
				t.Errorf("instance %s of the old generation lives on", inst.ID())
			}
		}
		release()
		synctest.Wait()
		if s := status(t, p, 1); s.Ready != 0 || s.Active != 1 {
			t.Errorf("old generation: %+v, want only the leased one", s)
		}
		l.Release()
		synctest.Wait()
		if n := len(p.Status()); n != 1 {
			t.Errorf("%d generations are known, want the retired one forgotten", n)
		}
		p.SetGeneration(generation(1), definition(5, 5)) // an old key comes late: ignored
		synctest.Wait()
		if l, _ := lease(t, p); l.Generation().Number != 2 {
			t.Errorf("leased generation %d, want 2", l.Generation().Number)
		} else {
			l.Release()
		}
		if err := p.Retire("rt_a").Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := p.Reserve(Claim{Runtime: "rt_a"}); remuda.CodeOf(err) != remuda.CodeNotFound {
			t.Errorf("Reserve of a retired runtime: %v, want not_found", err)
		}
	})
}

// leaky is an instance whose destruction fails.
type leaky struct {
	engine.Instance
	tries *int
}

func (l leaky) Destroy(context.Context) error {
	*l.tries++
	return errors.New("device busy")
}

type leakyEngine struct {
	*fake.Engine
	tries int
}

func (e *leakyEngine) Create(ctx context.Context, spec engine.Spec) (engine.Instance, error) {
	inst, err := e.Engine.Create(ctx, spec)
	return leaky{inst, &e.tries}, err
}

func TestFailingDestructionIsRepeatedAndEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		eng := &leakyEngine{Engine: fake.New()}
		p := start(t, eng, Settings{Capacity: 1})
		p.SetGeneration(generation(1), definition(0, 0))
		l, _ := lease(t, p)
		if err := l.Destroy(t.Context()); err != nil {
			t.Fatal(err)
		}
		if eng.tries != destroyAttempts || p.Slots().InUse != 0 {
			t.Errorf("%d tries, %d slots in use; want %d and none", eng.tries, p.Slots().InUse, destroyAttempts)
		}
	})
}

func TestMetricsTellHitAndMiss(t *testing.T) {
	t.Parallel()
	m := telemetry.New()
	p := New(fake.New(), slog.New(slog.DiscardHandler), m, Settings{})
	p.SetGeneration(generation(1), definition(1, 1))
	cold, _ := lease(t, p)
	var starts sync.WaitGroup
	p.fill(t.Context(), &starts)
	starts.Wait()
	warm, _ := lease(t, p)
	got := map[string]float64{}
	families, err := m.Registry().Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, v := range f.GetMetric() {
			name := f.GetName()
			for _, l := range v.GetLabel() {
				name += " " + l.GetValue()
			}
			got[name] = v.GetCounter().GetValue() + v.GetGauge().GetValue()
		}
	}
	for name, want := range map[string]float64{
		"remuda_pool_leases_total hit": 1, "remuda_pool_leases_total miss": 1,
		"remuda_instances 1 rt_a active": 2, "remuda_instances 1 rt_a ready": 0, "remuda_slots_in_use": 2,
	} {
		if got[name] != want {
			t.Errorf("%s is %v, want %v", name, got[name], want)
		}
	}
	for _, l := range []*Lease{cold, warm} {
		if err := l.Destroy(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if err := p.Close(t.Context()); err != nil {
		t.Error(err)
	}
}
