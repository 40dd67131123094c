package pool

import (
	"maps"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/remuda-run/remuda/internal/remuda"
)

type (
	rates = map[remuda.OrganizationID]float64
	lasts = map[remuda.OrganizationID]bool
)

func TestComeLast(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		rates  rates
		before lasts
		want   lasts
	}{
		{name: "nobody"},
		{name: "both little", rates: rates{"a": 0.2, "b": 0.01}},
		{name: "one much", rates: rates{"a": 1.5, "b": 0.1}, want: lasts{"a": true}},
		{name: "both much", rates: rates{"a": 1.1, "b": 0.9}},
		{name: "the other one is there and burns nothing", rates: rates{"a": 0.3}, want: lasts{"a": true}},
		{name: "twice as much, not before", rates: rates{"a": 1, "b": 0.6}},
		{name: "twice as much, before", rates: rates{"a": 1, "b": 0.6}, before: lasts{"a": true}, want: lasts{"a": true}},
		{name: "the other one has caught up", rates: rates{"a": 1, "b": 0.9}, before: lasts{"a": true}},
		{name: "it has calmed down", rates: rates{"a": 0.2, "b": 0.01}, before: lasts{"a": true}},
		{name: "two of three", rates: rates{"a": 1, "b": 0.9, "c": 0.01}, want: lasts{"a": true}},
		{name: "one of many", rates: rates{"a": 1, "b": 0.1, "c": 0.1, "d": 0.3}, want: lasts{"a": true}},
		{name: "two of many", rates: rates{"a": 1, "b": 1, "c": 0.1, "d": 0.1, "e": 0}, want: lasts{"a": true, "b": true}},
	} {
		if got := comeLast(tt.rates, tt.before); !maps.Equal(got, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

// Whoever burns least never comes last beside another, nor who burns next to nothing;
// and of two that come last and not, the first burns more.
func TestComeLastProperty(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		org := rapid.Custom(func(t *rapid.T) remuda.OrganizationID {
			return remuda.OrganizationID(rapid.StringOfN(rapid.RuneFrom([]rune("abcdef")), 1, 1, 1).Draw(t, "org"))
		})
		rates := rapid.MapOfN(org, rapid.Float64Range(0, 64), 2, 6).Draw(t, "rates")
		before := rapid.MapOf(org, rapid.Just(true)).Draw(t, "before")
		last := comeLast(rates, before)
		least := slices.Min(slices.Collect(maps.Values(rates)))
		for org := range last {
			if rates[org] <= least || rates[org] < leastBurning {
				t.Fatalf("%s comes last with %v of %v", org, rates[org], rates)
			}
			for other, rate := range rates {
				if rate > rates[org] && !last[other] && before[other] == before[org] {
					t.Fatalf("%s comes last, %s does not: %v", org, other, rates)
				}
			}
		}
	})
}

func (w weighed) Last(on bool) {
	w.scales.mu.Lock()
	defer w.scales.mu.Unlock()
	w.scales.last[w.ID()] = on
}

func (w weighed) Burned() time.Duration {
	w.scales.mu.Lock()
	defer w.scales.mu.Unlock()
	return w.scales.burned[w.ID()]
}

// burn has an instance burn so much.
func (s *scales) burn(id remuda.InstanceID, d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.burned[id] += d
}

func (s *scales) comesLast(id remuda.InstanceID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last[id]
}

// TestBurnersComeLast: an organization that burns far more than another one comes last,
// with what it has and what it gets, as long as it does so and the other one is there.
func TestBurnersComeLast(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		eng := newScales()
		p := start(t, eng, Settings{Capacity: 20})
		p.SetGeneration(generation(1), definition(0, 0))
		lease := func(org remuda.OrganizationID) *Lease {
			t.Helper()
			l, err := p.Reserve(Claim{Runtime: "rt_a", Organization: org})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := l.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
			return l
		}
		burn := func(l *Lease, seconds int, cores float64) {
			for range 10 * seconds {
				eng.burn(l.inst.ID(), time.Duration(cores*float64(100*time.Millisecond)))
				time.Sleep(100 * time.Millisecond)
			}
		}
		loud := lease("org_a")
		burn(loud, 5, 1)
		if eng.comesLast(loud.inst.ID()) {
			t.Error("an organization that is alone comes last")
		}
		quiet := lease("org_b")
		burn(loud, 3, 1)
		if !eng.comesLast(loud.inst.ID()) || eng.comesLast(quiet.inst.ID()) {
			t.Errorf("who burns comes last: %v, who does not: %v", eng.comesLast(loud.inst.ID()), eng.comesLast(quiet.inst.ID()))
		}
		more, other := lease("org_a"), lease("org_b")
		if !eng.comesLast(more.inst.ID()) || eng.comesLast(other.inst.ID()) {
			t.Errorf("a new one of who burns comes last: %v, of who does not: %v", eng.comesLast(more.inst.ID()), eng.comesLast(other.inst.ID()))
		}
		for range 30 { // one after the other, none of them for long
			l := lease("org_b")
			eng.burn(l.inst.ID(), 100*time.Millisecond)
			eng.burn(loud.inst.ID(), 100*time.Millisecond)
			time.Sleep(100 * time.Millisecond)
			l.Release()
		}
		time.Sleep(time.Millisecond)
		if eng.comesLast(loud.inst.ID()) {
			t.Error("who burns as much as the other one comes last")
		}
		burn(loud, 3, 1)
		if !eng.comesLast(loud.inst.ID()) {
			t.Error("the other one has stopped, and who burns does not come last")
		}
		for _, l := range []*Lease{quiet, other, more} {
			l.Release()
		}
		burn(loud, int(2*contestedFor/time.Second), 1)
		if eng.comesLast(loud.inst.ID()) {
			t.Error("an organization that is alone again comes last")
		}
		burn(loud, 30, 1)
		later := lease("org_b")
		time.Sleep(2 * lookAtBurning)
		burn(later, 1, 0.1)
		if eng.comesLast(loud.inst.ID()) {
			t.Error("who burned while nobody else was there comes last in the next contest")
		}
		later.Release()
		loud.Release()
	})
}
