package runspaces

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/remuda-run/remuda/internal/remuda"
	"github.com/remuda-run/remuda/internal/store"
)

// Run closes runspaces that are idle, have run for too long or have lost their
// session, notes uses and repairs what could not be recorded, until ctx ends.
func (s *Service) Run(ctx context.Context) error {
	every := func(d time.Duration) (<-chan time.Time, func()) {
		t := time.NewTicker(d)
		return t.C, t.Stop
	}
	times, stopTimes := every(s.set.SweepEvery)
	defer stopTimes()
	sessions, stopSessions := every(s.set.SessionsEvery)
	defer stopSessions()
	uses, stopUses := every(s.set.UsedEvery)
	defer stopUses()
	orphans, stopOrphans := every(s.set.OrphansEvery)
	defer stopOrphans()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-times:
			s.sweepTimes(time.Now())
		case <-sessions:
			s.sweepSessions(ctx)
		case <-uses:
			s.noteUses(ctx)
		case <-orphans:
			s.repair(ctx)
		}
	}
}

// sweepTimes ends what is idle, or has run for too long.
func (s *Service) sweepTimes(now time.Time) {
	for _, r := range s.all() {
		s.follow(r)
		r.endIfIdle(now)
		r.endIfOvertime(now)
	}
}

// sweepSessions ends the runspaces whose session has gone, when nothing runs in
// them. A terminal does not keep one: whoever sits at it was logged out.
func (s *Service) sweepSessions(ctx context.Context) {
	if s.set.Sessions == nil {
		return
	}
	of := map[remuda.TokenID][]*runspace{}
	for _, r := range s.all() {
		if session := r.idleSession(); session != "" {
			of[session] = append(of[session], r)
		}
	}
	if len(of) == 0 {
		return
	}
	living, err := s.set.Sessions.Living(ctx, slices.Collect(maps.Keys(of)))
	if err != nil {
		if ctx.Err() == nil {
			s.log.Error("the sessions of runspaces could not be looked for", "error", err)
		}
		return
	}
	for session, list := range of {
		if living[session] {
			continue
		}
		for _, r := range list {
			r.endWithSession()
		}
	}
}

// idleSession is the session of a runspace in which nothing runs, else "".
func (r *runspace) idleSession() remuda.TokenID {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ending != nil || r.running != "" || r.transfer > 0 {
		return ""
	}
	return r.row.Session
}

func (r *runspace) endWithSession() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.running == "" && r.transfer == 0 {
		r.endLocked(ending{state: remuda.RunspaceClosed, reason: "the session that it belonged to has ended"})
	}
}

// noteUses stores when runspaces were used last, for a server that has to go on
// counting.
func (s *Service) noteUses(ctx context.Context) {
	var rows []remuda.Runspace
	for _, r := range s.all() {
		if row, changed := r.use(); changed {
			rows = append(rows, row)
		}
	}
	if len(rows) == 0 {
		return
	}
	err := s.store.Write(ctx, func(tx *store.Tx) error {
		for _, row := range rows {
			if err := tx.NoteUse(ctx, row.Organization, row.ID, row.LastUsedAt); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil && ctx.Err() == nil {
		s.log.Warn("the last uses of runspaces could not be noted", "runspaces", len(rows), "error", err)
	}
}

// use is the row with its last use, and whether that is newer than what was noted. What
// is used now was used now.
func (r *runspace) use() (remuda.Runspace, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.row.State != remuda.RunspaceReady || r.ending != nil {
		return remuda.Runspace{}, false
	}
	if r.busyLocked() {
		r.row.LastUsedAt = remuda.Now()
	}
	changed := r.row.LastUsedAt.After(r.noted)
	r.noted = r.row.LastUsedAt
	return r.row, changed
}

// repair records ends that the store could not take before, and ends rows that
// nobody owns.
func (s *Service) repair(ctx context.Context) {
	for _, r := range s.all() {
		select {
		case <-r.gone:
			if !r.leaving() && s.record(r, r.snapshot()) == nil {
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
			if s.owns(row.ID) {
				continue
			}
			now := remuda.Now()
			row.State, row.Error, row.ErrorCode, row.EndedAt = remuda.RunspaceError, reason, remuda.CodeInternal, &now
			if err := writeEnd(ctx, tx, row, remuda.Principal{}); err != nil {
				return err
			}
			n++
		}
		return nil
	})
	return n, err
}

func (s *Service) owns(id remuda.RunspaceID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.open[id] != nil
}

func (s *Service) all() []*runspace {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Values(s.open))
}

// Drain admits no more runspaces, closes the open ones and returns when all are
// gone or ctx ends. Drain the executions first.
func (s *Service) Drain(ctx context.Context) error {
	return s.endAll(ctx, ending{state: remuda.RunspaceClosed, reason: "the server was shut down"})
}

// endAll ends every runspace and waits for the keepers.
func (s *Service) endAll(ctx context.Context, e ending) error {
	s.mu.Lock()
	s.draining = true
	s.mu.Unlock()
	for _, r := range s.all() {
		r.end(e)
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
