package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"time"

	"github.com/remuda-run/remuda/internal/remuda"
)

const executionColumns = `organization, id, owner, runtime, runtime_name, runspace, instance, generation, fresh, state,
	exit_code, killed_by, output_bytes, output_cut, result, created_at, started_at, ended_at, name, system`

// Conditions of the partial indexes, word for word, or they are not used.
const (
	notSuccess          = "state <> 'success'"
	unfinishedExecution = "state <> 'success' AND state IN ('queued', 'running')"
)

// result is the part of an execution that is stored as JSON. The names are part
// of the database: change them only with a migration.
type result struct {
	Value      *remuda.Value       `json:"value,omitempty"`
	Error      *remuda.ScriptError `json:"error,omitempty"`
	Reason     string              `json:"reason,omitempty"`
	CPUUS      int64               `json:"cpu_us,omitempty"`
	WallUS     int64               `json:"wall_us,omitempty"`
	PeakMemory int64               `json:"peak_memory,omitempty"`
	TimingsUS  map[string]int64    `json:"timings_us,omitempty"`
	Warm       bool                `json:"warm,omitempty"`
	Narrowed   []string            `json:"narrowed,omitempty"`
	ColdReason string              `json:"cold_reason,omitempty"`
	Objects    bool                `json:"objects,omitempty"`
}

// emptyResult spares the encoder for executions that have not run.
const emptyResult = "{}"

func encodeResult(e *remuda.Execution) (string, error) {
	if e.Value == nil && e.Error == nil && e.Reason == "" && e.Usage == (remuda.Usage{}) && len(e.Timings) == 0 &&
		!e.Warm && len(e.Narrowed) == 0 && e.ColdReason == "" && !e.Objects {
		return emptyResult, nil
	}
	r := result{
		Warm: e.Warm, Narrowed: e.Narrowed, ColdReason: e.ColdReason, Value: e.Value, Error: e.Error, Reason: e.Reason,
		CPUUS: e.Usage.CPU.Microseconds(), WallUS: e.Usage.Wall.Microseconds(), PeakMemory: e.Usage.PeakMemory,
		Objects: e.Objects,
	}
	if len(e.Timings) > 0 {
		r.TimingsUS = make(map[string]int64, len(e.Timings))
		for stage, d := range e.Timings {
			r.TimingsUS[stage] = d.Microseconds()
		}
	}
	raw, err := json.Marshal(r)
	return string(raw), err
}

func decodeResult(raw string, e *remuda.Execution) error {
	if raw == emptyResult {
		return nil
	}
	var r result
	if err := json.Unmarshal([]byte(raw), &r); err != nil {
		return fmt.Errorf("decode a stored result: %w", err)
	}
	e.Value, e.Error, e.Reason = r.Value, r.Error, r.Reason
	e.Warm, e.Narrowed, e.ColdReason, e.Objects = r.Warm, r.Narrowed, r.ColdReason, r.Objects
	e.Usage = remuda.Usage{CPU: time.Duration(r.CPUUS) * time.Microsecond, Wall: time.Duration(r.WallUS) * time.Microsecond, PeakMemory: r.PeakMemory}
	if len(r.TimingsUS) > 0 {
		e.Timings = make(remuda.Timings, len(r.TimingsUS))
		for stage, us := range r.TimingsUS {
			e.Timings[stage] = time.Duration(us) * time.Microsecond
		}
	}
	return nil
}

func scanExecution(r scanner) (e remuda.Execution, err error) {
	var created int64
	var exit, started, ended sql.NullInt64
	var raw string
	err = r.Scan(&e.Organization, &e.ID, &e.Owner, &e.Runtime, &e.RuntimeName, &e.Runspace, &e.Instance, &e.Generation, &e.Fresh,
		&e.State, &exit, &e.KilledBy, &e.OutputBytes, &e.OutputCut, &raw, &created, &started, &ended, &e.Name, &e.System)
	if err != nil {
		return e, err
	}
	e.CreatedAt, e.StartedAt, e.EndedAt = timeOf(created), nullTime(started), nullTime(ended)
	if exit.Valid {
		code := int(exit.Int64)
		e.ExitCode = &code
	}
	return e, decodeResult(raw, &e)
}

func nullInt(n *int) sql.NullInt64 {
	if n == nil {
		return sql.NullInt64{}
	}
	return sql.NullInt64{Int64: int64(*n), Valid: true}
}

// InsertExecution adds an execution in whatever state it is.
func (tx *Tx) InsertExecution(ctx context.Context, e remuda.Execution) error {
	raw, err := encodeResult(&e)
	if err != nil {
		return remuda.Internal("encoding an execution", err)
	}
	_, err = tx.exec(ctx, "adding an execution",
		"INSERT INTO executions ("+executionColumns+") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20)",
		string(e.Organization), string(e.ID), string(e.Owner), string(e.Runtime), e.RuntimeName, string(e.Runspace), string(e.Instance),
		e.Generation, e.Fresh, string(e.State), nullInt(e.ExitCode), string(e.KilledBy), e.OutputBytes, e.OutputCut, raw,
		micros(e.CreatedAt), nullMicros(e.StartedAt), nullMicros(e.EndedAt), e.Name, e.System)
	return tx.conflictError(err, "execution %s exists already", e.ID)
}

// UpdateExecution changes what changes in an execution's life: instance,
// generation, fresh, state, times and result. One that has ended does not change
// any more: that is a conflict, so that of two ends only the first is kept.
func (tx *Tx) UpdateExecution(ctx context.Context, e remuda.Execution) error {
	raw, err := encodeResult(&e)
	if err != nil {
		return remuda.Internal("encoding an execution", err)
	}
	n, err := tx.exec(ctx, "changing an execution",
		`UPDATE executions SET instance = $3, generation = $4, fresh = $5, state = $6, exit_code = $7, killed_by = $8,
			output_bytes = $9, output_cut = $10, result = $11, started_at = $12, ended_at = $13
		WHERE organization = $1 AND id = $2 AND state IN ('queued', 'running')`,
		string(e.Organization), string(e.ID), string(e.Instance), e.Generation, e.Fresh, string(e.State), nullInt(e.ExitCode),
		string(e.KilledBy), e.OutputBytes, e.OutputCut, raw, nullMicros(e.StartedAt), nullMicros(e.EndedAt))
	if err != nil || n > 0 {
		return err
	}
	was, err := tx.Execution(ctx, e.Organization, e.ID)
	if err != nil {
		return err
	}
	return &remuda.Error{
		Code: remuda.CodeConflict, Message: fmt.Sprintf("execution %s has ended", e.ID),
		Cause: fmt.Sprintf("it is %s, which is final", was.State), Remedy: "submit another execution",
	}
}

// Execution returns an execution of an organization.
func (tx *Tx) Execution(ctx context.Context, org remuda.OrganizationID, id remuda.ExecutionID) (remuda.Execution, error) {
	return one(ctx, tx, "reading an execution", remuda.NotFound("execution", string(id)), scanExecution,
		"SELECT "+executionColumns+" FROM executions WHERE organization = $1 AND id = $2", string(org), string(id))
}

// Executions lists executions of an organization, newest first.
func (tx *Tx) Executions(ctx context.Context, org remuda.OrganizationID, f remuda.ExecutionFilter, page remuda.Page) ([]remuda.Execution, string, error) {
	before, limit, err := pageOf(page, remuda.PrefixExecution)
	if err != nil {
		return nil, "", err
	}
	q := newListQuery("SELECT "+executionColumns+" FROM executions", string(org), before, limit)
	q.equal("runtime", string(f.Runtime))
	q.equal("state", string(f.State))
	q.equal("owner", string(f.Owner))
	if f.NoSystem {
		q.where("NOT system")
	}
	if f.Runspace != "" {
		q.equal("runspace", string(f.Runspace))
	}
	if f.Runspace != "" || f.InRunspace {
		q.where("runspace <> ''")
	}
	if f.State != "" && f.State != remuda.ExecutionSuccess {
		q.where(notSuccess)
	}
	return list(ctx, tx, "listing executions", scanExecution, limit, func(e remuda.Execution) string { return string(e.ID) }, q.text(), q.args...)
}

// UnfinishedExecutions returns those of every organization that have not ended.
// For start-up only: it is no answer to a request.
func (tx *Tx) UnfinishedExecutions(ctx context.Context) ([]remuda.Execution, error) {
	return all(ctx, tx, "reading unfinished executions", scanExecution,
		"SELECT "+executionColumns+" FROM executions WHERE "+unfinishedExecution+" ORDER BY id")
}
