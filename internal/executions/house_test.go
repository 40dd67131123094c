package executions_test

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/engine/fake"
	"github.com/remuda-run/remuda/internal/executions"
	"github.com/remuda-run/remuda/internal/pool"
	"github.com/remuda-run/remuda/internal/remuda"
	"github.com/remuda-run/remuda/internal/runspaces"
	"github.com/remuda-run/remuda/internal/runtimes"
	"github.com/remuda-run/remuda/internal/store"
	"github.com/remuda-run/remuda/internal/store/storetest"
	"github.com/remuda-run/remuda/internal/telemetry"
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

// house is a server without doors on a fake engine.
type house struct {
	store      *store.Store
	eng        *fake.Engine
	pool       *pool.Pool
	runtimes   *runtimes.Service
	runspaces  *runspaces.Service
	executions *executions.Service
	stop       func()
}

// settings of a house; the zero value is what tests want.
type settings struct {
	pool       pool.Settings
	runspaces  runspaces.Settings
	executions executions.Settings
	store      func(*store.Store) executions.Store // nil is the store itself
	engine     engine.Engine                       // nil is the fake one
}

func build(t *testing.T, path string, set settings) *house {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	st, err := store.Open(t.Context(), store.Options{Path: storetest.Fresh(t, path)})
	if err != nil {
		t.Fatal(err)
	}
	h := &house{store: st, eng: fake.New()}
	metrics := telemetry.New()
	var eng engine.Engine = h.eng
	if set.engine != nil {
		eng = set.engine
	}
	h.pool = pool.New(eng, log, metrics, set.pool)
	h.runtimes = runtimes.New(st, eng, h.pool, log, runtimes.Settings{})
	h.runspaces = runspaces.New(st, h.runtimes, h.pool, log, metrics, set.runspaces)
	var kept executions.Store = st
	if set.store != nil {
		kept = set.store(st)
	}
	h.executions = executions.New(kept, h.runtimes, h.runspaces, h.pool, log, metrics, set.executions)
	h.runspaces.SetRunner(h.executions)
	ctx, cancel := context.WithCancel(context.Background())
	var run sync.WaitGroup
	for _, part := range []func(context.Context) error{h.pool.Run, h.runspaces.Run, h.executions.Run} {
		run.Go(func() { _ = part(ctx) })
	}
	h.stop = sync.OnceFunc(func() {
		now, over := context.WithCancel(context.Background())
		over() // what runs is canceled at once
		err := h.executions.Drain(now)
		patient, done := context.WithTimeout(context.Background(), 20*time.Second)
		defer done()
		err = errors.Join(err, h.runspaces.Drain(patient))
		cancel()
		run.Wait()
		if err := errors.Join(err, h.pool.Close(patient), st.Close()); err != nil {
			t.Error(err)
		}
		if n := len(h.eng.Living()); n != 0 {
			t.Errorf("%d instances live after the end", n)
		}
	})
	t.Cleanup(h.stop)
	return h
}

// open returns a house with two organizations and a runtime "r" in the first.
func open(t *testing.T, set settings) *house {
	t.Helper()
	return openAt(t, filepath.Join(t.TempDir(), "remuda.db"), set)
}

// openAt is open with a database of the test's.
func openAt(t *testing.T, path string, set settings) *house {
	t.Helper()
	h := build(t, path, set)
	h.write(t, func(tx *store.Tx) error {
		return errors.Join(
			tx.InsertOrganization(t.Context(), remuda.Organization{ID: ours, Name: "ours", CreatedAt: time.Now()}),
			tx.InsertOrganization(t.Context(), remuda.Organization{ID: theirs, Name: "theirs", CreatedAt: time.Now()}))
	})
	if err := h.runtimes.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	h.runtime(t, remuda.Definition{Name: "r", Language: remuda.LanguagePython})
	return h
}

func (h *house) write(t *testing.T, fn func(*store.Tx) error) {
	t.Helper()
	if err := h.store.Write(t.Context(), fn); err != nil {
		t.Fatal(err)
	}
}

func (h *house) runtime(t *testing.T, d remuda.Definition) remuda.Runtime {
	t.Helper()
	rt, err := h.runtimes.CreateRuntime(t.Context(), deployer, d)
	if err != nil {
		t.Fatal(err)
	}
	return rt
}

// run submits and waits for the end.
func (h *house) run(t *testing.T, req remuda.ExecutionRequest) remuda.Execution {
	t.Helper()
	e, err := h.executions.SubmitExecution(t.Context(), deployer, req, time.Minute)
	if err != nil {
		t.Fatalf("submit %q: %v", req.Script, err)
	}
	if !e.State.Final() {
		t.Fatalf("%q is %s after a minute", req.Script, e.State)
	}
	return e
}

// submit starts without waiting.
func (h *house) submit(t *testing.T, req remuda.ExecutionRequest) remuda.Execution {
	t.Helper()
	e, err := h.executions.SubmitExecution(t.Context(), deployer, req, 0)
	if err != nil {
		t.Fatalf("submit %q: %v", req.Script, err)
	}
	return e
}

func (h *house) wait(t *testing.T, id remuda.ExecutionID) remuda.Execution {
	t.Helper()
	e, err := h.executions.WaitExecution(t.Context(), deployer, id, time.Minute)
	if err != nil || !e.State.Final() {
		t.Fatalf("wait for %s: %s, %v", id, e.State, err)
	}
	return e
}

// output is all output of an ended execution, read in small pages.
func (h *house) output(t *testing.T, id remuda.ExecutionID) string {
	t.Helper()
	var all []byte
	var after int64
	for {
		page, err := h.executions.Output(t.Context(), deployer, id, after, 100, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		for _, rec := range page.Records {
			if rec.Seq != after+1 {
				t.Fatalf("record %d follows %d", rec.Seq, after)
			}
			after = rec.Seq
			all = append(all, rec.Data...)
		}
		if page.Ended {
			return string(all)
		}
	}
}

// space creates a runspace and waits until it is ready.
func (h *house) space(t *testing.T, req remuda.RunspaceRequest) remuda.Runspace {
	t.Helper()
	if req.Runtime == "" {
		req.Runtime = "r"
	}
	rs, err := h.runspaces.CreateRunspace(t.Context(), deployer, req)
	if err != nil {
		t.Fatal(err)
	}
	rs, err = h.runspaces.WaitRunspace(t.Context(), deployer, rs.ID, time.Minute)
	if err != nil || rs.State != remuda.RunspaceReady {
		t.Fatalf("runspace: %s (%s), %v", rs.State, rs.Error, err)
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

func (h *house) audit(t *testing.T, object string) []string {
	t.Helper()
	var changes []string
	err := h.store.Read(t.Context(), func(tx *store.Tx) error {
		list, _, err := tx.Audit(t.Context(), ours, remuda.Page{Limit: 200})
		for _, e := range list {
			if e.Object == object {
				changes = append([]string{e.Details["change"]}, changes...)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return changes
}
