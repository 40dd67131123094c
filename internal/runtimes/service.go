package runtimes

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"time"

	"github.com/remuda-run/remuda/internal/audit"
	"github.com/remuda-run/remuda/internal/authz"
	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/pool"
	"github.com/remuda-run/remuda/internal/remuda"
	"github.com/remuda-run/remuda/internal/store"
)

// Store is what this service needs of a store.
type Store interface {
	Write(ctx context.Context, fn func(*store.Tx) error) error
	Read(ctx context.Context, fn func(*store.Tx) error) error
}

// Versions knows the interpreters of an environment.
type Versions interface {
	Versions(ctx context.Context, environment string, language remuda.Language) ([]engine.Interpreter, error)
}

// Pool hands out instances of the generations that serve.
type Pool interface {
	SetGeneration(key remuda.GenerationKey, def remuda.Definition, layers ...engine.Layer) *pool.Retirement
	Retire(runtime remuda.RuntimeID) *pool.Retirement
	Fences
	Use
}

// Fences narrows the network of what a pool has handed out.
type Fences interface {
	SetRules(runtime remuda.RuntimeID, within []remuda.EgressRules) *pool.Retirement
	Confine(org remuda.OrganizationID, within []remuda.EgressRules)
	Shorten(runtime remuda.RuntimeID, to remuda.Egress)
}

// Use tells what there is of a runtime.
type Use interface {
	Held(runtime remuda.RuntimeID) int
	AwaitUnheld(ctx context.Context, runtime remuda.RuntimeID) error
	Count(runtime remuda.RuntimeID) remuda.InstanceCounts
	Living() []remuda.GenerationKey
}

// Service is the runtimes of every organization. Make it with New, call Start
// before the first request, and run it with Run.
type Service struct {
	store    Store
	versions Versions
	pool     Pool
	log      *slog.Logger
	set      Settings
	catalog  *catalog
	builder  *builder
	shelf    *shelf
	tenants  []Tenant
	// changes puts changes of definitions in one order for the store, the
	// catalog and the pool alike. They are rare.
	changes sync.Mutex
}

// New returns the service.
func New(st Store, versions Versions, p Pool, log *slog.Logger, set Settings) *Service {
	set = set.withDefaults()
	return &Service{
		store: st, versions: versions, pool: p, log: log, set: set, catalog: newCatalog(),
		builder: newBuilder(set.ParallelBuilds), shelf: newShelf(set.Layers, set.LockTTL),
	}
}

// CreateRuntime defines a runtime in the principal's organization. One whose
// packages have to be installed first is busy when it returns.
func (s *Service) CreateRuntime(ctx context.Context, p remuda.Principal, d remuda.Definition) (remuda.Runtime, error) {
	if err := authz.Check(p, authz.RuntimeWrite, p.Organization); err != nil {
		return remuda.Runtime{}, err
	}
	d = WithDefaults(d)
	version, err := s.valid(ctx, p.Organization, d, nil)
	if err != nil {
		return remuda.Runtime{}, err
	}
	s.changes.Lock()
	defer s.changes.Unlock()
	return s.create(ctx, p, p.Organization, d, version)
}

// create records a valid definition and makes it known. Needs changes.
func (s *Service) create(ctx context.Context, p remuda.Principal, owner remuda.OrganizationID, d remuda.Definition, version string) (remuda.Runtime, error) {
	now := remuda.Now()
	rt := remuda.Runtime{ID: remuda.NewRuntimeID(), Organization: owner, Definition: d, CreatedAt: now, UpdatedAt: now}
	rec, _, err := s.advance(ctx, nil, step{by: p, next: rt, version: version, details: map[string]string{"change": "create"}})
	if err != nil {
		return remuda.Runtime{}, err
	}
	s.log.Info("runtime created", "runtime", rt.ID, "name", rt.Name, "organization", owner, "request", p.RequestID)
	return s.shown(rec), nil
}

// ListRuntimes lists the principal's own and the global runtimes, newest first.
func (s *Service) ListRuntimes(ctx context.Context, p remuda.Principal, name string, page remuda.Page) (list []remuda.Runtime, next string, err error) {
	if err := authz.Check(p, authz.RuntimeRead, p.Organization); err != nil {
		return nil, "", err
	}
	err = s.store.Read(ctx, func(tx *store.Tx) error {
		list, next, err = tx.Runtimes(ctx, []remuda.OrganizationID{p.Organization, remuda.GlobalOrganization}, name, page)
		return err
	})
	for i := range list {
		if rec := s.catalog.get(list[i].ID); rec != nil { // it has the build too
			list[i] = s.shown(rec)
		}
	}
	return list, next, err
}

// GetRuntime returns a runtime by id or name.
func (s *Service) GetRuntime(_ context.Context, p remuda.Principal, ref string) (remuda.Runtime, error) {
	rec, err := s.resolve(p, ref)
	if err != nil {
		return remuda.Runtime{}, err
	}
	return s.shown(rec), nil
}

// WaitRuntime is GetRuntime that returns when no build of the runtime goes on, or
// after d.
func (s *Service) WaitRuntime(ctx context.Context, p remuda.Principal, ref string, d time.Duration) (remuda.Runtime, error) {
	rec, err := s.resolve(p, ref)
	if err != nil {
		return remuda.Runtime{}, err
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	for rec.Build.Status == remuda.RuntimeBusy {
		select {
		case <-rec.changed:
		case <-timer.C:
			return s.shown(rec), nil
		case <-ctx.Done():
			return remuda.Runtime{}, remuda.Errorf(remuda.CodeCanceled, "wait for the build, which goes on: %w", ctx.Err())
		}
		if rec = s.catalog.get(rec.ID); rec == nil {
			return remuda.Runtime{}, remuda.NotFound("runtime", ref)
		}
	}
	return s.shown(rec), nil
}

// shown is a runtime as it is given to others, with its build and its instances as
// they are now.
func (s *Service) shown(rec *record) remuda.Runtime {
	rt := clone(rec.Runtime)
	rt.Instances = s.pool.Count(rt.ID)
	if j := s.builder.of(rt.ID); j != nil && rt.Build.Status == remuda.RuntimeBusy {
		// Its end counts once it is in force.
		if b := j.log.snapshot(); b.Key == rt.Build.Key && b.Status == remuda.RuntimeBusy {
			rt.Build = b
		}
	}
	return rt
}

// Resolve is GetRuntime for the services that run things: it costs a look into
// memory, and the maps of its result must not be changed.
func (s *Service) Resolve(p remuda.Principal, ref string) (remuda.Runtime, error) {
	rec, err := s.resolve(p, ref)
	if err != nil {
		return remuda.Runtime{}, err
	}
	return rec.Runtime, nil
}

func (s *Service) resolve(p remuda.Principal, ref string) (*record, error) {
	rec := s.catalog.find(p.Organization, ref)
	if rec == nil {
		// Without the right to read, the absent and the foreign look alike too.
		if err := authz.Check(p, authz.RuntimeRead, p.Organization); err != nil {
			return nil, err
		}
		return nil, remuda.NotFound("runtime", ref)
	}
	if err := authz.Check(p, authz.RuntimeRead, rec.Organization); err != nil {
		return nil, err
	}
	return rec, nil
}

// UpdateRuntime changes a runtime. Anything but a new description or others makes
// the next generation. When it returns, the new policy is in force: no instance of
// a generation before it is handed out, its warm ones are gone, and what is held
// reaches nothing any more that the list of destinations has lost. Packages that
// have to be installed first are not waited for: until they are, what was
// installed before serves, with the new policy.
func (s *Service) UpdateRuntime(ctx context.Context, p remuda.Principal, ref string, patch remuda.RuntimePatch) (remuda.Runtime, error) {
	rec, retired, err := s.update(ctx, p, ref, patch)
	if err != nil {
		return remuda.Runtime{}, err
	}
	s.settle(ctx, rec, retired)
	return s.shown(rec), nil
}

func (s *Service) update(ctx context.Context, p remuda.Principal, ref string, patch remuda.RuntimePatch) (*record, *pool.Retirement, error) {
	s.changes.Lock()
	defer s.changes.Unlock()
	old, err := s.own(p, authz.RuntimeWrite, ref)
	if err != nil {
		return nil, nil, err
	}
	d := patch.Apply(old.Definition)
	version, err := s.valid(ctx, old.Organization, d, old)
	if err != nil {
		return nil, nil, err
	}
	next := old.Runtime
	next.Definition, next.UpdatedAt = d, remuda.Now()
	if sameInstances(old.Definition, d) {
		if sameWords(old.Definition, d) {
			return old, &pool.Retirement{}, nil
		}
		return s.relabel(ctx, p, old, next)
	}
	rec, retired, err := s.advance(ctx, old, step{by: p, next: next, version: version, details: map[string]string{"change": "update"}})
	if err != nil {
		return nil, nil, err
	}
	s.log.Info("runtime changed", "runtime", rec.ID, "generation", rec.Generation, "serving", rec.Serving, "request", p.RequestID)
	return rec, retired, nil
}

// relabel records a change that makes no generation. Needs changes.
func (s *Service) relabel(ctx context.Context, p remuda.Principal, old *record, next remuda.Runtime) (*record, *pool.Retirement, error) {
	err := s.store.Write(ctx, func(tx *store.Tx) error {
		if err := tx.UpdateRuntime(ctx, next); err != nil {
			return err
		}
		details := map[string]string{"change": "update", "name": next.Name, "generation": fmt.Sprint(next.Generation)}
		return tx.AppendAudit(ctx, entry(p, next.Organization, next.ID, next.UpdatedAt, details))
	})
	if err != nil {
		return nil, nil, err
	}
	rec := *old
	rec.Runtime = next
	s.refer(&rec)
	s.catalog.put(&rec)
	return &rec, &pool.Retirement{}, nil
}

// own resolves ref and checks that p may do a to it.
func (s *Service) own(p remuda.Principal, a authz.Action, ref string) (*record, error) {
	rec, err := s.resolve(p, ref)
	if err != nil {
		return nil, err
	}
	if err := authz.Check(p, a, rec.Organization); err != nil {
		return nil, err
	}
	if rec.deleting {
		return nil, errDeleting(rec)
	}
	return rec, nil
}

// valid returns the interpreter that a definition means, or an error that names
// every wrong field. old is what the definition is a change of, or nil.
func (s *Service) valid(ctx context.Context, owner remuda.OrganizationID, d remuda.Definition, old *record) (version string, err error) {
	var known []engine.Interpreter
	if checkLanguage(d.Language) == "" && checkEnvironment(d.Environment) == "" {
		if known, err = s.versions.Versions(ctx, d.Environment, d.Language); err != nil {
			return "", err
		}
	}
	if wrong := append(s.set.check(d, known), s.set.checkPolicy(owner, d)...); len(wrong) > 0 {
		return "", remuda.Invalid(wrong...)
	}
	return interpreter(d, old, known), nil
}

func clone(rt remuda.Runtime) remuda.Runtime {
	rt.Definition = rt.Definition.Clone()
	return rt
}

func entry(p remuda.Principal, owner remuda.OrganizationID, id remuda.RuntimeID, at time.Time, details map[string]string) remuda.AuditEntry {
	if p.Comment != "" {
		maps.Copy(details, audit.Details("comment", p.Comment)) // cut to what an entry may hold
	}
	return remuda.AuditEntry{
		Organization: owner, User: p.User, Action: string(authz.RuntimeWrite), Object: string(id),
		Outcome: remuda.OutcomeOK, RequestID: p.RequestID, At: at, Details: details,
	}
}
