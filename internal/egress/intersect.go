package egress

import (
	"net/netip"
	"slices"
	"strings"

	"go4.org/netipx"

	"github.com/remuda-run/remuda/internal/remuda"
)

// Intersect returns what both lists list: the addresses that blocks of both have,
// and the names that patterns of both stand for. An address that one of them has
// by its name only is in neither. Within is that of a.
func Intersect(a, b remuda.Egress) remuda.Egress {
	return remuda.Egress{CIDRs: intersectBlocks(a, b), Names: intersectNames(a.Names, b.Names), Within: a.Within}
}

func intersectBlocks(a, b remuda.Egress) (both []netip.Prefix) {
	if len(a.CIDRs) == 0 || len(b.CIDRs) == 0 {
		return nil
	}
	var of, with netipx.IPSetBuilder
	for _, p := range a.CIDRs {
		of.AddPrefix(p)
	}
	for _, p := range b.CIDRs {
		with.AddPrefix(p)
	}
	of.Intersect(set(&with))
	return set(&of).Prefixes()
}

// intersectNames keeps of each list what the other covers: of two patterns of
// which one is the wider, that is the narrower.
func intersectNames(a, b []string) []string {
	var both []string
	inA, inB := compileNames(a), compileNames(b)
	for _, name := range a {
		if inB.covers(name) {
			both = append(both, name)
		}
	}
	for _, name := range b {
		if inA.covers(name) && !slices.Contains(both, name) {
			both = append(both, name)
		}
	}
	slices.SortFunc(both, strings.Compare)
	return both
}
