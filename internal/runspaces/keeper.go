package runspaces

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/remuda"
	"github.com/remuda-run/remuda/internal/store"
)

// releaseTimeout bounds how long an ending runspace waits for the record of what
// ran in it, once the sandbox is gone.
const releaseTimeout = 10 * time.Second

// keepNew is the life of a runspace that has no instance yet.
func (s *Service) keepNew(r *runspace) {
	s.keep(r, s.prepare(r))
}

// keep is the life of a runspace from the moment that it is ready, or could not be
// made so, to its end. It is watched, and reset when somebody asks for that.
func (s *Service) keep(r *runspace, err error) {
	for err == nil {
		if !s.watch(r) {
			break
		}
		err = s.renew(r)
	}
	if err != nil {
		s.log.Info("runspace could not be prepared", "runspace", r.id, "error", err)
		r.end(ending{state: remuda.RunspaceError, reason: remuda.Public(err), code: remuda.CodeOf(err)})
	}
	if r.leaving() && s.leave(r) {
		return
	}
	s.finish(r)
}

// prepare starts the instance, runs the scripts that come first and records that
// the runspace is ready.
func (s *Service) prepare(r *runspace) error {
	return s.timely(r, func(ctx context.Context) error {
		inst, err := r.lease.Start(ctx)
		if err != nil {
			return err
		}
		return s.equip(ctx, r, inst)
	})
}

// timely runs fn, which makes r ready. It gives up after PrepareTimeout, or when r
// is to end.
func (s *Service) timely(r *runspace, fn func(context.Context) error) error {
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
	err := fn(ctx)
	if err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return &remuda.Error{
			Code: remuda.CodeDeadline, Message: "it did not become ready within " + s.set.PrepareTimeout.String(),
			Remedy: "make its scripts shorter, or create it again when the server is less busy", Err: err,
		}
	}
	return err
}

// equip makes an instance that was just started what the runspace is to be.
func (s *Service) equip(ctx context.Context, r *runspace, inst engine.Instance) error {
	r.setInstance(inst)
	row := r.state()
	if row.InitScript != "" || row.Connects() {
		if err := s.begin(ctx, r, inst); err != nil {
			return err
		}
	}
	// The connection script comes first: nothing of the user's can listen to it.
	if err := s.connect(ctx, r, inst); err != nil {
		return err
	}
	if err := s.initialize(ctx, r, inst); err != nil {
		return err
	}
	return s.ready(ctx, r, inst)
}

// begin records that from here on something of the user's runs in the instance: a
// server that finds the row must not do it again.
func (s *Service) begin(ctx context.Context, r *runspace, inst engine.Instance) error {
	r.mu.Lock()
	r.begun = true
	r.row.Instance = inst.ID()
	r.mu.Unlock()
	return s.save(ctx, r.state(), "its scripts could not be recorded as begun")
}

func (s *Service) save(ctx context.Context, row remuda.Runspace, what string) error {
	err := s.store.Write(ctx, func(tx *store.Tx) error { return tx.UpdateRunspace(ctx, row) })
	if err != nil {
		return &remuda.Error{
			Code: remuda.CodeOf(err), Message: what, Cause: remuda.Public(err),
			Remedy: "create the runspace again when the server can write", Err: err,
		}
	}
	return nil
}

// ready records that the runspace can be used and lets others use it. First it is
// said how long the sandbox waits for another server: a row that is ready names an
// instance that may be found again.
func (s *Service) ready(ctx context.Context, r *runspace, inst engine.Instance) error {
	if err := s.linger(ctx, inst); err != nil {
		return err
	}
	row := r.state()
	if !row.State.CanBecome(remuda.RunspaceReady) {
		return remuda.Internal("preparing a runspace", fmt.Errorf("state %s cannot become ready", row.State))
	}
	row.State, row.Instance, row.LastUsedAt = remuda.RunspaceReady, inst.ID(), remuda.Now()
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.set.PrepareTimeout)
	defer cancel()
	if err := s.save(bounded, row, "it could not be recorded as ready"); err != nil {
		return err
	}
	r.opened(row)
	s.log.Debug("runspace ready", "runspace", r.id, "instance", row.Instance)
	return nil
}

func (s *Service) linger(ctx context.Context, inst engine.Instance) error {
	if err := inst.SetLinger(ctx, s.set.Linger); err != nil {
		return fmt.Errorf("let a sandbox outlive its server: %w", err)
	}
	return nil
}

// watch returns when the runspace is to be reset (true) or to end.
func (s *Service) watch(r *runspace) bool {
	inst := r.instance()
	for {
		select {
		case <-r.stop:
			return false
		case <-r.wake:
			if r.takeReset() {
				return true
			}
		case <-inst.Done():
			if r.takeReset() {
				return true // its workspace may be there all the same
			}
			s.died(r, inst)
			return false
		}
	}
}

// died asks for the end of a runspace whose sandbox has ended. What ran in it knows
// best why: it gets the time to say so.
func (s *Service) died(r *runspace, inst engine.Instance) {
	r.settle(releaseTimeout)
	reason := "the sandbox ended by itself"
	if exit := inst.Exit(); exit.Reason != "" {
		reason = exit.Reason
	} else if exit.KilledBy != remuda.KilledByNothing {
		reason = "the sandbox was killed: " + string(exit.KilledBy)
	}
	r.end(ending{state: remuda.RunspaceError, code: remuda.CodeUnavailable, reason: reason})
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

// interrupt ends what runs in r, gently first.
func (s *Service) interrupt(r *runspace, inst engine.Instance) {
	if r.settle(0) {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), releaseTimeout)
	defer cancel()
	if err := inst.Interrupt(ctx, remuda.KilledByCancel, s.set.CancelGrace); err != nil {
		s.log.Warn("what runs in a runspace could not be interrupted; its sandbox is destroyed", "runspace", r.id, "error", err)
	}
	r.settle(s.set.CancelGrace + time.Second)
}

// finish ends what runs, destroys the sandbox and records the end.
func (s *Service) finish(r *runspace) {
	if inst := r.instance(); inst != nil {
		s.interrupt(r, inst)
		s.disconnect(r)
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
	r.unblock()
	if r.recorded == nil {
		s.drop(r)
	}
	close(r.gone)
	s.log.Info("runspace ended", "runspace", r.id, "state", row.State, "reason", row.Error)
}

// unblock tells those who wait for r to be ready that it is not creating any more.
func (r *runspace) unblock() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.unblockLocked()
}

func (r *runspace) unblockLocked() {
	select {
	case <-r.prepared:
	default:
		close(r.prepared)
	}
}

// final is the row of the end that was asked for.
func (r *runspace) final() remuda.Runspace {
	r.mu.Lock()
	defer r.mu.Unlock()
	row, now := r.row, remuda.Now()
	row.State, row.Error, row.ErrorCode, row.EndedAt = r.ending.state, r.ending.reason, r.ending.code, &now
	return row
}
