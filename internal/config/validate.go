package config

import (
	"fmt"
	"net"
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
	_, _, err := net.SplitHostPort(c.Listen)
	check("listen", err == nil, "%q is not an address and port; write it like 127.0.0.1:8080 or [::1]:8080", c.Listen)
	check("tls_key", (c.TLSCert == "") == (c.TLSKey == ""), "tls_cert and tls_key go together: set both or none")
	check("output_limit_mb", c.OutputLimitMB >= 1 && c.OutputLimitMB <= 1024, "%d is not between 1 and 1024", c.OutputLimitMB)
	check("cgroup_parent", c.CgroupParent == "" || cleanCgroup(c.CgroupParent), "%q is not the name of a cgroup; write it like work or machine.slice/work", c.CgroupParent)
	for _, origin := range c.TrustedOrigins {
		u, err := url.Parse(origin)
		check("trusted_origins", err == nil && u.Host != "" && u.Path == "" && (u.Scheme == "https" || u.Scheme == "http"), "%q is not an origin; write it like https://console.example.org", origin)
	}
	if c.URL != "" {
		u, err := url.Parse(c.URL)
		check("url", err == nil && u.Host != "" && (u.Scheme == "http" || u.Scheme == "https"), "%q is not the address of a server; write it like http://127.0.0.1:8080", c.URL)
	}
	return wrong
}

func cleanCgroup(p string) bool {
	return !filepath.IsAbs(p) && filepath.IsLocal(p) && filepath.Clean(p) == p
}
