package runtimes_test

import (
	"errors"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/remuda-run/remuda/internal/egress"
	"github.com/remuda-run/remuda/internal/remuda"
	"github.com/remuda-run/remuda/internal/runtimes"
	"github.com/remuda-run/remuda/internal/store"
)

// policies of the tests, which change.
type policies struct {
	mu  sync.Mutex
	all map[remuda.OrganizationID]remuda.Policy
}

func (p *policies) Policy(org remuda.OrganizationID) remuda.Policy {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.all[org]
}

func (p *policies) set(org remuda.OrganizationID, policy remuda.Policy) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.all[org] = policy
}

func TestPolicyOfSiteAndOrganization(t *testing.T) {
	t.Parallel()
	const others remuda.OrganizationID = "org_others" // that has no policy of its own
	ps := &policies{all: map[remuda.OrganizationID]remuda.Policy{
		ours:   {Network: remuda.EgressRules{Allow: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}},
		theirs: {Isolations: []remuda.Isolation{remuda.IsolationGVisor}},
	}}
	h := buildWith(t, filepath.Join(t.TempDir(), "remuda.db"), runtimes.Settings{
		Policies: ps, Network: egress.Rules{Forbid: []netip.Prefix{netip.MustParsePrefix("10.9.0.0/16")}},
	})
	err := h.store.Write(t.Context(), func(tx *store.Tx) error {
		return errors.Join(tx.InsertOrganization(t.Context(), remuda.Organization{ID: ours, Name: "ours"}),
			tx.InsertOrganization(t.Context(), remuda.Organization{ID: theirs, Name: "theirs"}),
			tx.InsertOrganization(t.Context(), remuda.Organization{ID: others, Name: "others"}))
	})
	if err != nil {
		t.Fatal(err)
	}
	they := principal(theirs, remuda.RoleDeployer)
	for name, c := range map[string]struct {
		who   remuda.Principal
		cidr  string
		class remuda.Isolation
		field string
		says  string
	}{
		"allowed":                     {who: deployer, cidr: "10.1.0.0/16"},
		"forbidden by the site":       {who: deployer, cidr: "10.9.1.0/24", field: "egress.cidrs[0]", says: "this site"},
		"forbidden by organization":   {who: deployer, cidr: "192.168.0.0/16", field: "egress.cidrs[0]", says: "this organization"},
		"allowed to others":           {who: principal(others, remuda.RoleDeployer), cidr: "192.168.0.0/16"},
		"a class that is allowed":     {who: they, class: remuda.IsolationGVisor},
		"a class that is not allowed": {who: they, field: "isolation", says: "gvisor in this organization"},
	} {
		d := remuda.Definition{Name: strings.ReplaceAll(name, " ", "-"), Language: remuda.LanguagePython, Isolation: c.class}
		if c.cidr != "" {
			d.Egress.CIDRs = []netip.Prefix{netip.MustParsePrefix(c.cidr)}
		}
		_, err := h.CreateRuntime(t.Context(), c.who, d)
		if c.field == "" {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		e, ok := errors.AsType[*remuda.Error](err)
		if !ok || len(e.Fields) != 1 || e.Fields[0].Field != c.field || !strings.Contains(e.Fields[0].Message, c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// A built-in runtime belongs to nobody: what counts is who uses it.
	if _, err := h.Usable(they, "python"); remuda.CodeOf(err) != remuda.CodeForbidden {
		t.Errorf("a built-in runtime of class process, used by an organization that may not: %v", err)
	}
	rt, err := h.Usable(deployer, "python")
	if err != nil || len(rt.Egress.Within) != 1 {
		t.Errorf("usable: %+v, %v; want the organization's rules in it", rt.Egress, err)
	}
	ps.set(ours, remuda.Policy{Isolations: []remuda.Isolation{remuda.IsolationGVisor}})
	h.PolicyChanged(ours)
	if _, err := h.Usable(deployer, "allowed"); remuda.CodeOf(err) != remuda.CodeForbidden {
		t.Errorf("a runtime that was allowed once: %v", err)
	}
	if _, err := h.GetRuntime(t.Context(), deployer, "allowed"); err != nil {
		t.Errorf("it cannot even be looked at: %v", err)
	}
}
