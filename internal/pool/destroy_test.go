package pool

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/engine/fake"
	"github.com/remuda-run/remuda/internal/remuda"
)

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
