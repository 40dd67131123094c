package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/remuda-run/remuda/internal/remuda"
)

// packageStatus and lock are how a build's packages and lock are stored. The names
// are part of the database: change them only with a migration.
type packageStatus struct {
	Name        string                `json:"name"`
	Version     string                `json:"version,omitempty"`
	Description string                `json:"description,omitempty"`
	Manager     remuda.PackageManager `json:"manager,omitempty"`
	State       remuda.PackageState   `json:"state,omitempty"`
	Resolved    string                `json:"resolved,omitempty"`
	Message     string                `json:"message,omitempty"`
}

type lock struct {
	Language    remuda.Language `json:"language"`
	Version     string          `json:"version"`
	Environment string          `json:"environment"`
	Packages    []locked        `json:"packages"`
}

type locked struct {
	Manager remuda.PackageManager `json:"manager"`
	Name    string                `json:"name"`
	Version string                `json:"version"`
	Hashes  []string              `json:"hashes,omitempty"`
	Asked   bool                  `json:"asked,omitempty"`
	Build   bool                  `json:"build,omitempty"`
}

func encodeBuild(b remuda.Build) (packages, locks string, err error) {
	list := make([]packageStatus, len(b.Packages))
	for i, p := range b.Packages {
		list[i] = packageStatus{
			Name: p.Name, Version: p.Version, Description: p.Description, Manager: p.Manager,
			State: p.State, Resolved: p.Resolved, Message: p.Message,
		}
	}
	raw, err := json.Marshal(list)
	if err != nil || len(b.Lock.Packages) == 0 {
		return string(raw), "", err
	}
	l := lock{Language: b.Lock.Language, Version: b.Lock.Version, Environment: b.Lock.Environment}
	for _, p := range b.Lock.Packages {
		l.Packages = append(l.Packages, locked(p))
	}
	rawLock, err := json.Marshal(l)
	return string(raw), string(rawLock), err
}

func decodeBuild(b *remuda.Build, packages, locks string) error {
	var list []packageStatus
	if err := json.Unmarshal([]byte(packages), &list); err != nil {
		return fmt.Errorf("decode the packages of a stored build: %w", err)
	}
	for _, p := range list {
		b.Packages = append(b.Packages, remuda.PackageStatus{
			Package: remuda.Package{Name: p.Name, Version: p.Version, Description: p.Description, Manager: p.Manager},
			State:   p.State, Resolved: p.Resolved, Message: p.Message,
		})
	}
	if locks == "" {
		return nil
	}
	var l lock
	if err := json.Unmarshal([]byte(locks), &l); err != nil {
		return fmt.Errorf("decode the lock of a stored build: %w", err)
	}
	b.Lock = remuda.Lock{Language: l.Language, Version: l.Version, Environment: l.Environment}
	for _, p := range l.Packages {
		b.Lock.Packages = append(b.Lock.Packages, remuda.Locked(p))
	}
	return nil
}

const buildColumns = "runtime, number, status, reason, version, packages, lock, layer, started_at, ended_at"

func scanBuild(r scanner) (b remuda.Build, err error) {
	var packages, locks string
	var started int64
	var ended sql.NullInt64
	if err := r.Scan(&b.Key.Runtime, &b.Key.Number, &b.Status, &b.Reason, &b.Version, &packages, &locks, &b.Layer, &started, &ended); err != nil {
		return b, err
	}
	b.StartedAt = timeOf(started)
	if ended.Valid {
		b.EndedAt = timeOf(ended.Int64)
	}
	return b, decodeBuild(&b, packages, locks)
}

func buildName(key remuda.GenerationKey) string { return fmt.Sprintf("%s/%d", key.Runtime, key.Number) }

// InsertBuild records the making of a generation; the second of one generation is
// a conflict.
func (tx *Tx) InsertBuild(ctx context.Context, org remuda.OrganizationID, b remuda.Build) error {
	packages, locks, err := encodeBuild(b)
	if err != nil {
		return remuda.Internal("encoding a build", err)
	}
	_, err = tx.exec(ctx, "adding a build",
		"INSERT INTO builds (organization, "+buildColumns+") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
		string(org), string(b.Key.Runtime), b.Key.Number, string(b.Status), b.Reason, b.Version, packages, locks, string(b.Layer),
		micros(b.StartedAt), endOf(b))
	return tx.conflictError(err, "build %d of runtime %s exists already", b.Key.Number, b.Key.Runtime)
}

func endOf(b remuda.Build) sql.NullInt64 {
	if b.EndedAt.IsZero() {
		return sql.NullInt64{}
	}
	return sql.NullInt64{Int64: micros(b.EndedAt), Valid: true}
}

// UpdateBuild changes a build that is busy. One that has ended does not change
// any more: that is a conflict.
func (tx *Tx) UpdateBuild(ctx context.Context, org remuda.OrganizationID, b remuda.Build) error {
	packages, locks, err := encodeBuild(b)
	if err != nil {
		return remuda.Internal("encoding a build", err)
	}
	n, err := tx.exec(ctx, "changing a build",
		`UPDATE builds SET status = $4, reason = $5, version = $6, packages = $7, lock = $8, layer = $9, started_at = $10, ended_at = $11
		WHERE organization = $1 AND runtime = $2 AND number = $3 AND status = 'busy'`,
		string(org), string(b.Key.Runtime), b.Key.Number, string(b.Status), b.Reason, b.Version, packages, locks, string(b.Layer),
		micros(b.StartedAt), endOf(b))
	if err != nil || n > 0 {
		return err
	}
	if _, err := tx.Build(ctx, org, b.Key); err != nil {
		return err
	}
	return &remuda.Error{
		Code: remuda.CodeConflict, Message: "build " + buildName(b.Key) + " has ended",
		Remedy: "read its status; a build that has ended does not change",
	}
}

// Build returns the making of a generation.
func (tx *Tx) Build(ctx context.Context, org remuda.OrganizationID, key remuda.GenerationKey) (remuda.Build, error) {
	return one(ctx, tx, "reading a build", remuda.NotFound("build", buildName(key)), scanBuild,
		"SELECT "+buildColumns+" FROM builds WHERE organization = $1 AND runtime = $2 AND number = $3",
		string(org), string(key.Runtime), key.Number)
}

// Builds lists the builds of a runtime, newest first.
func (tx *Tx) Builds(ctx context.Context, org remuda.OrganizationID, runtime remuda.RuntimeID, page remuda.Page) ([]remuda.Build, string, error) {
	before, limit, err := seqPageOf(page)
	if err != nil {
		return nil, "", err
	}
	return list(ctx, tx, "listing builds", scanBuild, limit, func(b remuda.Build) string { return strconv.Itoa(b.Key.Number) },
		"SELECT "+buildColumns+" FROM builds WHERE organization = $1 AND runtime = $2 AND number < $3 ORDER BY number DESC LIMIT $4",
		string(org), string(runtime), before, limit+1)
}

// AppendBuildLog adds records to the log of a build. Their numbers are the
// caller's; one that exists already is a conflict.
func (tx *Tx) AppendBuildLog(ctx context.Context, org remuda.OrganizationID, key remuda.GenerationKey, records []remuda.OutputRecord) error {
	for _, r := range records {
		data := r.Data
		if data == nil {
			data = []byte{} // nil would be NULL
		}
		_, err := tx.exec(ctx, "adding to the log of a build",
			"INSERT INTO build_log (organization, runtime, number, seq, stream, data) VALUES ($1, $2, $3, $4, $5, $6)",
			string(org), string(key.Runtime), key.Number, r.Seq, string(r.Stream), data)
		if err != nil {
			err = tx.conflictError(err, "record %d of build %s exists already", r.Seq, buildName(key))
			return tx.referenceError(err, remuda.NotFound("build", buildName(key)))
		}
	}
	return nil
}

// BuildLog returns records of a build's log with numbers above after, in order, as
// many as fit in maxBytes of data but at least one if there is one.
func (tx *Tx) BuildLog(ctx context.Context, org remuda.OrganizationID, key remuda.GenerationKey, after int64, maxBytes int) ([]remuda.OutputRecord, error) {
	rows, err := all(ctx, tx, "reading the log of a build", scanRecord,
		`SELECT seq, stream, data FROM build_log WHERE organization = $1 AND runtime = $2 AND number = $3 AND seq > $4
		ORDER BY seq LIMIT $5`,
		string(org), string(key.Runtime), key.Number, after, maxOutputRecords)
	if err != nil {
		return nil, err
	}
	size := 0
	for i, r := range rows {
		if size += len(r.Data); size > maxBytes && i > 0 {
			return rows[:i], nil
		}
	}
	return rows, nil
}

func scanRecord(s scanner) (r remuda.OutputRecord, err error) {
	err = s.Scan(&r.Seq, &r.Stream, &r.Data)
	if r.Data == nil {
		r.Data = []byte{} // drivers differ in what an empty value reads as
	}
	return r, err
}

// BuildLogEnd is how much the log of a build has: the number of its last record,
// 0 when there is none, and its bytes.
func (tx *Tx) BuildLogEnd(ctx context.Context, org remuda.OrganizationID, key remuda.GenerationKey) (last, size int64, err error) {
	type end struct{ last, size int64 }
	e, err := one(ctx, tx, "reading the end of a build's log", remuda.NotFound("build", buildName(key)), func(r scanner) (e end, err error) {
		return e, r.Scan(&e.last, &e.size)
	}, "SELECT COALESCE(MAX(seq), 0), COALESCE(SUM(LENGTH(data)), 0) FROM build_log WHERE organization = $1 AND runtime = $2 AND number = $3",
		string(org), string(key.Runtime), key.Number)
	return e.last, e.size, err
}

// CopyBuildLog gives a build that has no log yet that of another one, which it
// goes on with.
func (tx *Tx) CopyBuildLog(ctx context.Context, org remuda.OrganizationID, runtime remuda.RuntimeID, from, to int) error {
	_, err := tx.exec(ctx, "copying the log of a build",
		`INSERT INTO build_log (organization, runtime, number, seq, stream, data)
		SELECT organization, runtime, $4, seq, stream, data FROM build_log WHERE organization = $1 AND runtime = $2 AND number = $3`,
		string(org), string(runtime), from, to)
	return tx.conflictError(err, "build %d of runtime %s has a log already", to, runtime)
}

// PruneBuildLogs removes the logs of a runtime's builds below a number.
func (tx *Tx) PruneBuildLogs(ctx context.Context, org remuda.OrganizationID, runtime remuda.RuntimeID, below int) error {
	_, err := tx.exec(ctx, "removing logs of old builds",
		"DELETE FROM build_log WHERE organization = $1 AND runtime = $2 AND number < $3", string(org), string(runtime), below)
	return err
}

// deleteBuilds removes the builds of a runtime and their logs.
func (tx *Tx) deleteBuilds(ctx context.Context, org remuda.OrganizationID, runtime remuda.RuntimeID) error {
	for _, table := range []string{"build_log", "builds"} {
		_, err := tx.exec(ctx, "removing the builds of a runtime", "DELETE FROM "+table+" WHERE organization = $1 AND runtime = $2", string(org), string(runtime))
		if err != nil {
			return err
		}
	}
	return nil
}
