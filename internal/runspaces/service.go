package runspaces

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/remuda-run/remuda/internal/authz"
	"github.com/remuda-run/remuda/internal/pool"
	"github.com/remuda-run/remuda/internal/remuda"
	"github.com/remuda-run/remuda/internal/runtimes"
	"github.com/remuda-run/remuda/internal/store"
	"github.com/remuda-run/remuda/internal/telemetry"
)

// Service is the runspaces of every organization. Make it with New, call Recover
// before the first request, run it with Run, end it with Drain or Leave.
type Service struct {
	store    Store
	runtimes Runtimes
	pool     Pool
	log      *slog.Logger
	set      Settings
	runner   Runner // see SetRunner
	waiting  *waitingBytes
	scripts  Scripts // see SetScripts

	mu       sync.Mutex
	open     map[remuda.RunspaceID]*runspace
	resuming []*Hold // see Resuming
	draining bool
	keepers  sync.WaitGroup
}

// New returns the service. metrics may be nil.
func New(st Store, rt Runtimes, p Pool, log *slog.Logger, metrics *telemetry.Metrics, set Settings) *Service {
	s := &Service{store: st, runtimes: rt, pool: p, log: log, set: set.withDefaults(), open: map[remuda.RunspaceID]*runspace{},
		waiting: &waitingBytes{of: map[remuda.OrganizationID]int{}},
	}
	metrics.WatchRunspaces(s.counts)
	return s
}

// CreateRunspace records a runspace and returns it: ready where a warm instance is
// all that it takes, else in state creating, and its keeper prepares it in the
// background.
func (s *Service) CreateRunspace(ctx context.Context, p remuda.Principal, req remuda.RunspaceRequest) (remuda.Runspace, error) {
	if err := authz.Check(p, authz.RunspaceWrite, p.Organization); err != nil {
		return remuda.Runspace{}, err
	}
	if wrong := s.check(req); len(wrong) > 0 {
		return remuda.Runspace{}, remuda.Invalid(wrong...)
	}
	rt, err := s.runtimes.Usable(p, req.Runtime)
	if err != nil {
		return remuda.Runspace{}, err
	}
	limits := s.limits(p.Organization)
	if wrong := checkMemory(req.MemoryMB, limits, rt); len(wrong) > 0 {
		return remuda.Runspace{}, remuda.Invalid(wrong...)
	}
	row := s.row(p, req, rt, limits)
	if err := s.connectable(ctx, p, req, rt, &row); err != nil {
		return remuda.Runspace{}, err
	}
	r := newRunspace(row, s.waiting)
	r.secret = connection{by: p, credentials: req.Credentials}
	if err := s.admit(r, limits); err != nil {
		return remuda.Runspace{}, err
	}
	lease, err := s.pool.Reserve(Claim(row, rt.Definition))
	if err != nil {
		s.drop(r)
		s.keepers.Done()
		return remuda.Runspace{}, err
	}
	created, life := r.leased(lease), s.keepNew
	if needsOnly(lease, created) {
		created, life = s.takeWarm(r)
	}
	if err := s.insert(ctx, p, rt, created); err != nil {
		s.drop(r)
		lease.Release()
		s.keepers.Done()
		return remuda.Runspace{}, err
	}
	r.opened(created)
	go func() {
		defer s.keepers.Done()
		life(r)
	}()
	s.log.Info("runspace created", "runspace", created.ID, "runtime", rt.ID, "generation", created.Generation, "warm", lease.Warm(), "request", p.RequestID)
	return created, nil
}

// Claim is what a runspace wants of the pool, whether its instance is to be made or
// lives already.
func Claim(row remuda.Runspace, d remuda.Definition) pool.Claim {
	return pool.Claim{
		Runtime: row.Runtime, Organization: row.Organization, Within: d.Egress.Within, Limits: remuda.Resources{MemoryMB: row.MemoryMB},
	}
}

// check returns every wrong field of a request.
func (s *Service) check(req remuda.RunspaceRequest) []remuda.FieldError {
	var wrong []remuda.FieldError
	add := func(field, message string) {
		wrong = append(wrong, remuda.FieldError{Field: field, Message: message})
	}
	if req.Runtime == "" {
		add("runtime", "is required: the id or name of a runtime")
	}
	if req.Name != "" {
		if message := runtimes.CheckName(req.Name); message != "" {
			add("name", message)
		}
	}
	if d := req.IdleTimeout; d != nil && *d != 0 && (*d < time.Second || *d > s.set.MaxIdleTimeout) {
		add("idle_timeout_s", fmt.Sprintf("must be 0 (never) or between 1 and %d seconds", int64(s.set.MaxIdleTimeout.Seconds())))
	}
	if d := req.ActiveTimeout; d != nil && *d != 0 && *d < time.Second {
		add("active_timeout_s", "must be 0 (never) or at least 1 second")
	}
	if len(req.Label) > 255 || !utf8.ValidString(req.Label) {
		add("label", "must be at most 255 bytes of UTF-8")
	}
	switch {
	case len(req.InitScript) > remuda.MaxScriptBytes:
		add("init_script", fmt.Sprintf("must be at most %d bytes long", remuda.MaxScriptBytes))
	case !utf8.ValidString(req.InitScript):
		add("init_script", "must be valid UTF-8")
	}
	return append(wrong, runtimes.CheckEnv("env", req.Env)...)
}

// checkMemory says what is wrong with the memory that was asked for.
func checkMemory(asked int, limits remuda.Limits, rt remuda.Runtime) []remuda.FieldError {
	wrong := runtimes.CheckLimits("limits", remuda.Resources{MemoryMB: asked}, rt.Resources)
	for i := range wrong {
		wrong[i].Field = "memory_mb"
	}
	if len(wrong) == 0 && limits.MemoryMB > 0 && asked > limits.MemoryMB {
		wrong = append(wrong, remuda.FieldError{Field: "memory_mb", Message: fmt.Sprintf("must be at most %d, the limit of the organization", limits.MemoryMB)})
	}
	return wrong
}

func (s *Service) row(p remuda.Principal, req remuda.RunspaceRequest, rt remuda.Runtime, limits remuda.Limits) remuda.Runspace {
	now := remuda.Now()
	row := remuda.Runspace{
		ID: remuda.NewRunspaceID(), Organization: p.Organization, Name: req.Name, Owner: p.User,
		Runtime: rt.ID, RuntimeName: rt.Name, State: remuda.RunspaceCreating,
		Env: maps.Clone(req.Env), InitScript: req.InitScript, CreatedAt: now, LastUsedAt: now,
		MemoryMB: memory(req.MemoryMB, limits, rt), Session: req.Session, RunConnection: req.RunConnection, Label: req.Label, Console: req.Console,
		ConnectionScript: req.ConnectionScript, DisconnectScript: req.DisconnectScript,
		ConnectionName: req.ConnectionName, DisconnectName: req.DisconnectName,
	}
	row.IdleTimeout, row.ActiveTimeout = s.times(limits)
	if req.Console { // it ends with its session, not for want of scripts
		row.IdleTimeout, row.OwnIdleTimeout = 0, true
	}
	if req.IdleTimeout != nil {
		row.IdleTimeout, row.OwnIdleTimeout = *req.IdleTimeout, true
	}
	if req.ActiveTimeout != nil {
		row.ActiveTimeout, row.OwnActiveTimeout = *req.ActiveTimeout, true
	}
	return row
}

// admit makes r known and counts its keeper, unless the server is ending or the
// organization has as many open runspaces as it may. It comes before the row, so
// that a row without an entry here is one that nobody owns.
func (s *Service) admit(r *runspace, limits remuda.Limits) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining {
		return remuda.ShuttingDown()
	}
	if err := s.within(r.row, limits); err != nil {
		return err
	}
	s.open[r.id] = r
	s.keepers.Add(1)
	return nil
}

func (s *Service) drop(r *runspace) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, r.id)
}

// insert records a new runspace. It looks for the runtime in the same
// transaction: one that is being deleted is gone or refuses to go.
func (s *Service) insert(ctx context.Context, p remuda.Principal, rt remuda.Runtime, row remuda.Runspace) error {
	return s.store.Write(ctx, func(tx *store.Tx) error {
		if _, err := tx.Runtime(ctx, rt.Organization, rt.ID); err != nil {
			return err
		}
		if err := tx.InsertRunspace(ctx, row); err != nil {
			return err
		}
		return tx.AppendAudit(ctx, entry(p, row, authz.RunspaceWrite, map[string]string{"change": "create", "runtime": string(rt.ID)}))
	})
}

// ListRunspaces lists the runspaces that p may see, newest first.
func (s *Service) ListRunspaces(ctx context.Context, p remuda.Principal, page remuda.Page) (list []remuda.Runspace, next string, err error) {
	if err := authz.Check(p, authz.RunspaceRead, p.Organization); err != nil {
		return nil, "", err
	}
	err = s.store.ReadOf(ctx, store.Ended{}, func(tx *store.Tx) error {
		list, next, err = tx.Runspaces(ctx, p.Organization, remuda.RunspaceFilter{Owner: ownerOf(p)}, page)
		return err
	})
	for i := range list {
		if r := s.find(p, list[i].ID); r != nil {
			list[i] = r.snapshot()
		}
	}
	return list, next, err
}

// GetRunspace returns a runspace.
func (s *Service) GetRunspace(ctx context.Context, p remuda.Principal, id remuda.RunspaceID) (remuda.Runspace, error) {
	if err := authz.Check(p, authz.RunspaceRead, p.Organization); err != nil {
		return remuda.Runspace{}, err
	}
	return s.get(ctx, p, id)
}

func (s *Service) get(ctx context.Context, p remuda.Principal, id remuda.RunspaceID) (row remuda.Runspace, err error) {
	if r := s.find(p, id); r != nil {
		return r.snapshot(), nil
	}
	err = s.store.ReadOf(ctx, store.Ended{}, func(tx *store.Tx) error {
		row, err = tx.Runspace(ctx, p.Organization, id)
		return err
	})
	if err == nil && !sees(p, row.Organization, row.Owner) {
		return remuda.Runspace{}, remuda.NotFound("runspace", string(id))
	}
	return row, err
}

// find returns the open runspace that p may see, nil when there is none.
func (s *Service) find(p remuda.Principal, id remuda.RunspaceID) *runspace {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.open[id]; r != nil && sees(p, r.org, r.owner) {
		return r
	}
	return nil
}

// sees is the tenancy of runspaces: what p does not see is not there.
func sees(p remuda.Principal, org remuda.OrganizationID, owner remuda.UserID) bool {
	return p.Organization == org && (!p.OwnOnly || p.User == owner)
}

// ownerOf narrows a list to what p sees.
func ownerOf(p remuda.Principal) remuda.UserID {
	if p.OwnOnly {
		return p.User
	}
	return ""
}

// WaitRunspace returns when the runspace has left creating, or after d.
func (s *Service) WaitRunspace(ctx context.Context, p remuda.Principal, id remuda.RunspaceID, d time.Duration) (remuda.Runspace, error) {
	if err := authz.Check(p, authz.RunspaceRead, p.Organization); err != nil {
		return remuda.Runspace{}, err
	}
	if r := s.find(p, id); r != nil {
		timer := time.NewTimer(d)
		defer timer.Stop()
		select {
		case <-r.left():
		case <-timer.C:
		case <-ctx.Done():
			return remuda.Runspace{}, remuda.Errorf(remuda.CodeCanceled, "wait for the runspace: %w", ctx.Err())
		}
		return r.snapshot(), nil
	}
	return s.get(ctx, p, id)
}

// DeleteRunspace closes a runspace: it ends what runs there and returns once the
// sandbox is gone. One that has ended already is not an error.
func (s *Service) DeleteRunspace(ctx context.Context, p remuda.Principal, id remuda.RunspaceID) error {
	if err := authz.Check(p, authz.RunspaceWrite, p.Organization); err != nil {
		return err
	}
	r := s.find(p, id)
	if r == nil {
		_, err := s.get(ctx, p, id)
		return err
	}
	r.end(ending{state: remuda.RunspaceClosed, reason: "it was deleted", by: p})
	if r.leaving() {
		return remuda.ShuttingDown()
	}
	select {
	case <-r.gone:
		return r.recorded
	case <-ctx.Done():
		return remuda.Errorf(remuda.CodeCanceled, "wait for the sandbox to be gone; it is being removed all the same: %w", ctx.Err())
	}
}

func (s *Service) counts() map[remuda.RunspaceState]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	counts := map[remuda.RunspaceState]int{}
	for _, r := range s.open {
		counts[r.snapshot().State]++
	}
	return counts
}
