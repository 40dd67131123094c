package compattest

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/remuda-run/remuda/internal/authn"
	"github.com/remuda-run/remuda/internal/authz"
	"github.com/remuda-run/remuda/internal/engine/fake"
	"github.com/remuda-run/remuda/internal/executions"
	"github.com/remuda-run/remuda/internal/httpapi"
	"github.com/remuda-run/remuda/internal/organizations"
	"github.com/remuda-run/remuda/internal/pool"
	"github.com/remuda-run/remuda/internal/remuda"
	"github.com/remuda-run/remuda/internal/runspaces"
	"github.com/remuda-run/remuda/internal/runtimes"
	"github.com/remuda-run/remuda/internal/scripts"
	"github.com/remuda-run/remuda/internal/store"
	"github.com/remuda-run/remuda/internal/store/storetest"
	"github.com/remuda-run/remuda/internal/telemetry"
	"github.com/remuda-run/remuda/internal/terminals"
)

// Password is everybody's on a site.
const Password = "the password of everybody"

// Services are the services of a site, over a scripted engine.
type Services struct {
	Store         *store.Store
	Organizations *organizations.Service
	Runtimes      *runtimes.Service
	Runspaces     *runspaces.Service
	Executions    *executions.Service
	Scripts       *scripts.Service
	Terminals     *terminals.Service
}

// Site is a whole server but for its sandboxes, with the organizations ours and
// theirs. Each has a user for each role, named as the role and the organization
// ("deployer.ours"), and admin is the site's administrator.
type Site struct {
	Services

	URL    string // without the door's prefix
	Engine *fake.Engine

	t        testing.TB
	log      *log
	answered atomic.Int64 // requests of Send
}

// log is what the server has logged.
type log struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// Log is what the server has logged, with the line of every request that Send has the
// answer of: an answer goes out before its line.
func (s *Site) Log() string {
	s.t.Helper()
	for clock := Deadline(); ; {
		said := s.log.String()
		if int64(strings.Count(said, "msg=request ")) >= s.answered.Load() {
			return said
		}
		if !clock.Left() {
			s.t.Fatalf("the log has fewer lines than %d requests:\n%s", s.answered.Load(), said)
		}
	}
}

// NewSite starts a site that serves what handler makes of its services. The test's
// end stops it.
func NewSite(t testing.TB, handler func(Services, httpapi.Options) (http.Handler, error)) *Site {
	t.Helper()
	said := &log{}
	logger := slog.New(slog.NewTextHandler(said, nil))
	quiet := slog.New(slog.DiscardHandler)
	ctx, stop := context.WithCancel(context.Background())
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	st, err := store.Open(ctx, store.Options{Path: storetest.Fresh(t, filepath.Join(t.TempDir(), "remuda.db")), Logger: quiet})
	must(err)
	eng, metrics := fake.New(), telemetry.New()
	p := pool.New(eng, quiet, metrics, pool.Settings{})
	s := &Site{Engine: eng, t: t, log: said}
	s.Store = st
	s.Organizations = organizations.NewWithCost(st, quiet, nil, authn.Cost{MemoryKiB: 64, Passes: 1, Threads: 1})
	s.Runtimes = runtimes.New(st, eng, p, quiet, runtimes.Settings{Policies: s.Organizations, MaxCPU: 8})
	s.Runspaces = runspaces.New(st, s.Runtimes, p, quiet, metrics, runspaces.Settings{Limits: s.Organizations, Sessions: s.Organizations, Delegates: s.Organizations})
	s.Executions = executions.New(st, s.Runtimes, s.Runspaces, p, quiet, metrics, executions.Settings{OutputLimit: 1 << 20})
	s.Scripts = scripts.New(st, s.Runtimes, s.Executions, quiet)
	s.Executions.SetTokens(s.Organizations)
	s.Runspaces.SetRunner(s.Executions)
	s.Runspaces.SetScripts(s.Scripts)
	s.Terminals = terminals.New(st, s.Runspaces, s.Organizations, quiet, terminals.Settings{})
	must(s.Runtimes.Start(ctx))
	s.people(ctx)
	h, err := handler(s.Services, httpapi.Options{Logger: logger, Version: "test"})
	must(err)
	var parts sync.WaitGroup
	for _, run := range []func(context.Context) error{p.Run, s.Runspaces.Run, s.Executions.Run, s.Terminals.Run} {
		parts.Go(func() {
			if err := run(ctx); err != nil {
				t.Errorf("a part failed: %v", err)
			}
		})
	}
	srv := httptest.NewUnstartedServer(nil)
	srv.Config = httpapi.NewServer(h, logger)
	srv.Start()
	s.URL = srv.URL
	t.Cleanup(func() {
		srv.Close()
		if err := s.Terminals.Close(context.Background()); err != nil {
			t.Errorf("close the terminals: %v", err)
		}
		if err := s.Executions.Drain(canceled()); err != nil {
			t.Errorf("drain: %v", err)
		}
		stop()
		parts.Wait()
		for what, err := range map[string]error{"pool": p.Close(context.Background()), "engine": eng.Close(context.Background()), "store": st.Close()} {
			if err != nil {
				t.Errorf("close the %s: %v", what, err)
			}
		}
	})
	return s
}

// canceled is a context that has ended, with which a drain is short.
func canceled() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

// people makes the organizations and their users.
func (s *Site) people(ctx context.Context) {
	s.t.Helper()
	check := func(err error) {
		s.t.Helper()
		if err != nil {
			s.t.Fatal(err)
		}
	}
	_, err := s.Organizations.Bootstrap(ctx, Password)
	check(err)
	admin, err := s.Organizations.AuthenticateBasic(ctx, organizations.AdminUser, Password, "")
	check(err)
	for _, org := range []string{"ours", "theirs"} {
		_, err := s.Organizations.CreateOrganization(ctx, admin, org)
		check(err)
		for _, role := range []remuda.Role{remuda.RoleAdministrator, remuda.RoleDeployer, remuda.RoleOperator, remuda.RoleMonitor} {
			name := string(role) + "." + org
			_, err := s.Organizations.CreateUser(ctx, admin, name, Password, false)
			check(err)
			_, err = s.Organizations.PutMember(ctx, admin, org, name, role)
			check(err)
		}
	}
}

// Audit returns an organization's audit log, newest first.
func (s *Site) Audit(organization string) (entries []remuda.AuditEntry) {
	s.t.Helper()
	err := s.Store.Read(context.Background(), func(tx *store.Tx) error {
		org, err := tx.OrganizationByName(context.Background(), organization)
		if err != nil {
			return err
		}
		for page := (remuda.Page{Limit: 200}); ; {
			some, next, err := tx.Audit(context.Background(), org.ID, page)
			if err != nil {
				return err
			}
			entries = append(entries, some...)
			if next == "" {
				return nil
			}
			page.Cursor = next
		}
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return entries
}

// Changes counts what has been recorded in an organization's audit log: every change
// and every execution is there. Sessions are left out.
func (s *Site) Changes(organization string) int {
	s.t.Helper()
	n := 0
	for _, e := range s.Audit(organization) {
		if e.Action != string(authz.SessionOpen) {
			n++
		}
	}
	return n
}

// Send is the package's Send, to a path of the site.
func (s *Site) Send(c *http.Client, method, path string, header http.Header, body string) Reply {
	s.t.Helper()
	reply := Send(s.t, c, method, s.URL+path, header, body)
	s.answered.Add(1)
	return reply
}
