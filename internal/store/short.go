package store

import (
	"context"

	"github.com/remuda-run/remuda/internal/remuda"
)

// RunspaceByShort returns a runspace of an organization by its short id.
func (tx *Tx) RunspaceByShort(ctx context.Context, org remuda.OrganizationID, short string) (remuda.Runspace, error) {
	none := remuda.NotFound("runspace", short)
	rs, err := one(ctx, tx, "reading a runspace", none, scanRunspace,
		"SELECT "+runspaceColumns+" FROM runspaces WHERE organization = $1 AND substr(id, 14) = $2", string(org), remuda.ShortTail(short))
	if err == nil && remuda.ShortID(rs.ID) != short { // two bits of a short id are not in its tail
		return remuda.Runspace{}, none
	}
	return rs, err
}

// ExecutionByShort returns an execution of an organization that ran in a runspace, by
// its short id.
func (tx *Tx) ExecutionByShort(ctx context.Context, org remuda.OrganizationID, short string) (remuda.Execution, error) {
	none := remuda.NotFound("execution", short)
	e, err := one(ctx, tx, "reading an execution", none, scanExecution,
		"SELECT "+executionColumns+" FROM executions WHERE organization = $1 AND substr(id, 14) = $2 AND runspace <> ''", string(org), remuda.ShortTail(short))
	if err == nil && remuda.ShortID(e.ID) != short {
		return remuda.Execution{}, none
	}
	return e, err
}
