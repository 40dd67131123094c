package config

import (
	"net/netip"
	"strconv"
	"strings"

	"github.com/remuda-run/remuda/internal/egress"
)

// dnsPort is that of a name server that is given without one.
const dnsPort = 53

// NetworkSettings are those of the network of sandboxes. The settings were
// validated.
func (c Config) NetworkSettings() egress.Settings {
	s := egress.Settings{Rules: egress.Rules(c.Network()), Connections: c.NetworkConnections, MegabitsPerSecond: c.NetworkMbit}
	s.Range, s.Range6 = prefix(c.NetworkRange), prefix(c.NetworkRange6)
	for _, text := range c.NetworkDNS {
		s.UpstreamDNS = append(s.UpstreamDNS, server(text))
	}
	return s
}

// prefix is invalid for a text that is no range.
func prefix(text string) netip.Prefix {
	p, err := netip.ParsePrefix(text)
	if err != nil {
		return netip.Prefix{}
	}
	return p
}

// server is invalid for a text that is no address.
func server(text string) netip.AddrPort {
	if at, err := netip.ParseAddrPort(text); err == nil {
		return at
	}
	a, err := netip.ParseAddr(text)
	if err != nil {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(a, dnsPort)
}

// validateNetwork says what is wrong with the settings of the network, by the
// keys that they have here.
func validateNetwork(c Config, check func(key string, ok bool, format string, args ...any)) {
	c.NetworkAllow, c.NetworkForbid = nil, nil // checked by themselves
	for key, text := range map[string]string{"network_range": c.NetworkRange, "network_range6": c.NetworkRange6} {
		if !prefix(text).IsValid() {
			check(key, false, "%q is not a range of addresses; write it like 198.18.0.0/15 or fd72:656d:7564::/48", text)
			return
		}
	}
	for _, f := range c.NetworkSettings().Check() {
		// network.range is network_range; network.upstream_dns[1] is network_dns.
		key, index, _ := strings.Cut(strings.ReplaceAll(f.Field, ".", "_"), "[")
		if key == "network_upstream_dns" {
			key = "network_dns"
			if n, err := strconv.Atoi(strings.TrimSuffix(index, "]")); err == nil {
				f.Message = strconv.Quote(c.NetworkDNS[n]) + " " + f.Message
			}
		}
		check(key, false, "%s", f.Message)
	}
}
