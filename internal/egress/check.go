package egress

import (
	"fmt"
	"net/netip"

	"go4.org/netipx"

	"github.com/remuda-run/remuda/internal/remuda"
)

// Bounds of one list, so that a machine's tables stay small.
const (
	MaxCIDRs = 512
	MaxNames = 256
)

// Check says what is wrong with a list: nil is nothing. A prefix of which only a
// part may be reached is not wrong; Compile cuts the rest out. organization is
// what the runtime's organization may list, if that has rules of its own.
func Check(e remuda.Egress, site Site, organization ...Rules) []remuda.FieldError {
	var wrong []remuda.FieldError
	fail := func(field, format string, args ...any) {
		wrong = append(wrong, remuda.FieldError{Field: field, Message: fmt.Sprintf(format, args...)})
	}
	if len(e.CIDRs) > MaxCIDRs {
		fail("egress.cidrs", "has %d entries; at most %d are possible, so join them to larger blocks", len(e.CIDRs), MaxCIDRs)
	}
	if len(e.Names) > MaxNames {
		fail("egress.names", "has %d entries; at most %d are possible", len(e.Names), MaxNames)
	}
	if len(wrong) > 0 {
		return wrong
	}
	levels := site.levels(organization)
	for n, p := range e.CIDRs {
		if why := checkPrefix(p); why != "" {
			fail(fmt.Sprintf("egress.cidrs[%d]", n), "%s", why)
		} else if why := outside(p, levels); why != "" {
			fail(fmt.Sprintf("egress.cidrs[%d]", n), "%s %s", p, why)
		}
	}
	for n, name := range e.Names {
		if why := checkName(name); why != "" {
			fail(fmt.Sprintf("egress.names[%d]", n), "%q %s", name, why)
		}
	}
	return wrong
}

// CheckRules says what is wrong with the rules of a site or an organization.
// field is the name of what holds them.
func CheckRules(field string, r Rules) []remuda.FieldError {
	var wrong []remuda.FieldError
	for _, list := range []struct {
		name     string
		prefixes []netip.Prefix
	}{{"allow", r.Allow}, {"forbid", r.Forbid}} {
		for n, p := range list.prefixes {
			if why := checkPrefix(p); why != "" {
				wrong = append(wrong, remuda.FieldError{Field: fmt.Sprintf("%s.%s[%d]", field, list.name, n), Message: why})
			}
		}
	}
	return wrong
}

// checkPrefix says what is wrong with a prefix itself.
func checkPrefix(p netip.Prefix) string {
	switch {
	case !p.IsValid():
		return "is no block of addresses; write one such as \"10.1.0.0/16\" or \"2001:db8::/32\""
	case p.Addr().Is4In6():
		return fmt.Sprintf("%s is an IPv4 block in IPv6 form; write it as IPv4", p)
	case p != p.Masked():
		return fmt.Sprintf("%s has bits set behind its length; write %s, or /%d for the one address", p, p.Masked(), p.Addr().BitLen())
	}
	return ""
}

// level is one of those who must agree to an entry.
type level struct {
	who      string
	admitted *netipx.IPSet
}

func (s Site) levels(organizations []Rules) []level {
	list := []level{
		{"lies entirely in what is never reached from a sandbox (the machine itself, link-local, metadata services, multicast, the network of the sandboxes)", Site{Never: s.Never}.admitted(nil)},
		{"may not be listed on this site; its operator decides that with network_allow and network_forbid", Site{Rules: s.Rules}.admitted(nil)},
	}
	for _, r := range organizations {
		list = append(list, level{"may not be listed in this organization; its site's operator decides that", Site{Rules: r}.admitted(nil)})
	}
	return list
}

// outside says who does not agree to any part of a prefix.
func outside(p netip.Prefix, levels []level) string {
	for _, l := range levels {
		if !l.admitted.OverlapsPrefix(p) {
			return l.who
		}
	}
	return ""
}
