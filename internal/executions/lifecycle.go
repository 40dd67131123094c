package executions

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/remuda-run/remuda/internal/remuda"
	"github.com/remuda-run/remuda/internal/store"
)

// drainGrace bounds how long Drain waits for what it has canceled.
const drainGrace = 10 * time.Second

// Recover marks the executions that an earlier server left unfinished as lost.
// Their sandboxes are gone: call it after the engine's Recover and before
// serving.
func (s *Service) Recover(ctx context.Context) (int, error) {
	return s.abandon(ctx, "the server was restarted while it ran", "the server was restarted before it started")
}

// abandon marks every unfinished row that nobody owns as lost, in one
// transaction.
func (s *Service) abandon(ctx context.Context, ran, waited string) (n int, err error) {
	err = s.store.Write(ctx, func(tx *store.Tx) error {
		n = 0
		rows, err := tx.UnfinishedExecutions(ctx)
		if err != nil {
			return err
		}
		for _, row := range rows {
			if s.find(row.Organization, row.ID) != nil {
				continue
			}
			now := remuda.Now()
			reason := ran
			if row.State == remuda.ExecutionQueued {
				reason = waited
			}
			row.State, row.Reason, row.EndedAt = remuda.ExecutionLost, reason, &now
			if err := tx.UpdateExecution(ctx, row); err != nil {
				return err
			}
			details := map[string]string{"change": "end", "state": string(row.State), "reason": reason}
			if err := tx.AppendAudit(ctx, entry(remuda.Principal{Organization: row.Organization}, row.ID, details)); err != nil {
				return err
			}
			n++
		}
		return nil
	})
	return n, err
}

// Run repairs what could not be recorded, until ctx ends. Executions need no
// other care: each has its own goroutine and its own time limit.
func (s *Service) Run(ctx context.Context) error {
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
	s.mu.Lock()
	s.draining = true
	s.mu.Unlock()
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.runs.Wait()
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
	}
	for _, r := range s.all() {
		if err := r.cancel(context.Background(), "the server was shut down", s.set.CancelGrace); err != nil && remuda.CodeOf(err) != remuda.CodeConflict {
			s.log.Warn("an execution could not be interrupted", "execution", r.id, "error", err)
		}
	}
	timer := time.NewTimer(drainGrace)
	defer timer.Stop()
	select {
	case <-done:
		return nil
	case <-timer.C:
		return remuda.Errorf(remuda.CodeDeadline, "executions did not end within %s after they were canceled", drainGrace)
	}
}
