package egress

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/remuda-run/remuda/internal/remuda"
)

func prefixes(list ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, s := range list {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

var everything = remuda.Egress{CIDRs: prefixes("0.0.0.0/0", "::/0")}

// What is never reached stays so when a list has everything; its neighbours are
// reached.
func TestNeverWins(t *testing.T) {
	t.Parallel()
	site := Site{Never: prefixes("198.18.0.0/16", "203.0.113.7/32")}
	c := Compile(everything, site)
	for _, s := range []string{
		"0.0.0.0", "0.0.0.1", "127.0.0.1", "127.255.255.254", "169.254.169.254", "169.254.0.0", "169.254.255.255",
		"100.100.100.200", "168.63.129.16", "192.0.0.192", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255",
		"198.18.0.1", "198.18.255.255", "203.0.113.7",
		"::", "::1", "fe80::1", "fe80::a9fe:a9fe", "febf::1", "fec0::1", "ff02::1", "fd00:ec2::254", "fd00:ec2::23", "fd20:ce::254", "fd00:c1::a9fe:a9fe",
		"::ffff:169.254.169.254", "::ffff:127.0.0.1", "::169.254.169.254", "2002:a9fe:a9fe::1", "2001::1", "64:ff9b:1::1",
		"64:ff9b::169.254.169.254", "64:ff9b::127.0.0.1", "64:ff9b::203.0.113.7",
	} {
		a := netip.MustParseAddr(s)
		if c.Lists(a) || c.Admits(a) {
			t.Errorf("%s may be reached", s)
		}
	}
	for _, s := range []string{
		"1.0.0.0", "126.255.255.255", "128.0.0.0", "169.253.255.255", "169.255.0.0", "100.100.100.199", "100.100.100.201", "168.63.129.15", "168.63.129.17",
		"223.255.255.255", "198.17.255.255", "198.19.0.0", "203.0.113.6", "203.0.113.8", "10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1",
		"2606:4700::1111", "fd00:ec1:ffff::1", "fd00:ec3::1", "fd20:ce::253", "fd20:ce::255", "fc00::1", "64:ff9b::1.1.1.1", "::ffff:1.1.1.1",
	} {
		a := netip.MustParseAddr(s)
		if !c.Lists(a) || !c.Admits(a) {
			t.Errorf("%s may not be reached", s)
		}
	}
}

// The semantics of lists, row N08 of the attempts.
func TestListed(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name     string
		list     []netip.Prefix
		site     Site
		org      []Rules
		yes, no  string
		ranges   int
		problems int
	}{
		{name: "empty is nothing", no: "1.1.1.1 10.0.0.1 ::1 2001:db8::1"},
		{name: "one address", list: prefixes("10.1.2.3/32"), yes: "10.1.2.3", no: "10.1.2.2 10.1.2.4", ranges: 1},
		{name: "one address of IPv6", list: prefixes("2001:db8::3/128"), yes: "2001:db8::3", no: "2001:db8::2 2001:db8::4", ranges: 1},
		{name: "edges of /24", list: prefixes("10.1.2.0/24"), yes: "10.1.2.0 10.1.2.255", no: "10.1.1.255 10.1.3.0", ranges: 1},
		{name: "edges of /64", list: prefixes("2001:db8:1::/64"), yes: "2001:db8:1:: 2001:db8:1:0:ffff:ffff:ffff:ffff", no: "2001:db8:1:1:: 2001:db8:0:ffff:ffff:ffff:ffff:ffff", ranges: 1},
		{name: "overlap and duplicate", list: prefixes("10.1.0.0/16", "10.1.2.0/24", "10.1.2.0/24", "10.2.0.0/16"), yes: "10.1.0.0 10.1.2.3 10.2.255.255", no: "10.0.255.255 10.3.0.0", ranges: 1},
		{name: "last block", list: prefixes("223.255.255.0/24"), yes: "223.255.255.255", no: "224.0.0.0", ranges: 1},
		{
			name: "forbidden wins, first or last", list: prefixes("10.0.0.0/8", "10.9.0.0/16"), site: Site{Rules: Rules{Forbid: prefixes("10.9.0.0/16")}},
			yes: "10.8.255.255 10.10.0.0", no: "10.9.0.0 10.9.255.255", ranges: 2, problems: 1,
		},
		{
			name: "forbidden through NAT64", list: prefixes("64:ff9b::/96"), site: Site{Rules: Rules{Forbid: prefixes("10.0.0.0/8")}},
			yes: "64:ff9b::11.0.0.1", no: "64:ff9b::10.0.0.1",
			ranges: 7,
		},
		{
			name: "allowed by the site only", list: prefixes("10.0.0.0/8", "11.0.0.0/8"), site: Site{Rules: Rules{Allow: prefixes("10.1.0.0/16")}},
			yes: "10.1.0.1", no: "10.2.0.1 11.0.0.1", ranges: 1, problems: 1,
		},
		{
			name: "the organization narrows the site", list: prefixes("10.0.0.0/8"), site: Site{Rules: Rules{Allow: prefixes("10.1.0.0/16")}},
			org: []Rules{{Allow: prefixes("10.1.1.0/24", "12.0.0.0/8")}}, yes: "10.1.1.1", no: "10.1.2.1 12.0.0.1", ranges: 1,
		},
		{
			name: "the organization does not widen the site", list: prefixes("12.0.0.0/8"), site: Site{Rules: Rules{Allow: prefixes("10.1.0.0/16")}},
			org: []Rules{{Allow: prefixes("12.0.0.0/8")}}, no: "12.0.0.1 10.1.0.1", problems: 1,
		},
		{name: "never only", list: prefixes("169.254.169.254/32", "fd00:ec2::254/128", "127.0.0.0/8"), no: "169.254.169.254 127.0.0.1", problems: 3},
		{name: "bits behind the length", list: prefixes("10.1.2.3/24"), no: "10.1.2.3", problems: 1},
		{name: "an invalid prefix reaches nothing", list: []netip.Prefix{{}}, no: "10.1.2.3", problems: 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			e := remuda.Egress{CIDRs: c.list}
			got := Compile(e, c.site, c.org...)
			for s := range strings.FieldsSeq(c.yes) {
				if !got.Lists(netip.MustParseAddr(s)) {
					t.Errorf("%s is not reached", s)
				}
			}
			for s := range strings.FieldsSeq(c.no) {
				if got.Lists(netip.MustParseAddr(s)) {
					t.Errorf("%s is reached", s)
				}
			}
			v4, v6 := got.Ranges()
			if n := len(v4) + len(v6); n != c.ranges {
				t.Errorf("%d ranges %v %v, want %d", n, v4, v6, c.ranges)
			}
			if got.None() != (c.ranges == 0) {
				t.Errorf("None is %t with %d ranges", got.None(), c.ranges)
			}
			if wrong := Check(e, c.site, c.org...); len(wrong) != c.problems {
				t.Errorf("Check found %v, want %d", wrong, c.problems)
			}
		})
	}
}

func TestZeroIsNothing(t *testing.T) {
	t.Parallel()
	var c Compiled
	a := netip.MustParseAddr("10.0.0.1")
	if !c.None() || c.Lists(a) || c.Admits(a) || c.Names("example.com") {
		t.Error("the zero value is something")
	}
}

func TestNames(t *testing.T) {
	t.Parallel()
	c := Compile(remuda.Egress{Names: []string{"api.example.com", "*.pkg.example.org", "db", "BAD.example.com", "*", "*.com", "*.a.*.b"}}, Site{})
	for name, want := range map[string]bool{
		"api.example.com": true, "API.Example.COM.": true, "x.api.example.com": false, "example.com": false, "aapi.example.com": false,
		"a.pkg.example.org": true, "a.b.pkg.example.org": true, "pkg.example.org": false, "apkg.example.org": false, "pkg.example.org.evil.net": false,
		"db": true, "db.": true, "db.example.com": false, "bad.example.com": false, "anything.com": false, "": false, ".": false,
		"*.pkg.example.org": true, ".pkg.example.org": true,
	} {
		if c.Names(name) != want {
			t.Errorf("%q: %t, want %t", name, !want, want)
		}
	}
	for name, want := range map[string]string{
		"example.com": "", "*.example.com": "", "a_b.example.com": "", "xn--bcher-kva.example": "", "db": "",
		"": "empty", "example.com.": "dot", "Example.com": "lower case", "*": "star", "*.com": "top-level", "a.*.com": "star", "*.*.com": "star",
		"10.0.0.1": "address", "*.10.0.0.1": "address", "::1": "address", "1.2.3": "number", "localhost": "machine itself", "x.localhost": "machine itself",
		"-a.com": "hyphen", "a-.com": "hyphen", "a..com": "empty part", "bücher.example": "xn--", "a b.com": "character", "2852039166": "number",
		strings.Repeat("a", 64) + ".com": "63", strings.Repeat("abcdefghi.", 26) + "com": "253",
	} {
		if got := checkName(name); (got == "") != (want == "") || !strings.Contains(got, want) {
			t.Errorf("%q: %q, want one with %q", name, got, want)
		}
	}
}

func TestCheckNamesTheField(t *testing.T) {
	t.Parallel()
	wrong := Check(remuda.Egress{
		CIDRs: prefixes("10.0.0.0/8", "127.0.0.1/32", "::ffff:10.0.0.0/104"), Names: []string{"ok.example", "*"},
	}, Site{})
	var fields []string
	for _, f := range wrong {
		fields = append(fields, f.Field)
		if f.Message == "" {
			t.Errorf("%s has no message", f.Field)
		}
	}
	if got := strings.Join(fields, " "); got != "egress.cidrs[1] egress.cidrs[2] egress.names[1]" {
		t.Errorf("fields are %s (%v)", got, wrong)
	}
	many := remuda.Egress{}
	for n := range MaxCIDRs + 1 {
		many.CIDRs = append(many.CIDRs, netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(n >> 8), byte(n), 0}), 32))
		many.Names = append(many.Names, fmt.Sprintf("n%d.example.com", n))
	}
	if wrong := Check(many, Site{}); len(wrong) != 2 {
		t.Errorf("a list without bounds gave %v", wrong)
	}
	if wrong := CheckRules("organization", Rules{Allow: prefixes("10.0.0.1/8"), Forbid: []netip.Prefix{{}}}); len(wrong) != 2 || wrong[0].Field != "organization.allow[0]" {
		t.Errorf("rules: %v", wrong)
	}
}

func TestNarrows(t *testing.T) {
	t.Parallel()
	wide := remuda.Egress{CIDRs: prefixes("10.0.0.0/9", "10.128.0.0/9", "2001:db8::/32"), Names: []string{"*.example.com", "a.example.org"}}
	for _, c := range []struct {
		narrow remuda.Egress
		want   bool
	}{
		{remuda.Egress{}, true},
		{wide, true},
		{remuda.Egress{CIDRs: prefixes("10.0.0.0/8")}, true},
		{remuda.Egress{CIDRs: prefixes("10.0.0.0/7")}, false},
		{remuda.Egress{CIDRs: prefixes("2001:db8:1::/48")}, true},
		{remuda.Egress{CIDRs: []netip.Prefix{{}}}, false},
		{remuda.Egress{Names: []string{"b.example.com", "*.b.example.com", "*.example.com", "a.example.org"}}, true},
		{remuda.Egress{Names: []string{"example.com"}}, false},
		{remuda.Egress{Names: []string{"*.example.org"}}, false},
		{remuda.Egress{Names: []string{"*.a.example.org"}}, false},
	} {
		if got := Narrows(c.narrow, wide); got != c.want {
			t.Errorf("%v: %t", c.narrow, got)
		}
	}
}
