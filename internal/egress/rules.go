package egress

import (
	"net/netip"
	"slices"

	"go4.org/netipx"
)

// Rules say what may be listed, for a site or for one organization. The zero
// value lets anything be listed.
type Rules struct {
	// Allow is what may be listed; empty is anything.
	Allow []netip.Prefix
	// Forbid is what may not, even where Allow has it.
	Forbid []netip.Prefix
}

// Site is what one machine's operator has decided.
type Site struct {
	Rules

	// Never is added to the never-list: the network of the slots, the machine's
	// own addresses.
	Never []netip.Prefix
}

// admitted returns what may be reached at all.
func (s Site) admitted(organizations []Rules) *netipx.IPSet {
	var b netipx.IPSetBuilder
	b.AddPrefix(netip.PrefixFrom(netip.IPv4Unspecified(), 0))
	b.AddPrefix(netip.PrefixFrom(netip.IPv6Unspecified(), 0))
	for _, r := range append([]Rules{s.Rules}, organizations...) {
		r.restrict(&b)
	}
	b.RemoveSet(s.never())
	return set(&b)
}

func (s Site) never() *netipx.IPSet {
	var denied netipx.IPSetBuilder
	addDenied(&denied, Never())
	addDenied(&denied, s.Never)
	return set(&denied)
}

// NeverRanges returns what is never reached, sorted and without overlaps.
func (s Site) NeverRanges() []netipx.IPRange { return s.never().Ranges() }

func (r Rules) restrict(b *netipx.IPSetBuilder) {
	if len(r.Allow) > 0 {
		var allowed netipx.IPSetBuilder
		addDenied(&allowed, r.Allow)
		b.Intersect(set(&allowed))
	}
	var denied netipx.IPSetBuilder
	addDenied(&denied, r.Forbid)
	b.RemoveSet(set(&denied))
}

// set is the set of a builder that was given valid prefixes only; invalid ones
// are left out by their own check.
func set(b *netipx.IPSetBuilder) *netipx.IPSet {
	s, err := b.IPSet()
	if err != nil {
		// An invalid prefix: nothing is admitted, rather than too much.
		return &netipx.IPSet{}
	}
	return s
}

// Clone returns a copy that shares nothing with r.
func (r Rules) Clone() Rules {
	return Rules{Allow: slices.Clone(r.Allow), Forbid: slices.Clone(r.Forbid)}
}
