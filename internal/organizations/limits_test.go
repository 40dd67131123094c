package organizations_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/remuda-run/remuda/internal/remuda"
	"github.com/remuda-run/remuda/internal/store"
)

func TestLimits(t *testing.T) {
	t.Parallel()
	x := newSite(t)
	org, other := x.organization("acme"), x.organization("other")
	boss := x.member("boss", "acme", remuda.RoleAdministrator)
	site := remuda.Limits{MaxRunspaces: 9, IdleTimeout: time.Minute, KeepExecutions: 100}
	var told []remuda.OrganizationID
	if err := x.LoadLimits(t.Context(), site, func(o remuda.OrganizationID) { told = append(told, o) }); err != nil {
		t.Fatal(err)
	}
	if got := x.Limits(org.ID); got != site {
		t.Errorf("before a change: %+v", got)
	}
	own, inForce, err := x.UpdateLimits(t.Context(), boss, "acme", remuda.LimitsPatch{
		MaxRunspaces: new(2), MaxRunspacesPerUser: new(1), ActiveTimeout: new(time.Hour), MemoryMB: new(64), KeepFor: new(24 * time.Hour),
	})
	want := remuda.Limits{MaxRunspaces: 2, MaxRunspacesPerUser: 1, ActiveTimeout: time.Hour, MemoryMB: 64, KeepFor: 24 * time.Hour}
	if err != nil || own != want || inForce != want.Or(site) || x.Limits(org.ID) != inForce || inForce.IdleTimeout != time.Minute {
		t.Errorf("changed: %+v, %+v, %v", own, inForce, err)
	}
	if got := x.Limits(other.ID); got != site {
		t.Errorf("another organization has %+v", got)
	}
	// What is set to nothing is the site's again; the same again is no change.
	for range 2 {
		if own, _, err = x.UpdateLimits(t.Context(), x.admin, string(org.ID), remuda.LimitsPatch{MaxRunspaces: new(0)}); err != nil || own.MaxRunspaces != 0 || x.Limits(org.ID).MaxRunspaces != 9 {
			t.Errorf("back to the site's: %+v, %v", own, err)
		}
	}
	if !slices.Contains(told, org.ID) || slices.Contains(told, other.ID) {
		t.Errorf("told of %v", told)
	}
	// A policy is in the same row, and neither change may lose the other.
	if _, err := x.UpdateOrganization(t.Context(), x.admin, "acme", remuda.PolicyPatch{MaxInstances: new(3)}); err != nil {
		t.Fatal(err)
	}
	again := newService(x.store, x.clock)
	if err := errors.Join(again.LoadLimits(t.Context(), site, nil), again.LoadPolicies(t.Context(), nil)); err != nil {
		t.Fatal(err)
	}
	if again.Limits(org.ID) != x.Limits(org.ID) || again.Policy(org.ID).MaxInstances != 3 {
		t.Errorf("after a restart: %+v", again.Limits(org.ID))
	}
	x.auditedLimits(t, org.ID, "0s -> 1h0m0s")
}

func (x *site) auditedLimits(t *testing.T, org remuda.OrganizationID, active string) {
	t.Helper()
	var seen []remuda.AuditEntry
	err := x.store.Read(t.Context(), func(tx *store.Tx) error {
		list, _, err := tx.Audit(t.Context(), org, remuda.Page{Limit: 200})
		for _, e := range list {
			if e.Action == "limits.write" {
				seen = append(seen, e)
			}
		}
		return err
	})
	if err != nil || len(seen) != 2 || seen[1].Details["active_timeout"] != active || seen[0].Details["max_runspaces"] != "2 -> 0" || seen[0].Object != string(org) {
		t.Errorf("audit log: %+v, %v; want two changes", seen, err)
	}
}

func TestLimitsAreGuarded(t *testing.T) {
	t.Parallel()
	x := newSite(t)
	org := x.organization("acme")
	x.organization("other")
	stranger := x.member("stranger", "other", remuda.RoleAdministrator)
	if err := x.LoadLimits(t.Context(), remuda.Limits{}, nil); err != nil {
		t.Fatal(err)
	}
	patch := remuda.LimitsPatch{MaxRunspaces: new(1)}
	for role, codes := range map[remuda.Role][2]remuda.Code{
		remuda.RoleMonitor: {"", remuda.CodeForbidden}, remuda.RoleOperator: {"", remuda.CodeForbidden}, remuda.RoleDeployer: {"", remuda.CodeForbidden},
	} {
		p := x.member("m"+string(role), "acme", role)
		_, _, err := x.GetLimits(t.Context(), p, "acme")
		wantCode(t, "read by "+string(role), err, codes[0])
		_, _, err = x.UpdateLimits(t.Context(), p, "acme", patch)
		wantCode(t, "change by "+string(role), err, codes[1])
	}
	_, _, err := x.GetLimits(t.Context(), stranger, "acme")
	wantCode(t, "read by a stranger", err, remuda.CodeNotFound)
	for _, ref := range []string{"acme", string(org.ID), "absent", "global", string(remuda.GlobalOrganization)} {
		_, _, err := x.UpdateLimits(t.Context(), stranger, ref, patch)
		wantCode(t, "change of "+ref+" by a stranger", err, remuda.CodeNotFound)
	}
	_, _, err = x.UpdateLimits(t.Context(), x.admin, "global", patch)
	wantCode(t, "of what is no tenant", err, remuda.CodeNotFound)
	for name, wrong := range map[string]remuda.LimitsPatch{
		"max_runspaces": {MaxRunspaces: new(-1)}, "max_runspaces_per_user": {MaxRunspacesPerUser: new(100_001)}, "memory_mb": {MemoryMB: new(15)},
		"idle_timeout_s": {IdleTimeout: new(-time.Second)}, "active_timeout_s": {ActiveTimeout: new(1500 * time.Millisecond)}, "keep_executions": {KeepExecutions: new(-5)},
		"keep_for_s": {KeepFor: new(time.Millisecond)},
	} {
		_, _, err := x.UpdateLimits(t.Context(), x.admin, "acme", wrong)
		var e *remuda.Error
		if !errors.As(err, &e) || e.Code != remuda.CodeInvalid || len(e.Fields) != 1 || e.Fields[0].Field != name {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got := x.Limits(org.ID); got != (remuda.Limits{}) {
		t.Errorf("after refusals: %+v", got)
	}
}
