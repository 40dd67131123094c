package executions

import (
	"context"
	"time"

	"github.com/remuda-run/remuda/internal/authz"
	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/remuda"
	"github.com/remuda-run/remuda/internal/runspaces"
	"github.com/remuda-run/remuda/internal/store"
)

// RunExecution runs a script in a runspace, on the caller's goroutine, and
// returns when it has ended. Its end is then on its way to the store: recorded
// waits until it is durable and returns it. Call recorded once and always; until
// it has returned nobody may be told of the end. The next script may run
// meanwhile, and ends that wait together share a commit.
//
// more says that the caller has another request already: then this end may wait a
// moment for company before it is committed.
//
// A caller that goes away does not end the script: ctx is for getting the
// runspace only.
func (s *Service) RunExecution(ctx context.Context, p remuda.Principal, req remuda.ExecutionRequest, more func() bool) (recorded func() (remuda.Execution, error), err error) {
	accepted := time.Now()
	if err := authz.Check(p, authz.ExecutionRun, p.Organization); err != nil {
		return nil, err
	}
	if req.Runspace == "" {
		return nil, remuda.Invalid(remuda.FieldError{Field: "runspace", Message: "is required: only there scripts follow each other"})
	}
	r := newRun(p, req, accepted)
	if err := s.place(ctx, r); err != nil {
		return nil, err
	}
	s.begin(r)
	if err := s.admit(r, &s.runs, &s.draining); err != nil {
		r.place.release(runspaces.Outcome{})
		return nil, err
	}
	s.due(r)
	res, err := s.inTurn(r)
	switch {
	case err != nil:
		res = s.notStarted(r, err)
	case r.left:
		s.letGo(r)
		return func() (remuda.Execution, error) {
			defer s.runs.Done()
			return r.result()
		}, nil
	}
	return s.recordAside(r, s.conclude(r, res), more), nil
}

// inTurn runs the script when its turn has come, which it has unless the request
// has asked for a place in the queue. An error says that the turn did not come.
func (s *Service) inTurn(r *run) (engine.Result, error) {
	if r.row.State == remuda.ExecutionQueued {
		if err := s.start(r); err != nil {
			return engine.Result{}, err
		}
	}
	return s.execute(r, r.got), nil
}

// Ends of a stream that has more to run wait so long for so many others, to be
// committed with them.
const (
	streamPatience = 2 * time.Millisecond
	streamCompany  = 32
)

// recordAside has the end of a run recorded, gives its place back, and returns what
// waits for the record. Of a run that somebody was told of, or whose output is stored,
// the end is durable before its place is given back: the instance holds it until the
// next script begins, for a server that finds a row without an end.
func (s *Service) recordAside(r *run, e *end, more func() bool) func() (remuda.Execution, error) {
	recorded := s.beginRecord(r, e, more)
	r.place.release(e.outcome)
	return func() (remuda.Execution, error) {
		defer s.runs.Done()
		s.settle(r, e, recorded())
		return r.result()
	}
}

// beginRecord is record, begun.
func (s *Service) beginRecord(r *run, e *end, more func() bool) (recorded func() error) {
	folded := r.birth.fold()
	if !folded {
		err := s.record(r, e)
		return func() error { return err }
	}
	if !more() {
		done := make(chan error, 1)
		s.hands.do(func() { done <- s.record(r, e) })
		return func() error { return <-done }
	}
	// A commit that many share costs less than a write to the journal for each of them.
	pending := s.store.BeginPatiently(streamPatience, streamCompany, func(tx *store.Tx) error {
		return r.recordEnd(tx, &e.row, e.rest, e.at, folded)
	})
	return func() error {
		if pending.Wait(context.Background()) == nil {
			return nil
		}
		return s.record(r, e) // a store that cannot write now is asked again
	}
}
