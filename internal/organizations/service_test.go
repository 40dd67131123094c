package organizations_test

import (
	"context"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/remuda-run/remuda/internal/authn"
	"github.com/remuda-run/remuda/internal/organizations"
	"github.com/remuda-run/remuda/internal/remuda"
	"github.com/remuda-run/remuda/internal/store"
	"github.com/remuda-run/remuda/internal/store/storetest"
)

const adminPassword = "admin-password-canary"

// clock is a time that a test moves.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// site is a bootstrapped service on a real store.
type site struct {
	*organizations.Service
	t     *testing.T
	store *store.Store
	clock *clock
	admin remuda.Principal // site administrator, administrator of "default"
}

func newService(s *store.Store, c *clock) *organizations.Service {
	return organizations.NewWithCost(s, nil, c.now, authn.Cost{MemoryKiB: 64, Passes: 1, Threads: 1})
}

func newStore(t *testing.T) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), store.Options{Path: storetest.Fresh(t, filepath.Join(t.TempDir(), "remuda.db"))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.VerifyAudit(context.Background()); err != nil {
			t.Errorf("audit log: %v", err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := newStore(t)
	c := &clock{at: time.Now().UTC().Truncate(time.Microsecond)}
	x := &site{Service: newService(s, c), t: t, store: s, clock: c}
	if generated, err := x.Bootstrap(t.Context(), adminPassword); err != nil || generated != "" {
		t.Fatalf("bootstrap: %q, %v", generated, err)
	}
	x.admin = x.login(organizations.AdminUser, adminPassword, "")
	return x
}

func (x *site) login(user, password, org string) remuda.Principal {
	x.t.Helper()
	p, err := x.AuthenticateBasic(x.t.Context(), user, password, org)
	if err != nil {
		x.t.Fatalf("login of %s: %v", user, err)
	}
	return p
}

const memberPassword = "member-password"

// member makes a user with a role in an organization and logs in.
func (x *site) member(name, org string, role remuda.Role) remuda.Principal {
	x.t.Helper()
	if _, err := x.CreateUser(x.t.Context(), x.admin, name, memberPassword, false); err != nil {
		x.t.Fatal(err)
	}
	if _, err := x.PutMember(x.t.Context(), x.admin, org, name, role); err != nil {
		x.t.Fatal(err)
	}
	return x.login(name, memberPassword, org)
}

func (x *site) organization(name string) remuda.Organization {
	x.t.Helper()
	o, err := x.CreateOrganization(x.t.Context(), x.admin, name)
	if err != nil {
		x.t.Fatal(err)
	}
	return o
}

func (x *site) token(p remuda.Principal, scope remuda.Scope, expires *time.Time) (remuda.Token, string) {
	x.t.Helper()
	tok, secret, err := x.CreateToken(x.t.Context(), p, "t", scope, expires)
	if err != nil {
		x.t.Fatal(err)
	}
	return tok, secret
}

func wantCode(t *testing.T, what string, err error, code remuda.Code) {
	t.Helper()
	if got := remuda.CodeOf(err); got != code {
		t.Errorf("%s: got %q (%v), want %q", what, got, err, code)
	}
}

func TestBootstrap(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	c := &clock{at: time.Now()}
	x := newService(s, c)
	_, err := x.Bootstrap(t.Context(), "short")
	wantCode(t, "a short password", err, remuda.CodeInvalid)
	generated, err := x.Bootstrap(t.Context(), "")
	if err != nil || len(generated) < 20 {
		t.Fatalf("%q, %v", generated, err)
	}
	for _, password := range []string{"", "another password", "short"} {
		if again, err := x.Bootstrap(t.Context(), password); again != "" || err != nil {
			t.Errorf("the second start: %q, %v", again, err)
		}
	}
	p, err := x.AuthenticateBasic(t.Context(), "admin", generated, "default")
	if err != nil || !p.SiteAdmin || p.Role != remuda.RoleAdministrator || p.Scope != remuda.ScopeWrite || p.UserName != "admin" {
		t.Errorf("%+v, %v", p, err)
	}
}

// Many servers that start at once make one administrator.
func TestBootstrapRace(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	c := &clock{at: time.Now()}
	var mu sync.Mutex
	var passwords []string
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			generated, err := newService(s, c).Bootstrap(t.Context(), "")
			if err != nil {
				t.Error(err)
			}
			if generated != "" {
				mu.Lock()
				passwords = append(passwords, generated)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if len(passwords) != 1 {
		t.Fatalf("%d passwords were made", len(passwords))
	}
	if _, err := newService(s, c).AuthenticateBasic(t.Context(), "admin", passwords[0], ""); err != nil {
		t.Error(err)
	}
}

func TestBasic(t *testing.T) {
	t.Parallel()
	x := newSite(t)
	x.organization("other")
	alice := x.member("alice", "other", remuda.RoleOperator)
	if alice.Role != remuda.RoleOperator || alice.SiteAdmin {
		t.Errorf("%+v", alice)
	}
	var messages []string
	for _, c := range [][3]string{
		{"alice", "wrong-password", ""}, {"alice", "", ""}, {"nobody", memberPassword, ""}, {"", "", ""}, {"alice", memberPassword, "default"},
		{"alice", memberPassword, "absent"}, {"alice", memberPassword, "global"}, {"alice", memberPassword, string(remuda.GlobalOrganization)},
		{strings.Repeat("a", 100_000), strings.Repeat("b", 100_000), ""}, {"ALICE", memberPassword, ""}, {"alice' --", memberPassword, ""},
	} {
		_, err := x.AuthenticateBasic(t.Context(), c[0], c[1], c[2])
		wantCode(t, "login as "+c[0][:min(20, len(c[0]))], err, remuda.CodeUnauthenticated)
		if err != nil {
			messages = append(messages, err.Error())
		}
	}
	for _, m := range messages {
		if m != messages[0] {
			t.Errorf("%q and %q differ: they tell what was wrong", m, messages[0])
		}
	}
	if p := x.login("alice", memberPassword, string(alice.Organization)); p.Organization != alice.Organization {
		t.Errorf("by id: %+v", p)
	}
}

func TestGuessingIsSlowed(t *testing.T) {
	t.Parallel()
	x := newSite(t)
	from := authn.WithAddress(t.Context(), "192.0.2.1")
	var last error
	for range 12 {
		_, last = x.AuthenticateBasic(from, "admin", "wrong-password", "")
	}
	wantCode(t, "after many guesses", last, remuda.CodeExhausted)
	_, err := x.AuthenticateBasic(from, "admin", adminPassword, "")
	wantCode(t, "the right password too soon", err, remuda.CodeExhausted)
	if _, err := x.AuthenticateBasic(authn.WithAddress(t.Context(), "192.0.2.2"), "admin", adminPassword, ""); err != nil {
		t.Errorf("from elsewhere: %v", err)
	}
	x.clock.advance(time.Minute)
	if _, err := x.AuthenticateBasic(from, "admin", adminPassword, ""); err != nil {
		t.Errorf("after the wait: %v", err)
	}
	var wg sync.WaitGroup
	for range 40 { // right passwords do not slow each other
		wg.Go(func() {
			if _, err := x.AuthenticateBasic(from, "admin", adminPassword, ""); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

func TestRehash(t *testing.T) {
	t.Parallel()
	x := newSite(t)
	dearer := organizations.NewWithCost(x.store, nil, x.clock.now, authn.Cost{MemoryKiB: 128, Passes: 1, Threads: 1})
	for range 2 {
		if _, err := dearer.AuthenticateBasic(t.Context(), "admin", adminPassword, ""); err != nil {
			t.Fatal(err)
		}
	}
	err := x.store.Read(t.Context(), func(tx *store.Tx) error {
		u, err := tx.UserByName(t.Context(), "admin")
		if !strings.Contains(u.PasswordHash, "m=128,") {
			t.Errorf("the hash was not renewed: %s", u.PasswordHash)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// Nothing secret is in the audit log or in what users are shown as.
func TestNoSecretsLeave(t *testing.T) {
	t.Parallel()
	x := newSite(t)
	_, secret := x.token(x.admin, remuda.ScopeWrite, nil)
	u, err := x.CreateUser(t.Context(), x.admin, "bob", memberPassword, false)
	if err != nil {
		t.Fatal(err)
	}
	password := "bobs-new-password"
	changed, err := x.UpdateUser(t.Context(), x.admin, "bob", &password, nil)
	if err != nil {
		t.Fatal(err)
	}
	got, err := x.GetUser(t.Context(), x.admin, "bob")
	if err != nil {
		t.Fatal(err)
	}
	users, _, err := x.ListUsers(t.Context(), x.admin, remuda.Page{})
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range append(users, u, changed, got) {
		if u.PasswordHash != "" {
			t.Errorf("the hash of %s left the service", u.Name)
		}
	}
	entries := 0
	for _, org := range []remuda.OrganizationID{remuda.GlobalOrganization, x.admin.Organization} {
		err := x.store.Read(t.Context(), func(tx *store.Tx) error {
			list, _, err := tx.Audit(t.Context(), org, remuda.Page{})
			for _, e := range list {
				entries++
				for k, v := range e.Details {
					for _, s := range []string{secret, password, memberPassword, adminPassword, "argon2id"} {
						if strings.Contains(v, s) {
							t.Errorf("%s of %s holds a secret: %q", k, e.Action, v)
						}
					}
				}
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	// Bootstrap makes three entries, then a token, a user and its change.
	if entries != 6 {
		t.Errorf("%d audit entries, want 6", entries)
	}
}
