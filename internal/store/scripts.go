package store

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/remuda-run/remuda/internal/remuda"
)

// script is how a remuda.ScriptDefinition is stored. The names are part of the
// database: change them only with a migration.
type script struct {
	Name        string            `json:"name"`
	Description string            `json:"description,omitempty"`
	Folder      string            `json:"folder,omitempty"`
	Kind        remuda.ScriptKind `json:"kind"`
	Usage       string            `json:"usage,omitempty"`
	Result      string            `json:"result,omitempty"`
	Content     string            `json:"content,omitempty"`
	Runtime     remuda.RuntimeID  `json:"runtime,omitempty"`
	Variables   []scriptVariable  `json:"variables,omitempty"`
}

type scriptVariable struct {
	ID          string              `json:"id"`
	Name        string              `json:"name"`
	Kind        remuda.VariableKind `json:"kind"`
	Value       string              `json:"value,omitempty"`
	Description string              `json:"description,omitempty"`
	Multiple    bool                `json:"multiple,omitempty"`
	Prompt      bool                `json:"prompt,omitempty"`
	Required    bool                `json:"required,omitempty"`
	Nullable    bool                `json:"nullable,omitempty"`
	Editable    bool                `json:"editable,omitempty"`
	Tag         string              `json:"tag,omitempty"`
}

func encodeScript(d remuda.ScriptDefinition) (string, error) {
	s := script{
		Name: d.Name, Description: d.Description, Folder: d.Folder, Kind: d.Kind, Usage: d.Usage, Result: d.Result, Content: d.Content, Runtime: d.Runtime,
	}
	for _, v := range d.Variables {
		s.Variables = append(s.Variables, scriptVariable(v))
	}
	raw, err := json.Marshal(s)
	return string(raw), err
}

func decodeScript(raw string) (remuda.ScriptDefinition, error) {
	var s script
	if err := json.Unmarshal([]byte(raw), &s); err != nil {
		return remuda.ScriptDefinition{}, fmt.Errorf("decode a stored script: %w", err)
	}
	d := remuda.ScriptDefinition{
		Name: s.Name, Description: s.Description, Folder: s.Folder, Kind: s.Kind, Usage: s.Usage, Result: s.Result, Content: s.Content, Runtime: s.Runtime,
	}
	for _, v := range s.Variables {
		d.Variables = append(d.Variables, remuda.ScriptVariable(v))
	}
	return d, nil
}

const scriptColumns = "organization, id, owner, definition, revision, created_at, updated_at"

func scanScript(r scanner) (s remuda.Script, err error) {
	var raw string
	var created, updated int64
	if err = r.Scan(&s.Organization, &s.ID, &s.Owner, &raw, &s.Revision, &created, &updated); err != nil {
		return s, err
	}
	s.CreatedAt, s.UpdatedAt = timeOf(created), timeOf(updated)
	s.ScriptDefinition, err = decodeScript(raw)
	return s, err
}

// InsertScript adds a script; a name that its folder has already is a conflict.
func (tx *Tx) InsertScript(ctx context.Context, s remuda.Script) error {
	raw, err := encodeScript(s.ScriptDefinition)
	if err != nil {
		return remuda.Internal("encoding a script", err)
	}
	_, err = tx.exec(ctx, "adding a script",
		"INSERT INTO scripts (short, name, folder, "+scriptColumns+") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
		remuda.ShortID(s.ID), s.Name, s.Folder, string(s.Organization), string(s.ID), string(s.Owner), raw, s.Revision, micros(s.CreatedAt), micros(s.UpdatedAt))
	return tx.conflictError(err, "a script named %q exists already in this folder", s.Name)
}

// UpdateScript changes everything of a script but its id, owner and age, if it is
// of the revision before; else somebody was faster, which is a conflict.
func (tx *Tx) UpdateScript(ctx context.Context, s remuda.Script) error {
	raw, err := encodeScript(s.ScriptDefinition)
	if err != nil {
		return remuda.Internal("encoding a script", err)
	}
	n, err := tx.exec(ctx, "changing a script",
		"UPDATE scripts SET name = $3, folder = $4, definition = $5, revision = $6, updated_at = $7 WHERE organization = $1 AND id = $2 AND revision = $6 - 1",
		string(s.Organization), string(s.ID), s.Name, s.Folder, raw, s.Revision, micros(s.UpdatedAt))
	if err != nil {
		return tx.conflictError(err, "a script named %q exists already in this folder", s.Name)
	}
	if n > 0 {
		return nil
	}
	now, err := tx.Script(ctx, s.Organization, string(s.ID))
	if err != nil {
		return err
	}
	return &remuda.Error{
		Code: remuda.CodeConflict, Message: fmt.Sprintf("script %q has changed meanwhile", now.Name),
		Cause: fmt.Sprintf("it is of revision %d by now", now.Revision), Remedy: "read it again and repeat the change",
	}
}

// Script returns a script of an organization by its id or its short id.
func (tx *Tx) Script(ctx context.Context, org remuda.OrganizationID, ref string) (remuda.Script, error) {
	column := "id"
	if remuda.IsShortID(ref) {
		column = "short"
	}
	return one(ctx, tx, "reading a script", remuda.NotFound("script", ref), scanScript,
		"SELECT "+scriptColumns+" FROM scripts WHERE organization = $1 AND "+column+" = $2", string(org), ref)
}

// ScriptsNamed returns the scripts of an organization with a name, in whichever folder,
// at most limit.
func (tx *Tx) ScriptsNamed(ctx context.Context, org remuda.OrganizationID, name string, limit int) ([]remuda.Script, error) {
	return all(ctx, tx, "looking for scripts by name", scanScript,
		"SELECT "+scriptColumns+" FROM scripts WHERE organization = $1 AND name = $2 ORDER BY id LIMIT $3", string(org), name, limit)
}

// Scripts returns a page of an organization's scripts without what they define, newest
// first; name "" is all of them.
func (tx *Tx) Scripts(ctx context.Context, org remuda.OrganizationID, name string, page remuda.Page) ([]remuda.Script, string, error) {
	before, limit, err := pageOf(page, remuda.PrefixScript)
	if err != nil {
		return nil, "", err
	}
	q := newListQuery("SELECT organization, id, owner, name, folder, revision, created_at, updated_at FROM scripts", string(org), before, limit)
	q.equal("name", name)
	scan := func(r scanner) (s remuda.Script, err error) {
		var created, updated int64
		err = r.Scan(&s.Organization, &s.ID, &s.Owner, &s.Name, &s.Folder, &s.Revision, &created, &updated)
		s.CreatedAt, s.UpdatedAt = timeOf(created), timeOf(updated)
		return s, err
	}
	return list(ctx, tx, "listing scripts", scan, limit, func(s remuda.Script) string { return string(s.ID) }, q.text(), q.args...)
}

// DeleteScript removes a script with the answers to it. Its runs stay.
func (tx *Tx) DeleteScript(ctx context.Context, org remuda.OrganizationID, id remuda.ScriptID) error {
	_, err := tx.exec(ctx, "removing the answers to a script", "DELETE FROM script_answers WHERE organization = $1 AND script = $2", string(org), string(id))
	if err != nil {
		return err
	}
	n, err := tx.exec(ctx, "removing a script", "DELETE FROM scripts WHERE organization = $1 AND id = $2", string(org), string(id))
	if err == nil && n == 0 {
		return remuda.NotFound("script", string(id))
	}
	return err
}

// PutScriptAnswers keeps what a user answers to the variables of a script.
func (tx *Tx) PutScriptAnswers(ctx context.Context, org remuda.OrganizationID, id remuda.ScriptID, user remuda.UserID, answers []remuda.ScriptAnswer, at time.Time) error {
	raw, err := json.Marshal(answers)
	if err != nil {
		return remuda.Internal("encoding answers", err)
	}
	_, err = tx.exec(ctx, "keeping answers",
		`INSERT INTO script_answers (organization, script, user_id, answers, updated_at) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (organization, script, user_id) DO UPDATE SET answers = excluded.answers, updated_at = excluded.updated_at`,
		string(org), string(id), string(user), string(raw), micros(at))
	return tx.referenceError(err, remuda.NotFound("script", string(id)))
}

// ScriptAnswers returns what a user has answered, nothing if that is nothing.
func (tx *Tx) ScriptAnswers(ctx context.Context, org remuda.OrganizationID, id remuda.ScriptID, user remuda.UserID) ([]remuda.ScriptAnswer, error) {
	scan := func(r scanner) (list []remuda.ScriptAnswer, err error) {
		var raw string
		if err = r.Scan(&raw); err == nil {
			err = json.Unmarshal([]byte(raw), &list)
		}
		return list, err
	}
	return one(ctx, tx, "reading answers", nil, scan,
		"SELECT answers FROM script_answers WHERE organization = $1 AND script = $2 AND user_id = $3", string(org), string(id), string(user))
}

const scriptRunColumns = "organization, execution, script, prefix, created_at"

func scanScriptRun(r scanner) (run remuda.ScriptRun, err error) {
	var created int64
	err = r.Scan(&run.Organization, &run.Execution, &run.Script, &run.Prefix, &created)
	run.CreatedAt = timeOf(created)
	return run, err
}

// InsertScriptRun notes that an execution is a run of a script.
func (tx *Tx) InsertScriptRun(ctx context.Context, run remuda.ScriptRun) error {
	_, err := tx.exec(ctx, "adding a run of a script",
		"INSERT INTO script_runs (short, "+scriptRunColumns+") VALUES ($1, $2, $3, $4, $5, $6)",
		remuda.ShortID(run.Execution), string(run.Organization), string(run.Execution), string(run.Script), run.Prefix, micros(run.CreatedAt))
	return tx.conflictError(err, "the run %s exists already", run.Execution)
}

// ScriptRun returns a run by the short id of its execution.
func (tx *Tx) ScriptRun(ctx context.Context, org remuda.OrganizationID, short string) (remuda.ScriptRun, error) {
	return one(ctx, tx, "reading a run of a script", remuda.NotFound("evaluation", short), scanScriptRun,
		"SELECT "+scriptRunColumns+" FROM script_runs WHERE organization = $1 AND short = $2", string(org), short)
}

// ScriptRuns lists the last runs of a stored script, newest first.
func (tx *Tx) ScriptRuns(ctx context.Context, org remuda.OrganizationID, id remuda.ScriptID, limit int) ([]remuda.ScriptRun, error) {
	return all(ctx, tx, "listing runs of a script", scanScriptRun,
		"SELECT "+scriptRunColumns+" FROM script_runs WHERE organization = $1 AND script = $2 AND script <> '' ORDER BY execution DESC LIMIT $3",
		string(org), string(id), limit)
}
