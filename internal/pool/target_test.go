package pool

import (
	"context"
	"math"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/engine/fake"
	"github.com/remuda-run/remuda/internal/remuda"
)

// TestPlan wants slots and memory never exceeded, nobody over its wish, every
// least before any more, and nothing left over that somebody could have.
func TestPlan(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		wishes := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) wish {
			least := rapid.IntRange(0, 8).Draw(t, "least")
			return wish{least: least, most: least + rapid.IntRange(0, 12).Draw(t, "more"), memory: rapid.Int64Range(1, 50).Draw(t, "memory")}
		}), 0, 6).Draw(t, "wishes")
		slots, memory := rapid.IntRange(0, 40).Draw(t, "slots"), rapid.Int64Range(0, 600).Draw(t, "budget")
		given := plan(wishes, slots, memory)
		usedSlots, usedMemory, short, more := 0, int64(0), false, false
		for i, w := range wishes {
			usedSlots += given[i]
			usedMemory += int64(given[i]) * w.memory
			short = short || given[i] < w.least && w.memory <= memory-usedBy(wishes, given)
			more = more || given[i] > w.least
			if given[i] < 0 || given[i] > w.most {
				t.Fatalf("%d given to %+v", given[i], w)
			}
		}
		if usedSlots > slots || usedMemory > memory {
			t.Fatalf("%d of %d slots, %d of %d bytes", usedSlots, slots, usedMemory, memory)
		}
		if more && short {
			t.Fatalf("somebody got more while another has not its least: %v of %+v", given, wishes)
		}
		for i, w := range wishes {
			if given[i] < w.most && usedSlots < slots && w.memory <= memory-usedMemory {
				t.Fatalf("room is left over for %+v: %v", w, given)
			}
		}
	})
}

func usedBy(wishes []wish, given []int) (n int64) {
	for i, w := range wishes {
		n += int64(given[i]) * w.memory
	}
	return n
}

// TestMeter wants demand to be met at once, to fade, and to be forgotten.
func TestMeter(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		m := meter{half: 30 * time.Second, at: time.Unix(0, 0)}
		now := m.at
		for range rapid.IntRange(1, 50).Draw(t, "leases") {
			now = now.Add(time.Duration(rapid.Int64Range(0, int64(time.Minute)).Draw(t, "pause")))
			open := rapid.IntRange(1, 100).Draw(t, "open")
			m.lease(now, open)
			if got := m.want(now, 0); got < open {
				t.Fatalf("%d wanted with %d open", got, open)
			}
		}
		start := time.Duration(rapid.Int64Range(0, int64(5*time.Second)).Draw(t, "start"))
		last := math.MaxInt
		for range 30 {
			got := m.want(now, start)
			if got > last {
				t.Fatalf("without a lease it grew from %d to %d", last, got)
			}
			last = got
			now = now.Add(m.half)
		}
		if last != 0 {
			t.Fatalf("%d wanted after 30 half lives without a lease", last)
		}
	})
}

// TestMeterCoversAStart leases at a steady rate and wants what is taken while one
// is started to be there.
func TestMeterCoversAStart(t *testing.T) {
	t.Parallel()
	m := meter{half: 30 * time.Second, at: time.Unix(0, 0)}
	now := m.at
	for range 200 * 60 * 5 { // 200 a second, five minutes
		now = now.Add(5 * time.Millisecond)
		m.lease(now, 1)
	}
	if got := m.want(now, 100*time.Millisecond); got < 19 || got > 22 {
		t.Errorf("%d wanted; 20 are taken during one start", got)
	}
}

// heavy is an engine whose instances know their weight.
type heavy struct {
	*fake.Engine
	bytes int64
}

type heavyInstance struct {
	engine.Instance
	bytes int64
}

func (h heavyInstance) Memory() int64 { return h.bytes }

func (h heavy) Create(ctx context.Context, spec engine.Spec) (engine.Instance, error) {
	inst, err := h.Engine.Create(ctx, spec)
	if err != nil {
		return nil, err
	}
	return heavyInstance{inst, h.bytes}, nil
}

func TestMemoryBoundsThePools(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		eng := heavy{fake.New(), 30 << 20}
		p := start(t, eng, Settings{Capacity: 100, MemoryMB: 300})
		for _, rt := range []remuda.RuntimeID{"rt_a", "rt_b"} {
			p.SetGeneration(remuda.GenerationKey{Runtime: rt, Number: 1}, definition(20, 20))
		}
		time.Sleep(10 * time.Second) // weights are averages: they take a while to be known
		synctest.Wait()
		for _, s := range p.Status() {
			if s.Ready < 4 || s.Ready > 5 {
				t.Errorf("%s has %d warm instances of 30 MiB, want half of what fits into 300", s.Generation.Runtime, s.Ready)
			}
		}
	})
}

func TestRetirementWaitsForColdStarts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		eng := fake.New()
		p := start(t, eng, Settings{})
		p.SetGeneration(generation(1), definition(0, 0))
		l, err := p.Reserve(Claim{Runtime: "rt_a"})
		if err != nil {
			t.Fatal(err)
		}
		p.SetGeneration(generation(2), definition(0, 0))
		synctest.Wait()
		if got := eng.Retired(); len(got) != 0 {
			t.Errorf("%v retired while an instance of it is to be made", got)
		}
		if _, err := l.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		l.Release()
		synctest.Wait()
		if got := eng.Retired(); !slices.Equal(got, []remuda.GenerationKey{generation(1)}) {
			t.Errorf("%v retired, want generation 1", got)
		}
	})
}

func TestRetiredOnceNothingIsMade(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		eng := fake.New()
		p := start(t, eng, Settings{})
		p.SetGeneration(generation(1), definition(1, 1))
		synctest.Wait()
		l, _ := lease(t, p)
		p.SetGeneration(generation(2), definition(0, 0))
		synctest.Wait()
		if got := eng.Retired(); !slices.Equal(got, []remuda.GenerationKey{generation(1)}) {
			t.Errorf("%v retired while a leased instance lives on, want generation 1", got)
		}
		l.Release()
		p.Retire("rt_a")
		synctest.Wait()
		if got := eng.Retired(); !slices.Equal(got, []remuda.GenerationKey{generation(1), generation(2)}) {
			t.Errorf("%v retired at the end, want both, once each", got)
		}
	})
}
