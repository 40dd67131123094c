package pool

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/remuda-run/remuda/internal/engine/fake"
	"github.com/remuda-run/remuda/internal/remuda"
)

// TestLine wants turns never to be more than there are, none to be lost, and an
// organization's next turn to come after at most one of each other.
func TestLine(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		turns := rapid.IntRange(1, 3).Draw(t, "turns")
		q := newLine(turns)
		busy := 0
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			org := remuda.OrganizationID(rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "organization"))
			if rapid.Bool().Draw(t, "take") {
				if q.free > 0 {
					if err := q.take(context.Background(), org); err != nil {
						t.Fatal(err)
					}
					busy++
					continue
				}
				over, cancel := context.WithCancel(context.Background())
				cancel() // gives up at once, wherever it stands
				if q.take(over, org) == nil {
					t.Fatal("a turn beyond those that there are")
				}
			} else if busy > 0 {
				q.give()
				busy--
			}
			if busy+q.free != turns || len(q.waiting) != len(q.order) {
				t.Fatalf("%d busy and %d free of %d turns; %d organizations wait, %d in order", busy, q.free, turns, len(q.waiting), len(q.order))
			}
		}
	})
}

// TestBombedNeighbour is a simulation: A submits cold starts without end, B one
// now and then. B must wait for one start of A at most, however long A's line is.
func TestBombedNeighbour(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const took = 50 * time.Millisecond
		eng := fake.New()
		eng.DelayCreate(took)
		p := start(t, eng, Settings{Capacity: 40, ParallelCold: 2, Share: func(remuda.OrganizationID) int { return 30 }})
		p.SetGeneration(generation(1), definition(0, 0))
		ctx, stop := context.WithCancel(t.Context())
		var bombs sync.WaitGroup
		for range 60 {
			bombs.Go(func() {
				for ctx.Err() == nil {
					l, err := p.Reserve(Claim{Runtime: "rt_a", Organization: "org_a"})
					if err != nil {
						time.Sleep(10 * time.Millisecond) // over its share
						continue
					}
					if _, err := l.Start(ctx); err == nil {
						l.Release()
					}
				}
			})
		}
		random := rand.New(rand.NewPCG(1, 2))
		for range 50 {
			time.Sleep(time.Duration(random.IntN(300)) * time.Millisecond)
			began := time.Now()
			l, err := p.Reserve(Claim{Runtime: "rt_a", Organization: "org_b"})
			if err != nil {
				t.Fatalf("B is refused: %v", err)
			}
			if _, err := l.Start(ctx); err != nil {
				t.Fatal(err)
			}
			if waited := time.Since(began); waited > 2*took {
				t.Errorf("B waited %s for an instance that takes %s; one start of A may be before it", waited, took)
			}
			l.Release()
		}
		stop()
		bombs.Wait()
	})
}

func TestShareOfAnOrganization(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := start(t, fake.New(), Settings{Capacity: 4, Share: func(org remuda.OrganizationID) int {
			return map[remuda.OrganizationID]int{"org_a": 2}[org]
		}})
		p.SetGeneration(generation(1), definition(1, 1))
		synctest.Wait()
		reserve := func(org remuda.OrganizationID) (*Lease, error) {
			return p.Reserve(Claim{Runtime: "rt_a", Organization: org})
		}
		first, err := reserve("org_a")
		second, err2 := reserve("org_a")
		if err != nil || err2 != nil {
			t.Fatal(err, err2)
		}
		_, err = reserve("org_a")
		if remuda.CodeOf(err) != remuda.CodeExhausted || !strings.Contains(err.Error(), "holds 2 instances") {
			t.Errorf("the third of two: %v", err)
		}
		others := make([]*Lease, 2)
		for i := range others {
			if others[i], err = reserve("org_b"); err != nil {
				t.Errorf("another organization, which has no bound: %v", err)
			}
		}
		first.Release()
		synctest.Wait()
		third, err := reserve("org_a")
		if err != nil {
			t.Errorf("after a release: %v", err)
		}
		for _, l := range slices.Concat(others, []*Lease{second, third}) {
			if l != nil {
				l.Release()
			}
		}
	})
}

// TestEmptiedPoolsDoNotStarveOthers empties one pool all the time and wants the
// other to be filled as well.
func TestEmptiedPoolsDoNotStarveOthers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		eng := fake.New()
		eng.DelayCreate(50 * time.Millisecond)
		p := start(t, eng, Settings{Capacity: 64, ParallelStarts: 2})
		p.SetGeneration(generation(1), definition(4, 4))
		p.SetGeneration(remuda.GenerationKey{Runtime: "rt_b", Number: 1}, definition(4, 4))
		for range 200 {
			time.Sleep(10 * time.Millisecond)
			if status(t, p, 1).Ready == 0 {
				continue
			}
			l, _ := lease(t, p)
			l.Release()
		}
		for _, s := range p.Status() {
			if s.Generation.Runtime == "rt_b" && s.Ready != 4 {
				t.Errorf("the quiet pool has %d of 4", s.Ready)
			}
		}
	})
}

// TestNewRulesReachEveryInstance changes the network rules of an organization and
// looks at warm, leased, foreign and later instances.
func TestNewRulesReachEveryInstance(t *testing.T) {
	t.Parallel()
	rule := func(cidr string) []remuda.EgressRules {
		return []remuda.EgressRules{{Forbid: []netip.Prefix{netip.MustParsePrefix(cidr)}}}
	}
	synctest.Test(t, func(t *testing.T) {
		eng := fake.New()
		p := start(t, eng, Settings{})
		p.SetGeneration(generation(1), reaching())
		synctest.Wait()
		_, mine := leaseFor(t, p, Claim{Organization: "org_a"})
		_, other := leaseFor(t, p, Claim{Organization: "org_b"})
		synctest.Wait()
		old := eng.Living()
		late, err := p.Reserve(Claim{Runtime: "rt_a", Organization: "org_a"}) // before the change, started after it
		if err != nil {
			t.Fatal(err)
		}
		if err := p.SetRules("rt_a", rule("10.1.0.0/16")).Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		p.Confine("org_a", rule("10.1.0.0/16"))
		lateInst, err := late.Start(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		ruled := func(inst any) string {
			_, egress := inst.(*fake.Instance).Fence()
			return fmt.Sprint(egress.Within)
		}
		want := fmt.Sprint(rule("10.1.0.0/16"))
		if ruled(mine) != want || ruled(lateInst) != want || ruled(other) != "[]" {
			t.Errorf("rules: leased %s, started later %s, another's %s", ruled(mine), ruled(lateInst), ruled(other))
		}
		for _, inst := range eng.Living() {
			if fresh := !slices.Contains(old, inst); fresh && ruled(inst) != want {
				t.Errorf("an instance of after the change has the rules %s", ruled(inst))
			}
		}
	})
}

func leaseFor(t *testing.T, p *Pool, c Claim) (*Lease, any) {
	t.Helper()
	c.Runtime = "rt_a"
	l, err := p.Reserve(c)
	if err != nil {
		t.Fatal(err)
	}
	inst, err := l.Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return l, inst
}
