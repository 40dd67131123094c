package organizations

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/remuda-run/remuda/internal/audit"
	"github.com/remuda-run/remuda/internal/authz"
	"github.com/remuda-run/remuda/internal/remuda"
	"github.com/remuda-run/remuda/internal/store"
)

// limits is what bounds every organization, in memory: each new runspace asks, and
// each look for idle ones.
type limits struct {
	mu      sync.RWMutex
	all     map[remuda.OrganizationID]remuda.Limits // what organizations have set themselves
	site    remuda.Limits
	changed func(remuda.OrganizationID)
}

// LoadLimits reads every organization's limits. site are those of organizations that
// have set none. Call it once, before requests are served; changed is told of every
// later change once it is in force, and may be nil.
func (s *Service) LoadLimits(ctx context.Context, site remuda.Limits, changed func(remuda.OrganizationID)) error {
	orgs, err := s.all(ctx)
	if err != nil {
		return err
	}
	s.limits.mu.Lock()
	defer s.limits.mu.Unlock()
	s.limits.site, s.limits.changed = site, changed
	for _, o := range orgs {
		s.limits.all[o.ID] = o.Limits
	}
	return nil
}

// Limits are those in force for an organization: its own, and the site's where it has
// set none. What is 0 in both is bounded by the services' own settings only.
func (s *Service) Limits(org remuda.OrganizationID) remuda.Limits {
	s.limits.mu.RLock()
	defer s.limits.mu.RUnlock()
	return s.limits.all[org].Or(s.limits.site)
}

// all are the organizations in the order of their ids.
func (s *Service) all(ctx context.Context) (orgs []remuda.Organization, err error) {
	err = s.store.ReadOf(ctx, store.Ended{}, func(tx *store.Tx) error {
		orgs, err = tx.AllOrganizations(ctx)
		return err
	})
	return orgs, err
}

// LimitedOrganizations are the organizations in the order of their ids.
func (s *Service) LimitedOrganizations(ctx context.Context) (ids []remuda.OrganizationID, err error) {
	orgs, err := s.all(ctx)
	for _, o := range orgs {
		ids = append(ids, o.ID)
	}
	return ids, err
}

// GetLimits returns what an organization (id or name) has set itself, and what is in
// force.
func (s *Service) GetLimits(ctx context.Context, p remuda.Principal, ref string) (own, inForce remuda.Limits, err error) {
	err = s.store.ReadOf(ctx, store.Ended{}, func(tx *store.Tx) error {
		org, err := withOrganization(ctx, tx, p, authz.LimitsRead, ref)
		own, inForce = org.Limits, org.Limits.Or(s.siteLimits())
		return err
	})
	if err != nil {
		return remuda.Limits{}, remuda.Limits{}, err
	}
	return own, inForce, nil
}

func (s *Service) siteLimits() remuda.Limits {
	s.limits.mu.RLock()
	defer s.limits.mu.RUnlock()
	return s.limits.site
}

// UpdateLimits changes what an organization (id or name) has set itself, and returns
// that and what is in force. Its administrators may, and those of the site. When it
// returns the new limits are in force. Lowering one closes nothing that is open; open
// runspaces that did not ask for times of their own have the new ones.
func (s *Service) UpdateLimits(ctx context.Context, p remuda.Principal, ref string, patch remuda.LimitsPatch) (own, inForce remuda.Limits, err error) {
	s.policies.changes.Lock() // of policies too: both are columns of one row
	defer s.policies.changes.Unlock()
	var org remuda.Organization
	err = s.store.Write(ctx, func(tx *store.Tx) (err error) {
		if org, err = withOrganization(ctx, tx, p, authz.LimitsWrite, ref); err != nil {
			return err
		}
		if org.ID == remuda.GlobalOrganization {
			return remuda.NotFound("organization", ref)
		}
		if wrong := checkLimits(patch); len(wrong) > 0 {
			return remuda.Invalid(wrong...)
		}
		was := org.Limits
		if org.Limits = patch.Apply(was); org.Limits == was {
			return nil
		}
		if err := tx.UpdateOrganization(ctx, org); err != nil {
			return err
		}
		e := audit.Entry(p, authz.LimitsWrite, string(org.ID), nil, s.clock(), limitsDetails(was, org.Limits)...)
		e.Organization = org.ID
		return tx.AppendAudit(ctx, e)
	})
	if err != nil {
		return remuda.Limits{}, remuda.Limits{}, err
	}
	s.limits.mu.Lock()
	s.limits.all[org.ID] = org.Limits
	changed := s.limits.changed
	s.limits.mu.Unlock()
	if changed != nil {
		changed(org.ID)
	}
	return org.Limits, s.Limits(org.ID), nil
}

// Bounds of limits.
const (
	maxRunspaceLimit = 100_000
	maxTimeLimit     = 366 * 24 * time.Hour
	maxMemoryMB      = 1 << 20
	minMemoryMB      = 16
	maxKeep          = 10_000_000
	maxKeepFor       = 10 * 366 * 24 * time.Hour
)

func checkLimits(patch remuda.LimitsPatch) []remuda.FieldError {
	var wrong []remuda.FieldError
	number := func(field string, n *int, low, high int) {
		if n != nil && *n != 0 && (*n < low || *n > high) {
			wrong = append(wrong, remuda.FieldError{Field: field, Message: fmt.Sprintf("must be 0 (the site's default) or between %d and %d", low, high)})
		}
	}
	duration := func(field string, d *time.Duration, high time.Duration) {
		if d != nil && *d != 0 && (*d < time.Second || *d > high || *d%time.Second != 0) {
			wrong = append(wrong, remuda.FieldError{Field: field, Message: fmt.Sprintf("must be 0 (the site's default) or between 1 and %d whole seconds", int64(high.Seconds()))})
		}
	}
	number("max_runspaces", patch.MaxRunspaces, 1, maxRunspaceLimit)
	number("max_runspaces_per_user", patch.MaxRunspacesPerUser, 1, maxRunspaceLimit)
	duration("idle_timeout_s", patch.IdleTimeout, maxTimeLimit)
	duration("active_timeout_s", patch.ActiveTimeout, maxTimeLimit)
	number("memory_mb", patch.MemoryMB, minMemoryMB, maxMemoryMB)
	number("keep_executions", patch.KeepExecutions, 1, maxKeep)
	duration("keep_for_s", patch.KeepFor, maxKeepFor)
	return wrong
}

// limitsDetails says in the audit log what was changed, from what to what.
func limitsDetails(was, now remuda.Limits) []any {
	details := []any{"change", "update"}
	add := func(name string, was, now any) {
		if was != now {
			details = append(details, name, fmt.Sprintf("%v -> %v", was, now))
		}
	}
	add("max_runspaces", was.MaxRunspaces, now.MaxRunspaces)
	add("max_runspaces_per_user", was.MaxRunspacesPerUser, now.MaxRunspacesPerUser)
	add("idle_timeout", was.IdleTimeout, now.IdleTimeout)
	add("active_timeout", was.ActiveTimeout, now.ActiveTimeout)
	add("memory_mb", was.MemoryMB, now.MemoryMB)
	add("keep_executions", was.KeepExecutions, now.KeepExecutions)
	add("keep_for", was.KeepFor, now.KeepFor)
	return details
}
