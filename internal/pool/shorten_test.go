package pool

import (
	"context"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/engine/fake"
	"github.com/remuda-run/remuda/internal/remuda"
)

func blocks(list ...string) remuda.Egress {
	var e remuda.Egress
	for _, text := range list {
		e.CIDRs = append(e.CIDRs, netip.MustParsePrefix(text))
	}
	return e
}

func wantReach(t *testing.T, when string, inst engine.Instance, want remuda.Egress) {
	t.Helper()
	_, got := inst.(*fake.Instance).Fence()
	if !cmp.Equal(got, want, cmpopts.EquateComparable(netip.Prefix{}), cmpopts.EquateEmpty()) {
		t.Errorf("%s: reaches %+v, want %+v", when, got, want)
	}
}

// What is held follows a list that is shortened, never one that is lengthened,
// and what it lost does not come back.
func TestShortenedListHoldsForWhatIsHeld(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := start(t, fake.New(), Settings{})
		def := definition(2, 2)
		def.Egress = blocks("10.0.0.0/8", "192.0.2.0/24")
		p.SetGeneration(generation(1), def)
		synctest.Wait()
		whole, wholeInst := lease(t, p)
		defer whole.Release()
		narrow := blocks("10.1.0.0/16")
		part, err := p.Reserve(Claim{Runtime: "rt_a", Egress: &narrow})
		if err != nil {
			t.Fatal(err)
		}
		defer part.Release()
		// Its instance is narrowed by Start only, after the list has changed.
		change := func(n int, to remuda.Egress) {
			def.Egress = to
			p.SetGeneration(generation(n), def)
			p.Shorten("rt_a", to)
		}
		change(2, blocks("10.1.2.0/24", "10.2.0.0/16", "198.51.100.0/24"))
		wantReach(t, "shortened", wholeInst, blocks("10.1.2.0/24", "10.2.0.0/16"))
		partInst, err := part.Start(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		wantReach(t, "shortened before the start", partInst, blocks("10.1.2.0/24"))
		change(3, blocks("10.0.0.0/8", "192.0.2.0/24"))
		wantReach(t, "lengthened again", wholeInst, blocks("10.1.2.0/24", "10.2.0.0/16"))
		p.Confine("", []remuda.EgressRules{{Forbid: blocks("10.2.0.0/16").CIDRs}})
		want := blocks("10.1.2.0/24", "10.2.0.0/16")
		want.Within = []remuda.EgressRules{{Forbid: blocks("10.2.0.0/16").CIDRs}}
		wantReach(t, "other rules", wholeInst, want)
		change(4, remuda.Egress{})
		wantReach(t, "nothing", wholeInst, remuda.Egress{Within: want.Within})
	})
}

func TestShortenedListHoldsForWhatIsBeingStarted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		eng := fake.New()
		p := start(t, eng, Settings{})
		def := definition(0, 0)
		def.Egress = blocks("10.0.0.0/8")
		p.SetGeneration(generation(1), def)
		release := eng.HoldCreate()
		started := make(chan engine.Instance)
		l, err := p.Reserve(Claim{Runtime: "rt_a"})
		if err != nil {
			t.Fatal(err)
		}
		defer l.Release()
		go func() {
			inst, err := l.Start(context.Background())
			if err != nil {
				t.Error(err)
			}
			started <- inst
		}()
		synctest.Wait()
		p.Shorten("rt_a", blocks("10.1.0.0/16"))
		release()
		wantReach(t, "a cold start that was under way", <-started, blocks("10.1.0.0/16"))
	})
}

func TestLayersAndUse(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := start(t, fake.New(), Settings{})
		layer := engine.Layer{ID: "0a", Path: "/layers/0a"}
		p.SetGeneration(generation(1), definition(1, 1), layer)
		synctest.Wait()
		warm, warmInst := lease(t, p)
		synctest.Wait()
		time.Sleep(time.Second) // the warm one is replaced
		synctest.Wait()
		if got := warmInst.(*fake.Instance).Spec().Layers; len(got) != 1 || got[0] != layer {
			t.Errorf("layers of a warm instance: %v", got)
		}
		if got := p.Count("rt_a"); got != (remuda.InstanceCounts{Ready: 1, Active: 1}) {
			t.Errorf("count: %+v", got)
		}
		p.Retire("rt_a")
		if n := p.Held("rt_a"); n != 1 || len(p.Living()) != 1 {
			t.Errorf("%d are held, %v live; want the one", n, p.Living())
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := p.AwaitUnheld(ctx, "rt_a"); remuda.CodeOf(err) != remuda.CodeDeadline {
			t.Errorf("waiting for what is not given back: %v", err)
		}
		time.AfterFunc(time.Minute, warm.Release)
		if err := p.AwaitUnheld(t.Context(), "rt_a"); err != nil || p.Held("rt_a") != 0 || len(p.Living()) != 0 {
			t.Errorf("waiting for what is: %v, %d are held, %v live", err, p.Held("rt_a"), p.Living())
		}
	})
}
