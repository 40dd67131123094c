package organizations_test

import (
	"errors"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/remuda-run/remuda/internal/remuda"
	"github.com/remuda-run/remuda/internal/store"
)

func TestPolicies(t *testing.T) {
	t.Parallel()
	x := newSite(t)
	org := x.organization("acme")
	var told []remuda.OrganizationID
	if err := x.LoadPolicies(t.Context(), func(o remuda.OrganizationID) { told = append(told, o) }); err != nil {
		t.Fatal(err)
	}
	ranges := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	for _, patch := range []remuda.PolicyPatch{
		{Isolations: &[]remuda.Isolation{remuda.IsolationGVisor}, Allow: &ranges},
		{Forbid: &[]netip.Prefix{netip.MustParsePrefix("10.1.0.0/16")}, MaxInstances: new(7)},
	} {
		if _, err := x.UpdateOrganization(t.Context(), x.admin, "acme", patch); err != nil {
			t.Fatal(err)
		}
	}
	want := remuda.Policy{
		Isolations: []remuda.Isolation{remuda.IsolationGVisor}, MaxInstances: 7,
		Network: remuda.EgressRules{Allow: ranges, Forbid: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16")}},
	}
	same := func(what string, got remuda.Policy) {
		t.Helper()
		if d := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Prefix{})); d != "" {
			t.Errorf("%s (-want +got):\n%s", what, d)
		}
	}
	same("in force", x.Policy(org.ID))
	if len(told) != 2 || told[0] != org.ID || told[1] != org.ID {
		t.Errorf("told of %v, want twice of %s", told, org.ID)
	}
	shown, err := x.GetOrganization(t.Context(), x.admin, "acme")
	if err != nil {
		t.Fatal(err)
	}
	same("shown", shown.Policy)
	again := newService(x.store, x.clock)
	if err := again.LoadPolicies(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	same("after a restart", again.Policy(org.ID))
	err = x.store.Read(t.Context(), func(tx *store.Tx) error {
		list, _, err := tx.Audit(t.Context(), remuda.GlobalOrganization, remuda.Page{Limit: 1})
		if len(list) != 1 || list[0].Details["change"] != "update" || list[0].Details["max_instances"] != "7" {
			t.Errorf("the newest audit entry is %+v", list)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestPoliciesAreChecked(t *testing.T) {
	t.Parallel()
	x := newSite(t)
	org := x.organization("acme")
	for field, patch := range map[string]remuda.PolicyPatch{
		"policy.isolations[0]":     {Isolations: &[]remuda.Isolation{"vm"}},
		"policy.network_allow[0]":  {Allow: &[]netip.Prefix{netip.MustParsePrefix("10.0.0.1/8")}},
		"policy.network_forbid[0]": {Forbid: &[]netip.Prefix{{}}},
		"policy.max_instances":     {MaxInstances: new(-1)},
	} {
		_, err := x.UpdateOrganization(t.Context(), x.admin, "acme", patch)
		e, ok := errors.AsType[*remuda.Error](err)
		if !ok || e.Code != remuda.CodeInvalid || len(e.Fields) != 1 || e.Fields[0].Field != field {
			t.Errorf("%s: %v", field, err)
		}
	}
	for _, ref := range []string{"nobody", string(remuda.GlobalOrganization), "global"} {
		_, err := x.UpdateOrganization(t.Context(), x.admin, ref, remuda.PolicyPatch{MaxInstances: new(1)})
		wantCode(t, ref, err, remuda.CodeNotFound)
	}
	if got := x.Policy(org.ID); got.MaxInstances != 0 {
		t.Errorf("a refused change is in force: %+v", got)
	}
}
