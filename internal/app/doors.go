package app

import (
	"net/http"
	"strings"

	"github.com/remuda-run/remuda/internal/audit"
	"github.com/remuda-run/remuda/internal/compat/srs"
	"github.com/remuda-run/remuda/internal/compat/strategy"
	"github.com/remuda-run/remuda/internal/console"
	"github.com/remuda-run/remuda/internal/httpapi"
	"github.com/remuda-run/remuda/internal/remuda"
)

// door is a vendor's API that is enabled.
type door struct {
	serves  func(path string) bool
	handler http.Handler
}

// withDoors puts the vendors' APIs that the settings enable beside the native one.
func (s *server) withDoors(native http.Handler, o httpapi.Options) (http.Handler, error) {
	c := s.Config
	var doors []door
	add := func(serves func(path string) bool, h http.Handler, err error) error {
		doors = append(doors, door{serves, h})
		return err
	}
	if c.CompatStrategyEnabled {
		h, err := strategy.Handler(s.services.strategy(), strategy.Options{
			HTTP: o, Prefix: c.CompatStrategyPrefix, Versions: remuda.VersionPolicy(c.CompatStrategyVersions), SessionTimeout: c.CompatStrategySessionTimeout,
		})
		below := func(path string) bool { return strings.HasPrefix(path, c.CompatStrategyPrefix+"/") }
		if err := add(below, h, err); err != nil {
			return nil, err
		}
	}
	if c.CompatSRSEnabled {
		h, err := srs.Handler(s.services.srs(), srs.Options{
			HTTP: o, Runtime: c.CompatSRSRuntime, ConnectionScript: c.CompatSRSConnectionScript, DisconnectScript: c.CompatSRSDisconnectScript,
			SessionTimeout: c.CompatSRSSessionTimeout,
		})
		if err := add(srs.Serves, h, err); err != nil {
			return nil, err
		}
	}
	pages, err := console.Handler(o)
	if err := add(func(path string) bool { return console.Serves(path, c.CompatSRSEnabled) }, pages, err); err != nil {
		return nil, err
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for _, d := range doors {
			if d.serves(r.URL.Path) {
				d.handler.ServeHTTP(w, r)
				return
			}
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

// srs is what the SRS door calls.
func (s *services) srs() srs.Services {
	return srs.Services{
		Logins: trimmed{s.organizations, s.trimmer}, Sessions: s.organizations, Runspaces: s.runspaces, Executions: s.executions,
		Terminals: s.terminals, Limits: s.organizations, Audit: audit.New(s.store),
	}
}
