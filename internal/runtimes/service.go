package runtimes

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"reflect"
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

// Pool hands out instances of current generations.
type Pool interface {
	SetGeneration(key remuda.GenerationKey, def remuda.Definition) *pool.Retirement
	Retire(runtime remuda.RuntimeID) *pool.Retirement
	SetRules(runtime remuda.RuntimeID, within []remuda.EgressRules) *pool.Retirement
	Confine(org remuda.OrganizationID, within []remuda.EgressRules)
}

// Service is the runtimes of every organization. Make it with New and call
// Start before the first request.
type Service struct {
	store    Store
	versions Versions
	pool     Pool
	log      *slog.Logger
	set      Settings
	catalog  *catalog
	// changes puts changes of definitions in one order for the store, the
	// catalog and the pool alike. They are rare.
	changes sync.Mutex
}

// New returns the service.
func New(st Store, versions Versions, p Pool, log *slog.Logger, set Settings) *Service {
	return &Service{store: st, versions: versions, pool: p, log: log, set: set.withDefaults(), catalog: newCatalog()}
}

// CreateRuntime defines a runtime in the principal's organization.
func (s *Service) CreateRuntime(ctx context.Context, p remuda.Principal, d remuda.Definition) (remuda.Runtime, error) {
	if err := authz.Check(p, authz.RuntimeWrite, p.Organization); err != nil {
		return remuda.Runtime{}, err
	}
	d, err := s.valid(ctx, p.Organization, WithDefaults(d))
	if err != nil {
		return remuda.Runtime{}, err
	}
	s.changes.Lock()
	defer s.changes.Unlock()
	return s.create(ctx, p, p.Organization, d)
}

// create records a valid definition and makes it known. Needs changes.
func (s *Service) create(ctx context.Context, p remuda.Principal, owner remuda.OrganizationID, d remuda.Definition) (remuda.Runtime, error) {
	now := remuda.Now()
	rt := remuda.Runtime{ID: remuda.NewRuntimeID(), Organization: owner, Definition: d, Generation: 1, CreatedAt: now, UpdatedAt: now}
	err := s.store.Write(ctx, func(tx *store.Tx) error {
		if err := tx.InsertRuntime(ctx, rt); err != nil {
			return err
		}
		if err := tx.InsertGeneration(ctx, owner, key(rt), rt.Definition, now); err != nil {
			return err
		}
		return tx.AppendAudit(ctx, entry(p, owner, rt.ID, now, map[string]string{"change": "create", "name": rt.Name}))
	})
	if err != nil {
		return remuda.Runtime{}, err
	}
	s.catalog.put(rt)
	s.pool.SetGeneration(key(rt), s.within(rt.Organization, rt.Definition))
	s.log.Info("runtime created", "runtime", rt.ID, "name", rt.Name, "organization", owner, "request", p.RequestID)
	return clone(rt), nil
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
	return list, next, err
}

// GetRuntime returns a runtime by id or name.
func (s *Service) GetRuntime(_ context.Context, p remuda.Principal, ref string) (remuda.Runtime, error) {
	rt, err := s.Resolve(p, ref)
	if err != nil {
		return remuda.Runtime{}, err
	}
	return clone(rt), nil
}

// Resolve is GetRuntime for the services that run things: it costs a look into
// memory, and the maps of its result must not be changed.
func (s *Service) Resolve(p remuda.Principal, ref string) (remuda.Runtime, error) {
	rt, ok := s.catalog.find(p.Organization, ref)
	if !ok {
		// Without the right to read, the absent and the foreign look alike too.
		if err := authz.Check(p, authz.RuntimeRead, p.Organization); err != nil {
			return remuda.Runtime{}, err
		}
		return remuda.Runtime{}, remuda.NotFound("runtime", ref)
	}
	if err := authz.Check(p, authz.RuntimeRead, rt.Organization); err != nil {
		return remuda.Runtime{}, err
	}
	return rt, nil
}

// UpdateRuntime changes a runtime. Anything but a new description makes the next
// generation; when it returns no instance of the generation before is handed out
// and its warm instances are gone.
func (s *Service) UpdateRuntime(ctx context.Context, p remuda.Principal, ref string, patch remuda.RuntimePatch) (remuda.Runtime, error) {
	rt, retired, err := s.update(ctx, p, ref, patch)
	if err != nil {
		return remuda.Runtime{}, err
	}
	if err := retired.Wait(ctx); err != nil {
		// The change is made and takes effect; only the clean-up is still going on.
		s.log.Warn("did not wait for the old generation's warm instances", "runtime", rt.ID, "error", err)
	}
	return clone(rt), nil
}

func (s *Service) update(ctx context.Context, p remuda.Principal, ref string, patch remuda.RuntimePatch) (remuda.Runtime, *pool.Retirement, error) {
	s.changes.Lock()
	defer s.changes.Unlock()
	old, err := s.own(p, ref)
	if err != nil {
		return remuda.Runtime{}, nil, err
	}
	d, err := s.valid(ctx, old.Organization, apply(old.Definition, patch))
	if err != nil {
		return remuda.Runtime{}, nil, err
	}
	rebuild, changed := differs(old.Definition, d)
	if !changed {
		return old, &pool.Retirement{}, nil
	}
	rt := old
	rt.Definition, rt.UpdatedAt = d, remuda.Now()
	if rebuild {
		rt.Generation++
	}
	err = s.store.Write(ctx, func(tx *store.Tx) error {
		if err := tx.UpdateRuntime(ctx, rt); err != nil {
			return err
		}
		if rebuild {
			if err := tx.InsertGeneration(ctx, rt.Organization, key(rt), rt.Definition, rt.UpdatedAt); err != nil {
				return err
			}
		}
		details := map[string]string{"change": "update", "name": rt.Name, "generation": fmt.Sprint(rt.Generation)}
		return tx.AppendAudit(ctx, entry(p, rt.Organization, rt.ID, rt.UpdatedAt, details))
	})
	if err != nil {
		return remuda.Runtime{}, nil, err
	}
	s.catalog.put(rt)
	s.log.Info("runtime changed", "runtime", rt.ID, "generation", rt.Generation, "request", p.RequestID)
	return rt, s.pool.SetGeneration(key(rt), s.within(rt.Organization, rt.Definition)), nil
}

// DeleteRuntime removes a runtime that no open runspace uses. One-shot
// executions that have begun go on to their end.
func (s *Service) DeleteRuntime(ctx context.Context, p remuda.Principal, ref string) error {
	retired, err := s.remove(ctx, p, ref)
	if err != nil {
		return err
	}
	if err := retired.Wait(ctx); err != nil {
		s.log.Warn("did not wait for the removed runtime's warm instances", "runtime", ref, "error", err)
	}
	return nil
}

func (s *Service) remove(ctx context.Context, p remuda.Principal, ref string) (*pool.Retirement, error) {
	s.changes.Lock()
	defer s.changes.Unlock()
	rt, err := s.own(p, ref)
	if err != nil {
		return nil, err
	}
	err = s.store.Write(ctx, func(tx *store.Tx) error {
		if err := refuseWhileUsed(ctx, tx, rt); err != nil {
			return err
		}
		if err := tx.DeleteRuntime(ctx, rt.Organization, rt.ID); err != nil {
			return err
		}
		return tx.AppendAudit(ctx, entry(p, rt.Organization, rt.ID, remuda.Now(), map[string]string{"change": "delete", "name": rt.Name}))
	})
	if err != nil {
		return nil, err
	}
	s.catalog.remove(rt.ID)
	s.log.Info("runtime deleted", "runtime", rt.ID, "name", rt.Name, "request", p.RequestID)
	return s.pool.Retire(rt.ID), nil
}

// refuseWhileUsed is a conflict when open runspaces use the runtime. Runspaces
// are inserted in a transaction that looks for their runtime, so none can slip
// in between this and the removal.
func refuseWhileUsed(ctx context.Context, tx *store.Tx, rt remuda.Runtime) error {
	open, err := tx.UnfinishedRunspaces(ctx)
	if err != nil {
		return err
	}
	used := 0
	for _, rs := range open {
		if rs.Runtime == rt.ID {
			used++
		}
	}
	if used == 0 {
		return nil
	}
	noun := "runspaces use"
	if used == 1 {
		noun = "runspace uses"
	}
	return &remuda.Error{
		Code: remuda.CodeConflict, Message: fmt.Sprintf("runtime %q cannot be deleted", rt.Name),
		Cause: fmt.Sprintf("%d open %s it", used, noun), Remedy: "delete these runspaces first, or wait until they are closed",
	}
}

// RuntimeVersions lists the interpreters that the machine has for a language.
func (s *Service) RuntimeVersions(ctx context.Context, p remuda.Principal, language remuda.Language) ([]engine.Interpreter, error) {
	if err := authz.Check(p, authz.RuntimeRead, remuda.GlobalOrganization); err != nil {
		return nil, err
	}
	if message := checkLanguage(language); message != "" {
		return nil, remuda.Invalid(remuda.FieldError{Field: "language", Message: message})
	}
	return s.versions.Versions(ctx, remuda.EnvironmentHost, language)
}

// own resolves ref and checks that p may change it.
func (s *Service) own(p remuda.Principal, ref string) (remuda.Runtime, error) {
	rt, err := s.Resolve(p, ref)
	if err != nil {
		return remuda.Runtime{}, err
	}
	return rt, authz.Check(p, authz.RuntimeWrite, rt.Organization)
}

// valid returns d with its version resolved, or an error that names every wrong
// field.
func (s *Service) valid(ctx context.Context, owner remuda.OrganizationID, d remuda.Definition) (remuda.Definition, error) {
	var known []engine.Interpreter
	if checkLanguage(d.Language) == "" && checkEnvironment(d.Environment) == "" {
		var err error
		if known, err = s.versions.Versions(ctx, d.Environment, d.Language); err != nil {
			return d, err
		}
	}
	if wrong := append(s.set.check(d, known), s.set.checkPolicy(owner, d)...); len(wrong) > 0 {
		return d, remuda.Invalid(wrong...)
	}
	if d.Version != "" {
		d.Version = resolveVersion(d.Version, known)
	}
	return d, nil
}

// differs compares two definitions. rebuild says that instances of one are not
// instances of the other.
func differs(a, b remuda.Definition) (rebuild, changed bool) {
	described := a.Description != b.Description
	a.Description, b.Description = "", ""
	rebuild = !reflect.DeepEqual(withoutEmpty(a), withoutEmpty(b))
	return rebuild, rebuild || described
}

// withoutEmpty makes what is empty nil: the two mean the same.
func withoutEmpty(d remuda.Definition) remuda.Definition {
	if len(d.Env) == 0 {
		d.Env = nil
	}
	if len(d.Preload) == 0 {
		d.Preload = nil
	}
	if len(d.Egress.CIDRs) == 0 {
		d.Egress.CIDRs = nil
	}
	if len(d.Egress.Names) == 0 {
		d.Egress.Names = nil
	}
	return d
}

func key(rt remuda.Runtime) remuda.GenerationKey {
	return remuda.GenerationKey{Runtime: rt.ID, Number: rt.Generation}
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
