package pool

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/engine/fake"
	"github.com/remuda-run/remuda/internal/remuda"
)

// scales is an engine that notes what it is told about shares.
type scales struct {
	*fake.Engine

	mu         sync.Mutex
	yields     bool
	background map[remuda.InstanceID]bool
	last       map[remuda.InstanceID]bool
	burned     map[remuda.InstanceID]time.Duration
	among      map[remuda.InstanceID]int
}

func newScales() *scales {
	return &scales{Engine: fake.New(), background: map[remuda.InstanceID]bool{}, last: map[remuda.InstanceID]bool{}, burned: map[remuda.InstanceID]time.Duration{}, among: map[remuda.InstanceID]int{}}
}

func (s *scales) Create(ctx context.Context, spec engine.Spec) (engine.Instance, error) {
	inst, err := s.Engine.Create(ctx, spec)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.background[spec.ID], s.last[spec.ID] = spec.Background, spec.Last
	return weighed{inst.(*fake.Instance), s}, nil
}

func (s *scales) Yield(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.yields = on
}

func (s *scales) yielding() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.yields
}

// gaveWay counts the warm starts by whether they gave way.
func (s *scales) gaveWay(want bool) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, background := range s.background {
		if background == want {
			n++
		}
	}
	return n
}

type weighed struct {
	*fake.Instance

	scales *scales
}

func (w weighed) Share(among int) {
	w.scales.mu.Lock()
	defer w.scales.mu.Unlock()
	w.scales.among[w.ID()] = among
}

// TestShares: one organization alone has all; where two are, each instance has as
// small a part as its organization holds many, and the server comes first.
func TestShares(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		eng := newScales()
		p := start(t, eng, Settings{Capacity: 20})
		p.SetGeneration(generation(1), definition(2, 2))
		synctest.Wait()
		share := func(org remuda.OrganizationID) (int, *Lease) {
			t.Helper()
			l, err := p.Reserve(Claim{Runtime: "rt_a", Organization: org})
			if err != nil {
				t.Fatal(err)
			}
			inst, err := l.Start(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			eng.mu.Lock()
			defer eng.mu.Unlock()
			return eng.among[inst.ID()], l
		}
		var held []*Lease
		for range 4 { // warm and cold ones
			n, l := share("org_a")
			if held = append(held, l); n != 0 {
				t.Errorf("an organization that is alone shares with %d", n)
			}
		}
		time.Sleep(2 * time.Second)
		if eng.yielding() || eng.gaveWay(false) != 2 { // the two cold starts
			t.Errorf("alone: yields %v, %d starts did not give way", eng.yielding(), eng.gaveWay(false))
		}
		if n, l := share("org_b"); n != 0 {
			t.Errorf("the only instance of an organization shares with %d", n)
		} else {
			held = append(held, l)
		}
		for want := 5; want <= 7; want++ {
			n, l := share("org_a")
			if held = append(held, l); n != want {
				t.Errorf("instance %d of its organization shares with %d", want, n)
			}
		}
		time.Sleep(2 * time.Second)
		if !eng.yielding() {
			t.Error("the server does not come first while two organizations use the node")
		}
		of := func(l *Lease) int {
			l.Share()
			eng.mu.Lock()
			defer eng.mu.Unlock()
			return eng.among[l.inst.ID()]
		}
		if first := of(held[0]); first != 7 {
			t.Errorf("an instance that was there before shares with %d of 7", first)
		}
		for _, l := range held[2:] {
			l.Release()
		}
		time.Sleep(2 * contestedFor)
		if first := of(held[0]); first != 1 || eng.yielding() {
			t.Errorf("with the others gone an instance shares with %d, yields %v", first, eng.yielding())
		}
		held[0].Release()
		held[1].Release()
		time.Sleep(2 * contestedFor)
		if eng.yielding() {
			t.Error("the server still comes first, with nobody there")
		}
		if n, l := share("org_a"); n != 0 {
			t.Errorf("an organization that is alone again shares with %d", n)
		} else {
			l.Release()
		}
	})
}

// TestRefillDoesNotGiveWay: where one organization keeps the processor busy, the
// stock of another is made all the same.
func TestRefillDoesNotGiveWay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		eng := newScales()
		p := start(t, eng, Settings{Capacity: 20})
		p.SetGeneration(generation(1), definition(4, 4))
		synctest.Wait()
		warm := eng.gaveWay(true)
		if warm != 4 || eng.gaveWay(false) != 0 {
			t.Fatalf("%d of 4 warm starts gave way", warm)
		}
		for n := range 4 {
			l, err := p.Reserve(Claim{Runtime: "rt_a", Organization: remuda.OrganizationID([]string{"org_a", "org_b"}[n%2])})
			if err != nil {
				t.Fatal(err)
			}
			defer l.Release()
		}
		time.Sleep(time.Second)
		if eng.gaveWay(false) == 0 {
			t.Error("every refill gave way to what others run")
		}
	})
}
