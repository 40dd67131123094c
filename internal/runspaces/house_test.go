package runspaces_test

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/remuda-run/remuda/internal/engine/fake"
	"github.com/remuda-run/remuda/internal/pool"
	"github.com/remuda-run/remuda/internal/remuda"
	"github.com/remuda-run/remuda/internal/runspaces"
	"github.com/remuda-run/remuda/internal/runtimes"
	"github.com/remuda-run/remuda/internal/store"
	"github.com/remuda-run/remuda/internal/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	ours   remuda.OrganizationID = "org_ours"
	theirs remuda.OrganizationID = "org_theirs"
)

func principal(org remuda.OrganizationID, role remuda.Role) remuda.Principal {
	return remuda.Principal{User: "usr_a", UserName: "a", Organization: org, Role: role, Scope: remuda.ScopeWrite, RequestID: "req-1"}
}

var deployer = principal(ours, remuda.RoleDeployer)

// house is the service on a fake engine, with a runtime "r" that keeps one warm.
type house struct {
	*runspaces.Service
	store *store.Store
	eng   *fake.Engine
	pool  *pool.Pool
	rts   *runtimes.Service
}

func open(t *testing.T, set runspaces.Settings) *house {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	st, err := store.Open(t.Context(), store.Options{Path: storetest.Fresh(t, filepath.Join(t.TempDir(), "remuda.db"))})
	if err != nil {
		t.Fatal(err)
	}
	h := &house{store: st, eng: fake.New()}
	h.pool = pool.New(h.eng, log, nil, pool.Settings{})
	rts := runtimes.New(st, h.eng, h.pool, log, runtimes.Settings{})
	h.rts = rts
	h.Service = runspaces.New(st, rts, h.pool, log, nil, set)
	ctx, cancel := context.WithCancel(context.Background())
	var run sync.WaitGroup
	run.Go(func() { _ = h.pool.Run(ctx) })
	run.Go(func() { _ = h.Run(ctx) })
	t.Cleanup(func() {
		patient, done := context.WithTimeout(context.Background(), 20*time.Second)
		defer done()
		err := h.Drain(patient)
		cancel()
		run.Wait()
		if err := errors.Join(err, h.pool.Close(patient), st.Close()); err != nil {
			t.Error(err)
		}
		if n := len(h.eng.Living()); n != 0 {
			t.Errorf("%d instances live after the end", n)
		}
	})
	err = st.Write(t.Context(), func(tx *store.Tx) error {
		return errors.Join(
			tx.InsertOrganization(t.Context(), remuda.Organization{ID: ours, Name: "ours", CreatedAt: time.Now()}),
			tx.InsertOrganization(t.Context(), remuda.Organization{ID: theirs, Name: "theirs", CreatedAt: time.Now()}))
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := rts.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, err = rts.CreateRuntime(t.Context(), deployer, remuda.Definition{Name: "r", Language: remuda.LanguagePython, Resources: remuda.Resources{DiskMB: 1}})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func (h *house) create(t *testing.T, req remuda.RunspaceRequest) remuda.Runspace {
	t.Helper()
	if req.Runtime == "" {
		req.Runtime = "r"
	}
	rs, err := h.CreateRunspace(t.Context(), deployer, req)
	if err != nil {
		t.Fatal(err)
	}
	atOnce := rs.State == remuda.RunspaceReady && rs.Instance != "" && req.InitScript == "" && !req.RunConnection
	if rs.State != remuda.RunspaceCreating && !atOnce || rs.Owner != "usr_a" || rs.Generation != 1 {
		t.Errorf("created %+v", rs)
	}
	// Never a 404 right after the creation.
	if _, err := h.GetRunspace(t.Context(), deployer, rs.ID); err != nil {
		t.Errorf("get right after the creation: %v", err)
	}
	rs, err = h.WaitRunspace(t.Context(), deployer, rs.ID, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	return rs
}

func (h *house) ready(t *testing.T, req remuda.RunspaceRequest) remuda.Runspace {
	t.Helper()
	rs := h.create(t, req)
	if rs.State != remuda.RunspaceReady || rs.Instance == "" {
		t.Fatalf("runspace is %s: %s", rs.State, rs.Error)
	}
	return rs
}

func (h *house) state(t *testing.T, id remuda.RunspaceID) remuda.Runspace {
	t.Helper()
	rs, err := h.GetRunspace(t.Context(), deployer, id)
	if err != nil {
		t.Fatal(err)
	}
	return rs
}

// until polls a condition with a generous deadline.
func until(t *testing.T, what string, condition func() bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !condition() {
		if time.Now().After(deadline) {
			t.Fatalf("gave up waiting until %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

func (h *house) audited(t *testing.T, object string, want []string) {
	t.Helper()
	var got []string
	err := h.store.Read(t.Context(), func(tx *store.Tx) error {
		list, _, err := tx.Audit(t.Context(), ours, remuda.Page{Limit: 200})
		for _, e := range list {
			if e.Object == object {
				got = append([]string{e.Details["change"]}, got...)
			}
		}
		return err
	})
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("audit log %v, %v; want %v", got, err, want)
	}
}
