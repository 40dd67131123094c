package store

import (
	"context"

	"github.com/remuda-run/remuda/internal/remuda"
)

// RunspaceByUUID returns the runspace of an organization that a UUID (remuda.UUID)
// stands for.
func (tx *Tx) RunspaceByUUID(ctx context.Context, org remuda.OrganizationID, uuid string) (remuda.Runspace, error) {
	first, last := remuda.UUIDRange(remuda.PrefixRunspace, uuid)
	return one(ctx, tx, "reading a runspace", remuda.NotFound("runspace", uuid), scanRunspace,
		"SELECT "+runspaceColumns+" FROM runspaces WHERE organization = $1 AND id >= $2 AND id <= $3", string(org), first, last)
}

// ExecutionByUUID returns the execution of an organization that a UUID stands for.
func (tx *Tx) ExecutionByUUID(ctx context.Context, org remuda.OrganizationID, uuid string) (remuda.Execution, error) {
	first, last := remuda.UUIDRange(remuda.PrefixExecution, uuid)
	return one(ctx, tx, "reading an execution", remuda.NotFound("execution", uuid), scanExecution,
		"SELECT "+executionColumns+" FROM executions WHERE organization = $1 AND id >= $2 AND id <= $3", string(org), first, last)
}
