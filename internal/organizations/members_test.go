package organizations_test

import (
	"strings"
	"testing"

	"github.com/remuda-run/remuda/internal/organizations"
	"github.com/remuda-run/remuda/internal/remuda"
	"github.com/remuda-run/remuda/internal/store"
)

func TestNames(t *testing.T) {
	t.Parallel()
	x := newSite(t)
	for _, name := range []string{"a", "A.b-c_9", "9", strings.Repeat("n", 63)} {
		if _, err := x.CreateOrganization(t.Context(), x.admin, name); err != nil {
			t.Errorf("organization %q: %v", name, err)
		}
		if _, err := x.CreateUser(t.Context(), x.admin, name, memberPassword, false); err != nil {
			t.Errorf("user %q: %v", name, err)
		}
	}
	for _, name := range []string{
		"", "-a", ".a", "_a", "a b", "a/b", "ä", "a\n", "a\x00", "a\r\nSet-Cookie: x", strings.Repeat("n", 64), "../etc", "a%2f",
		string(remuda.NewOrganizationID()), string(remuda.NewUserID()),
	} {
		_, err := x.CreateOrganization(t.Context(), x.admin, name)
		if !remuda.IsID(remuda.PrefixUser, name) {
			wantCode(t, "organization "+name, err, remuda.CodeInvalid)
		}
		_, err = x.CreateUser(t.Context(), x.admin, name, memberPassword, false)
		if !remuda.IsID(remuda.PrefixOrganization, name) {
			wantCode(t, "user "+name, err, remuda.CodeInvalid)
		}
	}
	for name, code := range map[string]remuda.Code{"default": remuda.CodeConflict, "global": remuda.CodeConflict} {
		_, err := x.CreateOrganization(t.Context(), x.admin, name)
		wantCode(t, name, err, code)
	}
	_, err := x.CreateUser(t.Context(), x.admin, "admin", memberPassword, false)
	wantCode(t, "a taken name", err, remuda.CodeConflict)
	_, err = x.CreateUser(t.Context(), x.admin, "-", "short", false)
	if e, ok := err.(*remuda.Error); !ok || len(e.Fields) != 2 { //nolint:errorlint // the type itself is looked at
		t.Errorf("every wrong field must be named: %+v", err)
	}
	_, err = x.CreateUser(t.Context(), x.admin, "long", strings.Repeat("p", 1025), false)
	wantCode(t, "a huge password", err, remuda.CodeInvalid)
	_, err = x.CreateUser(t.Context(), x.admin, "umlauts", "äöüäöüä", false) // 7 characters, 14 bytes
	wantCode(t, "7 characters", err, remuda.CodeInvalid)
}

// Nobody but site administrators manages the site; administrators of an
// organization manage its members, and other organizations do not exist for them.
func TestWhoMayManage(t *testing.T) {
	t.Parallel()
	x := newSite(t)
	x.organization("other")
	other, err := x.GetOrganization(t.Context(), x.admin, "other")
	if err != nil {
		t.Fatal(err)
	}
	boss := x.member("boss", "default", remuda.RoleAdministrator)
	monitor := x.member("monitor", "default", remuda.RoleMonitor)
	for _, p := range []remuda.Principal{boss, monitor} {
		_, err := x.CreateUser(t.Context(), p, "u", memberPassword, true)
		wantCode(t, "create a user", err, remuda.CodeForbidden)
		_, err = x.UpdateOrganization(t.Context(), p, "default", remuda.PolicyPatch{MaxInstances: new(1)})
		wantCode(t, "change of an organization", err, remuda.CodeForbidden)
		_, err = x.CreateOrganization(t.Context(), p, "o")
		wantCode(t, "create an organization", err, remuda.CodeForbidden)
		_, _, err = x.ListUsers(t.Context(), p, remuda.Page{})
		wantCode(t, "list users", err, remuda.CodeForbidden)
		for _, ref := range []string{"admin", "absent"} {
			_, err = x.GetUser(t.Context(), p, ref)
			wantCode(t, "get user "+ref, err, remuda.CodeForbidden)
		}
		for _, ref := range []string{"other", string(other.ID), "absent", "global", string(remuda.GlobalOrganization)} {
			_, err = x.GetOrganization(t.Context(), p, ref)
			wantCode(t, "get "+ref, err, remuda.CodeNotFound)
			_, err = x.ListMembers(t.Context(), p, ref)
			wantCode(t, "members of "+ref, err, remuda.CodeNotFound)
			_, err = x.PutMember(t.Context(), p, ref, "boss", remuda.RoleAdministrator)
			wantCode(t, "join "+ref, err, remuda.CodeNotFound)
			wantCode(t, "leave "+ref, x.RemoveMember(t.Context(), p, ref, "boss"), remuda.CodeNotFound)
		}
		orgs, _, err := x.ListOrganizations(t.Context(), p, remuda.Page{})
		if err != nil || len(orgs) != 1 || orgs[0].ID != p.Organization {
			t.Errorf("organizations of %s: %v, %v", p.UserName, orgs, err)
		}
		if u, err := x.GetUser(t.Context(), p, p.UserName); err != nil || u.ID != p.User {
			t.Errorf("the own account: %v, %v", u, err)
		}
	}
	_, err = x.PutMember(t.Context(), monitor, "default", "monitor", remuda.RoleAdministrator)
	wantCode(t, "a monitor promotes itself", err, remuda.CodeForbidden)
	if m, err := x.PutMember(t.Context(), boss, "default", "monitor", remuda.RoleOperator); err != nil || m.Role != remuda.RoleOperator || m.UserName != "monitor" {
		t.Errorf("%+v, %v", m, err)
	}
	for _, role := range []remuda.Role{"", "root", "Administrator"} {
		_, err = x.PutMember(t.Context(), boss, "default", "monitor", role)
		wantCode(t, "role "+string(role), err, remuda.CodeInvalid)
	}
	_, err = x.PutMember(t.Context(), boss, "default", "absent", remuda.RoleMonitor)
	wantCode(t, "an absent user", err, remuda.CodeNotFound)
	wantCode(t, "not a member", x.RemoveMember(t.Context(), x.admin, "other", "boss"), remuda.CodeNotFound)
	orgs, _, err := x.ListOrganizations(t.Context(), x.admin, remuda.Page{})
	if err != nil || len(orgs) != 2 {
		t.Errorf("a site administrator sees %v, %v", orgs, err)
	}
	if members, err := x.ListMembers(t.Context(), boss, "default"); err != nil || len(members) != 3 {
		t.Errorf("%v, %v", members, err)
	}
}

// A token acts in one organization and does not show the others of its user.
func TestTwoOrganizations(t *testing.T) {
	t.Parallel()
	x := newSite(t)
	x.organization("second")
	alice := x.member("alice", "default", remuda.RoleOperator)
	if _, err := x.PutMember(t.Context(), x.admin, "second", "alice", remuda.RoleMonitor); err != nil {
		t.Fatal(err)
	}
	if p := x.login("alice", memberPassword, "second"); p.Role != remuda.RoleMonitor || p.Organization == alice.Organization {
		t.Errorf("%+v", p)
	}
	_, secret := x.token(alice, remuda.ScopeWrite, nil)
	byToken, err := x.AuthenticateToken(t.Context(), secret)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		p    remuda.Principal
		want int
		code remuda.Code
	}{{alice, 2, ""}, {byToken, 1, remuda.CodeNotFound}} {
		orgs, _, err := x.ListOrganizations(t.Context(), c.p, remuda.Page{})
		if err != nil || len(orgs) != c.want {
			t.Errorf("sees %v, %v", orgs, err)
		}
		_, err = x.GetOrganization(t.Context(), c.p, "second")
		wantCode(t, "get second", err, c.code)
	}
}

func TestLastAdministrators(t *testing.T) {
	t.Parallel()
	x := newSite(t)
	yes, no := true, false
	_, err := x.UpdateUser(t.Context(), x.admin, "admin", nil, &yes)
	wantCode(t, "disable the last site administrator", err, remuda.CodeConflict)
	wantCode(t, "remove the last administrator", x.RemoveMember(t.Context(), x.admin, "default", "admin"), remuda.CodeConflict)
	_, err = x.PutMember(t.Context(), x.admin, "default", "admin", remuda.RoleDeployer)
	wantCode(t, "demote the last administrator", err, remuda.CodeConflict)

	x.organization("other")
	x.member("boss", "other", remuda.RoleAdministrator)
	_, err = x.UpdateUser(t.Context(), x.admin, "boss", nil, &yes)
	wantCode(t, "disable the last administrator of an organization", err, remuda.CodeConflict)
	x.member("deputy", "other", remuda.RoleAdministrator)
	if _, err = x.UpdateUser(t.Context(), x.admin, "boss", nil, &yes); err != nil {
		t.Errorf("with a deputy: %v", err)
	}
	wantCode(t, "the other one is disabled and does not count", x.RemoveMember(t.Context(), x.admin, "other", "deputy"), remuda.CodeConflict)
	if err := x.RemoveMember(t.Context(), x.admin, "other", "boss"); err != nil {
		t.Errorf("remove a disabled one: %v", err)
	}
	if _, err = x.UpdateUser(t.Context(), x.admin, "boss", nil, &no); err != nil {
		t.Errorf("enable: %v", err)
	}

	if _, err := x.CreateUser(t.Context(), x.admin, "second", memberPassword, true); err != nil {
		t.Fatal(err)
	}
	if _, err := x.PutMember(t.Context(), x.admin, "default", "second", remuda.RoleAdministrator); err != nil {
		t.Fatal(err)
	}
	if _, err = x.UpdateUser(t.Context(), x.admin, "admin", nil, &yes); err != nil {
		t.Errorf("with a second site administrator: %v", err)
	}
}

// A site administrator who belongs to no organization can still mend the site,
// and nothing else.
func TestSiteAdministratorWithoutOrganization(t *testing.T) {
	t.Parallel()
	x := newSite(t)
	if _, err := x.CreateUser(t.Context(), x.admin, "root", memberPassword, true); err != nil {
		t.Fatal(err)
	}
	p := x.login("root", memberPassword, "")
	if p.Organization != remuda.GlobalOrganization || p.Role != "" || !p.SiteAdmin {
		t.Errorf("%+v", p)
	}
	_, secret := x.token(p, remuda.ScopeWrite, nil)
	byToken, err := x.AuthenticateToken(t.Context(), secret)
	if err != nil || byToken.Organization != p.Organization {
		t.Fatalf("%+v, %v", byToken, err)
	}
	if _, err := x.PutMember(t.Context(), byToken, "default", "root", remuda.RoleMonitor); err != nil {
		t.Error(err)
	}
	_, err = x.PutMember(t.Context(), byToken, "global", "root", remuda.RoleMonitor)
	wantCode(t, "join the global organization", err, remuda.CodeNotFound)
}

func TestOwnPassword(t *testing.T) {
	t.Parallel()
	x := newSite(t)
	alice := x.member("alice", "default", remuda.RoleMonitor)
	next, short, no := "the-next-password", "short", false
	_, err := x.UpdateUser(t.Context(), alice, "alice", &short, nil)
	wantCode(t, "a short one", err, remuda.CodeInvalid)
	_, err = x.UpdateUser(t.Context(), alice, "admin", &next, nil)
	wantCode(t, "somebody else's", err, remuda.CodeForbidden)
	_, err = x.UpdateUser(t.Context(), alice, "alice", nil, &no)
	wantCode(t, "enable oneself", err, remuda.CodeForbidden)
	_, secret := x.token(alice, remuda.ScopeWrite, nil)
	byToken, err := x.AuthenticateToken(t.Context(), secret)
	if err != nil {
		t.Fatal(err)
	}
	_, err = x.UpdateUser(t.Context(), byToken, "alice", &next, nil)
	wantCode(t, "with a token", err, remuda.CodeForbidden)
	if _, err = x.UpdateUser(t.Context(), alice, string(alice.User), &next, nil); err != nil {
		t.Fatal(err)
	}
	x.login("alice", next, "")
	_, err = x.AuthenticateBasic(t.Context(), "alice", memberPassword, "")
	wantCode(t, "the old one", err, remuda.CodeUnauthenticated)
}

// A change that fails leaves neither the change nor an entry.
func TestFailedChangeLeavesNothing(t *testing.T) {
	t.Parallel()
	x := newSite(t)
	count := func() (n int) {
		err := x.store.Read(t.Context(), func(tx *store.Tx) error {
			for _, org := range []remuda.OrganizationID{remuda.GlobalOrganization, x.admin.Organization} {
				list, _, err := tx.Audit(t.Context(), org, remuda.Page{})
				if err != nil {
					return err
				}
				n += len(list)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	before := count()
	_, err := x.CreateUser(t.Context(), x.admin, organizations.AdminUser, memberPassword, false)
	wantCode(t, "a taken name", err, remuda.CodeConflict)
	wantCode(t, "the last administrator", x.RemoveMember(t.Context(), x.admin, "default", "admin"), remuda.CodeConflict)
	if after := count(); after != before {
		t.Errorf("%d entries became %d", before, after)
	}
}
