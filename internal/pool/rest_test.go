package pool

import (
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/remuda-run/remuda/internal/engine/fake"
	"github.com/remuda-run/remuda/internal/remuda"
)

func TestEase(t *testing.T) {
	t.Parallel()
	const ms = time.Millisecond
	for _, c := range []struct {
		name string
		ease ease
		want time.Duration
	}{
		{"a full pool", ease{stock: 4, target: 4}, breath},
		{"half a pool", ease{stock: 2, target: 4}, breath},
		{"less than half", ease{stock: 1, target: 4}, 0},
		{"no pool at all", ease{}, breath},
		{"after half a breath", ease{rested: breath / 2}, breath / 2},
		{"after a breath", ease{rested: breath}, 0},
		{"after a breath, with others at work", ease{rested: breath, young: 1}, breath},
		{"near the end", ease{rested: longestRest - ms, young: 1}, ms},
		{"at the end", ease{rested: longestRest, young: 1}, 0},
		{"somebody waits", ease{stock: 4, target: 4, waiting: 1}, 0},
		{"every slot is in use", ease{stock: 4, target: 4, full: true}, 0},
		{"enough rest already", ease{stock: 4, target: 4, resting: mostResting}, 0},
		{"the pool closes", ease{stock: 4, target: 4, over: true}, 0},
	} {
		if got := c.ease.rest(); got != c.want {
			t.Errorf("%s: rests %v, want %v", c.name, got, c.want)
		}
	}
}

// TestRestEnds: whatever goes on around, a rest ends in time, and where somebody
// needs what is put off there is none.
func TestRestEnds(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		rested := time.Duration(0)
		for {
			e := ease{
				stock: rapid.IntRange(0, 8).Draw(t, "stock"), target: rapid.IntRange(0, 8).Draw(t, "target"),
				waiting: rapid.IntRange(0, 1).Draw(t, "waiting"), full: rapid.Bool().Draw(t, "full"), over: rapid.Bool().Draw(t, "over"),
				resting: rapid.IntRange(0, mostResting).Draw(t, "resting"), young: rapid.IntRange(0, 3).Draw(t, "young"), rested: rested,
			}
			left := e.rest()
			if left < 0 {
				t.Fatalf("%+v rests %v", e, left)
			}
			if needed := e.waiting > 0 || e.full || e.over || 2*e.stock < e.target; needed && left > 0 {
				t.Fatalf("%+v rests although it is needed", e)
			}
			if left == 0 {
				return
			}
			if rested += left; rested > longestRest {
				t.Fatalf("a rest of %v", rested)
			}
		}
	})
}

// TestRest: what nobody waits for is put off while somebody's short script runs,
// but not for long; who needs a slot or an instance ends it.
func TestRest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		eng := fake.New()
		p := start(t, eng, Settings{Capacity: 6})
		p.SetGeneration(generation(1), definition(4, 4))
		synctest.Wait()
		living := func(what string, want int) {
			t.Helper()
			synctest.Wait()
			if n := len(eng.Living()); n != want {
				t.Errorf("%s: %d instances live, want %d", what, n, want)
			}
		}
		first, _ := lease(t, p)
		second, _ := lease(t, p)
		first.Release()
		living("right after a release", 4)
		time.Sleep(breath)
		living("while another one has just begun", 4)
		if s := status(t, p, 1); s.Ready != 2 || s.Making != 0 {
			t.Errorf("while another one has just begun: %+v, want no start", s)
		}
		time.Sleep(longestRest)
		living("later", 5) // 4 ready, 1 leased
		if s := status(t, p, 1); s.Ready != 4 {
			t.Errorf("later: %+v", s)
		}

		second.Release()
		third, _ := lease(t, p)
		fourth, _ := lease(t, p)
		living("with half of the pool left", 5)
		fifth, _ := lease(t, p) // leaves less than half
		synctest.Wait()
		if len(p.resting) != 0 {
			t.Error("the release rests although the pool is short")
		}
		select {
		case <-second.gone:
		default:
			t.Error("the instance is there although the pool is short")
		}
		for _, l := range []*Lease{third, fourth, fifth} {
			if err := l.Destroy(t.Context()); err != nil { // does not rest
				t.Fatal(err)
			}
		}
		time.Sleep(longestRest)
		living("at the end", 4)
		last, _ := lease(t, p)
		last.Release()
		if err := p.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		living("after the end", 0)
	})
}

// TestNoRestAtTheShare: an organization that holds all it may is not refused longer
// because the end of one of its leases is put off, whether it held all of it then or
// does so since.
func TestNoRestAtTheShare(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := start(t, fake.New(), Settings{Capacity: 10, Share: func(remuda.OrganizationID) int { return 2 }})
		p.SetGeneration(generation(1), definition(4, 4))
		synctest.Wait()
		reserve := func() *Lease {
			t.Helper()
			l, err := p.Reserve(Claim{Runtime: "rt_a", Organization: "org_a"})
			if err != nil || !l.Warm() {
				t.Fatalf("%+v, %v", l, err)
			}
			return l
		}
		first := reserve()
		first.Release() // it rests: there is one more to be had
		second := reserve()
		synctest.Wait()
		third := reserve()
		third.Release()
		synctest.Wait()
		reserve().Release()
		second.Release()
	})
}
