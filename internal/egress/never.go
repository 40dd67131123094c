package egress

import (
	"net/netip"

	"go4.org/netipx"
)

// never lists what no instance reaches, whatever a list says: the machine
// itself, the link it stands on, and the services by which clouds tell machines
// their secrets.
var never = []string{
	"0.0.0.0/8",          // this network; connecting to 0.0.0.0 means the machine itself
	"127.0.0.0/8",        // loopback
	"169.254.0.0/16",     // link-local, with the metadata services of most clouds
	"100.100.100.200/32", // Alibaba Cloud metadata
	"168.63.129.16/32",   // Azure's wire server
	"192.0.0.0/24",       // IETF protocol assignments, with Oracle Cloud's 192.0.0.192
	"224.0.0.0/4",        // multicast
	"240.0.0.0/4",        // reserved, and broadcast

	"::/96",            // unspecified, loopback, and the old form of embedded IPv4 addresses
	"::ffff:0:0/96",    // IPv4 in IPv6 (mapped)
	"::ffff:0:0:0/96",  // IPv4 in IPv6 (translated)
	"64:ff9b:1::/48",   // NAT64 with prefixes of one's own
	"100::/64",         // discard
	"2001::/32",        // Teredo: IPv4 in IPv6
	"2002::/16",        // 6to4: IPv4 in IPv6
	"fe80::/10",        // link-local
	"fec0::/10",        // site-local, which nobody may use any more
	"ff00::/8",         // multicast
	"fd00:ec2::/32",    // Amazon's metadata (fd00:ec2::254), time and name services
	"fd20:ce::254/128", // Google Cloud metadata
	"fd00:c1::/32",     // Oracle Cloud metadata (fd00:c1::a9fe:a9fe)
	"fd00:42::42/128",  // Scaleway metadata
}

// nat64 is the prefix under which a network translates to IPv4. What may not be
// reached over IPv4 may not be reached through it either.
var nat64 = netip.MustParsePrefix("64:ff9b::/96")

// Never returns the never-list that is the same on every machine.
func Never() []netip.Prefix {
	list := make([]netip.Prefix, len(never))
	for n, s := range never {
		list[n] = netip.MustParsePrefix(s)
	}
	return list
}

// translated returns the IPv6 prefix under which NAT64 reaches an IPv4 prefix.
func translated(p netip.Prefix) netip.Prefix {
	a, v4 := nat64.Addr().As16(), p.Addr().As4()
	copy(a[12:], v4[:])
	return netip.PrefixFrom(netip.AddrFrom16(a), nat64.Bits()+p.Bits())
}

// addDenied adds prefixes and, for IPv4, their translated form.
func addDenied(b *netipx.IPSetBuilder, prefixes []netip.Prefix) {
	for _, p := range prefixes {
		b.AddPrefix(p)
		if p.Addr().Is4() {
			b.AddPrefix(translated(p))
		}
	}
}

// plain takes an address out of the form in which IPv6 carries IPv4 (mapped) and
// drops its zone.
func plain(a netip.Addr) netip.Addr { return a.Unmap().WithZone("") }
