package runspaces

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/remuda-run/remuda/internal/authz"
	"github.com/remuda-run/remuda/internal/remuda"
	"github.com/remuda-run/remuda/internal/store"
)

// Recover ends the runspaces that an earlier server left unfinished. Their
// sandboxes are gone: call it after the engine's Recover and before serving.
func (s *Service) Recover(ctx context.Context) (int, error) {
	return s.abandon(ctx, "the server was restarted while it was open")
}

// abandon moves every unfinished row that has no keeper to error, in one
// transaction.
func (s *Service) abandon(ctx context.Context, reason string) (n int, err error) {
	err = s.store.Write(ctx, func(tx *store.Tx) error {
		n = 0
		rows, err := tx.UnfinishedRunspaces(ctx)
		if err != nil {
			return err
		}
		for _, row := range rows {
			if s.find(row.Organization, row.ID) != nil {
				continue
			}
			now := remuda.Now()
			row.State, row.Error, row.EndedAt = remuda.RunspaceError, reason, &now
			if err := tx.UpdateRunspace(ctx, row); err != nil {
				return err
			}
			details := map[string]string{"change": "end", "state": string(row.State), "reason": reason}
			if err := tx.AppendAudit(ctx, entry(remuda.Principal{}, row, authz.RunspaceWrite, details)); err != nil {
				return err
			}
			n++
		}
		return nil
	})
	return n, err
}

// Run closes idle runspaces and repairs what could not be recorded, until ctx
// ends.
func (s *Service) Run(ctx context.Context) error {
	idle := time.NewTicker(s.set.SweepEvery)
	defer idle.Stop()
	orphans := time.NewTicker(s.set.OrphansEvery)
	defer orphans.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-idle.C:
			for _, r := range s.all() {
				r.endIfIdle(time.Now())
			}
		case <-orphans.C:
			s.repair(ctx)
		}
	}
}

// repair records ends that the store could not take before, and ends rows that
// nobody owns.
func (s *Service) repair(ctx context.Context) {
	for _, r := range s.all() {
		select {
		case <-r.gone:
			if s.record(r, r.snapshot()) == nil {
				s.drop(r)
			}
		default:
		}
	}
	n, err := s.abandon(ctx, "nothing in the server owned it any more")
	if err != nil && ctx.Err() == nil {
		s.log.Error("unowned runspaces could not be looked for", "error", err)
	}
	if n > 0 {
		s.log.Warn("runspaces that nothing owned were ended", "count", n)
	}
}

func (s *Service) all() []*runspace {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Values(s.open))
}

// Drain admits no more runspaces, closes the open ones and returns when all are
// gone or ctx ends. Drain the executions first.
func (s *Service) Drain(ctx context.Context) error {
	s.mu.Lock()
	s.draining = true
	s.mu.Unlock()
	for _, r := range s.all() {
		r.end(ending{state: remuda.RunspaceClosed, reason: "the server was shut down"})
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.keepers.Wait()
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return remuda.Errorf(remuda.CodeDeadline, "close the runspaces: %w", ctx.Err())
	}
}
