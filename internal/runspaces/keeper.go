package runspaces

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/remuda-run/remuda/internal/authz"
	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/remuda"
	"github.com/remuda-run/remuda/internal/store"
)

// releaseTimeout bounds how long an ending runspace waits for the record of what
// ran in it, once the sandbox is gone.
const releaseTimeout = 10 * time.Second

// keep is the life of a runspace, from its row to its end.
func (s *Service) keep(r *runspace) {
	if err := s.prepare(r); err != nil {
		s.log.Info("runspace could not be prepared", "runspace", r.id, "error", err)
		r.end(ending{state: remuda.RunspaceError, reason: remuda.Public(err)})
	} else {
		s.watch(r)
	}
	s.finish(r)
}

// prepare starts the instance, runs the init script and records that the
// runspace is ready. It gives up after PrepareTimeout, or when r is to end.
func (s *Service) prepare(r *runspace) error {
	var stopper sync.WaitGroup
	defer stopper.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), s.set.PrepareTimeout)
	defer cancel()
	stopper.Go(func() {
		select {
		case <-r.stop:
			cancel()
		case <-ctx.Done():
		}
	})
	inst, err := r.lease.Start(ctx)
	if err == nil {
		err = s.initialize(ctx, r, inst)
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return &remuda.Error{Code: remuda.CodeDeadline, Message: "it did not become ready within " + s.set.PrepareTimeout.String(), Err: err}
	}
	if err != nil {
		return err
	}
	return s.ready(r, inst)
}

// initialize runs the init script, if there is one.
func (s *Service) initialize(ctx context.Context, r *runspace, inst engine.Instance) error {
	row := r.snapshot()
	if row.InitScript == "" {
		return nil
	}
	var last tail
	res, err := inst.Execute(ctx, engine.Request{
		ID: remuda.NewExecutionID(), Script: row.InitScript, Name: "init_script", Env: row.Env,
		Timeout: r.lease.Definition().ExecTimeout, OutputLimit: 1 << 20,
	}, last.add)
	if err != nil {
		return &remuda.Error{Code: remuda.CodeOf(err), Message: "the init script could not be run", Cause: remuda.Public(err), Err: err}
	}
	r.mu.Lock()
	r.used = true
	r.mu.Unlock()
	switch {
	case res.State != remuda.ExecutionSuccess:
		return &remuda.Error{Code: remuda.CodePrecondition, Message: "the init script failed: " + outcome(res) + last.text()}
	case res.Dead:
		return &remuda.Error{Code: remuda.CodePrecondition, Message: "the init script ended the sandbox: " + outcome(res)}
	}
	return nil
}

// outcome says in words how a script ended that did not succeed.
func outcome(res engine.Result) string {
	switch {
	case res.Error != nil:
		return strings.TrimSuffix(res.Error.Type+": "+res.Error.Message, ": ")
	case res.Reason != "":
		return res.Reason
	case res.ExitCode != nil:
		return fmt.Sprintf("exit code %d", *res.ExitCode)
	default:
		return "it ended in state " + string(res.State)
	}
}

// tail keeps the end of the standard error of an init script.
type tail struct{ data []byte }

const maxTail = 1024

func (t *tail) add(rec remuda.OutputRecord) error {
	if rec.Stream == remuda.StreamStderr {
		t.data = append(t.data, rec.Data...)
		t.data = t.data[max(0, len(t.data)-maxTail):]
	}
	return nil
}

func (t *tail) text() string {
	text := strings.TrimSpace(strings.ToValidUTF8(string(t.data), "?"))
	if text == "" {
		return ""
	}
	return "; the end of its standard error: " + text
}

// ready records that the runspace can be used and lets others use it.
func (s *Service) ready(r *runspace, inst engine.Instance) error {
	row := r.snapshot()
	if !row.State.CanBecome(remuda.RunspaceReady) {
		return remuda.Internal("preparing a runspace", fmt.Errorf("state %s cannot become ready", row.State))
	}
	row.State, row.Instance, row.LastUsedAt = remuda.RunspaceReady, inst.ID(), remuda.Now()
	ctx, cancel := context.WithTimeout(context.Background(), s.set.PrepareTimeout)
	defer cancel()
	if err := s.store.Write(ctx, func(tx *store.Tx) error { return tx.UpdateRunspace(ctx, row) }); err != nil {
		return &remuda.Error{Code: remuda.CodeOf(err), Message: "it could not be recorded as ready", Cause: remuda.Public(err), Err: err}
	}
	r.mu.Lock()
	r.row, r.inst = row, inst
	r.mu.Unlock()
	close(r.prepared)
	s.log.Debug("runspace ready", "runspace", r.id, "instance", row.Instance)
	return nil
}

// watch returns when the runspace is to end, for whatever reason.
func (s *Service) watch(r *runspace) {
	select {
	case <-r.stop:
	case <-r.inst.Done():
		// What ran in it knows best why: give it the time to say so.
		r.settle(releaseTimeout)
		reason := "the sandbox ended by itself"
		if exit := r.inst.Exit(); exit.Reason != "" {
			reason = exit.Reason
		} else if exit.KilledBy != remuda.KilledByNothing {
			reason = "the sandbox was killed: " + string(exit.KilledBy)
		}
		r.end(ending{state: remuda.RunspaceError, reason: reason})
	}
}

// settle waits until nothing runs in r, at most d, and says whether that is so.
func (r *runspace) settle(d time.Duration) bool {
	r.mu.Lock()
	running, released := r.running, r.released
	r.mu.Unlock()
	if running == "" {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-released:
		return true
	case <-timer.C:
		return false
	}
}

// finish ends what runs, destroys the sandbox and records the end.
func (s *Service) finish(r *runspace) {
	if r.inst != nil && !r.settle(0) {
		ctx, cancel := context.WithTimeout(context.Background(), releaseTimeout)
		if err := r.inst.Interrupt(ctx, remuda.KilledByCancel, s.set.CancelGrace); err != nil {
			s.log.Warn("what runs in an ending runspace could not be interrupted; its sandbox is destroyed", "runspace", r.id, "error", err)
		}
		cancel()
		r.settle(s.set.CancelGrace + time.Second)
	}
	// The pool bounds and repeats the destruction by itself.
	if err := r.lease.Destroy(context.Background()); err != nil {
		s.log.Error("sandbox of a runspace could not be destroyed", "runspace", r.id, "error", err)
	}
	if !r.settle(releaseTimeout) {
		s.log.Error("an execution did not give its runspace back", "runspace", r.id)
	}
	row := r.final()
	r.recorded = s.record(r, row)
	r.mu.Lock()
	r.row = row
	r.mu.Unlock()
	select {
	case <-r.prepared:
	default:
		close(r.prepared)
	}
	if r.recorded == nil {
		s.drop(r)
	}
	close(r.gone)
	s.log.Info("runspace ended", "runspace", r.id, "state", row.State, "reason", row.Error)
}

// final is the row of the end that was asked for.
func (r *runspace) final() remuda.Runspace {
	r.mu.Lock()
	defer r.mu.Unlock()
	row, now := r.row, remuda.Now()
	row.State, row.Error, row.EndedAt = r.ending.state, r.ending.reason, &now
	return row
}

// record writes the end of a runspace. A store that cannot write now is asked
// again a few times; after that the sweeper goes on trying (see sweep).
func (s *Service) record(r *runspace, row remuda.Runspace) error {
	details := map[string]string{"change": "end", "state": string(row.State), "reason": row.Error}
	var err error
	for attempt := range 3 {
		if attempt > 0 {
			time.Sleep(time.Duration(attempt) * 200 * time.Millisecond)
		}
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		err = s.store.Write(ctx, func(tx *store.Tx) error {
			if err := tx.UpdateRunspace(ctx, row); err != nil {
				return err
			}
			return tx.AppendAudit(ctx, entry(r.ending.by, row, authz.RunspaceWrite, details))
		})
		cancel()
		if err == nil || remuda.CodeOf(err) == remuda.CodeConflict {
			return nil // a conflict: the row has ended already
		}
	}
	s.log.Error("the end of a runspace could not be recorded", "runspace", r.id, "error", err)
	return err
}
