package executions

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"time"

	"github.com/remuda-run/remuda/internal/authz"
	"github.com/remuda-run/remuda/internal/remuda"
	"github.com/remuda-run/remuda/internal/store"
)

// Limits says how much of the past organizations keep, now.
type Limits interface {
	Limits(org remuda.OrganizationID) remuda.Limits
	// LimitedOrganizations lists every organization.
	LimitedOrganizations(ctx context.Context) ([]remuda.OrganizationID, error)
}

// Bounds of what is deleted in one transaction: others want to write too.
const (
	historyBatch = 100
	historyBytes = 4 << 20 // of output; one execution may have more
)

// LimitsChanged has the history looked at now, and not only when its time comes.
func (s *Service) LimitsChanged(remuda.OrganizationID) {
	select {
	case s.changed <- struct{}{}:
	default: // that is to be done already
	}
}

// forgetting deletes old executions again and again until ctx ends.
func (s *Service) forgetting(ctx context.Context) {
	if s.set.Limits == nil {
		return
	}
	every := time.NewTicker(s.set.HistoryEvery)
	defer every.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-every.C:
		case <-s.changed:
		}
		if n, err := s.SweepHistory(ctx); err != nil && ctx.Err() == nil {
			s.log.Error("old executions could not be deleted", "deleted", n, "error", err)
		}
	}
}

// SweepHistory deletes the ended executions that organizations do not keep any longer:
// with their output, the keys of their requests and what says of which script they
// were. What has not ended stays, however old it is. It returns how many it deleted.
func (s *Service) SweepHistory(ctx context.Context) (deleted int, err error) {
	if s.set.Limits == nil {
		return 0, nil
	}
	// Two sweeps at once would only do the same work twice.
	s.sweeping.Lock()
	defer s.sweeping.Unlock()
	orgs, err := s.set.Limits.LimitedOrganizations(ctx)
	if err != nil {
		return 0, err
	}
	var errs []error
	for _, org := range orgs {
		h := history{Service: s, org: org, limits: s.set.Limits.Limits(org)}
		err := h.sweep(ctx)
		if h.executions > 0 {
			s.log.Info("old executions deleted", "organization", org, "executions", h.executions, "output_bytes", h.bytes)
		}
		deleted += h.executions
		if err != nil { // the others' turn comes all the same
			errs = append(errs, fmt.Errorf("delete old executions of %s: %w", org, err))
		}
	}
	return deleted, errors.Join(errs...)
}

// history is one sweep of one organization.
type history struct {
	*Service

	org        remuda.OrganizationID
	limits     remuda.Limits
	executions int // deleted
	bytes      int64
}

func (h *history) sweep(ctx context.Context) error {
	if h.limits.KeepFor > 0 {
		before := time.Now().Add(-h.limits.KeepFor)
		err := h.forget(ctx, map[string]string{"older_than": h.limits.KeepFor.String()}, func(tx *store.Tx) ([]store.OldExecution, error) {
			return tx.OldExecutions(ctx, h.org, before, historyBatch)
		})
		if err != nil {
			return err
		}
	}
	if h.limits.KeepExecutions <= 0 {
		return nil
	}
	for owner := remuda.UserID(""); ; {
		err := h.store.Read(ctx, func(tx *store.Tx) (err error) {
			owner, err = tx.NextExecutionOwner(ctx, h.org, owner)
			return err
		})
		if err != nil || owner == "" {
			return err
		}
		details := map[string]string{"beyond": strconv.Itoa(h.limits.KeepExecutions), "owner": string(owner)}
		err = h.forget(ctx, details, func(tx *store.Tx) ([]store.OldExecution, error) {
			return tx.ExecutionsBeyond(ctx, h.org, owner, h.limits.KeepExecutions, historyBatch)
		})
		if err != nil {
			return err
		}
	}
}

// forget deletes what find finds, batch after batch, until it finds nothing more.
func (h *history) forget(ctx context.Context, why map[string]string, find func(*store.Tx) ([]store.OldExecution, error)) error {
	for {
		if err := ctx.Err(); err != nil {
			return remuda.Errorf(remuda.CodeCanceled, "delete old executions: %w", err)
		}
		var found []store.OldExecution
		err := h.store.Read(ctx, func(tx *store.Tx) (err error) {
			found, err = find(tx)
			return err
		})
		if err != nil || len(found) == 0 {
			return err
		}
		n, err := h.delete(ctx, fitting(found), why)
		if err != nil || n == 0 { // somebody else has deleted them
			return err
		}
	}
}

// fitting is the beginning of a list that has at most historyBytes of output, and one
// at least.
func fitting(list []store.OldExecution) []store.OldExecution {
	size := int64(0)
	for i, one := range list {
		if size += one.OutputBytes; size > historyBytes && i > 0 {
			return list[:i]
		}
	}
	return list
}

// delete removes executions in one transaction, which also says so in the audit log.
func (h *history) delete(ctx context.Context, list []store.OldExecution, why map[string]string) (n int, err error) {
	bytes := int64(0)
	err = h.store.Write(ctx, func(tx *store.Tx) error {
		n, bytes = 0, 0
		for _, one := range list {
			done, err := tx.DeleteExecution(ctx, h.org, one.ID)
			if err != nil {
				return err
			}
			if done {
				n, bytes = n+1, bytes+one.OutputBytes
			}
		}
		if n == 0 {
			return nil
		}
		details := map[string]string{"change": "forget", "executions": strconv.Itoa(n), "output_bytes": strconv.FormatInt(bytes, 10)}
		maps.Copy(details, why)
		return tx.AppendAudit(ctx, remuda.AuditEntry{
			Organization: h.org, Action: string(authz.ExecutionRun), Object: string(h.org), Outcome: remuda.OutcomeOK, At: remuda.Now(), Details: details,
		})
	})
	if err != nil {
		return 0, err
	}
	h.executions, h.bytes = h.executions+n, h.bytes+bytes
	return n, nil
}
