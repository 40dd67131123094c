package terminals

import (
	"bytes"
	"testing"

	"pgregory.net/rapid"
)

// TestRing compares a ring with a slice that keeps all.
func TestRing(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		r := ring{max: rapid.IntRange(1, 40).Draw(t, "max")}
		var all []byte
		for _, p := range rapid.SliceOf(rapid.SliceOfN(rapid.Byte(), 0, 60)).Draw(t, "writes") {
			r.write(p)
			all = append(all, p...)
			if r.end != int64(len(all)) || r.start() != max(0, r.end-int64(r.max)) {
				t.Fatalf("from %d to %d after %d bytes, with %d", r.start(), r.end, len(all), r.max)
			}
			from := r.start() + int64(rapid.IntRange(0, int(r.end-r.start())).Draw(t, "from"))
			got := make([]byte, rapid.IntRange(0, 50).Draw(t, "read"))
			n := r.read(got, from)
			want := all[from:min(r.end, from+int64(len(got)))]
			if !bytes.Equal(got[:n], want) {
				t.Fatalf("from %d: %v, want %v", from, got[:n], want)
			}
			begin := r.begin()
			if begin < r.start() || begin > r.end || begin > r.start() && all[begin-1] != '\n' {
				t.Fatalf("it begins at %d of %d to %d", begin, r.start(), r.end)
			}
		}
	})
}
