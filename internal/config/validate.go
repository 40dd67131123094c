package config

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"slices"
	"strings"

	"github.com/remuda-run/remuda/internal/remuda"
)

// validate checks what can be known without touching the machine. Each finding
// names the place that set the value.
func (l *loader) validate(c Config) []remuda.FieldError {
	var wrong []remuda.FieldError
	check := func(key string, ok bool, format string, args ...any) {
		if ok {
			return
		}
		place := key
		if f, set := l.values[key]; set {
			place = f.detail
		}
		wrong = append(wrong, remuda.FieldError{Field: place, Message: fmt.Sprintf(format, args...)})
	}
	levels, formats := []string{"debug", "info", "warn", "error"}, []string{"text", "json"}
	check("log_level", slices.Contains(levels, c.LogLevel), "%q is none of %s", c.LogLevel, strings.Join(levels, ", "))
	check("log_format", slices.Contains(formats, c.LogFormat), "%q is none of %s", c.LogFormat, strings.Join(formats, ", "))
	check("data", c.Data != "", "the data directory must not be empty")
	check("durability", c.Durability == "machine" || c.Durability == "process", "%q is neither machine nor process", c.Durability)
	_, _, err := net.SplitHostPort(c.Listen)
	check("listen", err == nil, "%q is not an address and port; write it like 127.0.0.1:8080 or [::1]:8080", c.Listen)
	check("tls_key", (c.TLSCert == "") == (c.TLSKey == ""), "tls_cert and tls_key go together: set both or none")
	check("output_limit_mb", c.OutputLimitMB >= 1 && c.OutputLimitMB <= 1024, "%d is not between 1 and 1024", c.OutputLimitMB)
	check("cgroup_parent", c.CgroupParent == "" || cleanCgroup(c.CgroupParent), "%q is not the name of a cgroup; write it like work or machine.slice/work", c.CgroupParent)
	for _, origin := range c.TrustedOrigins {
		u, err := url.Parse(origin)
		check("trusted_origins", err == nil && u.Host != "" && u.Path == "" && (u.Scheme == "https" || u.Scheme == "http"), "%q is not an origin; write it like https://console.example.org", origin)
	}
	for _, class := range c.IsolationClasses {
		check("isolation_classes", slices.Contains(remuda.Isolations(), remuda.Isolation(class)), "%q is neither process nor gvisor", class)
	}
	for key, ranges := range map[string][]string{"network_allow": c.NetworkAllow, "network_forbid": c.NetworkForbid} {
		for _, text := range ranges {
			prefix, err := netip.ParsePrefix(text)
			check(key, err == nil && prefix == prefix.Masked() && !prefix.Addr().Is4In6(), "%q is not a range of addresses; write it like 10.1.0.0/16 or 2001:db8::/32", text)
		}
	}
	validateNetwork(c, check)
	validatePackages(c, check)
	validateCompat(c, check)
	validateRunspaces(c, check)
	if c.URL != "" {
		u, err := url.Parse(c.URL)
		check("url", err == nil && u.Host != "" && (u.Scheme == "http" || u.Scheme == "https"), "%q is not the address of a server; write it like http://127.0.0.1:8080", c.URL)
	}
	return wrong
}

// Network is what runtimes may list and reach on this site. The settings were
// validated.
func (c Config) Network() remuda.EgressRules {
	return remuda.EgressRules{Allow: parsed(c.NetworkAllow), Forbid: parsed(c.NetworkForbid)}
}

func parsed(list []string) []netip.Prefix {
	var out []netip.Prefix
	for _, text := range list {
		out = append(out, netip.MustParsePrefix(text))
	}
	return out
}

// Isolations are the classes that runtimes may have on this site.
func (c Config) Isolations() []remuda.Isolation {
	var out []remuda.Isolation
	for _, class := range c.IsolationClasses {
		out = append(out, remuda.Isolation(class))
	}
	return out
}

func cleanCgroup(p string) bool {
	return !filepath.IsAbs(p) && filepath.IsLocal(p) && filepath.Clean(p) == p
}
