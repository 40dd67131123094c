package runspaces

import (
	"context"
	"time"

	"github.com/remuda-run/remuda/internal/authz"
	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/remuda"
	"github.com/remuda-run/remuda/internal/store"
)

// ResetRequest says how a runspace is to be reset.
type ResetRequest struct {
	// Credentials are for the connection script, as in remuda.RunspaceRequest. One
	// that has run needs them again: they were not kept.
	Credentials remuda.Credentials
}

// ResetRunspace gives a runspace a fresh instance of its generation with the same
// workspace. What runs in it or waits for it is canceled; variables are gone; its
// init and its connection script run again. It returns in state creating; its keeper
// does the rest.
func (s *Service) ResetRunspace(ctx context.Context, p remuda.Principal, id remuda.RunspaceID, req ResetRequest) (remuda.Runspace, error) {
	if err := authz.Check(p, authz.RunspaceWrite, p.Organization); err != nil {
		return remuda.Runspace{}, err
	}
	r, err := s.openOrWhy(ctx, p, id)
	if err != nil {
		return remuda.Runspace{}, err
	}
	if err := s.reconnectable(ctx, p, r, req); err != nil {
		return remuda.Runspace{}, err
	}
	before, row, err := r.beginReset()
	if err != nil {
		return remuda.Runspace{}, err
	}
	err = s.store.Write(ctx, func(tx *store.Tx) error {
		if err := tx.UpdateRunspace(ctx, row); err != nil {
			return err
		}
		return tx.AppendAudit(ctx, entry(p, row, authz.RunspaceWrite, map[string]string{"change": "reset"}))
	})
	if err != nil {
		r.undoReset(before)
		return remuda.Runspace{}, err
	}
	r.askReset(p, req)
	s.log.Info("runspace is being reset", "runspace", id, "request", p.RequestID)
	return row, nil
}

// beginReset lets nobody use r any more and returns its row of before and the one to
// be recorded.
func (r *runspace) beginReset() (before, row remuda.Runspace, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.usable(); err != nil {
		return before, row, err
	}
	if _, able := r.inst.(engine.Workspacer); !able {
		return before, row, &remuda.Error{
			Code: remuda.CodeUnsupported, Message: "runspace " + string(r.id) + " cannot be reset", Cause: "the engine of its runtime cannot hand on a workspace",
			Remedy: "create another runspace and copy the files that you need",
		}
	}
	before = r.row
	r.row.State, r.row.Instance, r.row.ConnectionExecution = remuda.RunspaceCreating, "", ""
	r.row.Resets++
	r.prepared = make(chan struct{})
	return before, r.row, nil
}

// undoReset takes back what could not be recorded.
func (r *runspace) undoReset(before remuda.Runspace) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.row.State != remuda.RunspaceCreating {
		return // it has ended meanwhile
	}
	used := r.row.LastUsedAt
	r.row = before
	r.row.LastUsedAt = used
	r.unblockLocked()
	r.nextLocked()
}

// askReset has the keeper do what was recorded.
func (r *runspace) askReset(p remuda.Principal, req ResetRequest) {
	r.mu.Lock()
	defer r.mu.Unlock()
	const why = "its runspace was reset"
	r.cut = cut{execution: r.running, reason: why}
	r.turnAwayLocked(func() error {
		return &remuda.Error{Code: remuda.CodeConflict, Message: why, Remedy: "submit it again when the runspace is ready"}
	})
	r.secret = connection{by: p, credentials: req.Credentials}
	r.asked = true
	select {
	case r.wake <- struct{}{}:
	default: // it is awake
	}
}

// resettingLocked says that the instance is being replaced.
func (r *runspace) resettingLocked() bool {
	return r.row.State == remuda.RunspaceCreating && r.row.Resets > 0
}

// takeReset reports whether a reset was asked for, once.
func (r *runspace) takeReset() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	asked := r.asked
	r.asked = false
	return asked
}

// renew replaces the instance of r. The workspace is pinned before what runs is
// ended: that may be the end of the sandbox.
func (s *Service) renew(r *runspace) error {
	old := r.instance()
	return s.timely(r, func(ctx context.Context) error {
		workspace, err := old.(engine.Workspacer).Workspace(ctx)
		if err != nil {
			return &remuda.Error{
				Code: remuda.CodeOf(err), Message: "its workspace could not be kept for a fresh instance", Cause: remuda.Public(err),
				Remedy: "create another runspace", Err: err,
			}
		}
		defer func() {
			if err := workspace.Close(); err != nil {
				s.log.Warn("the workspace of an instance that was replaced could not be let go of", "runspace", r.id, "error", err)
			}
		}()
		s.interrupt(r, old)
		s.disconnect(r)
		r.setInstance(nil)
		inst, err := r.lease.Replace(ctx, workspace)
		if err != nil {
			return err
		}
		if !r.settle(releaseTimeout) {
			return &remuda.Error{
				Code: remuda.CodeInternal, Message: "what ran in it did not give it back within " + releaseTimeout.String(),
				Remedy: "create another runspace, and report this with the server's log",
			}
		}
		r.mu.Lock()
		r.begun, r.cut = false, cut{}
		r.mu.Unlock()
		return s.equip(ctx, r, inst)
	})
}

// InterruptRunspace cancels what runs in a runspace, which stays. Nothing happens
// when nothing runs.
func (s *Service) InterruptRunspace(ctx context.Context, p remuda.Principal, id remuda.RunspaceID) (remuda.Runspace, error) {
	if err := authz.Check(p, authz.RunspaceWrite, p.Organization); err != nil {
		return remuda.Runspace{}, err
	}
	r, err := s.openOrWhy(ctx, p, id)
	if err != nil {
		return remuda.Runspace{}, err
	}
	r.mu.Lock()
	running, err := r.running, r.usable()
	r.mu.Unlock()
	if err != nil {
		return remuda.Runspace{}, err
	}
	if running != "" {
		if err := s.interruptExecution(ctx, p, r, running); err != nil {
			return remuda.Runspace{}, err
		}
	}
	return r.snapshot(), nil
}

// How long, and how often, an execution is looked for that holds its runspace and is
// not known yet: it gets the runspace first.
const (
	beginsWithin = time.Second
	beginsEvery  = 2 * time.Millisecond
)

// interruptExecution cancels an execution that runs in r, and has done so when it has
// ended by itself.
func (s *Service) interruptExecution(ctx context.Context, p remuda.Principal, r *runspace, id remuda.ExecutionID) error {
	if s.runner == nil {
		return &remuda.Error{
			Code: remuda.CodeUnsupported, Message: "this server cannot interrupt executions", Cause: "it runs none",
			Remedy: "delete the runspace to end what runs in it",
		}
	}
	late := time.NewTimer(beginsWithin)
	defer late.Stop()
	again := time.NewTicker(beginsEvery)
	defer again.Stop()
	for {
		_, err := s.runner.CancelExecution(ctx, p, id)
		switch remuda.CodeOf(err) {
		case "", remuda.CodeConflict: // it has ended by itself
			return nil
		case remuda.CodeNotFound:
		default:
			return err
		}
		if !r.runs(id) {
			return nil
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return remuda.Errorf(engine.ContextCode(ctx), "wait for the begin of execution %s: %w", id, ctx.Err())
		case <-late.C:
			return &remuda.Error{
				Code: remuda.CodeUnavailable, Message: "what runs in runspace " + string(r.id) + " could not be interrupted",
				Cause:  "it has not quite begun, or it is somebody else's",
				Remedy: "send the request again, or delete the runspace", RetryAfterSeconds: 1, Err: err,
			}
		}
	}
}

// runs says whether an execution has the runspace.
func (r *runspace) runs(id remuda.ExecutionID) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.running == id
}
