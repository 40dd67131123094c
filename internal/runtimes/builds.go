package runtimes

import (
	"context"
	"time"

	"github.com/remuda-run/remuda/internal/authz"
	"github.com/remuda-run/remuda/internal/remuda"
	"github.com/remuda-run/remuda/internal/store"
)

// ListBuilds lists the builds of a runtime, newest first.
func (s *Service) ListBuilds(ctx context.Context, p remuda.Principal, ref string, page remuda.Page) (list []remuda.Build, next string, err error) {
	rec, err := s.readable(p, ref)
	if err != nil {
		return nil, "", err
	}
	err = s.store.Read(ctx, func(tx *store.Tx) error {
		list, next, err = tx.Builds(ctx, rec.Organization, rec.ID, page)
		return err
	})
	return list, next, err
}

// GetBuild returns the build of a generation.
func (s *Service) GetBuild(ctx context.Context, p remuda.Principal, ref string, number int) (b remuda.Build, err error) {
	rec, err := s.readable(p, ref)
	if err != nil {
		return remuda.Build{}, err
	}
	err = s.store.Read(ctx, func(tx *store.Tx) error {
		b, err = tx.Build(ctx, rec.Organization, remuda.GenerationKey{Runtime: rec.ID, Number: number})
		return err
	})
	return b, err
}

// readable resolves a runtime whose builds p may read.
func (s *Service) readable(p remuda.Principal, ref string) (*record, error) {
	rec, err := s.resolve(p, ref)
	if err != nil {
		return nil, err
	}
	return rec, authz.Check(p, authz.BuildRead, rec.Organization)
}

// Bounds of one page of a build's log.
const (
	defaultLogPage = 1 << 20
	maxLogPage     = 8 << 20
	maxLogWait     = 5 * time.Minute
)

// BuildLog returns records of a build's log with numbers above after, at most
// maxBytes of data (but one record at least), and the build as it is together with
// them. With wait it blocks until there is something new or the build has ended.
func (s *Service) BuildLog(ctx context.Context, p remuda.Principal, ref string, number int, after int64, maxBytes int, wait time.Duration) (remuda.OutputPage, remuda.Build, error) {
	rec, err := s.readable(p, ref)
	if err != nil {
		return remuda.OutputPage{}, remuda.Build{}, err
	}
	if after < 0 {
		return remuda.OutputPage{}, remuda.Build{}, remuda.Invalid(remuda.FieldError{Field: "after", Message: "must not be negative"})
	}
	if maxBytes <= 0 {
		maxBytes = defaultLogPage
	}
	key := remuda.GenerationKey{Runtime: rec.ID, Number: number}
	var more <-chan struct{}
	if j := s.builder.of(rec.ID); j != nil && wait > 0 {
		more = j.log.more() // before the look, so that nothing is missed in between
	}
	page, build, err := s.logPage(ctx, rec.Organization, key, after, min(maxBytes, maxLogPage))
	if err != nil || more == nil || page.Ended || len(page.Records) > 0 {
		return page, build, err
	}
	timer := time.NewTimer(min(wait, maxLogWait))
	defer timer.Stop()
	select {
	case <-more:
	case <-timer.C:
	case <-ctx.Done():
		return page, build, remuda.Errorf(remuda.CodeCanceled, "wait for the log of the build, which goes on: %w", ctx.Err())
	}
	return s.logPage(ctx, rec.Organization, key, after, min(maxBytes, maxLogPage))
}

// logPage reads a part of a log and its build in one snapshot.
func (s *Service) logPage(ctx context.Context, org remuda.OrganizationID, key remuda.GenerationKey, after int64, maxBytes int) (page remuda.OutputPage, build remuda.Build, err error) {
	page.Next = after
	err = s.store.Read(ctx, func(tx *store.Tx) error {
		if build, err = tx.Build(ctx, org, key); err != nil {
			return err
		}
		if page.Records, err = tx.BuildLog(ctx, org, key, after, maxBytes); err != nil {
			return err
		}
		if n := len(page.Records); n > 0 {
			page.Next = page.Records[n-1].Seq
		}
		if build.Status == remuda.RuntimeBusy {
			return nil
		}
		last, _, err := tx.BuildLogEnd(ctx, org, key)
		page.Ended = last <= page.Next
		return err
	})
	return page, build, err
}

// RebuildRuntime makes the next generation of a runtime whose definition stays as
// it is. With refresh the interpreter and what is installed are resolved again;
// without, what was resolved last is installed as it was, if it ever could be.
func (s *Service) RebuildRuntime(ctx context.Context, p remuda.Principal, ref string, refresh bool) (remuda.Runtime, error) {
	rec, err := s.rebuild(ctx, p, ref, refresh)
	if err != nil {
		return remuda.Runtime{}, err
	}
	return s.shown(rec), nil
}

func (s *Service) rebuild(ctx context.Context, p remuda.Principal, ref string, refresh bool) (*record, error) {
	s.changes.Lock()
	defer s.changes.Unlock()
	old, err := s.own(p, authz.BuildRun, ref)
	if err != nil {
		return nil, err
	}
	if old.Build.Status == remuda.RuntimeBusy {
		return nil, &remuda.Error{
			Code: remuda.CodeConflict, Message: "runtime " + old.Name + " is being built", Cause: "its newest generation is not ready yet",
			Remedy: "wait until its status is ready or error", RetryAfterSeconds: 2,
		}
	}
	built := old
	if refresh { // what its version means now is asked again, too
		built = nil
	}
	version, err := s.valid(ctx, old.Organization, old.Definition, built)
	if err != nil {
		return nil, err
	}
	next := old.Runtime
	next.UpdatedAt = remuda.Now()
	st := step{by: p, next: next, version: version, again: true, refresh: refresh, details: map[string]string{"change": "rebuild"}}
	if refresh {
		st.details["refresh"] = "true"
	} else if len(old.Build.Lock.Packages) > 0 && old.Build.Version == version {
		st.lock = &old.Build.Lock
	}
	rec, retired, err := s.advance(ctx, old, st)
	if err != nil {
		return nil, err
	}
	s.log.Info("runtime is built again", "runtime", rec.ID, "generation", rec.Generation, "refresh", refresh, "request", p.RequestID)
	_ = retired // its instances are of the same definition: nobody has to wait for their end
	return rec, nil
}
