package app

import (
	"net/http"
	"strings"

	"github.com/remuda-run/remuda/internal/compat/strategy"
	"github.com/remuda-run/remuda/internal/httpapi"
	"github.com/remuda-run/remuda/internal/remuda"
)

// withDoors puts the vendors' APIs that the settings enable beside the native one.
func (s *server) withDoors(native http.Handler, o httpapi.Options) (http.Handler, error) {
	c := s.Config
	if !c.CompatStrategyEnabled {
		return native, nil
	}
	door, err := strategy.Handler(s.services.strategy(), strategy.Options{
		HTTP: o, Prefix: c.CompatStrategyPrefix, Versions: remuda.VersionPolicy(c.CompatStrategyVersions), SessionTimeout: c.CompatStrategySessionTimeout,
	})
	if err != nil {
		return nil, err
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, c.CompatStrategyPrefix+"/") {
			door.ServeHTTP(w, r)
			return
		}
		native.ServeHTTP(w, r)
	}), nil
}

// strategy is what the Strategy door calls.
func (s *services) strategy() strategy.Services {
	return strategy.Services{
		Logins: trimmed{s.organizations, s.trimmer}, Sessions: s.organizations, Organizations: s.organizations, Runtimes: s.runtimes, Scripts: s.scripts,
	}
}
