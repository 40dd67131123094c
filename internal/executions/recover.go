package executions

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/remuda"
	"github.com/remuda-run/remuda/internal/runspaces"
	"github.com/remuda-run/remuda/internal/store"
)

// Recovery says what Recover has done.
type Recovery struct {
	Resumed int // go on, or have ended meanwhile and are being recorded
	Dropped int // ran in a runspace without anybody having been told of them
	Lost    int
}

// Recover takes over the executions that an earlier server left. What runs in a
// runspace that lives on is gone on with from the last record that is stored; the
// others are lost, with the reason. Call it after the runspaces' Recover and before
// serving.
func (s *Service) Recover(ctx context.Context) (done Recovery, err error) {
	var rows []remuda.Execution
	err = s.store.Read(ctx, func(tx *store.Tx) error {
		rows, err = tx.UnfinishedExecutions(ctx)
		return err
	})
	if err != nil {
		return done, err
	}
	unfinished := make(map[remuda.ExecutionID]remuda.Execution, len(rows))
	for _, row := range rows {
		unfinished[row.ID] = row
	}
	var dropping sync.WaitGroup
	defer patiently(&dropping)
	for _, hold := range s.runspaces.Resuming() {
		row, ok := unfinished[hold.Execution]
		if !ok || row.Organization != hold.Runspace.Organization || row.Runspace != hold.Runspace.ID {
			// Its end is recorded, or nobody was told of it.
			dropping.Add(1)
			s.runs.Go(func() {
				defer dropping.Done()
				s.throwAway(hold)
			})
			done.Dropped++
			continue
		}
		if err := s.goOn(ctx, hold, row); err != nil {
			return done, err
		}
		done.Resumed++
	}
	done.Lost, err = s.abandon(ctx, "the server was restarted while it ran", "the server was restarted before it started")
	return done, err
}

// dropPatience is how long a start waits until what nobody knows of is thrown away.
// Of most runspaces that is the end of their last execution, which takes no time;
// their next one should not be refused for it.
const dropPatience = time.Second

func patiently(wg *sync.WaitGroup) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		wg.Wait()
	}()
	timer := time.NewTimer(dropPatience)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
	}
}

// throwAway ends an execution that nobody knows of.
func (s *Service) throwAway(hold *runspaces.Hold) {
	ctx, cancel := context.WithTimeout(context.Background(), drainGrace)
	defer cancel()
	if err := hold.Instance.(engine.Resumer).Drop(ctx); err != nil && !errors.Is(err, engine.ErrDetached) {
		s.log.Warn("an execution of an earlier server could not be thrown away", "execution", hold.Execution, "instance", hold.Instance.ID(), "error", err)
		hold.Release(runspaces.Outcome{Ran: true, Dead: true, Reason: "what an earlier server had run in it could not be ended: " + remuda.Public(err)})
		return
	}
	hold.Drop()
}

// goOn takes over an execution whose row has no end.
func (s *Service) goOn(ctx context.Context, hold *runspaces.Hold, row remuda.Execution) error {
	var last, bytes int64
	err := s.store.Read(ctx, func(tx *store.Tx) (err error) {
		last, bytes, err = tx.OutputEnd(ctx, row.Organization, row.ID)
		return err
	})
	if err != nil {
		return err
	}
	r := &run{
		id: row.ID, p: remuda.Principal{User: row.Owner, Organization: row.Organization}, accepted: row.CreatedAt,
		req:   remuda.ExecutionRequest{Runspace: row.Runspace, Name: row.Name, Objects: row.Objects},
		place: inRunspace{hold}, def: hold.Definition, timings: row.Timings, got: hold.Instance, row: row, done: make(chan struct{}),
		birth: &birth{stored: true},
	}
	if r.timings == nil {
		r.timings = remuda.Timings{}
	}
	if row.State == remuda.ExecutionQueued { // it began, and that was not written down
		r.running(hold.Instance, nil)
		err := s.store.Write(ctx, func(tx *store.Tx) error { return tx.UpdateExecution(ctx, r.row) })
		if err != nil {
			return err
		}
	}
	hold.Since(*r.row.StartedAt)
	s.collect(r)
	r.out.resume(last, bytes)
	// The keeper has the limit of the request; this one is above it.
	left := max(0, time.Until(r.row.StartedAt.Add(r.def.ExecTimeout))) + s.set.Guard
	limited, stop := context.WithTimeout(context.Background(), left)
	limited, giveUp := context.WithCancelCause(limited)
	r.arm(giveUp, false)
	r.setInstance(r.got) // who knows of it can cancel it
	s.mu.Lock()
	s.live[r.id] = r
	s.mu.Unlock()
	s.metrics.ExecutionMoved("", r.row.State, r.def.Language)
	s.runs.Go(func() {
		defer stop()
		defer giveUp(nil)
		s.resume(limited, r, last)
	})
	return nil
}

// resume goes along with a script that an earlier server has started, to its end.
func (s *Service) resume(ctx context.Context, r *run, after int64) {
	defer r.arm(nil, false)
	s.log.Info("going on with an execution of an earlier server", "execution", r.id, "instance", r.got.ID(), "after", after)
	res, err := r.got.(engine.Resumer).Resume(ctx, s.request(r, r.def.ExecTimeout), after, r.out.add)
	r.setInstance(nil)
	if errors.Is(err, engine.ErrDetached) {
		s.letGo(r)
		return
	}
	if err != nil {
		res = s.broken(ctx, r, r.got, false, err)
		s.giveUp(ctx, r, &res)
	}
	s.finish(r, s.judge(r, res))
}

// giveUp throws away what could not be gone on with, so that the next script can run.
func (s *Service) giveUp(ctx context.Context, r *run, res *engine.Result) {
	able := r.got.(engine.Resumer)
	if _, _, pending := able.Pending(); !pending {
		return
	}
	if err := able.Drop(ctx); err != nil {
		s.log.Warn("an execution that could not be resumed could not be ended either", "execution", r.id, "instance", r.got.ID(), "error", err)
		res.Dead = true
	}
}

// letGo ends our part in an execution that goes on in a sandbox which the server has
// let go of. It stays known and as it is: its end is the next server's to record. What
// came of its output and is not stored will come again there.
func (s *Service) letGo(r *run) {
	if _, _, err := r.out.take(); err != nil {
		s.log.Error("output of an execution that goes on could not be stored", "execution", r.id, "error", err)
	}
	born, err := r.birth.await(context.Background())
	if err != nil || !born {
		r.mu.Lock()
		r.err = &remuda.Error{
			Code: remuda.CodeUnavailable, Message: "execution " + string(r.id) + " could not be recorded", Cause: remuda.Public(err),
			Remedy: "the server is shutting down; submit it again when it is back", RetryAfterSeconds: 5, Err: err,
		}
		r.mu.Unlock()
	}
	s.log.Info("execution left to the next server", "execution", r.id, "instance", r.got.ID())
	r.place.release(runspaces.Outcome{Ran: true})
	close(r.done)
}

// Leave admits no more executions and waits for the one-shot ones, as Drain does.
// Those in runspaces go on; they end here when the runspaces let go of their
// sandboxes, which is to come next. Those that wait for their turn are canceled.
func (s *Service) Leave(ctx context.Context) error {
	s.refuse()
	var waited []*run
	for _, r := range s.all() {
		switch row := r.snapshot(); {
		case row.Runspace == "":
			waited = append(waited, r)
		case row.State == remuda.ExecutionQueued:
			waited = append(waited, r)
			s.shutDown(r)
		}
	}
	return s.await(ctx, waited)
}
