package store

import (
	"context"
	"time"

	"github.com/remuda-run/remuda/internal/remuda"
)

// OldExecution is an execution that has ended and need not be kept.
type OldExecution struct {
	ID          remuda.ExecutionID
	OutputBytes int64
}

func scanOld(r scanner) (o OldExecution, err error) {
	err = r.Scan(&o.ID, &o.OutputBytes)
	return o, err
}

// OldExecutions returns at most limit of an organization's executions that have
// ended before a time, the oldest ones first.
func (tx *Tx) OldExecutions(ctx context.Context, org remuda.OrganizationID, before time.Time, limit int) ([]OldExecution, error) {
	// An execution ends after it was made: none with a later id can be meant, and so
	// the primary key bounds what is read.
	return all(ctx, tx, "looking for old executions", scanOld,
		`SELECT id, output_bytes FROM executions
		WHERE organization = $1 AND id < $2 AND ended_at < $3 AND state NOT IN ('queued', 'running') ORDER BY id LIMIT $4`,
		string(org), remuda.IDBefore(remuda.PrefixExecution, before.Add(time.Millisecond)), micros(before), limit)
}

// ExecutionsBeyond returns at most limit of the executions that have ended which a
// user has besides the newest keep ones, the oldest ones first.
func (tx *Tx) ExecutionsBeyond(ctx context.Context, org remuda.OrganizationID, owner remuda.UserID, keep, limit int) ([]OldExecution, error) {
	newest, err := one(ctx, tx, "looking for executions to forget", nil, scanOld,
		`SELECT id, output_bytes FROM executions WHERE organization = $1 AND owner = $2 AND state NOT IN ('queued', 'running')
		ORDER BY id DESC LIMIT 1 OFFSET $3`,
		string(org), string(owner), keep)
	if err != nil || newest.ID == "" {
		return nil, err
	}
	return all(ctx, tx, "looking for executions to forget", scanOld,
		`SELECT id, output_bytes FROM executions WHERE organization = $1 AND owner = $2 AND id <= $3 AND state NOT IN ('queued', 'running')
		ORDER BY id LIMIT $4`,
		string(org), string(owner), string(newest.ID), limit)
}

// NextExecutionOwner returns the user after another one, in the order of their ids,
// who has executions in an organization; "" when there is none.
func (tx *Tx) NextExecutionOwner(ctx context.Context, org remuda.OrganizationID, after remuda.UserID) (remuda.UserID, error) {
	return one(ctx, tx, "looking for owners of executions", nil, func(r scanner) (u remuda.UserID, err error) {
		err = r.Scan(&u)
		return u, err
	}, "SELECT owner FROM executions WHERE organization = $1 AND owner > $2 ORDER BY owner LIMIT 1", string(org), string(after))
}

// DeleteExecution removes an execution that has ended, its output and what else
// refers to it, and reports whether it did. One that has not ended stays.
func (tx *Tx) DeleteExecution(ctx context.Context, org remuda.OrganizationID, id remuda.ExecutionID) (bool, error) {
	e, err := tx.Execution(ctx, org, id)
	switch {
	case remuda.CodeOf(err) == remuda.CodeNotFound:
		return false, nil
	case err != nil:
		return false, err
	case !e.State.Final():
		return false, nil
	}
	for _, step := range []struct{ query, key string }{
		{"DELETE FROM idempotency_keys WHERE organization = $1 AND execution = $2", string(id)},
		{"DELETE FROM script_runs WHERE organization = $1 AND short = $2", remuda.ShortID(id)},
		{"DELETE FROM output_records WHERE organization = $1 AND execution = $2", string(id)},
		{"DELETE FROM executions WHERE organization = $1 AND id = $2", string(id)},
	} {
		if _, err := tx.exec(ctx, "deleting an execution", step.query, string(org), step.key); err != nil {
			return false, err
		}
	}
	return true, nil
}
