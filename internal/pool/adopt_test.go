package pool

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/engine/fake"
	"github.com/remuda-run/remuda/internal/remuda"
)

// found makes an instance as the engine of an earlier server would hand it on.
func found(t *testing.T, eng *fake.Engine, spec engine.Spec) engine.Instance {
	t.Helper()
	inst, err := eng.Create(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	return inst
}

// An adopted instance counts as any other, above the capacity and the share too,
// and gives back what it has.
func TestAdopted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		eng := fake.New()
		p := start(t, eng, Settings{Capacity: 2, Share: func(remuda.OrganizationID) int { return 2 }})
		def := definition(0, 0)
		p.SetGeneration(generation(5), def)
		claim := Claim{Runtime: "rt_a", Organization: "org_a"}
		var leases []*Lease
		for n := range 3 { // two of a generation that does not serve, one of the present
			key := generation(3 + n/2*2)
			l, err := p.Adopt(found(t, eng, Spec(remuda.NewInstanceID(), key, def, nil, claim)), key, def, nil, claim)
			if err != nil {
				t.Fatal(err)
			}
			if l.Generation() != key || l.Warm() || l.ColdReason() == "" {
				t.Errorf("generation %v, warm %t, cold for %q", l.Generation(), l.Warm(), l.ColdReason())
			}
			l.Share()
			leases = append(leases, l)
		}
		if s := p.Slots(); s.InUse != 3 || p.Held("rt_a") != 3 || len(p.Living()) != 2 {
			t.Errorf("slots %+v, held %d, living %v", s, p.Held("rt_a"), p.Living())
		}
		if s := status(t, p, 3); s.Active != 2 || !s.Retired {
			t.Errorf("the generation that does not serve: %+v", s)
		}
		for range 2 {
			if _, err := p.Reserve(claim); remuda.CodeOf(err) != remuda.CodeExhausted {
				t.Fatalf("a node that is more than full gave an instance: %v", err)
			}
			if err := leases[len(leases)-1].Destroy(t.Context()); err != nil {
				t.Fatal(err)
			}
			leases = leases[:len(leases)-1]
		}
		l, err := p.Reserve(claim)
		if err != nil {
			t.Fatalf("a slot is free, and of the share one: %v", err)
		}
		if _, err := l.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		l.Release()
		leases[0].Release()
		synctest.Wait()
		if s := p.Slots(); s.InUse != 0 || len(eng.Living()) != 0 || len(p.Living()) != 1 {
			t.Errorf("at the end: slots %+v, instances %d, generations %v", s, len(eng.Living()), p.Living())
		}
	})
}

// A generation of which there are instances may come to serve after them.
func TestAdoptedBeforeItServes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		eng := fake.New()
		p := start(t, eng, Settings{})
		claim := Claim{Runtime: "rt_a"}
		l, err := p.Adopt(found(t, eng, Spec("ins_a", generation(1), definition(1, 1), nil, claim)), generation(1), definition(1, 1), nil, claim)
		if err != nil {
			t.Fatal(err)
		}
		p.SetGeneration(generation(1), definition(1, 1))
		synctest.Wait()
		if s := status(t, p, 1); s.Active != 1 || s.Ready != 1 || s.Retired {
			t.Errorf("it serves: %+v", s)
		}
		l.Release()
		time.Sleep(breath)
		synctest.Wait()
		if s := status(t, p, 1); s.Active != 0 || s.Ready != 1 || p.Slots().InUse != 1 {
			t.Errorf("it serves on: %+v", s)
		}
	})
}

// What is adopted follows lists that are shortened and rules that change.
func TestAdoptedIsConfined(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		eng := fake.New()
		p := start(t, eng, Settings{})
		def := definition(0, 0)
		def.Egress = blocks("10.0.0.0/8", "192.0.2.0/24")
		def.Egress.Within = []remuda.EgressRules{{Forbid: blocks("10.9.0.0/16").CIDRs}}
		claim := Claim{Runtime: "rt_a", Organization: "org_a", Limits: remuda.Resources{MemoryMB: 32}, Within: def.Egress.Within}
		spec := Spec("ins_a", generation(1), def, []engine.Layer{{ID: "0a", Path: "/0a"}}, claim)
		if want := (remuda.Resources{CPU: 1, MemoryMB: 32, DiskMB: 16, Pids: 16}); spec.Resources != want || spec.ID != "ins_a" || len(spec.Layers) != 1 || spec.Generation != generation(1) {
			t.Errorf("the spec is %+v", spec)
		}
		inst := found(t, eng, spec)
		l, err := p.Adopt(inst, generation(1), def, spec.Layers, claim)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Release()
		if diff := cmp.Diff([]string{"memory_mb"}, l.Narrowed()); diff != "" {
			t.Error(diff)
		}
		wantReach(t, "adopted", inst, def.Egress)
		later := def
		later.Egress = blocks("10.0.0.0/8")
		p.SetGeneration(generation(2), later)
		p.Shorten("rt_a", later.Egress)
		want := blocks("10.0.0.0/8")
		want.Within = def.Egress.Within
		wantReach(t, "shortened", inst, want)
		want.Within = []remuda.EgressRules{{Forbid: blocks("10.2.0.0/16").CIDRs}}
		p.Confine("org_a", want.Within)
		wantReach(t, "other rules", inst, want)
		p.Confine("org_b", nil)
		wantReach(t, "rules of others", inst, want)
	})
}

// A pool that is closed adopts nothing.
func TestAdoptedTooLate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		eng := fake.New()
		p := start(t, eng, Settings{})
		inst := found(t, eng, Spec("ins_a", generation(1), definition(0, 0), nil, Claim{}))
		if err := p.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := p.Adopt(inst, generation(1), definition(0, 0), nil, Claim{}); remuda.CodeOf(err) != remuda.CodeUnavailable {
			t.Errorf("a closed pool: %v", err)
		}
	})
}
