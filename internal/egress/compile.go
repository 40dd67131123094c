package egress

import (
	"net/netip"

	"go4.org/netipx"

	"github.com/remuda-run/remuda/internal/remuda"
)

// Compiled is what a list comes to: sets without overlaps from which everything
// that may not be reached is cut out. It does not change; the zero value is
// nothing.
type Compiled struct {
	listed   *netipx.IPSet // nil is nothing
	admitted *netipx.IPSet // what names may lead to; nil is nothing
	names    names
}

// Compile returns what a list comes to on a site, for an organization and within
// the list's own rules. What Check
// would refuse reaches nothing.
func Compile(e remuda.Egress, site Site, organization ...Rules) Compiled {
	for _, r := range e.Within {
		organization = append(organization, Rules(r))
	}
	admitted := site.admitted(organization)
	var b netipx.IPSetBuilder
	for _, p := range e.CIDRs {
		if checkPrefix(p) == "" {
			b.AddPrefix(p)
		}
	}
	b.Intersect(admitted)
	return Compiled{listed: set(&b), admitted: admitted, names: compileNames(e.Names)}
}

// None reports whether nothing may be reached.
func (c Compiled) None() bool {
	return (c.listed == nil || len(c.listed.Ranges()) == 0) && !c.HasNames()
}

// HasNames reports whether any name may be asked for.
func (c Compiled) HasNames() bool { return len(c.names.exact)+len(c.names.below) > 0 }

// Ranges returns the listed addresses of IPv4 and of IPv6, sorted and without
// overlaps.
func (c Compiled) Ranges() (v4, v6 []netipx.IPRange) {
	if c.listed == nil {
		return nil, nil
	}
	for _, r := range c.listed.Ranges() {
		if r.From().Is4() {
			v4 = append(v4, r)
		} else {
			v6 = append(v6, r)
		}
	}
	return v4, v6
}

// Lists reports whether an address is listed as one.
func (c Compiled) Lists(a netip.Addr) bool {
	return c.listed != nil && c.listed.Contains(plain(a))
}

// Names reports whether a name may be asked for. Case and a final dot do not
// matter.
func (c Compiled) Names(name string) bool { return c.names.match(name) }

// Admits reports whether a listed name may lead to an address.
func (c Compiled) Admits(a netip.Addr) bool {
	return c.admitted != nil && c.admitted.Contains(plain(a))
}

// Equal reports whether two lists come to the same.
func (c Compiled) Equal(d Compiled) bool {
	return equalSets(c.listed, d.listed) && equalSets(c.admitted, d.admitted) &&
		equalKeys(c.names.exact, d.names.exact) && equalKeys(c.names.below, d.names.below)
}

func equalSets(a, b *netipx.IPSet) bool {
	if a == nil || b == nil {
		return (a == nil || len(a.Ranges()) == 0) && (b == nil || len(b.Ranges()) == 0)
	}
	return a.Equal(b)
}

func equalKeys(a, b map[string]bool) bool {
	if len(a) != len(b) {
		return false
	}
	for k := range a {
		if !b[k] {
			return false
		}
	}
	return true
}

// Narrows reports whether everything that narrow lists is listed by wide too: a
// name by the same or a wider pattern, a block of addresses by one or several.
func Narrows(narrow, wide remuda.Egress) bool {
	var b netipx.IPSetBuilder
	for _, p := range wide.CIDRs {
		b.AddPrefix(p)
	}
	listed := set(&b)
	for _, p := range narrow.CIDRs {
		if !listed.ContainsPrefix(p) {
			return false
		}
	}
	patterns := compileNames(wide.Names)
	for _, name := range narrow.Names {
		if !patterns.covers(name) {
			return false
		}
	}
	return true
}
