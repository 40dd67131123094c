package runspaces

import (
	"context"
	"time"

	"github.com/remuda-run/remuda/internal/authz"
	"github.com/remuda-run/remuda/internal/remuda"
	"github.com/remuda-run/remuda/internal/store"
)

// record writes the end of a runspace. A store that cannot write now is asked
// again a few times; after that the sweeper goes on trying (see repair).
func (s *Service) record(r *runspace, row remuda.Runspace) error {
	var err error
	for attempt := range 3 {
		if attempt > 0 {
			time.Sleep(time.Duration(attempt) * 200 * time.Millisecond)
		}
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		err = s.store.Write(ctx, func(tx *store.Tx) error { return writeEnd(ctx, tx, row, r.ending.by) })
		cancel()
		if err == nil || remuda.CodeOf(err) == remuda.CodeConflict {
			return nil // a conflict: the row has ended already
		}
	}
	s.log.Error("the end of a runspace could not be recorded", "runspace", r.id, "error", err)
	return err
}

// writeEnd writes a row that has ended, and that in the audit log.
func writeEnd(ctx context.Context, tx *store.Tx, row remuda.Runspace, by remuda.Principal) error {
	if err := tx.UpdateRunspace(ctx, row); err != nil {
		return err
	}
	details := map[string]string{"change": "end", "state": string(row.State), "reason": row.Error}
	return tx.AppendAudit(ctx, entry(by, row, authz.RunspaceWrite, details))
}

func entry(p remuda.Principal, row remuda.Runspace, action authz.Action, details map[string]string) remuda.AuditEntry {
	return remuda.AuditEntry{
		Organization: row.Organization, User: p.User, Action: string(action), Object: string(row.ID),
		Outcome: remuda.OutcomeOK, RequestID: p.RequestID, At: remuda.Now(), Details: details,
	}
}
