package executions_test

import (
	"context"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/remuda-run/remuda/internal/executions"
	"github.com/remuda-run/remuda/internal/remuda"
)

func keyed(script string) remuda.ExecutionRequest {
	return remuda.ExecutionRequest{Runtime: "r", Script: script, IdempotencyKey: "key-1"}
}

// TestIdempotencyKey sends requests again. What was begun is begun once.
func TestIdempotencyKey(t *testing.T) {
	t.Parallel()
	h := open(t, settings{})
	first := h.run(t, keyed("print 1"))
	if again := h.run(t, keyed("print 1")); again.ID != first.ID || again.State != remuda.ExecutionSuccess || again.Instance != first.Instance {
		t.Errorf("again: %+v, first %+v", again, first)
	}
	if n := len(h.eng.Created()); n != 1 {
		t.Errorf("%d instances for one execution", n)
	}
	if got := h.audit(t, string(first.ID)); !slices.Equal(got, []string{"submit", "end"}) {
		t.Errorf("audited as %v", got)
	}
	if _, err := h.executions.SubmitExecution(t.Context(), deployer, keyed("print 2"), time.Minute); remuda.CodeOf(err) != remuda.CodeConflict {
		t.Errorf("another request with the same key: %v", err)
	}
	// Another user and another key are others.
	colleague := deployer
	colleague.User = "usr_b"
	other, err := h.executions.SubmitExecution(t.Context(), colleague, keyed("print 2"), time.Minute)
	if err != nil || other.ID == first.ID {
		t.Errorf("the same key of another user: %+v, %v", other, err)
	}
	req := keyed("print 1")
	req.IdempotencyKey = "key-2"
	if e := h.run(t, req); e.ID == first.ID {
		t.Error("another key was answered with the first execution")
	}
	monitor := principal(ours, remuda.RoleMonitor)
	if _, err := h.executions.SubmitExecution(t.Context(), monitor, keyed("print 1"), 0); remuda.CodeOf(err) != remuda.CodeForbidden {
		t.Errorf("a user who may not run anything: %v", err)
	}
}

// TestIdempotencyKeyAtOnce has many send the same request while it waits, runs and
// ends.
func TestIdempotencyKeyAtOnce(t *testing.T) {
	t.Parallel()
	h := open(t, settings{})
	release := h.eng.HoldCreate()
	var mu sync.Mutex
	ids := map[remuda.ExecutionID]int{}
	var clients sync.WaitGroup
	for n := range 20 {
		clients.Go(func() {
			wait := time.Duration(n%2) * time.Minute // some wait for the end
			e, err := h.executions.SubmitExecution(t.Context(), deployer, keyed("print 1"), wait)
			if err != nil {
				t.Errorf("submit: %v", err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			ids[e.ID]++
		})
	}
	until(t, "those that do not wait are answered", func() bool {
		mu.Lock()
		defer mu.Unlock()
		for _, n := range ids {
			return n == 10
		}
		return false
	})
	release()
	clients.Wait()
	if len(ids) != 1 || len(h.eng.Created()) != 1 {
		t.Errorf("one request became %v on %d instances", ids, len(h.eng.Created()))
	}
}

// TestIdempotencyKeyOfWhatWasRefused: what was never begun may be tried again.
func TestIdempotencyKeyOfWhatWasRefused(t *testing.T) {
	t.Parallel()
	h := open(t, settings{})
	req := keyed("print 1")
	req.Runtime = "later"
	if _, err := h.executions.SubmitExecution(t.Context(), deployer, req, 0); remuda.CodeOf(err) != remuda.CodeNotFound {
		t.Fatalf("a runtime that does not exist: %v", err)
	}
	h.runtime(t, remuda.Definition{Name: "later", Language: remuda.LanguagePython})
	if e := h.run(t, req); e.State != remuda.ExecutionSuccess {
		t.Errorf("ended as %+v", e)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	req = keyed("print 2")
	req.IdempotencyKey = "key-2"
	if _, err := h.executions.SubmitExecution(gone, deployer, req, 0); err == nil {
		t.Error("a caller that had gone got an answer")
	}
	h.run(t, req) // whatever became of the first
}

// TestIdempotencyKeyInARunspace: a second request does not meet the first as
// somebody else's.
func TestIdempotencyKeyInARunspace(t *testing.T) {
	t.Parallel()
	h := open(t, settings{})
	rs := h.space(t, remuda.RunspaceRequest{})
	req := remuda.ExecutionRequest{Runspace: rs.ID, Script: "block", IdempotencyKey: "key-1"}
	first, second := h.submit(t, req), h.submit(t, req)
	if first.ID != second.ID {
		t.Errorf("got %s and %s", first.ID, second.ID)
	}
	if _, err := h.executions.CancelExecution(t.Context(), deployer, first.ID); err != nil {
		t.Fatal(err)
	}
	h.wait(t, first.ID)
	if third := h.run(t, req); third.ID != first.ID || third.State != remuda.ExecutionCanceled {
		t.Errorf("after its end: %+v", third)
	}
}

// TestIdempotencyKeyOutlivesTheServer asks the next server.
func TestIdempotencyKeyOutlivesTheServer(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "remuda.db")
	h := openAt(t, path, settings{executions: executions.Settings{}})
	first := h.run(t, keyed("print 1"))
	h.stop()
	next := build(t, path, settings{})
	if err := next.runtimes.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if again := next.run(t, keyed("print 1")); again.ID != first.ID {
		t.Errorf("the next server ran it as %s, the first as %s", again.ID, first.ID)
	}
	if _, err := next.executions.SubmitExecution(t.Context(), deployer, keyed("print 2"), 0); remuda.CodeOf(err) != remuda.CodeConflict {
		t.Errorf("another request with the same key: %v", err)
	}
}
