package organizations_test

import (
	"regexp"
	"testing"
	"time"

	"github.com/remuda-run/remuda/internal/remuda"
)

func TestUUIDSession(t *testing.T) {
	t.Parallel()
	x := newSite(t)
	tok, text, err := x.OpenUUIDSession(t.Context(), x.admin, "door", idle)
	if err != nil || !regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`).MatchString(text) {
		t.Fatalf("got %q, %v", text, err)
	}
	if p, err := x.AuthenticateSession(t.Context(), text); err != nil || p.Token != tok.ID || p.User != x.admin.User {
		t.Errorf("got %+v, %v", p, err)
	}
	_, err = x.AuthenticateSession(t.Context(), "00000000-0000-4000-8000-000000000000")
	wantCode(t, "a key that is nobody's", err, remuda.CodeUnauthenticated)
}

func (x *site) delegate(p remuda.Principal) (remuda.TokenID, string) {
	x.t.Helper()
	id, text, err := x.Delegate(x.t.Context(), p, "connection")
	if err != nil {
		x.t.Fatal(err)
	}
	return id, text
}

// A delegated token is whoever made it, makes no tokens, and ends with whatever comes
// first: its script, five minutes, the session, what the session was opened with.
func TestDelegation(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(x *site, session, bearer remuda.Principal, id remuda.TokenID){
		"the script ended": func(x *site, session, _ remuda.Principal, id remuda.TokenID) {
			for range 2 { // the second time is fine
				if err := x.EndDelegation(t.Context(), session, id); err != nil {
					t.Error(err)
				}
			}
		},
		"time": func(x *site, _, _ remuda.Principal, _ remuda.TokenID) { x.clock.advance(5 * time.Minute) },
		"logout": func(x *site, session, _ remuda.Principal, _ remuda.TokenID) {
			if err := x.CloseSession(t.Context(), session); err != nil {
				t.Error(err)
			}
		},
		"revocation of what the session was opened with": func(x *site, _, bearer remuda.Principal, _ remuda.TokenID) {
			if err := x.RevokeToken(t.Context(), x.admin, bearer.Token); err != nil {
				t.Error(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x := newSite(t)
			_, secret := x.token(x.admin, remuda.ScopeRead, nil)
			bearer := x.auth(secret)
			session := x.auth(x.session(bearer))
			id, text := x.delegate(session)
			p := x.auth(text)
			if p.User != session.User || p.Organization != session.Organization || p.Scope != remuda.ScopeRead || p.Role != session.Role || p.Token != id {
				t.Errorf("it is %+v, its session %+v", p, session)
			}
			end(x, session, bearer, id)
			_, err := x.AuthenticateToken(t.Context(), text)
			wantCode(t, "afterwards", err, remuda.CodeUnauthenticated)
		})
	}
}

func TestDelegatedTokenMakesNothing(t *testing.T) {
	t.Parallel()
	x := newSite(t)
	_, text := x.delegate(x.auth(x.session(x.admin)))
	p := x.auth(text)
	soon := x.clock.now().Add(time.Minute)
	_, _, err := x.CreateToken(t.Context(), p, "t", remuda.ScopeRead, &soon)
	wantCode(t, "a token", err, remuda.CodeForbidden)
	_, _, err = x.OpenSession(t.Context(), p, "s", idle)
	wantCode(t, "a session", err, remuda.CodeForbidden)
	_, _, err = x.OpenUUIDSession(t.Context(), p, "s", idle)
	wantCode(t, "a session with a UUID", err, remuda.CodeForbidden)
	_, _, err = x.IssueIdentity(t.Context(), p, "i", idle)
	wantCode(t, "an identity", err, remuda.CodeForbidden)
	_, _, err = x.IssueToken(t.Context(), p, "b", idle)
	wantCode(t, "a bearer token", err, remuda.CodeForbidden)
	_, _, err = x.Delegate(t.Context(), p, "d")
	wantCode(t, "another delegated token", err, remuda.CodeForbidden)
	_, err = x.AuthenticateIdentity(t.Context(), text)
	wantCode(t, "as an identity", err, remuda.CodeUnauthenticated)
	password := "another-password"
	_, err = x.UpdateUser(t.Context(), p, string(p.User), &password, nil)
	wantCode(t, "a password", err, remuda.CodeForbidden)
	list, _, err := x.ListTokens(t.Context(), x.admin, remuda.Page{})
	if err != nil || len(list) != 2 {
		t.Errorf("%d tokens are there, %v; want the session and what was delegated", len(list), err)
	}
}

// EndDelegation ends nothing but delegated tokens of the caller.
func TestEndDelegationIsNarrow(t *testing.T) {
	t.Parallel()
	x := newSite(t)
	x.organization("acme")
	alice, bob := x.member("alice", "acme", remuda.RoleOperator), x.member("bob", "acme", remuda.RoleOperator)
	session := x.session(alice)
	id, text := x.delegate(alice)
	for what, end := range map[string]func() error{
		"by another user": func() error { return x.EndDelegation(t.Context(), bob, id) },
		"of a session":    func() error { return x.EndDelegation(t.Context(), alice, x.auth(session).Token) },
	} {
		if err := end(); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	x.auth(text)
	x.auth(session)
}

func TestLiving(t *testing.T) {
	t.Parallel()
	x := newSite(t)
	x.organization("acme")
	open := func(p remuda.Principal) remuda.TokenID { return x.auth(x.session(p)).Token }
	alice, bob, carol := x.member("alice", "acme", remuda.RoleOperator), x.member("bob", "acme", remuda.RoleOperator), x.member("carol", "acme", remuda.RoleOperator)
	parent, secret := x.token(x.admin, remuda.ScopeRead, nil)
	lives, closed, ofToken, removed, disabled := open(alice), open(alice), open(x.auth(secret)), open(bob), open(carol)
	all := []remuda.TokenID{lives, closed, ofToken, removed, disabled, remuda.NewTokenID(), "", "x'"}
	living := func() map[remuda.TokenID]bool {
		t.Helper()
		got, err := x.Living(t.Context(), all)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	if got := living(); len(got) != 5 {
		t.Errorf("at first %v live, want five", got)
	}
	p := alice
	p.Token = closed
	if err := x.CloseSession(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	if err := x.RevokeToken(t.Context(), x.admin, parent.ID); err != nil {
		t.Fatal(err)
	}
	if err := x.RemoveMember(t.Context(), x.admin, "acme", "bob"); err != nil {
		t.Fatal(err)
	}
	if _, err := x.UpdateUser(t.Context(), x.admin, "carol", nil, new(true)); err != nil {
		t.Fatal(err)
	}
	if got := living(); len(got) != 1 || !got[lives] {
		t.Errorf("then %v live, want %s", got, lives)
	}
	if _, err := x.PutMember(t.Context(), x.admin, "acme", "alice", remuda.RoleMonitor); err != nil {
		t.Fatal(err)
	}
	if got, err := x.Principals(t.Context(), all); err != nil || len(got) != 1 || got[lives].User != alice.User || got[lives].Role != remuda.RoleMonitor {
		t.Errorf("with a lower role: %+v %v", got, err)
	}
	x.clock.advance(2 * idle)
	if got := living(); len(got) != 0 {
		t.Errorf("after the idle time %v live", got)
	}
}
