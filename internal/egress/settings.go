package egress

import (
	"fmt"
	"net/netip"

	"github.com/remuda-run/remuda/internal/remuda"
)

// Settings are what a site's operator decides about the network of sandboxes.
type Settings struct {
	Rules

	// Range is the IPv4 network that is used between sandboxes and the machine:
	// its lower half inside sandboxes, its upper half on the machine. Nothing
	// else that the machine talks to may lie in it.
	Range netip.Prefix
	// Range6 is the same for IPv6.
	Range6 netip.Prefix
	// UpstreamDNS are the name servers that are asked for listed names; empty is
	// those of the machine (/etc/resolv.conf).
	UpstreamDNS []netip.AddrPort
	// Connections is how many connections one sandbox may have at a time.
	Connections int
	// MegabitsPerSecond bounds what one sandbox sends, and what it receives.
	MegabitsPerSecond int
}

// DefaultSettings returns the settings as they are when nobody sets anything.
// The range is that of RFC 2544, which is for measurements between devices and
// routed nowhere; that of IPv6 is a unique local one.
func DefaultSettings() Settings {
	return Settings{
		Range:             netip.MustParsePrefix("198.18.0.0/15"),
		Range6:            netip.MustParsePrefix("fd72:656d:7564::/48"),
		Connections:       1024,
		MegabitsPerSecond: 1000,
	}
}

// Bounds of the ranges: enough room for the sandboxes of one machine.
const (
	maxRangeBits  = 20
	maxRange6Bits = 63
)

// Check says what is wrong with the settings.
func (s Settings) Check() []remuda.FieldError {
	wrong := CheckRules("network", s.Rules)
	fail := func(field, format string, args ...any) {
		wrong = append(wrong, remuda.FieldError{Field: field, Message: fmt.Sprintf(format, args...)})
	}
	if !s.Range.IsValid() || !s.Range.Addr().Is4() || s.Range != s.Range.Masked() || s.Range.Bits() > maxRangeBits {
		fail("network.range", "%s is not an IPv4 block of at least /%d, such as 198.18.0.0/15", s.Range, maxRangeBits)
	}
	if !s.Range6.IsValid() || !s.Range6.Addr().Is6() || s.Range6.Addr().Is4In6() || s.Range6 != s.Range6.Masked() || s.Range6.Bits() > maxRange6Bits {
		fail("network.range6", "%s is not an IPv6 block of at least /%d, such as fd72:656d:7564::/48", s.Range6, maxRange6Bits)
	}
	for n, a := range s.UpstreamDNS {
		if !a.IsValid() || a.Port() == 0 {
			fail(fmt.Sprintf("network.upstream_dns[%d]", n), "is not the address of a name server, such as 192.0.2.53:53")
		}
	}
	if s.Connections < 1 {
		fail("network.connections", "must be at least 1")
	}
	if s.MegabitsPerSecond < 1 {
		fail("network.mbit", "must be at least 1")
	}
	return wrong
}

// Site is what lists are checked against.
func (s Settings) Site() Site {
	return Site{Rules: s.Rules.Clone(), Never: []netip.Prefix{s.Range, s.Range6}}
}

// Gateway returns the addresses that are every sandbox's way out and its name
// server. They are the same in all of them.
func (s Settings) Gateway() (v4, v6 netip.Addr) {
	return s.Range.Addr().Next(), s.Range6.Addr().Next()
}
