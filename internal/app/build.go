package app

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"slices"
	"time"

	"github.com/remuda-run/remuda/internal/config"
	"github.com/remuda-run/remuda/internal/egress"
	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/engine/classes"
	"github.com/remuda-run/remuda/internal/engine/local"
	"github.com/remuda-run/remuda/internal/engine/oci"
	"github.com/remuda-run/remuda/internal/executions"
	"github.com/remuda-run/remuda/internal/layer"
	"github.com/remuda-run/remuda/internal/native"
	"github.com/remuda-run/remuda/internal/organizations"
	"github.com/remuda-run/remuda/internal/pool"
	"github.com/remuda-run/remuda/internal/remuda"
	"github.com/remuda-run/remuda/internal/runspaces"
	"github.com/remuda-run/remuda/internal/runtimes"
	"github.com/remuda-run/remuda/internal/scripts"
	"github.com/remuda-run/remuda/internal/store"
	"github.com/remuda-run/remuda/internal/telemetry"
	"github.com/remuda-run/remuda/internal/terminals"
)

// databaseFile is the SQLite file in the data directory.
const databaseFile = "remuda.db"

// newServerEngine makes the engine of a server.
func newServerEngine(ctx context.Context, c config.Config, log *slog.Logger) (engine.Engine, error) {
	return newEngine(ctx, local.Options{DataDir: c.Data, CgroupParent: c.CgroupParent, Network: c.NetworkSettings(), Interpreters: c.Interpreters, Logger: log.With("part", "engine")})
}

// newLocalEngine makes an engine for one execution: without a stock of blanks,
// and with sandboxes that end with this process.
func newLocalEngine(ctx context.Context, c config.Config, dir string, log *slog.Logger) (*classes.Engine, error) {
	return newEngine(ctx, local.Options{DataDir: dir, CgroupParent: c.CgroupParent, Network: c.NetworkSettings(), Interpreters: c.Interpreters, Blanks: -1, Ephemeral: true, Logger: log.With("part", "engine")})
}

// ociDir is the directory of the class gvisor in an engine's data directory.
const ociDir = "oci"

// newEngine makes an engine for every class of isolation. What the class gvisor
// needs is looked for when the first runtime asks for it.
func newEngine(ctx context.Context, o local.Options) (*classes.Engine, error) {
	process, err := local.New(ctx, o)
	if err != nil {
		return nil, err
	}
	gvisor := oci.New(oci.Options{DataDir: filepath.Join(o.DataDir, ociDir), CgroupParent: o.CgroupParent, Interpreters: o.Interpreters, Ephemeral: o.Ephemeral, Logger: o.Logger})
	return classes.New(process, gvisor), nil
}

// services is everything between the edge and the engine.
type services struct {
	store         *store.Store
	metrics       *telemetry.Metrics
	pool          *pool.Pool
	organizations *organizations.Service
	runtimes      *runtimes.Service
	runspaces     *runspaces.Service
	executions    *executions.Service
	scripts       *scripts.Service
	terminals     *terminals.Service
	trimmer       *trimmer
	layers        *layer.Maker
	linger        time.Duration // of open runspaces
	site          remuda.Limits
}

// buildServices wires the services over an open store and an engine.
func buildServices(c config.Config, st *store.Store, eng engine.Engine, log *slog.Logger) (*services, error) {
	layers, err := newLayers(c, eng, log)
	if err != nil {
		return nil, err
	}
	s := &services{store: st, metrics: telemetry.New(), trimmer: newTrimmer(), layers: layers, linger: c.RunspaceLinger, site: c.Limits()}
	s.organizations = organizations.New(st, log.With("part", "organizations"), nil)
	s.pool = pool.New(eng, log.With("part", "pool"), s.metrics, poolSettings(c, s.organizations))
	s.runtimes = runtimes.New(st, eng, s.pool, log.With("part", "runtimes"), runtimes.Settings{
		Isolations: c.Isolations(), Available: available(eng), Network: egress.Rules(c.Network()), Policies: s.organizations,
		Layers: layers, ParallelBuilds: c.PackagesBuilds, BuildTimeout: 2*c.PackagesBuildTimeout + time.Minute, LockTTL: lockTTL(c),
	})
	s.runspaces = runspaces.New(st, s.runtimes, s.pool, log.With("part", "runspaces"), s.metrics, runspaceSettings(c, s.organizations))
	s.executions = executions.New(st, s.runtimes, s.runspaces, s.pool, log.With("part", "executions"), s.metrics,
		executions.Settings{OutputLimit: int64(c.OutputLimitMB) << 20, Limits: s.organizations})
	s.executions.SetTokens(s.organizations)
	s.runspaces.SetRunner(s.executions)
	s.runtimes.SetTenants(s.runspaces, s.executions)
	s.scripts = scripts.New(st, s.runtimes, s.executions, log.With("part", "scripts"))
	s.runspaces.SetScripts(s.scripts)
	s.terminals = terminals.New(st, s.runspaces, s.organizations, log.With("part", "terminals"), terminals.Settings{})
	return s, nil
}

// available is what an engine says of its classes of isolation; nil when it has
// nothing to say.
func available(eng engine.Engine) func(remuda.Isolation) error {
	if e, ok := eng.(*classes.Engine); ok {
		return e.Available
	}
	return nil
}

// runspaceSettings are the site's. What a setting calls 0, never or not at all, the
// service calls negative.
func runspaceSettings(c config.Config, organizations *organizations.Service) runspaces.Settings {
	orNever := func(d time.Duration) time.Duration {
		if d == 0 {
			return -1
		}
		return d
	}
	return runspaces.Settings{
		IdleTimeout: orNever(c.RunspaceIdleTimeout), ActiveTimeout: c.RunspaceActiveTimeout, MaxOpen: c.RunspaceMax, Linger: orNever(c.RunspaceLinger),
		Limits: organizations, Sessions: organizations, Delegates: organizations,
	}
}

// poolSettings gives every organization its own share, or the site's.
func poolSettings(c config.Config, policies runtimes.Policies) pool.Settings {
	set := pool.Settings{Capacity: c.Slots, ParallelStarts: c.ParallelStarts, ParallelCold: c.ParallelCold, MemoryMB: c.PoolMemoryMB}.WithDefaults()
	site := c.OrganizationInstances
	if site == 0 {
		site = max(1, set.Capacity*3/4)
	}
	set.Share = func(org remuda.OrganizationID) int {
		if own := policies.Policy(org).MaxInstances; own > 0 {
			return own
		}
		return site
	}
	return set
}

// native is what the native edge calls.
func (s *services) native() native.Services {
	return native.Services{
		Authenticator: trimmed{s.organizations, s.trimmer}, Tokens: s.organizations, Organizations: s.organizations, Users: s.organizations,
		Runtimes: s.runtimes, Runspaces: s.runspaces, Files: s.runspaces, Executions: s.executions, Terminals: s.terminals, Scripts: s.scripts,
	}
}

// openStore opens the database in the data directory.
func openStore(ctx context.Context, c config.Config, log *slog.Logger) (*store.Store, error) {
	return store.Open(ctx, store.Options{Path: filepath.Join(c.Data, databaseFile), Durability: store.Durability(c.Durability), Logger: log.With("part", "store")})
}

// machineError lists what this machine lacks. nil when nothing fails.
func machineError(findings []engine.Finding) error {
	e := &remuda.Error{
		Code: remuda.CodeUnsupported, Message: "refusing to start: this machine cannot fence sandboxes",
		Remedy: "mend what is named (`remuda doctor` shows every check); a weaker fence is not an option",
	}
	for _, f := range findings {
		if f.OK || f.Optional {
			continue
		}
		message := f.Detail
		if f.Remedy != "" {
			message += "; remedy: " + f.Remedy
		}
		e.Fields = append(e.Fields, remuda.FieldError{Field: f.Name, Message: message})
	}
	if len(e.Fields) == 0 {
		return nil
	}
	return e
}

// closers ends things in the reverse order of their making.
type closers []func() error

func (c *closers) add(f func() error) { *c = append(*c, f) }

func (c *closers) close() error {
	var errs []error
	for _, f := range slices.Backward(*c) {
		errs = append(errs, f())
	}
	*c = nil
	return errors.Join(errs...)
}
