package netslot

import (
	"net/netip"
	"testing"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"go4.org/netipx"
)

// counter sums what the counting rules of one of the router's chains have seen.
func (s *Slots) counter(t *testing.T, chain string) uint64 {
	t.Helper()
	c, err := s.router.rules.connect()
	must(t, err)
	rules, err := c.GetRules(s.router.rules.inner(), &nftables.Chain{Name: chain, Table: s.router.rules.inner()})
	must(t, err)
	var sum uint64
	for _, r := range rules {
		for _, e := range r.Exprs {
			if n, ok := e.(*expr.Counter); ok {
				sum += n.Packets
			}
		}
	}
	return sum
}

func rangesOf(s string) []netipx.IPRange {
	return []netipx.IPRange{netipx.RangeOfPrefix(netip.MustParsePrefix(s))}
}
