package organizations

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"github.com/remuda-run/remuda/internal/audit"
	"github.com/remuda-run/remuda/internal/authz"
	"github.com/remuda-run/remuda/internal/egress"
	"github.com/remuda-run/remuda/internal/remuda"
	"github.com/remuda-run/remuda/internal/store"
)

// policies is what every organization may do, in memory: each execution asks.
type policies struct {
	mu  sync.RWMutex
	all map[remuda.OrganizationID]remuda.Policy
	// changes puts changes in one order for the store and the memory alike.
	changes sync.Mutex
	changed func(remuda.OrganizationID)
}

// LoadPolicies reads every organization's policy. Call it once, before requests
// are served; changed is told of every later change once it is in force, and
// may be nil.
func (s *Service) LoadPolicies(ctx context.Context, changed func(remuda.OrganizationID)) error {
	orgs, err := s.all(ctx)
	if err != nil {
		return err
	}
	s.policies.mu.Lock()
	defer s.policies.mu.Unlock()
	s.policies.changed = changed
	for _, o := range orgs {
		s.policies.all[o.ID] = o.Policy
	}
	return nil
}

// Policy is what the organization may do. Do not change its lists.
func (s *Service) Policy(org remuda.OrganizationID) remuda.Policy {
	s.policies.mu.RLock()
	defer s.policies.mu.RUnlock()
	return s.policies.all[org]
}

// UpdateOrganization changes what an organization may do. Only a site
// administrator may. When it returns the new policy is in force: for every
// request that begins afterwards, and for what runs already.
func (s *Service) UpdateOrganization(ctx context.Context, p remuda.Principal, ref string, patch remuda.PolicyPatch) (remuda.Organization, error) {
	if err := authz.Check(p, authz.OrganizationWrite, p.Organization); err != nil {
		return remuda.Organization{}, err
	}
	if wrong := checkPolicy(patch); len(wrong) > 0 {
		return remuda.Organization{}, remuda.Invalid(wrong...)
	}
	s.policies.changes.Lock()
	defer s.policies.changes.Unlock()
	var org remuda.Organization
	err := s.store.Write(ctx, func(tx *store.Tx) (err error) {
		if org, err = organizationByRef(ctx, tx, ref); err != nil {
			return err
		}
		if org.ID == remuda.GlobalOrganization {
			return remuda.NotFound("organization", ref)
		}
		org.Policy = patch.Apply(org.Policy)
		if err := tx.UpdateOrganization(ctx, org); err != nil {
			return err
		}
		return tx.AppendAudit(ctx, ofSite(audit.Entry(p, authz.OrganizationWrite, string(org.ID), nil, s.clock(), policyDetails(org)...)))
	})
	if err != nil {
		return remuda.Organization{}, err
	}
	s.policies.mu.Lock()
	s.policies.all[org.ID] = org.Policy.Clone()
	changed := s.policies.changed
	s.policies.mu.Unlock()
	if changed != nil {
		changed(org.ID)
	}
	return org, nil
}

// Bounds of a policy.
const (
	maxRanges    = 512
	maxInstances = 100_000
)

func checkPolicy(patch remuda.PolicyPatch) []remuda.FieldError {
	var wrong []remuda.FieldError
	add := func(field, format string, args ...any) {
		wrong = append(wrong, remuda.FieldError{Field: field, Message: fmt.Sprintf(format, args...)})
	}
	if patch.Isolations != nil {
		for i, class := range *patch.Isolations {
			if !slices.Contains(remuda.Isolations(), class) {
				add(fmt.Sprintf("policy.isolations[%d]", i), "must be process or gvisor")
			}
		}
	}
	var rules egress.Rules
	for field, list := range map[string]struct{ from, to *[]netip.Prefix }{"allow": {patch.Allow, &rules.Allow}, "forbid": {patch.Forbid, &rules.Forbid}} {
		if list.from == nil {
			continue
		}
		if *list.to = *list.from; len(*list.from) > maxRanges {
			add("policy.network_"+field, "has %d ranges; at most %d are allowed", len(*list.from), maxRanges)
		}
	}
	for _, f := range egress.CheckRules("policy", rules) {
		f.Field = strings.Replace(f.Field, "policy.", "policy.network_", 1)
		wrong = append(wrong, f)
	}
	if n := patch.MaxInstances; n != nil && (*n < 0 || *n > maxInstances) {
		add("policy.max_instances", "must be between 0 (the site's number) and %d", maxInstances)
	}
	return wrong
}

func policyDetails(org remuda.Organization) []any {
	return []any{
		"change", "update", "name", org.Name, "isolations", fmt.Sprint(org.Policy.Isolations), "network_allow", fmt.Sprint(org.Policy.Network.Allow),
		"network_forbid", fmt.Sprint(org.Policy.Network.Forbid), "max_instances", org.Policy.MaxInstances,
	}
}
