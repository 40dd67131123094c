package egress

import (
	"net/netip"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/remuda-run/remuda/internal/remuda"
)

// Addresses are drawn from a few small places, so that blocks overlap and meet
// what is forbidden.
func drawAddr(t *rapid.T) netip.Addr {
	last := rapid.Uint32().Draw(t, "low")
	switch rapid.IntRange(0, 3).Draw(t, "place") {
	case 0:
		return netip.AddrFrom4([4]byte{10, byte(last >> 28), byte(last >> 8), byte(last)})
	case 1:
		return netip.AddrFrom4([4]byte{byte(last >> 24), byte(last >> 16), byte(last >> 8), byte(last)})
	case 2:
		a := nat64.Addr().As16()
		a[12], a[14], a[15] = 10, byte(last>>8), byte(last)
		return netip.AddrFrom16(a)
	default:
		a := netip.MustParseAddr("fd00:ec2::").As16()
		a[2], a[14], a[15] = byte(last>>24)&0x0f, byte(last>>8), byte(last)
		return netip.AddrFrom16(a)
	}
}

func drawPrefixes(t *rapid.T, name string) []netip.Prefix {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) netip.Prefix {
		a := drawAddr(t)
		bits := rapid.IntRange(0, a.BitLen()).Draw(t, "bits")
		return netip.PrefixFrom(a, bits).Masked()
	}), 0, 6).Draw(t, name)
}

func has(list []netip.Prefix, a netip.Addr) bool {
	return slices.ContainsFunc(list, func(p netip.Prefix) bool { return p.Contains(a) })
}

// hasTranslated also looks at the IPv4 address that NAT64 would reach.
func hasTranslated(list []netip.Prefix, a netip.Addr) bool {
	if has(list, a) {
		return true
	}
	if !nat64.Contains(a) {
		return false
	}
	b := a.As16()
	return has(list, netip.AddrFrom4([4]byte(b[12:])))
}

// The compiled sets say of every address what the words say: listed, allowed by
// everyone, forbidden by no one, and not on the never-list.
func TestCompiledSaysWhatTheListsSay(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		e := remuda.Egress{CIDRs: drawPrefixes(t, "listed")}
		site := Site{Rules: Rules{Allow: drawPrefixes(t, "allow"), Forbid: drawPrefixes(t, "forbid")}, Never: drawPrefixes(t, "never")}
		org := Rules{Allow: drawPrefixes(t, "org allow"), Forbid: drawPrefixes(t, "org forbid")}
		c := Compile(e, site, org)
		for range 20 {
			a := drawAddr(t)
			ok := !hasTranslated(Never(), a) && !hasTranslated(site.Never, a)
			for _, r := range []Rules{site.Rules, org} {
				ok = ok && (len(r.Allow) == 0 || hasTranslated(r.Allow, a)) && !hasTranslated(r.Forbid, a)
			}
			if c.Admits(a) != ok {
				t.Fatalf("%s is admitted: %t, want %t", a, !ok, ok)
			}
			if want := ok && has(e.CIDRs, a); c.Lists(a) != want {
				t.Fatalf("%s is listed: %t, want %t", a, !want, want)
			}
		}
		v4, v6 := c.Ranges()
		all := append(slices.Clone(v4), v6...)
		for n, r := range all {
			if !r.IsValid() || n > 0 && r.From().BitLen() == all[n-1].To().BitLen() && !all[n-1].To().Next().Less(r.From()) {
				t.Fatalf("ranges are not sorted and apart: %v", all)
			}
		}
	})
}

// The order of a list does not matter.
func TestOrderDoesNotMatter(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		list := drawPrefixes(t, "listed")
		site := Site{Rules: Rules{Forbid: drawPrefixes(t, "forbid")}}
		other := rapid.Permutation(list).Draw(t, "order")
		if !Compile(remuda.Egress{CIDRs: list}, site).Equal(Compile(remuda.Egress{CIDRs: other}, site)) {
			t.Fatalf("%v and %v differ", list, other)
		}
	})
}

// A list that Check passes lists something with each entry; a list that narrows
// another reaches nothing that the other does not.
func TestNarrowReachesLess(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		wide, narrow := remuda.Egress{CIDRs: drawPrefixes(t, "wide")}, remuda.Egress{CIDRs: drawPrefixes(t, "narrow")}
		if !Narrows(narrow, wide) {
			return
		}
		a, w := drawAddr(t), Compile(wide, Site{})
		if Compile(narrow, Site{}).Lists(a) && !w.Lists(a) {
			t.Fatalf("%s is reached by the narrow list only", a)
		}
	})
}

func FuzzEntry(f *testing.F) {
	for _, s := range []string{"10.0.0.0/8", "::ffff:10.0.0.0/104", "fe80::1%eth0/64", "*.example.com", "a..b", "*", "2852039166", "0.0.0.0/0"} {
		f.Add(s, s)
	}
	metadata := netip.MustParseAddr("169.254.169.254")
	f.Fuzz(func(t *testing.T, cidr, name string) {
		e := remuda.Egress{Names: []string{name}}
		if p, err := netip.ParsePrefix(cidr); err == nil {
			e.CIDRs = append(e.CIDRs, p)
		}
		c := Compile(e, Site{})
		if c.Lists(metadata) || c.Admits(metadata) || c.Lists(netip.AddrFrom16(metadata.As16())) {
			t.Errorf("%q reaches the metadata service", cidr)
		}
		wrong := Check(e, Site{})
		if len(wrong) == 0 && c.None() {
			t.Errorf("%q and %q are fine and reach nothing", cidr, name)
		}
		if len(wrong) == 0 && !c.Names(name) {
			t.Errorf("%q does not match itself", name)
		}
		if c.Names(name) && checkName(name) != "" {
			t.Errorf("%q is wrong and matches", name)
		}
	})
}
