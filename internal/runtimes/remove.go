package runtimes

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/remuda-run/remuda/internal/authz"
	"github.com/remuda-run/remuda/internal/pool"
	"github.com/remuda-run/remuda/internal/remuda"
	"github.com/remuda-run/remuda/internal/store"
)

// Tenant has work on runtimes that a deletion may have to end.
type Tenant interface {
	// EndRuntime asks everything on a runtime to end, for a reason. It does not
	// wait.
	EndRuntime(p remuda.Principal, runtime remuda.RuntimeID, reason string)
}

// SetTenants says who has work on runtimes. Call it before the first request.
func (s *Service) SetTenants(tenants ...Tenant) { s.tenants = tenants }

// DeleteRuntime removes a runtime. When it returns, its warm instances are gone,
// and layers that nothing else needs.
func (s *Service) DeleteRuntime(ctx context.Context, p remuda.Principal, ref string, how remuda.Deletion) error {
	if err := s.checkDeletion(how); err != nil {
		return err
	}
	if how.Drain > 0 {
		marked, err := s.mark(p, ref)
		if err != nil {
			return err
		}
		defer s.unmark(marked.ID) // unless it is gone by then
		if err := s.drain(ctx, p, marked, how.Drain); err != nil {
			return err
		}
	}
	rec, retired, err := s.removeUnused(ctx, p, ref, how)
	if err != nil {
		return err
	}
	if err := retired.Wait(ctx); err != nil {
		s.log.Warn("did not wait for the removed runtime's warm instances", "runtime", rec.ID, "error", err)
	}
	if rec.built.Layer != "" || rec.Build.Layer != "" {
		s.collect(context.WithoutCancel(ctx))
	}
	return nil
}

func (s *Service) checkDeletion(how remuda.Deletion) error {
	switch {
	case how.Drain < 0 || how.Drain > s.set.MaxDrain:
		return remuda.Invalid(remuda.FieldError{Field: "drain", Message: fmt.Sprintf("must be between 0 and %s", s.set.MaxDrain)})
	case how.Drain > 0 && how.RefuseIfBusy:
		return remuda.Invalid(remuda.FieldError{Field: "refuse_if_busy", Message: "must not be given together with drain: one refuses what the other waits for"})
	}
	return nil
}

// drain lets what runs on a runtime that is marked end, and ends what has not after
// d.
func (s *Service) drain(ctx context.Context, p remuda.Principal, rec *record, d time.Duration) error {
	patient, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	if s.pool.AwaitUnheld(patient, rec.ID) == nil {
		return nil
	}
	if ctx.Err() != nil {
		return remuda.Errorf(remuda.CodeCanceled, "wait for what runs on the runtime, which stays: %w", ctx.Err())
	}
	s.log.Info("ending what runs on a runtime that is being deleted", "runtime", rec.ID, "after", d, "request", p.RequestID)
	for _, t := range s.tenants {
		t.EndRuntime(p, rec.ID, "its runtime was deleted")
	}
	final, stop := context.WithTimeout(ctx, endTimeout)
	defer stop()
	if err := s.pool.AwaitUnheld(final, rec.ID); err != nil {
		return &remuda.Error{
			Code: remuda.CodeDeadline, Message: fmt.Sprintf("runtime %q was not deleted", rec.Name),
			Cause:  fmt.Sprintf("what ran on it did not end within %s after it was asked to", endTimeout),
			Remedy: "try again; the server's log says more", Err: err,
		}
	}
	return nil
}

// recordedAgain is how often a deletion looks whether ends are recorded.
const recordedAgain = 10 * time.Millisecond

// endTimeout bounds how long the end of what was asked to end is waited for.
const endTimeout = 30 * time.Second

// mark makes a runtime one that is being deleted: nothing new begins on it until it
// is gone, or unmark.
func (s *Service) mark(p remuda.Principal, ref string) (*record, error) {
	s.changes.Lock()
	defer s.changes.Unlock()
	old, err := s.own(p, authz.RuntimeWrite, ref)
	if err != nil {
		return nil, err
	}
	rec := *old
	rec.deleting = true
	s.catalog.put(&rec)
	return &rec, nil
}

func (s *Service) unmark(id remuda.RuntimeID) {
	s.changes.Lock()
	defer s.changes.Unlock()
	if old := s.catalog.get(id); old != nil {
		rec := *old
		rec.deleting = false
		s.catalog.put(&rec)
	}
}

// removeUnused removes a runtime. After a drain it waits for the ends of runspaces to
// be recorded, which is a moment after their instances are gone.
func (s *Service) removeUnused(ctx context.Context, p remuda.Principal, ref string, how remuda.Deletion) (*record, *pool.Retirement, error) {
	for late := time.Now().Add(endTimeout); ; {
		rec, retired, err := s.remove(ctx, p, ref, how)
		if how.Drain == 0 || !errors.Is(err, errInUse) || time.Now().After(late) {
			return rec, retired, err
		}
		select {
		case <-time.After(recordedAgain):
		case <-ctx.Done():
			return nil, nil, err
		}
	}
}

func (s *Service) remove(ctx context.Context, p remuda.Principal, ref string, how remuda.Deletion) (rec *record, retired *pool.Retirement, err error) {
	s.changes.Lock()
	defer s.changes.Unlock()
	if rec, err = s.resolve(p, ref); err != nil {
		return nil, nil, err
	}
	if err := authz.Check(p, authz.RuntimeWrite, rec.Organization); err != nil {
		return nil, nil, err
	}
	if rec.deleting != (how.Drain > 0) {
		return nil, nil, errDeleting(rec)
	}
	if how.RefuseIfBusy {
		if n := s.pool.Held(rec.ID); n > 0 {
			return nil, nil, errUsed(rec, fmt.Sprintf("%d instances of it are in use", n), "wait for what runs on it to end, or give it a time with drain")
		}
	}
	err = s.store.Write(ctx, func(tx *store.Tx) error {
		if err := refuseWhileUsed(ctx, tx, rec); err != nil {
			return err
		}
		if err := tx.DeleteRuntime(ctx, rec.Organization, rec.ID); err != nil {
			return err
		}
		return tx.AppendAudit(ctx, entry(p, rec.Organization, rec.ID, remuda.Now(), map[string]string{"change": "delete", "name": rec.Name}))
	})
	if err != nil {
		return rec, nil, err
	}
	s.builder.end(rec.ID)
	s.catalog.remove(rec.ID)
	s.log.Info("runtime deleted", "runtime", rec.ID, "name", rec.Name, "request", p.RequestID)
	return rec, s.pool.Retire(rec.ID), nil
}

// refuseWhileUsed is a conflict when open runspaces use the runtime. Runspaces
// are inserted in a transaction that looks for their runtime, so none can slip
// in between this and the removal.
func refuseWhileUsed(ctx context.Context, tx *store.Tx, rec *record) error {
	open, err := tx.UnfinishedRunspaces(ctx)
	if err != nil {
		return err
	}
	used := 0
	for _, rs := range open {
		if rs.Runtime == rec.ID {
			used++
		}
	}
	switch used {
	case 0:
		return nil
	case 1:
		return errUsed(rec, "1 open runspace uses it", "delete it first, wait until it is closed, or give it a time with drain")
	default:
		return errUsed(rec, fmt.Sprintf("%d open runspaces use it", used), "delete them first, wait until they are closed, or give them a time with drain")
	}
}

// errInUse is behind the refusal to delete what is in use.
var errInUse = errors.New("the runtime is in use")

func errUsed(rec *record, cause, remedy string) error {
	return &remuda.Error{Code: remuda.CodeConflict, Message: fmt.Sprintf("runtime %q cannot be deleted", rec.Name), Cause: cause, Remedy: remedy, Err: errInUse}
}
