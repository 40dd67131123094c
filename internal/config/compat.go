package config

import (
	"regexp"
	"strings"
	"time"
)

// prefixPattern is a path of plain segments, without a slash at its end.
var prefixPattern = regexp.MustCompile(`^(/[A-Za-z0-9][A-Za-z0-9._-]*)+$`)

// ownPaths are those of our own API, under which no other can be served.
var ownPaths = regexp.MustCompile(`^/(v1|docs|healthz|readyz|metrics|openapi\.json|openapi\.yaml)(/|$)`)

// srsPaths are those of the API of Script Runtime Service, which are fixed.
var srsPaths = []string{"/api", "/admin", "/swagger"}

// validateCompat says what is wrong with the settings of the vendors' APIs.
func validateCompat(c Config, check func(key string, ok bool, format string, args ...any)) {
	p := c.CompatStrategyPrefix
	check("compat_strategy_prefix", prefixPattern.MatchString(p), "%q is not a path; write it like /MicroStrategyLibrary", p)
	check("compat_strategy_prefix", !ownPaths.MatchString(p), "%q is taken by the native API; write it like /MicroStrategyLibrary", p)
	v := c.CompatStrategyVersions
	check("compat_strategy_versions", v == "compatible" || v == "exact", "%q is neither compatible nor exact", v)
	t := c.CompatStrategySessionTimeout
	check("compat_strategy_session_timeout", t >= time.Second && t <= 30*24*time.Hour, "%s is not between 1s and 720h", t)
	srs := c.CompatSRSSessionTimeout
	check("compat_srs_session_timeout", srs >= time.Second && srs <= 30*24*time.Hour, "%s is not between 1s and 720h", srs)
	check("compat_srs_runtime", c.CompatSRSRuntime != "" || !c.CompatSRSEnabled, "it must name a runtime, such as python")
	for _, taken := range srsPaths {
		check("compat_strategy_prefix", !c.CompatSRSEnabled || p != taken && !strings.HasPrefix(p, taken+"/"), "%q is taken by the API of Script Runtime Service; write it like /MicroStrategyLibrary", p)
	}
}
