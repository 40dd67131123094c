package executions

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/remuda-run/remuda/internal/remuda"
	"github.com/remuda-run/remuda/internal/store"
)

// drainGrace bounds how long Drain waits for what it has canceled.
const drainGrace = 10 * time.Second

// abandon marks every unfinished row that nobody owns as lost, in one
// transaction.
func (s *Service) abandon(ctx context.Context, ran, waited string) (n int, err error) {
	unowned, err := s.unowned(ctx)
	if err != nil || len(unowned) == 0 {
		return 0, err
	}
	err = s.store.Write(ctx, func(tx *store.Tx) error {
		n = 0
		rows, err := tx.UnfinishedExecutions(ctx)
		if err != nil {
			return err
		}
		for _, row := range rows {
			if !unowned[row.ID] {
				continue
			}
			reason := ran
			if row.State == remuda.ExecutionQueued {
				reason = waited
			} else if row.Runspace != "" {
				reason += whyGone(ctx, tx, row)
			}
			if err := lose(ctx, tx, row, reason); err != nil {
				return err
			}
			n++
		}
		return nil
	})
	return n, err
}

// unowned are the executions without an end that nobody here cares for. One whose end
// was recorded while we looked is among them, and has an end in the next transaction.
func (s *Service) unowned(ctx context.Context) (map[remuda.ExecutionID]bool, error) {
	var rows []remuda.Execution
	err := s.store.Read(ctx, func(tx *store.Tx) (err error) {
		rows, err = tx.UnfinishedExecutions(ctx)
		return err
	})
	found := map[remuda.ExecutionID]bool{}
	for _, row := range rows {
		if !s.owns(row.ID) {
			found[row.ID] = true
		}
	}
	return found, err
}

// lose ends an execution whose end nobody saw.
func lose(ctx context.Context, tx *store.Tx, row remuda.Execution, reason string) error {
	now := remuda.Now()
	row.State, row.Reason, row.EndedAt = remuda.ExecutionLost, reason, &now
	if err := tx.UpdateExecution(ctx, row); err != nil {
		return err
	}
	details := map[string]string{"change": "end", "state": string(row.State), "reason": reason}
	return tx.AppendAudit(ctx, entry(remuda.Principal{Organization: row.Organization}, row.ID, details))
}

// whyGone is what is known of the end of the runspace that an execution ran in.
func whyGone(ctx context.Context, tx *store.Tx, row remuda.Execution) string {
	rs, err := tx.Runspace(ctx, row.Organization, row.Runspace)
	switch {
	case err != nil:
		return ""
	case rs.State.Final() && rs.Error != "":
		return "; its runspace has ended: " + rs.Error
	default:
		return "; its runspace lives on, and does not know of it"
	}
}

func (s *Service) owns(id remuda.ExecutionID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.live[id] != nil
}

// Run repairs what could not be recorded and deletes what is not kept, until ctx ends.
// Executions need no other care: each has its own goroutine and its own time limit.
// The last scripts of the server's own end with it: those of runspaces that end, for
// which Drain does not wait. When it returns no goroutine of the service is left, but
// for those of executions that would not end in Drain's time.
func (s *Service) Run(ctx context.Context) error {
	idle := s.hands.lend(ctx)
	defer s.rest(idle)
	defer s.endSystems()
	var beside sync.WaitGroup
	defer beside.Wait()
	beside.Go(func() { s.forgetting(ctx) })
	orphans := time.NewTicker(s.set.OrphansEvery)
	defer orphans.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-orphans.C:
			s.repair(ctx)
			s.forgetKeys(ctx)
		}
	}
}

// repair records ends that the store could not take before, and ends rows that
// nobody owns.
func (s *Service) repair(ctx context.Context) {
	for _, r := range s.all() {
		r.mu.Lock()
		end := r.unsaved
		r.mu.Unlock()
		if end == nil {
			continue
		}
		err := s.store.Write(ctx, func(tx *store.Tx) error {
			return r.recordEnd(tx, &end.row, end.rest, end.at, false)
		})
		if err == nil {
			s.drop(r)
		}
	}
	n, err := s.abandon(ctx, "nothing in the server owned it any more", "nothing in the server owned it any more")
	if err != nil && ctx.Err() == nil {
		s.log.Error("unowned executions could not be looked for", "error", err)
	}
	if n > 0 {
		s.log.Warn("executions that nothing owned were marked as lost", "count", n)
	}
}

func (s *Service) all() []*run {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Values(s.live))
}

// Drain admits no more executions and waits for the ones that run. When ctx ends
// first it cancels them, and waits a little for that.
func (s *Service) Drain(ctx context.Context) error {
	s.refuse()
	if err := s.await(ctx, s.all()); err != nil {
		return err
	}
	s.runs.Wait() // what is left to do after an end waits for nobody but the store
	return nil
}

// rest waits for what goes on after the last end: clean-up of what an execution ran
// in, and, by idle, goroutines that wait for work.
func (s *Service) rest(idle func()) {
	s.refuse()
	s.soon.end()
	s.later.end()
	now, over := context.WithCancel(context.Background())
	over()
	if !ended(now, s.all()) {
		s.log.Error("executions that did not end are left to their sandboxes' end")
		return
	}
	s.runs.Wait()
	idle()
}

func (s *Service) refuse() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.draining = true
}

// await returns when the runs have ended. When ctx ends first it cancels them, and
// waits a little for that.
func (s *Service) await(ctx context.Context, runs []*run) error {
	if ended(ctx, runs) {
		return nil
	}
	for _, r := range runs {
		s.shutDown(r)
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainGrace)
	defer cancel()
	if !ended(grace, runs) {
		return remuda.Errorf(remuda.CodeDeadline, "executions did not end within %s after they were canceled", drainGrace)
	}
	return nil
}

// shutDown cancels a run because the server goes.
func (s *Service) shutDown(r *run) {
	if err := r.cancel(context.Background(), "the server was shut down", s.set.CancelGrace); err != nil && remuda.CodeOf(err) != remuda.CodeConflict {
		s.log.Warn("an execution could not be interrupted", "execution", r.id, "error", err)
	}
}

// ended waits for runs, and says whether all have ended when ctx has.
func ended(ctx context.Context, runs []*run) bool {
	for _, r := range runs {
		select {
		case <-r.done:
			continue
		default:
		}
		select {
		case <-r.done:
		case <-ctx.Done():
			return false
		}
	}
	return true
}
