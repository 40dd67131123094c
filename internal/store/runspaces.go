package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"time"

	"github.com/remuda-run/remuda/internal/remuda"
)

const runspaceColumns = `organization, id, name, owner, runtime, runtime_name, generation, instance, state, error,
	idle_timeout_us, env, init_script, last_used_at, created_at, ended_at, settings`

// openRunspace is the condition of the indexes of unfinished runspaces, word for
// word, or they are not used.
const openRunspace = "state <> 'closed' AND state <> 'error'"

func scanRunspace(r scanner) (rs remuda.Runspace, err error) {
	var idle, used, created int64
	var ended sql.NullInt64
	var env, settings string
	err = r.Scan(&rs.Organization, &rs.ID, &rs.Name, &rs.Owner, &rs.Runtime, &rs.RuntimeName, &rs.Generation, &rs.Instance,
		&rs.State, &rs.Error, &idle, &env, &rs.InitScript, &used, &created, &ended, &settings)
	if err != nil {
		return rs, err
	}
	rs.IdleTimeout = time.Duration(idle) * time.Microsecond
	rs.LastUsedAt, rs.CreatedAt, rs.EndedAt = timeOf(used), timeOf(created), nullTime(ended)
	if err := json.Unmarshal([]byte(env), &rs.Env); err != nil {
		return rs, fmt.Errorf("decode the environment of a stored runspace: %w", err)
	}
	return rs, decodeRunspace(settings, &rs)
}

// runspaceSettings is the part of a runspace that is stored as JSON. The names
// are part of the database: change them only with a migration.
type runspaceSettings struct {
	ErrorCode           remuda.Code        `json:"error_code,omitempty"`
	ActiveTimeoutUS     int64              `json:"active_timeout_us,omitempty"`
	MemoryMB            int                `json:"memory_mb,omitempty"`
	Session             remuda.TokenID     `json:"session,omitempty"`
	RunConnection       bool               `json:"run_connection,omitempty"`
	ConnectionExecution remuda.ExecutionID `json:"connection_execution,omitempty"`
	ConnectionScript    string             `json:"connection_script,omitempty"`
	DisconnectScript    string             `json:"disconnect_script,omitempty"`
	Resets              int                `json:"resets,omitempty"`
	Label               string             `json:"label,omitempty"`
	Dismissed           bool               `json:"dismissed,omitempty"`
	Console             bool               `json:"console,omitempty"`
	OwnIdle             bool               `json:"own_idle,omitempty"`
	OwnActive           bool               `json:"own_active,omitempty"`
	HadCredentials      bool               `json:"had_credentials,omitempty"`
	ConnectionName      string             `json:"connection_name,omitempty"`
	DisconnectName      string             `json:"disconnect_name,omitempty"`
}

func encodeRunspace(rs *remuda.Runspace) (string, error) {
	raw, err := json.Marshal(runspaceSettings{
		ErrorCode: rs.ErrorCode, ActiveTimeoutUS: rs.ActiveTimeout.Microseconds(), MemoryMB: rs.MemoryMB, Session: rs.Session,
		RunConnection: rs.RunConnection, ConnectionExecution: rs.ConnectionExecution, ConnectionScript: rs.ConnectionScript,
		DisconnectScript: rs.DisconnectScript, Resets: rs.Resets, Label: rs.Label, Dismissed: rs.Dismissed, Console: rs.Console, OwnIdle: rs.OwnIdleTimeout, OwnActive: rs.OwnActiveTimeout,
		ConnectionName: rs.ConnectionName, DisconnectName: rs.DisconnectName, HadCredentials: rs.HadCredentials,
	})
	if err != nil {
		return "", remuda.Internal("encoding a runspace", err)
	}
	return string(raw), nil
}

func decodeRunspace(raw string, rs *remuda.Runspace) error {
	var s runspaceSettings
	if err := json.Unmarshal([]byte(raw), &s); err != nil {
		return fmt.Errorf("decode the settings of a stored runspace: %w", err)
	}
	rs.ErrorCode, rs.ActiveTimeout, rs.MemoryMB, rs.Session = s.ErrorCode, time.Duration(s.ActiveTimeoutUS)*time.Microsecond, s.MemoryMB, s.Session
	rs.RunConnection, rs.ConnectionExecution, rs.Resets = s.RunConnection, s.ConnectionExecution, s.Resets
	rs.ConnectionScript, rs.DisconnectScript = s.ConnectionScript, s.DisconnectScript
	rs.Label, rs.Dismissed, rs.Console = s.Label, s.Dismissed, s.Console
	rs.OwnIdleTimeout, rs.OwnActiveTimeout = s.OwnIdle, s.OwnActive
	rs.ConnectionName, rs.DisconnectName, rs.HadCredentials = s.ConnectionName, s.DisconnectName, s.HadCredentials
	return nil
}

// InsertRunspace adds a runspace. A name that an open runspace of the
// organization has is a conflict.
func (tx *Tx) InsertRunspace(ctx context.Context, rs remuda.Runspace) error {
	env, err := json.Marshal(rs.Env)
	if err != nil {
		return remuda.Internal("encoding a runspace", err)
	}
	settings, err := encodeRunspace(&rs)
	if err != nil {
		return err
	}
	_, err = tx.exec(ctx, "adding a runspace",
		"INSERT INTO runspaces ("+runspaceColumns+") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)",
		string(rs.Organization), string(rs.ID), rs.Name, string(rs.Owner), string(rs.Runtime), rs.RuntimeName, rs.Generation,
		string(rs.Instance), string(rs.State), rs.Error, rs.IdleTimeout.Microseconds(), string(env), rs.InitScript,
		micros(rs.LastUsedAt), micros(rs.CreatedAt), nullMicros(rs.EndedAt), settings)
	return tx.conflictError(err, "an open runspace named %q exists already", rs.Name)
}

// UpdateRunspace changes what changes in a runspace's life: name, generation,
// instance, state, error, idle timeout, settings, last use and end. The state of one that
// is closed or in error does not change any more: that is a conflict.
func (tx *Tx) UpdateRunspace(ctx context.Context, rs remuda.Runspace) error {
	settings, err := encodeRunspace(&rs)
	if err != nil {
		return err
	}
	n, err := tx.exec(ctx, "changing a runspace",
		`UPDATE runspaces SET name = $3, generation = $4, instance = $5, state = $6, error = $7, idle_timeout_us = $8,
			last_used_at = $9, ended_at = $10, settings = $11
		WHERE organization = $1 AND id = $2 AND (`+openRunspace+` OR state = $6)`,
		string(rs.Organization), string(rs.ID), rs.Name, rs.Generation, string(rs.Instance), string(rs.State), rs.Error,
		rs.IdleTimeout.Microseconds(), micros(rs.LastUsedAt), nullMicros(rs.EndedAt), settings)
	if err != nil {
		return tx.conflictError(err, "an open runspace named %q exists already", rs.Name)
	}
	if n > 0 {
		return nil
	}
	was, err := tx.Runspace(ctx, rs.Organization, rs.ID)
	if err != nil {
		return err
	}
	return &remuda.Error{
		Code: remuda.CodeConflict, Message: fmt.Sprintf("runspace %s cannot become %s", rs.ID, rs.State),
		Cause: fmt.Sprintf("it is %s, which is final", was.State), Remedy: "create another runspace",
	}
}

// Runspace returns a runspace of an organization.
func (tx *Tx) Runspace(ctx context.Context, org remuda.OrganizationID, id remuda.RunspaceID) (remuda.Runspace, error) {
	return one(ctx, tx, "reading a runspace", remuda.NotFound("runspace", string(id)), scanRunspace,
		"SELECT "+runspaceColumns+" FROM runspaces WHERE organization = $1 AND id = $2", string(org), string(id))
}

// Runspaces lists runspaces of an organization, newest first.
func (tx *Tx) Runspaces(ctx context.Context, org remuda.OrganizationID, f remuda.RunspaceFilter, page remuda.Page) ([]remuda.Runspace, string, error) {
	before, limit, err := pageOf(page, remuda.PrefixRunspace)
	if err != nil {
		return nil, "", err
	}
	q := newListQuery("SELECT "+runspaceColumns+" FROM runspaces", string(org), before, limit)
	q.equal("runtime", string(f.Runtime))
	q.equal("owner", string(f.Owner))
	q.equal("state", string(f.State))
	if f.State != "" && !f.State.Final() {
		q.where(openRunspace)
	}
	return list(ctx, tx, "listing runspaces", scanRunspace, limit, func(rs remuda.Runspace) string { return string(rs.ID) }, q.text(), q.args...)
}

// UnfinishedRunspaces returns those of every organization that are neither
// closed nor in error. For start-up only: it is no answer to a request.
func (tx *Tx) UnfinishedRunspaces(ctx context.Context) ([]remuda.Runspace, error) {
	return all(ctx, tx, "reading unfinished runspaces", scanRunspace,
		"SELECT "+runspaceColumns+" FROM runspaces WHERE "+openRunspace+" ORDER BY id")
}

// NoteUse notes the last use of a runspace that has not ended; of another one it
// does nothing.
func (tx *Tx) NoteUse(ctx context.Context, org remuda.OrganizationID, id remuda.RunspaceID, at time.Time) error {
	_, err := tx.exec(ctx, "noting the use of a runspace",
		"UPDATE runspaces SET last_used_at = $3 WHERE organization = $1 AND id = $2 AND "+openRunspace, string(org), string(id), micros(at))
	return err
}
