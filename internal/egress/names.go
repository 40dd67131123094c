package egress

import (
	"fmt"
	"net/netip"
	"strings"
)

// Bounds of a host name (RFC 1035).
const (
	maxName  = 253
	maxLabel = 63
)

// wildcard begins a pattern that stands for every name below another.
const wildcard = "*."

// checkName says what is wrong with a listed name, or "".
func checkName(name string) string {
	suffix, wild := strings.CutPrefix(name, wildcard)
	switch {
	case name == "":
		return "is empty; leave it out or give a host name such as \"api.example.com\""
	case len(name) > maxName:
		return fmt.Sprintf("is longer than %d characters", maxName)
	case strings.HasSuffix(name, "."):
		return "ends with a dot; leave that out"
	case name != strings.ToLower(name):
		return "has capital letters; write it in lower case"
	case strings.Contains(suffix, "*"):
		return "has a star in another place than the beginning; \"*.example.com\" is every name below example.com"
	}
	if _, err := netip.ParseAddr(suffix); err == nil {
		return "is an address; list it under cidrs"
	}
	labels := strings.Split(suffix, ".")
	for _, label := range labels {
		if why := checkLabel(label); why != "" {
			return why
		}
	}
	last := labels[len(labels)-1]
	switch {
	case strings.Trim(last, "0123456789") == "":
		return "ends in a number, as addresses do; list addresses under cidrs"
	case last == "localhost":
		return "is the machine itself, which is never reached"
	case wild && len(labels) < 2:
		return "is everything below a top-level domain; name at least two labels, such as \"*.example.com\""
	}
	return ""
}

func checkLabel(label string) string {
	switch {
	case label == "":
		return "has an empty part between dots"
	case len(label) > maxLabel:
		return fmt.Sprintf("has a part of more than %d characters", maxLabel)
	case strings.HasPrefix(label, "-") || strings.HasSuffix(label, "-"):
		return "has a part that begins or ends with a hyphen"
	}
	for _, c := range label {
		letter := c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' || c == '_'
		if !letter {
			return fmt.Sprintf("has the character %q; names have letters, digits, hyphens and dots (international ones in their xn-- form)", c)
		}
	}
	return ""
}

// names is a list of patterns, ready to be asked.
type names struct {
	exact map[string]bool
	below map[string]bool // what stands after "*."
}

func compileNames(list []string) names {
	n := names{exact: map[string]bool{}, below: map[string]bool{}}
	for _, name := range list {
		if checkName(name) != "" {
			continue
		}
		if suffix, ok := strings.CutPrefix(name, wildcard); ok {
			n.below[suffix] = true
		} else {
			n.exact[name] = true
		}
	}
	return n
}

// match reports whether a name, in whatever case and with or without its final
// dot, is listed.
func (n names) match(name string) bool {
	name = strings.TrimSuffix(strings.ToLower(name), ".")
	if n.exact[name] {
		return true
	}
	for {
		_, rest, ok := strings.Cut(name, ".")
		if !ok {
			return false
		}
		if n.below[rest] {
			return true
		}
		name = rest
	}
}

// covers reports whether every name that a pattern stands for is listed. A
// pattern is matched as if it were a name: no pattern is among the exact ones.
func (n names) covers(pattern string) bool { return n.match(pattern) }
