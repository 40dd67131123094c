package organizations_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/remuda-run/remuda/internal/remuda"
)

func TestToken(t *testing.T) {
	t.Parallel()
	x := newSite(t)
	tok, secret := x.token(x.admin, remuda.ScopeWrite, nil)
	if !strings.HasPrefix(secret, "rmd_") || strings.Contains(tok.Hash, secret) {
		t.Errorf("%q with hash %q", secret, tok.Hash)
	}
	for range 2 { // from the store, then from the cache
		p, err := x.AuthenticateToken(t.Context(), secret)
		want := x.admin
		want.Token = tok.ID
		if err != nil || p != want {
			t.Errorf("got %+v, %v\nwant %+v", p, err, want)
		}
	}
	for _, bad := range []string{"", "rmd_", secret[:len(secret)-1], secret + "0", strings.ToUpper(secret), "rmd_" + strings.Repeat("0", 64), tok.Hash, string(tok.ID)} {
		_, err := x.AuthenticateToken(t.Context(), bad)
		wantCode(t, "token "+bad, err, remuda.CodeUnauthenticated)
	}
}

func TestTokenInput(t *testing.T) {
	t.Parallel()
	x := newSite(t)
	past := x.clock.now()
	for name, c := range map[string]struct {
		name    string
		scope   remuda.Scope
		expires *time.Time
		fields  int
	}{
		"no name": {"", remuda.ScopeRead, nil, 1}, "bad name": {"a\nb", remuda.ScopeRead, nil, 1}, "bad scope": {"t", "all", nil, 1},
		"no scope": {"t", "", nil, 1}, "expired": {"t", remuda.ScopeRead, &past, 1}, "everything": {"-", "x", &past, 3},
	} {
		_, secret, err := x.CreateToken(t.Context(), x.admin, c.name, c.scope, c.expires)
		wantCode(t, name, err, remuda.CodeInvalid)
		if e, ok := err.(*remuda.Error); !ok || len(e.Fields) != c.fields || secret != "" { //nolint:errorlint // the type itself is looked at
			t.Errorf("%s: %+v", name, err)
		}
	}
}

func TestTokenExpiry(t *testing.T) {
	t.Parallel()
	x := newSite(t)
	at := x.clock.now().Add(time.Hour)
	_, secret := x.token(x.admin, remuda.ScopeWrite, &at)
	x.clock.advance(time.Hour - time.Microsecond)
	p, err := x.AuthenticateToken(t.Context(), secret)
	if err != nil {
		t.Fatalf("just before it expires: %v", err)
	}
	later := at.Add(time.Second)
	_, _, err = x.CreateToken(t.Context(), p, "longer", remuda.ScopeRead, &later)
	wantCode(t, "a token that outlives its maker", err, remuda.CodeInvalid)
	_, _, err = x.CreateToken(t.Context(), p, "forever", remuda.ScopeRead, nil)
	wantCode(t, "a token that never expires", err, remuda.CodeInvalid)
	if _, _, err = x.CreateToken(t.Context(), p, "same", remuda.ScopeRead, &at); err != nil {
		t.Errorf("a token that expires together: %v", err)
	}
	x.clock.advance(time.Microsecond)
	_, err = x.AuthenticateToken(t.Context(), secret)
	wantCode(t, "when it expires, from the cache", err, remuda.CodeUnauthenticated)
	x.clock.advance(time.Hour)
	_, err = x.AuthenticateToken(t.Context(), secret)
	wantCode(t, "later, from the store", err, remuda.CodeUnauthenticated)
}

func TestReadScope(t *testing.T) {
	t.Parallel()
	x := newSite(t)
	_, secret := x.token(x.admin, remuda.ScopeRead, nil)
	p, err := x.AuthenticateToken(t.Context(), secret)
	if err != nil || p.Scope != remuda.ScopeRead {
		t.Fatalf("%+v, %v", p, err)
	}
	_, _, err = x.CreateToken(t.Context(), p, "t", remuda.ScopeRead, nil)
	wantCode(t, "create a token", err, remuda.CodeForbidden)
	wantCode(t, "revoke a token", x.RevokeToken(t.Context(), p, p.Token), remuda.CodeForbidden)
	_, err = x.CreateUser(t.Context(), p, "u", memberPassword, false)
	wantCode(t, "create a user", err, remuda.CodeForbidden)
	_, err = x.CreateOrganization(t.Context(), p, "o")
	wantCode(t, "create an organization", err, remuda.CodeForbidden)
	_, err = x.PutMember(t.Context(), p, "default", "admin", remuda.RoleMonitor)
	wantCode(t, "change a role", err, remuda.CodeForbidden)
	list, _, err := x.ListTokens(t.Context(), p, remuda.Page{})
	if err != nil || len(list) != 1 {
		t.Errorf("list tokens: %v, %v", list, err)
	}
}

func TestRevoke(t *testing.T) {
	t.Parallel()
	x := newSite(t)
	x.organization("other")
	alice := x.member("alice", "default", remuda.RoleMonitor)
	boss := x.member("boss", "other", remuda.RoleAdministrator)
	own, ownSecret := x.token(alice, remuda.ScopeWrite, nil)
	admins, adminsSecret := x.token(x.admin, remuda.ScopeWrite, nil)
	mustWork := func(secret string) {
		t.Helper()
		if _, err := x.AuthenticateToken(t.Context(), secret); err != nil {
			t.Error(err)
		}
	}
	mustWork(ownSecret)
	mustWork(adminsSecret)
	wantCode(t, "another member's", x.RevokeToken(t.Context(), alice, admins.ID), remuda.CodeNotFound)
	wantCode(t, "another organization's", x.RevokeToken(t.Context(), boss, own.ID), remuda.CodeNotFound)
	wantCode(t, "an absent one", x.RevokeToken(t.Context(), x.admin, remuda.NewTokenID()), remuda.CodeNotFound)
	mustWork(adminsSecret)
	if list, _, err := x.ListTokens(t.Context(), alice, remuda.Page{}); err != nil || len(list) != 1 || list[0].ID != own.ID {
		t.Errorf("alice sees %v, %v", list, err)
	}
	if list, _, err := x.ListTokens(t.Context(), x.admin, remuda.Page{}); err != nil || len(list) != 2 {
		t.Errorf("the administrator sees %v, %v", list, err)
	}
	if list, _, err := x.ListTokens(t.Context(), boss, remuda.Page{}); err != nil || len(list) != 0 {
		t.Errorf("another organization sees %v, %v", list, err)
	}
	wantCode(t, "the administrator revokes", x.RevokeToken(t.Context(), x.admin, own.ID), "")
	_, err := x.AuthenticateToken(t.Context(), ownSecret)
	wantCode(t, "after it was revoked", err, remuda.CodeUnauthenticated)
	wantCode(t, "the own one", x.RevokeToken(t.Context(), x.admin, admins.ID), "")
	_, err = x.AuthenticateToken(t.Context(), adminsSecret)
	wantCode(t, "after it was revoked", err, remuda.CodeUnauthenticated)
}

// Whatever takes a token's rights away does so at once, though it is cached.
func TestRightsEndAtOnce(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(ctx context.Context, x *site) error
		want   remuda.Code
	}{
		"disabled": {func(ctx context.Context, x *site) error {
			yes := true
			_, err := x.UpdateUser(ctx, x.admin, "alice", nil, &yes)
			return err
		}, remuda.CodeUnauthenticated},
		"removed": {func(ctx context.Context, x *site) error { return x.RemoveMember(ctx, x.admin, "default", "alice") }, remuda.CodeUnauthenticated},
		"demoted": {func(ctx context.Context, x *site) error {
			_, err := x.PutMember(ctx, x.admin, "default", "alice", remuda.RoleMonitor)
			return err
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x := newSite(t)
			alice := x.member("alice", "default", remuda.RoleOperator)
			_, secret := x.token(alice, remuda.ScopeWrite, nil)
			if _, err := x.AuthenticateToken(t.Context(), secret); err != nil {
				t.Fatal(err)
			}
			if err := c.change(t.Context(), x); err != nil {
				t.Fatal(err)
			}
			p, err := x.AuthenticateToken(t.Context(), secret)
			wantCode(t, name, err, c.want)
			if err == nil && p.Role != remuda.RoleMonitor {
				t.Errorf("the role is still %s", p.Role)
			}
			if c.want != "" {
				_, err = x.AuthenticateBasic(t.Context(), "alice", memberPassword, "default")
				wantCode(t, name+", by password", err, c.want)
			}
		})
	}
}

// A change that another process made is seen within a second.
func TestOtherProcess(t *testing.T) {
	t.Parallel()
	x := newSite(t)
	other := newService(x.store, x.clock) // has a cache of its own
	tok, secret := x.token(x.admin, remuda.ScopeWrite, nil)
	if _, err := x.AuthenticateToken(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	if err := other.RevokeToken(t.Context(), x.admin, tok.ID); err != nil {
		t.Fatal(err)
	}
	x.clock.advance(time.Second)
	_, err := x.AuthenticateToken(t.Context(), secret)
	wantCode(t, "a second later", err, remuda.CodeUnauthenticated)
}

// While others authenticate without pause, a revoked token never works after
// RevokeToken has returned.
func TestRevokeRace(t *testing.T) {
	t.Parallel()
	x := newSite(t)
	for range 20 {
		tok, secret := x.token(x.admin, remuda.ScopeWrite, nil)
		stop := make(chan struct{})
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
						_, _ = x.AuthenticateToken(t.Context(), secret)
					}
				}
			})
		}
		if err := x.RevokeToken(t.Context(), x.admin, tok.ID); err != nil {
			t.Error(err)
		}
		for range 20 {
			if _, err := x.AuthenticateToken(t.Context(), secret); err == nil {
				t.Error("a revoked token works")
			}
		}
		close(stop)
		wg.Wait()
	}
}
