package egress

import (
	"net/netip"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/remuda-run/remuda/internal/remuda"
)

// An intersection has every address that both lists have, and no other; it is
// within both, and the same whichever comes first.
func TestIntersectIsWhatBothList(t *testing.T) {
	t.Parallel()
	pattern := rapid.SampledFrom([]string{"a.example", "b.a.example", "*.a.example", "*.b.a.example", "c.b.a.example", "other.example"})
	rapid.Check(t, func(t *rapid.T) {
		a := remuda.Egress{CIDRs: drawPrefixes(t, "a"), Names: rapid.SliceOfDistinct(pattern, rapid.ID).Draw(t, "names of a")}
		b := remuda.Egress{CIDRs: drawPrefixes(t, "b"), Names: rapid.SliceOfDistinct(pattern, rapid.ID).Draw(t, "names of b")}
		both, turned := Intersect(a, b), Intersect(b, a)
		for range 20 {
			addr := drawAddr(t)
			if got, want := has(both.CIDRs, addr), has(a.CIDRs, addr) && has(b.CIDRs, addr); got != want {
				t.Fatalf("%s is in both: %t, want %t", addr, got, want)
			}
		}
		of, with, got := compileNames(a.Names), compileNames(b.Names), compileNames(both.Names)
		for _, name := range []string{"a.example", "b.a.example", "x.a.example", "c.b.a.example", "x.b.a.example", "other.example", "example"} {
			if want := of.match(name) && with.match(name); got.match(name) != want {
				t.Fatalf("%s is in both: %t, want %t", name, !want, want)
			}
		}
		if !Narrows(both, a) || !Narrows(both, b) {
			t.Fatalf("%v is not within %v and %v", both, a, b)
		}
		if !slices.Equal(both.CIDRs, turned.CIDRs) || !slices.Equal(both.Names, turned.Names) {
			t.Fatalf("%v one way and %v the other", both, turned)
		}
	})
}

func TestIntersectKeepsTheRules(t *testing.T) {
	t.Parallel()
	a := remuda.Egress{CIDRs: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, Within: []remuda.EgressRules{{Forbid: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16")}}}}
	if got := Intersect(a, remuda.Egress{CIDRs: a.CIDRs}); len(got.Within) != 1 || got.None() {
		t.Errorf("got %+v", got)
	}
	if got := Intersect(a, remuda.Egress{}); !got.None() {
		t.Errorf("with nothing: %+v", got)
	}
}
