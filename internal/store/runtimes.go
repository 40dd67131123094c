package store

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/remuda-run/remuda/internal/remuda"
)

// definition is how a remuda.Definition is stored. The names are part of the
// database: change them only with a migration.
type definition struct {
	Name          string            `json:"name"`
	Description   string            `json:"description,omitempty"`
	Language      remuda.Language   `json:"language"`
	Version       string            `json:"version,omitempty"`
	Environment   string            `json:"environment"`
	CPU           float64           `json:"cpu"`
	MemoryMB      int               `json:"memory_mb"`
	DiskMB        int               `json:"disk_mb"`
	Pids          int               `json:"pids"`
	ExecTimeoutUS int64             `json:"exec_timeout_us"`
	MinCached     int               `json:"min_cached"`
	MaxCached     int               `json:"max_cached"`
	Env           map[string]string `json:"env,omitempty"`
	Preload       []string          `json:"preload,omitempty"`
	Isolation     remuda.Isolation  `json:"isolation,omitempty"`
	EgressCIDRs   []netip.Prefix    `json:"egress_cidrs,omitempty"`
	EgressNames   []string          `json:"egress_names,omitempty"`

	VersionPolicy remuda.VersionPolicy `json:"version_policy,omitempty"`
	Packages      []packageStatus      `json:"packages,omitempty"`
	Others        string               `json:"others,omitempty"`

	ConnectionScript string `json:"connection_script,omitempty"`
	DisconnectScript string `json:"disconnect_script,omitempty"`
}

func encodeDefinition(d remuda.Definition) (string, error) {
	var packages []packageStatus
	for _, p := range d.Packages {
		packages = append(packages, packageStatus{Name: p.Name, Version: p.Version, Description: p.Description, Manager: p.Manager})
	}
	raw, err := json.Marshal(definition{
		Name: d.Name, Description: d.Description, Language: d.Language, Version: d.Version, Environment: d.Environment,
		CPU: d.Resources.CPU, MemoryMB: d.Resources.MemoryMB, DiskMB: d.Resources.DiskMB, Pids: d.Resources.Pids,
		ExecTimeoutUS: d.ExecTimeout.Microseconds(), MinCached: d.Pool.MinCached, MaxCached: d.Pool.MaxCached, Env: d.Env,
		Preload: d.Preload, Isolation: d.Isolation, EgressCIDRs: d.Egress.CIDRs, EgressNames: d.Egress.Names,
		VersionPolicy: d.VersionPolicy, Packages: packages, Others: d.Others,
		ConnectionScript: d.ConnectionScript, DisconnectScript: d.DisconnectScript,
	})
	return string(raw), err
}

func decodeDefinition(raw string) (remuda.Definition, error) {
	var d definition
	if err := json.Unmarshal([]byte(raw), &d); err != nil {
		return remuda.Definition{}, fmt.Errorf("decode a stored definition: %w", err)
	}
	if d.Isolation == "" { // written before there was a choice
		d.Isolation = remuda.IsolationProcess
	}
	if d.VersionPolicy == "" {
		d.VersionPolicy = remuda.VersionExact
	}
	var packages []remuda.Package
	for _, p := range d.Packages {
		packages = append(packages, remuda.Package{Name: p.Name, Version: p.Version, Description: p.Description, Manager: p.Manager})
	}
	return remuda.Definition{
		Name: d.Name, Description: d.Description, Language: d.Language, Version: d.Version, Environment: d.Environment,
		Resources:   remuda.Resources{CPU: d.CPU, MemoryMB: d.MemoryMB, DiskMB: d.DiskMB, Pids: d.Pids},
		ExecTimeout: time.Duration(d.ExecTimeoutUS) * time.Microsecond,
		Pool:        remuda.PoolBounds{MinCached: d.MinCached, MaxCached: d.MaxCached},
		Env:         d.Env,
		Preload:     d.Preload,
		Isolation:   d.Isolation,
		Egress:      remuda.Egress{CIDRs: d.EgressCIDRs, Names: d.EgressNames},

		VersionPolicy: d.VersionPolicy, Packages: packages, Others: d.Others,
		ConnectionScript: d.ConnectionScript, DisconnectScript: d.DisconnectScript,
	}, nil
}

const runtimeColumns = "organization, id, definition, generation, serving, created_at, updated_at"

func scanRuntime(r scanner) (rt remuda.Runtime, err error) {
	var created, updated int64
	var raw string
	if err := r.Scan(&rt.Organization, &rt.ID, &raw, &rt.Generation, &rt.Serving, &created, &updated); err != nil {
		return rt, err
	}
	rt.CreatedAt, rt.UpdatedAt = timeOf(created), timeOf(updated)
	rt.Definition, err = decodeDefinition(raw)
	return rt, err
}

// InsertRuntime adds a runtime; a name that its organization uses is a conflict.
func (tx *Tx) InsertRuntime(ctx context.Context, rt remuda.Runtime) error {
	raw, err := encodeDefinition(rt.Definition)
	if err != nil {
		return remuda.Internal("encoding a runtime", err)
	}
	_, err = tx.exec(ctx, "adding a runtime",
		`INSERT INTO runtimes (organization, id, name, language, definition, generation, serving, created_at, updated_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
		string(rt.Organization), string(rt.ID), rt.Name, string(rt.Language), raw, rt.Generation, rt.Serving, micros(rt.CreatedAt), micros(rt.UpdatedAt))
	return tx.conflictError(err, "a runtime named %q exists already", rt.Name)
}

// UpdateRuntime changes the definition, the current and the serving generation and UpdatedAt.
func (tx *Tx) UpdateRuntime(ctx context.Context, rt remuda.Runtime) error {
	raw, err := encodeDefinition(rt.Definition)
	if err != nil {
		return remuda.Internal("encoding a runtime", err)
	}
	n, err := tx.exec(ctx, "changing a runtime",
		`UPDATE runtimes SET name = $3, language = $4, definition = $5, generation = $6, serving = $7, updated_at = $8
		WHERE organization = $1 AND id = $2`,
		string(rt.Organization), string(rt.ID), rt.Name, string(rt.Language), raw, rt.Generation, rt.Serving, micros(rt.UpdatedAt))
	if err == nil && n == 0 {
		return remuda.NotFound("runtime", string(rt.ID))
	}
	return tx.conflictError(err, "a runtime named %q exists already", rt.Name)
}

// Runtime returns a runtime of an organization.
func (tx *Tx) Runtime(ctx context.Context, org remuda.OrganizationID, id remuda.RuntimeID) (remuda.Runtime, error) {
	return one(ctx, tx, "reading a runtime", remuda.NotFound("runtime", string(id)), scanRuntime,
		"SELECT "+runtimeColumns+" FROM runtimes WHERE organization = $1 AND id = $2", string(org), string(id))
}

// RuntimeByName returns the runtime of an organization with the name.
func (tx *Tx) RuntimeByName(ctx context.Context, org remuda.OrganizationID, name string) (remuda.Runtime, error) {
	return one(ctx, tx, "reading a runtime", remuda.NotFound("runtime", name), scanRuntime,
		"SELECT "+runtimeColumns+" FROM runtimes WHERE organization = $1 AND name = $2", string(org), name)
}

// Runtimes lists the runtimes of the given organizations in one list, newest
// first. A name that is not "" must match exactly.
func (tx *Tx) Runtimes(ctx context.Context, orgs []remuda.OrganizationID, name string, page remuda.Page) ([]remuda.Runtime, string, error) {
	before, limit, err := pageOf(page, remuda.PrefixRuntime)
	if err != nil || len(orgs) == 0 {
		return nil, "", err
	}
	if len(orgs) > 8 {
		// Each number of organizations is a statement text of its own.
		return nil, "", remuda.Internal("listing runtimes", fmt.Errorf("%d organizations in one list", len(orgs)))
	}
	orgs = slices.Compact(slices.Sorted(slices.Values(orgs)))
	args := []any{before, limit + 1}
	places := make([]string, len(orgs))
	for i, o := range orgs {
		args = append(args, string(o))
		places[i] = fmt.Sprintf("$%d", len(args))
	}
	query := "SELECT " + runtimeColumns + " FROM runtimes WHERE id < $1 AND organization IN (" + strings.Join(places, ", ") + ")"
	if name != "" {
		args = append(args, name)
		query += fmt.Sprintf(" AND name = $%d", len(args))
	}
	return list(ctx, tx, "listing runtimes", scanRuntime, limit, func(rt remuda.Runtime) string { return string(rt.ID) }, query+" ORDER BY id DESC LIMIT $2", args...)
}

// AllRuntimes returns the runtimes of every organization. For start-up only: it
// is no answer to a request.
func (tx *Tx) AllRuntimes(ctx context.Context) ([]remuda.Runtime, error) {
	return all(ctx, tx, "reading all runtimes", scanRuntime, "SELECT "+runtimeColumns+" FROM runtimes ORDER BY organization, id")
}

// DeleteRuntime removes a runtime and its builds. Its generations stay: executions
// name them.
func (tx *Tx) DeleteRuntime(ctx context.Context, org remuda.OrganizationID, id remuda.RuntimeID) error {
	if err := tx.deleteBuilds(ctx, org, id); err != nil {
		return err
	}
	n, err := tx.exec(ctx, "removing a runtime", "DELETE FROM runtimes WHERE organization = $1 AND id = $2", string(org), string(id))
	if err == nil && n == 0 {
		return remuda.NotFound("runtime", string(id))
	}
	return err
}

// InsertGeneration records an immutable build of a runtime.
func (tx *Tx) InsertGeneration(ctx context.Context, org remuda.OrganizationID, key remuda.GenerationKey, d remuda.Definition, at time.Time) error {
	raw, err := encodeDefinition(d)
	if err != nil {
		return remuda.Internal("encoding a generation", err)
	}
	_, err = tx.exec(ctx, "adding a generation",
		"INSERT INTO generations (organization, runtime, number, definition, created_at) VALUES ($1, $2, $3, $4, $5)",
		string(org), string(key.Runtime), key.Number, raw, micros(at))
	return tx.conflictError(err, "generation %d of runtime %s exists already", key.Number, key.Runtime)
}

// Generation returns the definition that a generation was made from.
func (tx *Tx) Generation(ctx context.Context, org remuda.OrganizationID, key remuda.GenerationKey) (remuda.Definition, error) {
	return one(ctx, tx, "reading a generation", remuda.NotFound("generation", fmt.Sprintf("%s/%d", key.Runtime, key.Number)),
		func(r scanner) (remuda.Definition, error) {
			var raw string
			if err := r.Scan(&raw); err != nil {
				return remuda.Definition{}, err
			}
			return decodeDefinition(raw)
		}, "SELECT definition FROM generations WHERE organization = $1 AND runtime = $2 AND number = $3", string(org), string(key.Runtime), key.Number)
}
