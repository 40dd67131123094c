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
