package authz_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/remuda-run/remuda/internal/authz"
	"github.com/remuda-run/remuda/internal/remuda"
)

const (
	own     = remuda.OrganizationID("org_own")
	foreign = remuda.OrganizationID("org_foreign")
)

// expectation is written out independently of the product's table: for each
// action, the roles that may do it, whether it writes, and what its reach means.
type expectation struct {
	action authz.Action
	roles  string // of a(dministrator) d(eployer) o(perator) m(onitor) -(no role)
	writes bool
	global string // "" not shared; "read": everybody with such a role; "write": site administrators
	site   bool   // site administrators may in every organization
	only   bool   // nobody but site administrators
}

var expectations = []expectation{
	{action: authz.RuntimeRead, roles: "adom", global: "read"},
	{action: authz.RuntimeWrite, roles: "ad", writes: true, global: "write"},
	{action: authz.BuildRead, roles: "adom", global: "read"},
	{action: authz.BuildRun, roles: "ad", writes: true, global: "write"},
	{action: authz.RunspaceRead, roles: "adom"},
	{action: authz.RunspaceWrite, roles: "ado", writes: true},
	{action: authz.ExecutionRead, roles: "adom"},
	{action: authz.ExecutionRun, roles: "ado", writes: true},
	{action: authz.FileRead, roles: "adom"},
	{action: authz.FileWrite, roles: "ado", writes: true},
	{action: authz.TokenRead, roles: "adom-"},
	{action: authz.TokenOwn, roles: "adom-", writes: true},
	{action: authz.TokenAll, roles: "a", writes: true},
	{action: authz.SessionOpen, roles: "adom-"},
	{action: authz.ScriptRead, roles: "adom"},
	{action: authz.ScriptWrite, roles: "ado", writes: true},
	{action: authz.UserSelf, roles: "adom-"},
	{action: authz.UserPass, roles: "adom-", writes: true},
	{action: authz.UserRead, only: true},
	{action: authz.UserWrite, only: true, writes: true},
	{action: authz.OrganizationRead, roles: "adom", site: true},
	{action: authz.OrganizationWrite, only: true, writes: true},
	{action: authz.MemberRead, roles: "adom", site: true},
	{action: authz.MemberWrite, roles: "a", writes: true, site: true},
	{action: authz.LimitsRead, roles: "adom", site: true},
	{action: authz.LimitsWrite, roles: "a", writes: true, site: true},
	{action: authz.AuditRead, roles: "a"},
	{action: authz.MetricsRead, only: true},
}

var roleLetters = map[remuda.Role]byte{
	remuda.RoleAdministrator: 'a', remuda.RoleDeployer: 'd', remuda.RoleOperator: 'o', remuda.RoleMonitor: 'm', "": '-',
}

func (e expectation) want(role remuda.Role, owner remuda.OrganizationID, scope remuda.Scope, siteAdmin bool) remuda.Code {
	hasRole := slices.Contains([]byte(e.roles), roleLetters[role])
	visible, permitted := owner == own, hasRole
	switch {
	case e.only:
		visible, permitted = true, siteAdmin
	case e.site && siteAdmin:
		visible, permitted = true, true
	case owner == remuda.GlobalOrganization && e.global == "read":
		visible, permitted = true, hasRole || siteAdmin
	case owner == remuda.GlobalOrganization && e.global == "write":
		visible, permitted = true, siteAdmin
	}
	switch {
	case !visible:
		return remuda.CodeNotFound
	case !permitted, e.writes && scope == remuda.ScopeRead:
		return remuda.CodeForbidden
	}
	return ""
}

func TestEveryCombination(t *testing.T) {
	t.Parallel()
	cases := 0
	for _, e := range expectations {
		for role := range roleLetters {
			for _, owner := range []remuda.OrganizationID{own, foreign, remuda.GlobalOrganization} {
				for _, scope := range []remuda.Scope{remuda.ScopeRead, remuda.ScopeWrite} {
					for _, siteAdmin := range []bool{false, true} {
						cases++
						p := remuda.Principal{User: "usr_1", Organization: own, Role: role, Scope: scope, SiteAdmin: siteAdmin}
						got, want := remuda.CodeOf(authz.Check(p, e.action, owner)), e.want(role, owner, scope, siteAdmin)
						if got != want {
							t.Errorf("%s by role %q, site admin %v, scope %s, on %s: got %q, want %q", e.action, role, siteAdmin, scope, owner, got, want)
						}
					}
				}
			}
		}
	}
	if want := len(authz.Table()) * 5 * 3 * 2 * 2; cases != want {
		t.Errorf("%d cases tested, the table has %d: every action needs an expectation", cases, want)
	}
}

// Another organization's object must look the same whether it exists or not, so
// the refusal may carry nothing about it.
func TestForeignIsNeverForbidden(t *testing.T) {
	t.Parallel()
	for _, rule := range authz.Table() {
		if rule.Reach == authz.ReachSite {
			continue
		}
		for role := range roleLetters {
			p := remuda.Principal{User: "usr_1", Organization: own, Role: role, Scope: remuda.ScopeRead}
			err := authz.Check(p, rule.Action, foreign)
			if remuda.CodeOf(err) != remuda.CodeNotFound {
				t.Errorf("%s as %q: %v", rule.Action, role, err)
			}
			if again := authz.Check(p, rule.Action, "org_absent"); fmt.Sprint(again) != fmt.Sprint(err) {
				t.Errorf("%s: %v differs from %v", rule.Action, again, err)
			}
		}
	}
}

func TestRefusesWhatNoRuleAllows(t *testing.T) {
	t.Parallel()
	full := remuda.Principal{User: "usr_1", Organization: own, Role: remuda.RoleAdministrator, Scope: remuda.ScopeWrite, SiteAdmin: true}
	for name, change := range map[string]func(*remuda.Principal, *authz.Action, *remuda.OrganizationID){
		"unknown action":     func(_ *remuda.Principal, a *authz.Action, _ *remuda.OrganizationID) { *a = "runtime.steal" },
		"no action":          func(_ *remuda.Principal, a *authz.Action, _ *remuda.OrganizationID) { *a = "" },
		"nobody":             func(p *remuda.Principal, _ *authz.Action, _ *remuda.OrganizationID) { p.User = "" },
		"no organization":    func(p *remuda.Principal, _ *authz.Action, _ *remuda.OrganizationID) { p.Organization = "" },
		"no owner":           func(_ *remuda.Principal, _ *authz.Action, o *remuda.OrganizationID) { *o = "" },
		"both empty":         func(p *remuda.Principal, _ *authz.Action, o *remuda.OrganizationID) { p.Organization, *o = "", "" },
		"unknown scope":      func(p *remuda.Principal, _ *authz.Action, _ *remuda.OrganizationID) { p.Scope = "all" },
		"no scope":           func(p *remuda.Principal, _ *authz.Action, _ *remuda.OrganizationID) { p.Scope = "" },
		"unknown role":       func(p *remuda.Principal, _ *authz.Action, _ *remuda.OrganizationID) { p.Role = "root" },
		"role in upper case": func(p *remuda.Principal, _ *authz.Action, _ *remuda.OrganizationID) { p.Role = "ADMINISTRATOR" },
	} {
		p, a, owner := full, authz.ExecutionRead, own
		if err := authz.Check(p, a, owner); err != nil {
			t.Fatalf("the principal that is changed must be allowed before: %v", err)
		}
		change(&p, &a, &owner)
		if err := authz.Check(p, a, owner); remuda.CodeOf(err) != remuda.CodeForbidden {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestTable(t *testing.T) {
	t.Parallel()
	seen := map[authz.Action]bool{}
	for _, r := range authz.Table() {
		if seen[r.Action] {
			t.Errorf("%s is in the table twice", r.Action)
		}
		seen[r.Action] = true
		if !authz.Known(r.Action) {
			t.Errorf("%s is not known", r.Action)
		}
		if r.Role != "" && !authz.ValidRole(r.Role) {
			t.Errorf("%s needs the role %q, which does not exist", r.Action, r.Role)
		}
	}
	table := authz.Table()
	table[0].Role = "nobody"
	if authz.Table()[0].Role == "nobody" {
		t.Error("a caller can change the table")
	}
}
