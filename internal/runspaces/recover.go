package runspaces

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/pool"
	"github.com/remuda-run/remuda/internal/remuda"
	"github.com/remuda-run/remuda/internal/store"
)

// Found is what became of the instances that Keep has named.
type Found struct {
	Attached map[remuda.InstanceID]Attached
	Lost     map[remuda.InstanceID]string // and why
}

// Attached is an instance that lives on, with a lease that the pool has made for it.
type Attached struct {
	Instance engine.Instance
	Lease    *pool.Lease
}

// Recovery says what Recover has done.
type Recovery struct {
	Attached int // are open as they were
	Prepared int // are prepared from the beginning
	Ended    int // could not live on
}

// Keep lists the runspaces of an earlier server that are to live on. Each row names
// the instance, its generation and what was narrowed. Call it before the engine's
// Recover.
func (s *Service) Keep(ctx context.Context) ([]remuda.Runspace, error) {
	rows, err := s.unfinished(ctx)
	return slices.DeleteFunc(rows, func(row remuda.Runspace) bool { return !lives(row) }), err
}

// lives says that a row's instance may be there, and be what the row says.
func lives(row remuda.Runspace) bool {
	return row.State == remuda.RunspaceReady && row.Instance != ""
}

func (s *Service) unfinished(ctx context.Context) (rows []remuda.Runspace, err error) {
	err = s.store.Read(ctx, func(tx *store.Tx) error {
		rows, err = tx.UnfinishedRunspaces(ctx)
		return err
	})
	return rows, err
}

// Recover takes over the runspaces that an earlier server left. Those whose instance
// was found are open again. Those that were being created, and in which nothing of
// their user's has run, are prepared anew. The others have ended, with the reason.
//
// Call it when the runtimes are there, before the executions' Recover and before
// serving. What runs in the runspaces is for Resuming to say.
func (s *Service) Recover(ctx context.Context, found Found) (Recovery, error) {
	rows, err := s.unfinished(ctx)
	if err != nil {
		return Recovery{}, err
	}
	var done Recovery
	var ended []remuda.Runspace
	for _, row := range rows {
		at, attached := found.Attached[row.Instance]
		switch {
		case attached && lives(row):
			if err := s.reopen(ctx, row, at); err != nil {
				return done, err
			}
			delete(found.Attached, row.Instance)
			done.Attached++
		case s.again(row):
			done.Prepared++
		default:
			ended = append(ended, lost(row, found.Lost[row.Instance]))
		}
	}
	for _, at := range found.Attached { // the row has ended, and its sandbox has not
		s.log.Warn("a sandbox without a runspace is destroyed", "instance", at.Instance.ID())
		at.Lease.Release()
	}
	done.Ended = len(ended)
	return done, s.bury(ctx, ended)
}

// lost is the row of a runspace that does not live on.
func lost(row remuda.Runspace, why string) remuda.Runspace {
	reason, now := "the server was restarted", remuda.Now()
	switch {
	case lives(row) && why != "":
		reason += " and its sandbox is gone: " + why
	case lives(row):
		reason += " while it was open, and its sandbox is gone"
	case row.Resets > 0:
		reason += " while it was being reset"
	default:
		reason += " while it was being prepared"
	}
	row.State, row.Error, row.ErrorCode, row.EndedAt = remuda.RunspaceError, reason, remuda.CodeUnavailable, &now
	return row
}

// bury records ends, in one transaction.
func (s *Service) bury(ctx context.Context, rows []remuda.Runspace) error {
	if len(rows) == 0 {
		return nil
	}
	return s.store.Write(ctx, func(tx *store.Tx) error {
		for _, row := range rows {
			if err := writeEnd(ctx, tx, row, remuda.Principal{}); err != nil {
				return err
			}
		}
		return nil
	})
}

// reopen goes on with a runspace whose instance was found.
func (s *Service) reopen(ctx context.Context, row remuda.Runspace, at Attached) error {
	last, ran, err := s.lastRun(ctx, row)
	if err != nil {
		return err
	}
	r := newRunspace(row, s.waiting)
	r.row.LastUsedAt = s.lastUse(row, last, remuda.Now())
	r.lease, r.inst, r.begun = at.Lease, at.Instance, ran || row.InitScript != "" || row.Connects()
	close(r.prepared)
	if able, ok := at.Instance.(engine.Resumer); ok {
		if execution, _, pending := able.Pending(); pending {
			s.resuming = append(s.resuming, r.holdLocked(execution))
		}
	}
	s.own(r)
	go func() {
		defer s.keepers.Done()
		// The setting may be another one by now. A sandbox that does not listen is
		// noticed below.
		bounded, cancel := context.WithTimeout(context.Background(), s.set.PrepareTimeout)
		if err := r.inst.SetLinger(bounded, s.set.Linger); err != nil {
			s.log.Warn("a sandbox could not be told how long to outlive its server", "runspace", r.id, "error", err)
		}
		cancel()
		s.keep(r, nil)
	}()
	return nil
}

// lastRun is when the last execution in a runspace began or ended, and whether there
// was one.
func (s *Service) lastRun(ctx context.Context, row remuda.Runspace) (at time.Time, ran bool, err error) {
	var list []remuda.Execution
	err = s.store.Read(ctx, func(tx *store.Tx) error {
		list, _, err = tx.Executions(ctx, row.Organization, remuda.ExecutionFilter{Runspace: row.ID}, remuda.Page{Limit: 1})
		return err
	})
	if err != nil || len(list) == 0 {
		return time.Time{}, false, err
	}
	last := list[0]
	switch {
	case last.EndedAt != nil:
		return *last.EndedAt, true, nil
	case last.StartedAt != nil:
		return *last.StartedAt, true, nil
	default:
		return last.CreatedAt, true, nil
	}
}

// lastUse is the last use of a runspace as far as it is known. Uses are noted every
// UsedEvery: one after the last note is taken to have been there, because what was
// busy must not be collected for our not having written that down.
func (s *Service) lastUse(row remuda.Runspace, run, now time.Time) time.Time {
	used := row.LastUsedAt.Add(s.set.UsedEvery)
	if run.After(used) {
		used = run
	}
	if used.After(now) {
		used = now
	}
	return used
}

// Resuming returns the executions that were found in the instances of earlier, once:
// what runs, or has ended without our knowing. Each is to be resumed or dropped, and
// released.
func (s *Service) Resuming() []*Hold {
	s.mu.Lock()
	defer s.mu.Unlock()
	holds := s.resuming
	s.resuming = nil
	return holds
}

// maxPreparing bounds how long a runspace may be in creation over several servers.
const maxPreparing = 10 * time.Minute

// again prepares a runspace from the beginning if nothing of the user's has run in
// it, and reports whether it does.
func (s *Service) again(row remuda.Runspace) bool {
	if row.State != remuda.RunspaceCreating || row.Instance != "" || row.Resets > 0 || row.Connects() || time.Since(row.CreatedAt) > maxPreparing {
		return false
	}
	// That its owner may use the runtime was found when it was accepted.
	p := remuda.Principal{User: row.Owner, Organization: row.Organization, Role: remuda.RoleMonitor, Scope: remuda.ScopeRead}
	rt, err := s.runtimes.Usable(p, string(row.Runtime))
	if err != nil {
		s.log.Info("a runspace that was being created cannot be prepared again", "runspace", row.ID, "error", err)
		return false
	}
	lease, err := s.pool.Reserve(Claim(row, rt.Definition))
	if err != nil {
		s.log.Info("a runspace that was being created cannot be prepared again", "runspace", row.ID, "error", err)
		return false
	}
	r := newRunspace(row, s.waiting)
	r.leased(lease)
	s.own(r)
	go func() {
		defer s.keepers.Done()
		s.keepNew(r)
	}()
	return true
}

// own makes r known, whatever the limits say: it was let in before.
func (s *Service) own(r *runspace) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open[r.id] = r
	s.keepers.Add(1)
}

// leave lets go of a runspace that is to live on, and reports whether it does. One
// that has not begun to be prepared is the next server's to prepare; one in the
// middle of it ends.
func (s *Service) leave(r *runspace) bool {
	row := r.state()
	switch {
	case row.State == remuda.RunspaceReady:
		if err := s.detach(r); err != nil {
			s.log.Warn("a sandbox cannot outlive its server and is ended", "runspace", r.id, "error", err)
			r.insteadEnd(ending{state: remuda.RunspaceClosed, reason: "the server was shut down, and its sandbox could not outlive it"})
			return false
		}
	case row.State == remuda.RunspaceCreating && row.Instance == "" && row.Resets == 0 && !row.Connects():
		if err := r.lease.Destroy(context.Background()); err != nil {
			s.log.Error("sandbox of a runspace could not be destroyed", "runspace", r.id, "error", err)
		}
	default:
		r.insteadEnd(ending{state: remuda.RunspaceError, reason: "the server was shut down while it was being prepared", code: remuda.CodeUnavailable})
		return false
	}
	r.unblock()
	close(r.gone) // it stays known: nobody may take its row for one that nobody owns
	return true
}

// detach lets go of the sandbox, waits until what runs in it has noticed and notes
// the last use.
func (s *Service) detach(r *runspace) error {
	inst := r.instance()
	able, ok := inst.(engine.Detacher)
	if !ok {
		return errors.New("its engine ends sandboxes with their server")
	}
	ctx, cancel := context.WithTimeout(context.Background(), releaseTimeout)
	defer cancel()
	r.setDetached(true) // before it is: what runs there must not take it for an end
	if err := able.Detach(ctx); err != nil {
		r.setDetached(false)
		return err
	}
	if !r.settle(releaseTimeout) {
		s.log.Error("an execution did not give its runspace back", "runspace", r.id)
	}
	if err := s.save(ctx, r.state(), "its last use could not be noted"); err != nil {
		s.log.Warn("the last use of a runspace could not be noted", "runspace", r.id, "error", err)
	}
	s.log.Info("runspace left to the next server", "runspace", r.id, "instance", inst.ID())
	return nil
}

func (r *runspace) setDetached(on bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.detached = on
}

// leaving says that the server lets go of r.
func (r *runspace) leaving() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.ending != nil && r.ending.leave
}

// insteadEnd is for a runspace that could not be let go of.
func (r *runspace) insteadEnd(e ending) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ending = &e
}

// Leave admits no more runspaces and lets go of the open ones: their sandboxes and
// what runs in them go on until another server's Recover takes them over, or for the
// linger time. It returns when nothing here has to do with them any more. Let the
// executions' Leave come first.
func (s *Service) Leave(ctx context.Context) error {
	return s.endAll(ctx, ending{leave: true, reason: "the server is shutting down"})
}
