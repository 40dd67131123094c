package store

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"time"

	"github.com/remuda-run/remuda/internal/remuda"
)

const organizationColumns = "id, name, created_at, policy, limits"

// policy is how a remuda.Policy is stored. The names are part of the database:
// change them only with a migration.
type policy struct {
	Isolations   []remuda.Isolation `json:"isolations,omitempty"`
	Allow        []netip.Prefix     `json:"network_allow,omitempty"`
	Forbid       []netip.Prefix     `json:"network_forbid,omitempty"`
	MaxInstances int                `json:"max_instances,omitempty"`
}

func encodePolicy(p remuda.Policy) (string, error) {
	raw, err := json.Marshal(policy{Isolations: p.Isolations, Allow: p.Network.Allow, Forbid: p.Network.Forbid, MaxInstances: p.MaxInstances})
	if err != nil {
		return "", remuda.Internal("encoding an organization's policy", err)
	}
	return string(raw), nil
}

func decodePolicy(raw string) (remuda.Policy, error) {
	var p policy
	if err := json.Unmarshal([]byte(raw), &p); err != nil {
		return remuda.Policy{}, fmt.Errorf("decode a stored policy: %w", err)
	}
	return remuda.Policy{Isolations: p.Isolations, Network: remuda.EgressRules{Allow: p.Allow, Forbid: p.Forbid}, MaxInstances: p.MaxInstances}, nil
}

// limits is how remuda.Limits are stored. The names are part of the database:
// change them only with a migration.
type limits struct {
	MaxRunspaces        int   `json:"max_runspaces,omitempty"`
	MaxRunspacesPerUser int   `json:"max_runspaces_per_user,omitempty"`
	IdleTimeoutUS       int64 `json:"idle_timeout_us,omitempty"`
	ActiveTimeoutUS     int64 `json:"active_timeout_us,omitempty"`
	MemoryMB            int   `json:"memory_mb,omitempty"`
	KeepExecutions      int   `json:"keep_executions,omitempty"`
	KeepForUS           int64 `json:"keep_for_us,omitempty"`
}

func encodeLimits(l remuda.Limits) (string, error) {
	raw, err := json.Marshal(limits{
		MaxRunspaces: l.MaxRunspaces, MaxRunspacesPerUser: l.MaxRunspacesPerUser, IdleTimeoutUS: l.IdleTimeout.Microseconds(),
		ActiveTimeoutUS: l.ActiveTimeout.Microseconds(), MemoryMB: l.MemoryMB, KeepExecutions: l.KeepExecutions, KeepForUS: l.KeepFor.Microseconds(),
	})
	if err != nil {
		return "", remuda.Internal("encoding an organization's limits", err)
	}
	return string(raw), nil
}

func decodeLimits(raw string) (remuda.Limits, error) {
	var l limits
	if err := json.Unmarshal([]byte(raw), &l); err != nil {
		return remuda.Limits{}, fmt.Errorf("decode stored limits: %w", err)
	}
	return remuda.Limits{
		MaxRunspaces: l.MaxRunspaces, MaxRunspacesPerUser: l.MaxRunspacesPerUser, IdleTimeout: time.Duration(l.IdleTimeoutUS) * time.Microsecond,
		ActiveTimeout: time.Duration(l.ActiveTimeoutUS) * time.Microsecond, MemoryMB: l.MemoryMB, KeepExecutions: l.KeepExecutions,
		KeepFor: time.Duration(l.KeepForUS) * time.Microsecond,
	}, nil
}

func scanOrganization(r scanner) (o remuda.Organization, err error) {
	var created int64
	var policy, limits string
	if err := r.Scan(&o.ID, &o.Name, &created, &policy, &limits); err != nil {
		return o, err
	}
	o.CreatedAt = timeOf(created)
	if o.Policy, err = decodePolicy(policy); err != nil {
		return o, err
	}
	o.Limits, err = decodeLimits(limits)
	return o, err
}

// InsertOrganization adds a tenant; a taken name is a conflict.
func (tx *Tx) InsertOrganization(ctx context.Context, o remuda.Organization) error {
	raw, err := encodePolicy(o.Policy)
	if err != nil {
		return err
	}
	limits, err := encodeLimits(o.Limits)
	if err != nil {
		return err
	}
	_, err = tx.exec(ctx, "adding an organization",
		"INSERT INTO organizations (id, name, created_at, policy, limits) VALUES ($1, $2, $3, $4, $5)",
		string(o.ID), o.Name, micros(o.CreatedAt), raw, limits)
	return tx.conflictError(err, "an organization named %q exists already", o.Name)
}

// UpdateOrganization changes the policy and the limits of a tenant.
func (tx *Tx) UpdateOrganization(ctx context.Context, o remuda.Organization) error {
	raw, err := encodePolicy(o.Policy)
	if err != nil {
		return err
	}
	limits, err := encodeLimits(o.Limits)
	if err != nil {
		return err
	}
	n, err := tx.exec(ctx, "changing an organization", "UPDATE organizations SET policy = $2, limits = $3 WHERE id = $1", string(o.ID), raw, limits)
	if err == nil && n == 0 {
		return remuda.NotFound("organization", string(o.ID))
	}
	return err
}

// AllOrganizations returns every tenant. For start-up only: it is no answer to a
// request.
func (tx *Tx) AllOrganizations(ctx context.Context) ([]remuda.Organization, error) {
	return all(ctx, tx, "reading all organizations", scanOrganization,
		"SELECT "+organizationColumns+" FROM organizations WHERE id <> $1 ORDER BY id", string(remuda.GlobalOrganization))
}

// Organization returns the one with the id.
func (tx *Tx) Organization(ctx context.Context, id remuda.OrganizationID) (remuda.Organization, error) {
	return one(ctx, tx, "reading an organization", remuda.NotFound("organization", string(id)), scanOrganization,
		"SELECT "+organizationColumns+" FROM organizations WHERE id = $1", string(id))
}

// OrganizationByName returns the one with the name.
func (tx *Tx) OrganizationByName(ctx context.Context, name string) (remuda.Organization, error) {
	return one(ctx, tx, "reading an organization", remuda.NotFound("organization", name), scanOrganization,
		"SELECT "+organizationColumns+" FROM organizations WHERE name = $1", name)
}

// Organizations lists tenants, newest first. The global organization is none.
func (tx *Tx) Organizations(ctx context.Context, page remuda.Page) ([]remuda.Organization, string, error) {
	before, limit, err := pageOf(page, remuda.PrefixOrganization)
	if err != nil {
		return nil, "", err
	}
	return list(ctx, tx, "listing organizations", scanOrganization, limit, func(o remuda.Organization) string { return string(o.ID) },
		"SELECT "+organizationColumns+" FROM organizations WHERE id < $1 AND id <> $2 ORDER BY id DESC LIMIT $3",
		before, string(remuda.GlobalOrganization), limit+1)
}

// PutMembership gives a user a role in an organization, replacing the one it
// has there.
func (tx *Tx) PutMembership(ctx context.Context, m remuda.Membership) error {
	_, err := tx.exec(ctx, "setting a role",
		`INSERT INTO memberships (organization, user_id, role) VALUES ($1, $2, $3)
		ON CONFLICT (organization, user_id) DO UPDATE SET role = excluded.role`,
		string(m.Organization), string(m.User), string(m.Role))
	return tx.referenceError(err, remuda.NotFound("organization or user", string(m.Organization)+"/"+string(m.User)))
}

// DeleteMembership takes a user's role in an organization away.
func (tx *Tx) DeleteMembership(ctx context.Context, org remuda.OrganizationID, user remuda.UserID) error {
	n, err := tx.exec(ctx, "removing a member", "DELETE FROM memberships WHERE organization = $1 AND user_id = $2", string(org), string(user))
	if err == nil && n == 0 {
		return remuda.NotFound("member", string(user))
	}
	return err
}

// Membership returns a user's role in an organization.
func (tx *Tx) Membership(ctx context.Context, org remuda.OrganizationID, user remuda.UserID) (remuda.Membership, error) {
	return one(ctx, tx, "reading a role", remuda.NotFound("member", string(user)), scanMembership,
		"SELECT organization, user_id, role FROM memberships WHERE organization = $1 AND user_id = $2", string(org), string(user))
}

// Memberships lists the roles of a user, oldest organization first.
func (tx *Tx) Memberships(ctx context.Context, user remuda.UserID) ([]remuda.Membership, error) {
	return all(ctx, tx, "listing roles", scanMembership,
		"SELECT organization, user_id, role FROM memberships WHERE user_id = $1 ORDER BY organization", string(user))
}

// Members lists who has a role in an organization, by name.
func (tx *Tx) Members(ctx context.Context, org remuda.OrganizationID) ([]remuda.Member, error) {
	return all(ctx, tx, "listing members", func(r scanner) (m remuda.Member, err error) {
		err = r.Scan(&m.User, &m.UserName, &m.Role)
		return m, err
	}, `SELECT m.user_id, u.name, m.role FROM memberships m JOIN users u ON u.id = m.user_id
		WHERE m.organization = $1 ORDER BY u.name`, string(org))
}

// CountAdministrators counts the enabled administrators of an organization
// other than the given user.
func (tx *Tx) CountAdministrators(ctx context.Context, org remuda.OrganizationID, except remuda.UserID) (int, error) {
	return one(ctx, tx, "counting administrators", nil, scanInt,
		`SELECT count(*) FROM memberships m JOIN users u ON u.id = m.user_id
		WHERE m.organization = $1 AND m.role = $2 AND NOT u.disabled AND u.id <> $3`,
		string(org), string(remuda.RoleAdministrator), string(except))
}

func scanMembership(r scanner) (m remuda.Membership, err error) {
	err = r.Scan(&m.Organization, &m.User, &m.Role)
	return m, err
}

func scanInt(r scanner) (n int, err error) {
	err = r.Scan(&n)
	return n, err
}
