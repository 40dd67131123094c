package runtimes_test

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/remuda-run/remuda/internal/engine/fake"
	"github.com/remuda-run/remuda/internal/pool"
	"github.com/remuda-run/remuda/internal/remuda"
	"github.com/remuda-run/remuda/internal/runtimes"
	"github.com/remuda-run/remuda/internal/store"
	"github.com/remuda-run/remuda/internal/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// house is a server without doors: a store, a pool on a fake engine and the
// service, with two organizations.
type house struct {
	*runtimes.Service
	store *store.Store
	pool  *pool.Pool
	eng   *fake.Engine
	path  string
	end   func() // of the server
}

const (
	ours   remuda.OrganizationID = "org_ours"
	theirs remuda.OrganizationID = "org_theirs"
)

func principal(org remuda.OrganizationID, role remuda.Role) remuda.Principal {
	return remuda.Principal{User: "usr_a", UserName: "a", Organization: org, Role: role, Scope: remuda.ScopeWrite, RequestID: "req-1"}
}

var deployer = principal(ours, remuda.RoleDeployer)

// tb is a test, or a try of a property.
type tb interface {
	Helper()
	Context() context.Context
	Cleanup(f func())
	Error(args ...any)
	Errorf(format string, args ...any)
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

func build(t *testing.T, path string) *house {
	t.Helper()
	return buildWith(t, path, runtimes.Settings{})
}

func buildWith(t tb, path string, set runtimes.Settings) *house {
	t.Helper()
	return buildHouse(t, path, set, true)
}

// buildStopped is a house that does no builds.
func buildStopped(t tb, path string, i *installer) *house {
	t.Helper()
	return buildHouse(t, path, runtimes.Settings{Layers: i}, false)
}

func buildHouse(t tb, path string, set runtimes.Settings, running bool) *house {
	t.Helper()
	return buildOn(t, path, set, running, func(st *store.Store) runtimes.Store { return st })
}

// buildOn is a house whose service sees its store through sight.
func buildOn(t tb, path string, set runtimes.Settings, running bool, sight func(*store.Store) runtimes.Store) *house {
	t.Helper()
	set.MaxCPU, set.MaxMemoryMB = 8, 8192
	log := slog.New(slog.DiscardHandler)
	st, err := store.Open(t.Context(), store.Options{Path: storetest.Fresh(t, path), Durability: store.DurabilityProcess})
	if err != nil {
		t.Fatal(err)
	}
	eng := fake.New()
	p := pool.New(eng, log, nil, pool.Settings{})
	ctx, stop := context.WithCancel(context.Background())
	var run sync.WaitGroup
	service := runtimes.New(sight(st), eng, p, log, set)
	run.Go(func() { _ = p.Run(ctx) })
	if running {
		run.Go(func() { _ = service.Run(ctx) })
	}
	end := sync.OnceFunc(func() {
		stop()
		run.Wait()
		if err := errors.Join(p.Close(context.Background()), st.Close()); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(end)
	h := &house{Service: service, store: st, pool: p, eng: eng, path: path, end: end}
	if err := h.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return h
}

func open(t *testing.T) *house {
	t.Helper()
	h := build(t, filepath.Join(t.TempDir(), "remuda.db"))
	err := h.store.Write(t.Context(), func(tx *store.Tx) error {
		return errors.Join(
			tx.InsertOrganization(t.Context(), remuda.Organization{ID: ours, Name: "ours", CreatedAt: time.Now()}),
			tx.InsertOrganization(t.Context(), remuda.Organization{ID: theirs, Name: "theirs", CreatedAt: time.Now()}))
	})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func (h *house) create(t tb, d remuda.Definition) remuda.Runtime {
	t.Helper()
	rt, err := h.CreateRuntime(t.Context(), deployer, d)
	if err != nil {
		t.Fatal(err)
	}
	return rt
}

func (h *house) audit(t *testing.T, org remuda.OrganizationID) []remuda.AuditEntry {
	t.Helper()
	var list []remuda.AuditEntry
	err := h.store.Read(t.Context(), func(tx *store.Tx) (err error) {
		list, _, err = tx.Audit(t.Context(), org, remuda.Page{})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}
