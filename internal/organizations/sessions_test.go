package organizations_test

import (
	"testing"
	"time"

	"github.com/remuda-run/remuda/internal/remuda"
)

const idle = 10 * time.Minute

func (x *site) session(p remuda.Principal) string {
	x.t.Helper()
	tok, text, err := x.OpenSession(x.t.Context(), p, "door", idle)
	if err != nil {
		x.t.Fatalf("open a session: %v", err)
	}
	if tok.Purpose != remuda.TokenSession || tok.Scope != p.Scope || tok.Idle != idle {
		x.t.Errorf("the session is %+v", tok)
	}
	return text
}

// Using a session keeps it; not using it for its idle time ends it. Both hold over
// a restart.
func TestSessionSlides(t *testing.T) {
	t.Parallel()
	x := newSite(t)
	text := x.session(x.admin)
	for range 20 { // three hours in all
		x.clock.advance(9 * time.Minute)
		p, err := x.AuthenticateSession(t.Context(), text)
		if err != nil || p.User != x.admin.User || p.Organization != x.admin.Organization || p.Scope != remuda.ScopeWrite {
			t.Fatalf("got %+v, %v", p, err)
		}
	}
	x.Service = newService(x.store, x.clock)
	x.clock.advance(idle - time.Second)
	if _, err := x.AuthenticateSession(t.Context(), text); err != nil {
		t.Fatalf("after a restart: %v", err)
	}
	x.clock.advance(idle + idle/10)
	_, err := x.AuthenticateSession(t.Context(), text)
	wantCode(t, "an idle session", err, remuda.CodeUnauthenticated)
	x.session(x.admin) // clears what has expired away
	list, _, err := x.ListTokens(t.Context(), x.admin, remuda.Page{})
	if err != nil || len(list) != 1 {
		t.Errorf("%d tokens are left, %v", len(list), err)
	}
}

func TestSessionCloses(t *testing.T) {
	t.Parallel()
	x := newSite(t)
	text, other := x.session(x.admin), x.session(x.admin)
	p, err := x.AuthenticateSession(t.Context(), text)
	if err != nil {
		t.Fatal(err)
	}
	if err := x.CloseSession(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	_, err = x.AuthenticateSession(t.Context(), text)
	wantCode(t, "a closed session", err, remuda.CodeUnauthenticated)
	if _, err := x.AuthenticateSession(t.Context(), other); err != nil {
		t.Errorf("another session of the user: %v", err)
	}
	// A bearer token is no session: closing does nothing to it.
	_, secret := x.token(x.admin, remuda.ScopeWrite, nil)
	p, err = x.AuthenticateSession(t.Context(), secret)
	if err != nil {
		t.Fatal(err)
	}
	if err := x.CloseSession(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	if _, err := x.AuthenticateSession(t.Context(), secret); err != nil {
		t.Errorf("the bearer token: %v", err)
	}
}

// What is opened with a token ends with it, however long the line is, and what a
// session may do is what its token may.
func TestSessionEndsWithItsToken(t *testing.T) {
	t.Parallel()
	x := newSite(t)
	ends := x.clock.now().Add(time.Hour)
	for name, end := range map[string]func(tok remuda.Token){
		"revoked": func(tok remuda.Token) {
			if err := x.RevokeToken(t.Context(), x.admin, tok.ID); err != nil {
				t.Fatal(err)
			}
		},
		"expired": func(remuda.Token) { x.clock.advance(2 * time.Hour) },
	} {
		tok, secret := x.token(x.admin, remuda.ScopeRead, &ends)
		first := x.session(x.auth(secret))
		_, identity, err := x.IssueIdentity(t.Context(), x.auth(first), "identity", 5*time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		delegate, err := x.AuthenticateIdentity(t.Context(), identity)
		if err != nil {
			t.Fatal(err)
		}
		second := x.session(delegate)
		if p := x.auth(second); p.Scope != remuda.ScopeRead {
			t.Errorf("%s: the session has scope %s", name, p.Scope)
		}
		end(tok)
		for what, text := range map[string]string{"session": first, "delegated session": second} {
			_, err := x.AuthenticateSession(t.Context(), text)
			wantCode(t, name+": "+what, err, remuda.CodeUnauthenticated)
		}
		_, err = x.AuthenticateIdentity(t.Context(), identity)
		wantCode(t, name+": identity", err, remuda.CodeUnauthenticated)
		ends = x.clock.now().Add(time.Hour)
	}
}

func (x *site) auth(text string) remuda.Principal {
	x.t.Helper()
	p, err := x.AuthenticateSession(x.t.Context(), text)
	if err != nil {
		x.t.Fatal(err)
	}
	return p
}

// An identity opens sessions and does nothing else; nothing else opens what it does.
func TestIdentity(t *testing.T) {
	t.Parallel()
	x := newSite(t)
	text := x.session(x.admin)
	_, identity, err := x.IssueIdentity(t.Context(), x.auth(text), "identity", time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	_, err = x.AuthenticateToken(t.Context(), identity)
	wantCode(t, "an identity as a token", err, remuda.CodeUnauthenticated)
	_, err = x.AuthenticateSession(t.Context(), identity)
	wantCode(t, "an identity as a session", err, remuda.CodeUnauthenticated)
	_, err = x.AuthenticateIdentity(t.Context(), text)
	wantCode(t, "a session as an identity", err, remuda.CodeUnauthenticated)
	if p, err := x.AuthenticateIdentity(t.Context(), identity); err != nil || p.User != x.admin.User {
		t.Errorf("got %+v, %v", p, err)
	}
	x.clock.advance(2 * time.Minute)
	_, err = x.AuthenticateIdentity(t.Context(), identity)
	wantCode(t, "an identity that has expired", err, remuda.CodeUnauthenticated)
}

// A token that is made within a session outlives the session, but not the token
// that the session was opened with.
func TestTokenOfSession(t *testing.T) {
	t.Parallel()
	x := newSite(t)
	_, lasting, err := x.IssueToken(t.Context(), x.auth(x.session(x.admin)), "api", 1000*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	ends := x.clock.now().Add(time.Hour)
	_, short := x.token(x.admin, remuda.ScopeWrite, &ends)
	_, bound, err := x.IssueToken(t.Context(), x.auth(x.session(x.auth(short))), "api", 1000*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	_, reader := x.token(x.admin, remuda.ScopeRead, &ends)
	_, _, err = x.IssueToken(t.Context(), x.auth(x.session(x.auth(reader))), "api", time.Hour)
	wantCode(t, "a token from a session that only reads", err, remuda.CodeForbidden)
	x.clock.advance(24 * time.Hour)
	x.auth(lasting)
	_, err = x.AuthenticateToken(t.Context(), bound)
	wantCode(t, "a token that would outlive its beginning", err, remuda.CodeUnauthenticated)
}

// One session too many ends the one that would expire first, and no other user's.
func TestSessionsAreBounded(t *testing.T) {
	t.Parallel()
	x := newSite(t)
	x.LimitSessions(3)
	other := x.session(x.member("other", "default", remuda.RoleMonitor))
	idle := x.session(x.admin)
	x.clock.advance(time.Second)
	used := x.session(x.admin)
	x.clock.advance(time.Second)
	for range 2 {
		x.session(x.admin)
	}
	_, err := x.AuthenticateSession(t.Context(), idle)
	wantCode(t, "the session that was crowded out", err, remuda.CodeUnauthenticated)
	x.auth(used)
	x.auth(other)
	_, _, err = x.OpenSession(t.Context(), x.admin, "door", 0)
	wantCode(t, "a session without time", err, remuda.CodeInvalid)
}
