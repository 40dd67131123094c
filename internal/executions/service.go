package executions

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/remuda-run/remuda/internal/authz"
	"github.com/remuda-run/remuda/internal/pool"
	"github.com/remuda-run/remuda/internal/remuda"
	"github.com/remuda-run/remuda/internal/runspaces"
	"github.com/remuda-run/remuda/internal/store"
	"github.com/remuda-run/remuda/internal/telemetry"
)

// Store is what this service needs of a store.
type Store interface {
	Begin(fn func(*store.Tx) error) *store.Pending
	BeginPatiently(patience time.Duration, company int, fn func(*store.Tx) error) *store.Pending
	Write(ctx context.Context, fn func(*store.Tx) error) error
	Read(ctx context.Context, fn func(*store.Tx) error) error
	ReadOf(ctx context.Context, of store.Ended, fn func(*store.Tx) error) error
	RecordEnd(ctx context.Context, e *store.End) error
}

// Runtimes finds runtimes by id or name, for their use.
type Runtimes interface {
	Usable(p remuda.Principal, ref string) (remuda.Runtime, error)
}

// Runspaces lend their instances, to one execution at a time.
type Runspaces interface {
	Definition(p remuda.Principal, id remuda.RunspaceID) (remuda.Definition, bool)
	Acquire(ctx context.Context, p remuda.Principal, id remuda.RunspaceID, execution remuda.ExecutionID) (*runspaces.Hold, error)
	AcquireSystem(ctx context.Context, p remuda.Principal, id remuda.RunspaceID, execution remuda.ExecutionID) (*runspaces.Hold, error)
	Queue(ctx context.Context, p remuda.Principal, id remuda.RunspaceID, execution remuda.ExecutionID, bytes int) (*runspaces.Hold, *runspaces.Ticket, error)
	Resuming() []*runspaces.Hold
}

// Tokens knows who would act with tokens now, and in which role. What is not in the
// answer cannot be used any more.
type Tokens interface {
	Principals(ctx context.Context, ids []remuda.TokenID) (map[remuda.TokenID]remuda.Principal, error)
}

// Pool hands out instances.
type Pool interface {
	Reserve(claim pool.Claim) (*pool.Lease, error)
}

// Service is the executions of every organization. Make it with New, call
// Recover before the first request, run it with Run, end it with Drain or Leave.
type Service struct {
	store     Store
	runtimes  Runtimes
	runspaces Runspaces
	pool      Pool
	tokens    Tokens // nil: what somebody could do when they submitted they can do later
	log       *slog.Logger
	metrics   *telemetry.Metrics
	set       Settings

	mu       sync.Mutex
	live     map[remuda.ExecutionID]*run
	keys     map[keyScope]*keyed // of runs in live, and of requests on their way
	draining bool
	runs     sync.WaitGroup
	over     bool           // Run has ended
	hands    hands          // that run executions
	soon     *dueList       // records of what runs
	later    *dueList       // records of what waits for its instance
	systems  sync.WaitGroup // runs of the server's own scripts; not added to once over

	sweeping sync.Mutex    // held while the history is swept
	changed  chan struct{} // holds one when it is to be swept now
}

// New returns the service. metrics may be nil.
func New(st Store, rt Runtimes, rs Runspaces, p Pool, log *slog.Logger, metrics *telemetry.Metrics, set Settings) *Service {
	set = set.withDefaults()
	return &Service{
		store: st, runtimes: rt, runspaces: rs, pool: p, log: log, metrics: metrics,
		hands: make(hands), soon: &dueList{after: set.RecordAfter}, later: &dueList{after: set.RecordQueued},
		set: set, live: map[remuda.ExecutionID]*run{}, keys: map[keyScope]*keyed{}, changed: make(chan struct{}, 1),
	}
}

// SetTokens says who knows what those may do now whose executions had to wait. Call it
// before anything else.
func (s *Service) SetTokens(t Tokens) { s.tokens = t }

// SubmitExecution records and starts an execution. With wait > 0 it returns when
// the execution has ended or after wait, whichever comes first; the state says
// which.
func (s *Service) SubmitExecution(ctx context.Context, p remuda.Principal, req remuda.ExecutionRequest, wait time.Duration) (remuda.Execution, error) {
	accepted := time.Now()
	if err := authz.Check(p, authz.ExecutionRun, p.Organization); err != nil {
		return remuda.Execution{}, err
	}
	if req.IdempotencyKey != "" {
		return s.submitOnce(ctx, p, req, wait, accepted)
	}
	r := newRun(p, req, accepted)
	if err := s.launch(ctx, r); err != nil {
		return remuda.Execution{}, err
	}
	return s.answer(ctx, r, wait)
}

// launch starts a run on another goroutine.
func (s *Service) launch(ctx context.Context, r *run) error {
	if err := s.place(ctx, r); err != nil {
		return err
	}
	s.begin(r)
	if err := s.admit(r, &s.runs, &s.draining); err != nil {
		r.place.release(runspaces.Outcome{})
		return err
	}
	s.due(r)
	s.hands.do(func() {
		defer s.runs.Done()
		s.run(r)
	})
	return nil
}

// place checks the request and finds out where it runs.
func (s *Service) place(ctx context.Context, r *run) error {
	var c checker
	c.check(r.req)
	if r.req.Runspace != "" {
		return s.placeInRunspace(ctx, r, &c)
	}
	return s.placeOneShot(r, &c)
}

func (s *Service) placeOneShot(r *run, c *checker) error {
	rt, err := s.runtimes.Usable(r.p, r.req.Runtime)
	if err == nil {
		c.within(r.req, rt.Definition)
	}
	if wrong := c.err(); wrong != nil {
		return wrong
	}
	if err != nil {
		return err
	}
	lease, err := s.pool.Reserve(pool.Claim{
		Runtime: rt.ID, Organization: r.p.Organization, Limits: r.req.Limits, Egress: r.req.Egress, Within: rt.Egress.Within,
	})
	if err != nil {
		return err
	}
	r.place, r.def = oneShot{lease}, lease.Definition()
	r.row.Runtime, r.row.RuntimeName, r.row.Generation = rt.ID, r.def.Name, lease.Generation().Number
	r.row.Narrowed = lease.Narrowed()
	// The runtime may have changed between the two looks at it.
	if c.within(r.req, r.def); c.err() != nil {
		lease.Release()
		return c.err()
	}
	return nil
}

// admit makes r known and counts it among those who are waited for, unless no more
// of them are admitted. It comes before the row, so that an unfinished row without
// an entry here is one that nobody owns.
func (s *Service) admit(r *run, among *sync.WaitGroup, closed *bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if *closed {
		return remuda.ShuttingDown()
	}
	s.live[r.id] = r
	among.Add(1)
	return nil
}

// answer waits for what the caller waits for. Nothing is answered that is not
// durable.
func (s *Service) answer(ctx context.Context, r *run, wait time.Duration) (remuda.Execution, error) {
	if wait > 0 {
		ended, err := r.wait(ctx, min(wait, s.set.MaxWait))
		if err != nil {
			return remuda.Execution{}, err
		}
		if ended {
			return r.result()
		}
	}
	born, err := r.birth.await(ctx)
	switch {
	case err != nil:
		if ctx.Err() == nil {
			s.abort(r)
		}
		return remuda.Execution{}, err
	case !born: // it has ended meanwhile, and its end records all of it
		<-r.done
		return r.result()
	default:
		return r.snapshot(), nil
	}
}

// abort ends a run that could not be recorded, and of which nobody was told.
func (s *Service) abort(r *run) {
	err := r.cancel(context.Background(), "it could not be recorded", s.set.CancelGrace)
	if err != nil && remuda.CodeOf(err) != remuda.CodeConflict {
		s.log.Warn("an execution that could not be recorded could not be interrupted", "execution", r.id, "error", err)
	}
}

// GetExecution returns an execution.
func (s *Service) GetExecution(ctx context.Context, p remuda.Principal, id remuda.ExecutionID) (row remuda.Execution, err error) {
	if err := authz.Check(p, authz.ExecutionRead, p.Organization); err != nil {
		return remuda.Execution{}, err
	}
	if r := s.find(p, id); r != nil {
		return r.snapshot(), nil
	}
	return s.stored(ctx, p, id)
}

func (s *Service) stored(ctx context.Context, p remuda.Principal, id remuda.ExecutionID) (row remuda.Execution, err error) {
	err = s.store.ReadOf(ctx, store.Ended{Organization: p.Organization, Execution: id}, func(tx *store.Tx) error {
		row, err = visible(ctx, tx, p, id)
		return err
	})
	return row, err
}

// visible reads an execution that p may see.
func visible(ctx context.Context, tx *store.Tx, p remuda.Principal, id remuda.ExecutionID) (remuda.Execution, error) {
	row, err := tx.Execution(ctx, p.Organization, id)
	if err == nil && !sees(p, row.Organization, row.Owner) {
		return remuda.Execution{}, remuda.NotFound("execution", string(id))
	}
	return row, err
}

// find returns the run that has not ended and that p may see, nil when there is none.
func (s *Service) find(p remuda.Principal, id remuda.ExecutionID) *run {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.live[id]; r != nil && sees(p, r.p.Organization, r.p.User) {
		return r
	}
	return nil
}

// sees is the tenancy of executions: what p does not see is not there.
func sees(p remuda.Principal, org remuda.OrganizationID, owner remuda.UserID) bool {
	return p.Organization == org && (!p.OwnOnly || p.User == owner)
}

// ListExecutions lists the executions that p may see, newest first.
func (s *Service) ListExecutions(ctx context.Context, p remuda.Principal, filter remuda.ExecutionFilter, page remuda.Page) (list []remuda.Execution, next string, err error) {
	if err := authz.Check(p, authz.ExecutionRead, p.Organization); err != nil {
		return nil, "", err
	}
	if p.OwnOnly {
		filter.Owner = p.User
	}
	err = s.store.ReadOf(ctx, store.Ended{Organization: p.Organization}, func(tx *store.Tx) error {
		list, next, err = tx.Executions(ctx, p.Organization, filter, page)
		return err
	})
	return list, next, err
}

// WaitExecution returns when the execution has ended, or after d.
func (s *Service) WaitExecution(ctx context.Context, p remuda.Principal, id remuda.ExecutionID, d time.Duration) (remuda.Execution, error) {
	if err := authz.Check(p, authz.ExecutionRead, p.Organization); err != nil {
		return remuda.Execution{}, err
	}
	r := s.find(p, id)
	if r == nil {
		return s.stored(ctx, p, id)
	}
	ended, err := r.wait(ctx, min(d, s.set.MaxWait))
	switch {
	case err != nil:
		return remuda.Execution{}, err
	case ended:
		return r.result()
	default:
		return r.snapshot(), nil
	}
}

// CancelExecution interrupts an execution and returns once the interrupt is
// sent. One that has ended is a conflict.
func (s *Service) CancelExecution(ctx context.Context, p remuda.Principal, id remuda.ExecutionID) (remuda.Execution, error) {
	if err := authz.Check(p, authz.ExecutionRun, p.Organization); err != nil {
		return remuda.Execution{}, err
	}
	r := s.find(p, id)
	if r == nil {
		row, err := s.stored(ctx, p, id)
		if err != nil {
			return remuda.Execution{}, err
		}
		return remuda.Execution{}, errEnded(row)
	}
	if row := r.snapshot(); row.State.Final() {
		return remuda.Execution{}, errEnded(row)
	}
	r.birth.begin() // its audit entry comes first
	err := s.store.Write(ctx, func(tx *store.Tx) error {
		return tx.AppendAudit(ctx, entry(p, id, map[string]string{"change": "cancel"}))
	})
	if err != nil {
		return remuda.Execution{}, err
	}
	if err := r.cancel(ctx, "it was canceled", s.set.CancelGrace); err != nil {
		return remuda.Execution{}, err
	}
	return r.snapshot(), nil
}

func errEnded(row remuda.Execution) error {
	return &remuda.Error{
		Code: remuda.CodeConflict, Message: "execution " + string(row.ID) + " has ended",
		Cause: "its state is " + string(row.State), Remedy: "there is nothing left to cancel; read its result",
	}
}

// Bounds of one page of output.
const (
	defaultPage = 1 << 20
	maxPage     = 8 << 20
)

// Output returns records with numbers above after, at most maxBytes of data (but
// one record at least). With wait it blocks until there is a record or the
// execution has ended.
func (s *Service) Output(ctx context.Context, p remuda.Principal, id remuda.ExecutionID, after int64, maxBytes int, wait time.Duration) (remuda.OutputPage, error) {
	if err := authz.Check(p, authz.ExecutionRead, p.Organization); err != nil {
		return remuda.OutputPage{}, err
	}
	if after < 0 {
		return remuda.OutputPage{}, remuda.Invalid(remuda.FieldError{Field: "after", Message: "must not be negative"})
	}
	r := s.find(p, id)
	if r != nil && wait > 0 {
		if err := r.out.await(ctx, after, min(wait, s.set.MaxWait), r.done); err != nil {
			return remuda.OutputPage{}, err
		}
	}
	if maxBytes <= 0 {
		maxBytes = defaultPage
	}
	page, err := s.page(ctx, p, id, after, min(maxBytes, maxPage))
	if err == nil && page.Ended && r != nil {
		// An end is stored a moment before it is told. Whoever hears of it here asks for
		// the execution next, and is to find it ended.
		_, err = r.wait(ctx, s.set.MaxWait)
	}
	return page, err
}

// page reads output and the state it belongs to in one snapshot.
func (s *Service) page(ctx context.Context, p remuda.Principal, id remuda.ExecutionID, after int64, maxBytes int) (page remuda.OutputPage, err error) {
	page.Next = after
	err = s.store.ReadOf(ctx, store.Ended{Organization: p.Organization, Execution: id}, func(tx *store.Tx) error {
		row, err := visible(ctx, tx, p, id)
		if err != nil {
			return err
		}
		if page.Records, err = tx.Output(ctx, row.Organization, id, after, maxBytes); err != nil {
			return err
		}
		if n := len(page.Records); n > 0 {
			page.Next = page.Records[n-1].Seq
		}
		page.Cut, page.Truncated = row.OutputCut, row.OutputCut > 0
		if !row.State.Final() {
			return nil
		}
		page.Ended = true
		if len(page.Records) > 0 {
			more, err := tx.Output(ctx, row.Organization, id, page.Next, 1)
			page.Ended = len(more) == 0
			return err
		}
		return nil
	})
	return page, err
}

func entry(p remuda.Principal, id remuda.ExecutionID, details map[string]string) remuda.AuditEntry {
	return remuda.AuditEntry{
		Organization: p.Organization, User: p.User, Action: string(authz.ExecutionRun), Object: string(id),
		Outcome: remuda.OutcomeOK, RequestID: p.RequestID, At: remuda.Now(), Details: details,
	}
}
