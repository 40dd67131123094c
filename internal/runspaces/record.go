package runspaces

import (
	"context"

	"github.com/remuda-run/remuda/internal/authz"
	"github.com/remuda-run/remuda/internal/remuda"
	"github.com/remuda-run/remuda/internal/store"
)

// record writes the end of a runspace. What a store cannot take now is the sweeper's
// to write (see repair).
func (s *Service) record(r *runspace, row remuda.Runspace) error {
	err := store.Insist(s.store, func(tx *store.Tx) error { return writeEnd(context.Background(), tx, row, r.ending.by) })
	if remuda.CodeOf(err) == remuda.CodeConflict {
		return nil // the row has ended already
	}
	if err != nil {
		s.log.Error("the end of a runspace could not be recorded", "runspace", r.id, "error", err)
	}
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
