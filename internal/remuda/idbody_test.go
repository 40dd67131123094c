package remuda

import (
	"bytes"
	"math"
	"slices"
	"sync"
	"testing"
	"time"
)

// Ids of one process sort as they were made, also within a millisecond, and so do the
// UUIDs of them.
func TestIDsInOrder(t *testing.T) {
	t.Parallel()
	const many = 20000 // some milliseconds' worth
	ids := make([]string, many)
	for i := range ids {
		ids[i] = NewID(PrefixExecution)
	}
	shared := 0
	for i := 1; i < many; i++ {
		if ids[i] <= ids[i-1] || UUID(ids[i]) <= UUID(ids[i-1]) {
			t.Fatalf("id %d, %s, comes after %s", i, ids[i], ids[i-1])
		}
		if UUID(ids[i])[:13] == UUID(ids[i-1])[:13] {
			shared++
		}
	}
	if shared == 0 {
		t.Error("no two of them are of one millisecond")
	}
}

// Whoever makes ids beside others has each above the one before, and none twice.
func TestIDsInACrowd(t *testing.T) {
	t.Parallel()
	var makers sync.WaitGroup
	made := make([][]string, 8)
	for i := range made {
		makers.Go(func() {
			for range 2000 {
				made[i] = append(made[i], NewID("x"))
			}
		})
	}
	makers.Wait()
	seen := map[string]bool{}
	for _, ids := range made {
		if !slices.IsSorted(ids) {
			t.Error("the ids of one maker are not in order")
		}
		for _, id := range ids {
			if seen[id] {
				t.Fatalf("%s was made twice", id)
			}
			seen[id] = true
		}
	}
}

// Each body is above the one before, whatever the clock and the random bits are; only a
// clock that goes far back is followed.
func TestIDBodies(t *testing.T) {
	t.Parallel()
	const most = math.MaxUint64
	type step struct{ ms, hi, lo uint64 }
	for name, c := range map[string]struct {
		steps []step
		ms    uint64 // of the last
		below bool   // it is below the one before
	}{
		"the clock goes on":        {[]step{{5, most, most}, {6, 0, 0}}, 6, false},
		"one millisecond":          {[]step{{5, 1, 1}, {5, 1 << 20, 1}}, 5, false},
		"no random bit is set":     {[]step{{5, 7, 7}, {5, 0, 0}}, 5, false},
		"the lower half overflows": {[]step{{5, 0, most}, {5, 0, most}}, 5, false},
		"a bit back":               {[]step{{5000, 1, 1}, {4000, 1, 1}}, 5000, false},
		"far back":                 {[]step{{5000, 1, 1}, {3999, 1, 1}}, 3999, true},
		"before all time":          {[]step{{0, 0, 0}, {0, 0, 0}}, 0, false},
	} {
		var b idBodies
		var before, last [idBodyBytes]byte
		for _, s := range c.steps {
			before, last = last, b.after(s.ms, s.hi, s.lo)
		}
		if got := bytes.Compare(last[:], before[:]); b.ms != c.ms || got != 1 && !c.below || got != -1 && c.below {
			t.Errorf("%s: after %x comes %x, of the millisecond %d", name, before, last, b.ms)
		}
	}
	// A millisecond that is full goes over into the next one.
	b := idBodies{ms: 5, hi: most, lo: most}
	before := idBody(b.ms, b.hi, b.lo)
	after := b.after(5, most, most)
	if next := b.after(5, most, most); b.ms != 6 || bytes.Compare(after[:], before[:]) != 1 || bytes.Compare(next[:], after[:]) != 1 {
		t.Errorf("after %x come %x and %x", before, after, next)
	}
	// The largest steps that there are fit many times.
	b = idBodies{}
	for range 1 << (idStep - 1) {
		b.after(7, most, most)
	}
	if b.ms != 7 {
		t.Errorf("a millisecond was full after %d steps at most", 1<<(idStep-1))
	}
}

// Ids of one millisecond do not tell each other.
func TestIDsOfAMillisecondAreFarApart(t *testing.T) {
	t.Parallel()
	var b idBodies
	for i := range 1000 {
		before := b.hi
		b.next(time.UnixMilli(9))
		if i > 0 && b.hi-before < 1<<20 { // once in some hundred thousand runs of this test
			t.Fatalf("a step of %d in the upper bits", b.hi-before)
		}
	}
}
