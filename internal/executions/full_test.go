package executions_test

import (
	"context"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/remuda-run/remuda/internal/executions"
	"github.com/remuda-run/remuda/internal/remuda"
	"github.com/remuda-run/remuda/internal/runspaces"
	"github.com/remuda-run/remuda/internal/store"
)

// fullDisk is a store that takes no writes while it is full.
type fullDisk struct {
	*store.Store
	full *atomic.Bool
}

func (f fullDisk) Begin(fn func(*store.Tx) error) *store.Pending {
	return f.Store.Begin(f.refuse(fn))
}

func (f fullDisk) BeginPatiently(patience time.Duration, company int, fn func(*store.Tx) error) *store.Pending {
	return f.Store.BeginPatiently(patience, company, f.refuse(fn))
}

func (f fullDisk) Write(ctx context.Context, fn func(*store.Tx) error) error {
	return f.Store.Write(ctx, f.refuse(fn))
}

func (f fullDisk) RecordEnd(ctx context.Context, e *store.End) error {
	return f.Write(ctx, func(tx *store.Tx) error { return tx.RecordEnd(ctx, e) })
}

func (f fullDisk) refuse(fn func(*store.Tx) error) func(*store.Tx) error {
	return func(tx *store.Tx) error {
		if err := fn(tx); err != nil {
			return err
		}
		if f.full.Load() { // as late as a real disk says so: everything is undone
			return remuda.Errorf(remuda.CodeUnavailable, "the disk is full")
		}
		return nil
	}
}

func openFull(t *testing.T) (*house, *atomic.Bool) {
	t.Helper()
	full := &atomic.Bool{}
	h := open(t, settings{
		executions: executions.Settings{OrphansEvery: 20 * time.Millisecond},
		store:      func(st *store.Store) executions.Store { return fullDisk{st, full} },
	})
	t.Cleanup(func() { full.Store(false) })
	return h, full
}

func TestFullDiskIsTold(t *testing.T) {
	t.Parallel()
	h, full := openFull(t)
	rs := h.space(t, remuda.RunspaceRequest{})
	full.Store(true)
	for _, c := range []struct {
		name string
		req  remuda.ExecutionRequest
		wait time.Duration
	}{
		{"short and waited for", remuda.ExecutionRequest{Runtime: "r", Script: "print 1"}, time.Minute},
		{"long and waited for", remuda.ExecutionRequest{Runspace: rs.ID, Script: "sleep 20ms\nprint 1"}, time.Minute},
		{"not waited for", remuda.ExecutionRequest{Runtime: "r", Script: "block"}, 0},
		{"not waited for long enough", remuda.ExecutionRequest{Runspace: rs.ID, Script: "block"}, 30 * time.Millisecond},
	} {
		if e, err := h.executions.SubmitExecution(t.Context(), deployer, c.req, c.wait); remuda.CodeOf(err) != remuda.CodeUnavailable {
			t.Errorf("%s: %s, %v; want unavailable", c.name, e.State, err)
		}
	}
	// What was refused is not half there, and holds nothing.
	until(t, "the refused runs are gone", func() bool {
		hold, err := h.runspaces.Acquire(t.Context(), deployer, rs.ID, "ex_probe")
		if err != nil {
			return false
		}
		hold.Release(runspaces.Outcome{})
		return len(h.eng.Living()) == 1
	})
	full.Store(false)
	// Once the sweeper has ended an orphan it had its chance to write what it must not.
	orphan := remuda.Execution{ID: remuda.NewExecutionID(), Organization: ours, Runtime: "rt_x", State: remuda.ExecutionRunning, CreatedAt: time.Now()}
	h.write(t, func(tx *store.Tx) error { return tx.InsertExecution(t.Context(), orphan) })
	until(t, "the sweeper has been there", func() bool {
		e, err := h.executions.GetExecution(t.Context(), deployer, orphan.ID)
		return err == nil && e.State == remuda.ExecutionLost
	})
	list, _, err := h.executions.ListExecutions(t.Context(), deployer, remuda.ExecutionFilter{}, remuda.Page{})
	if err != nil || len(list) != 1 {
		t.Errorf("list: %v, %v; want nothing of what was refused", list, err)
	}
	if e := h.run(t, remuda.ExecutionRequest{Runspace: rs.ID, Script: "print 1"}); e.State != remuda.ExecutionSuccess {
		t.Errorf("with room again it ended as %s", e.State)
	}
}

func TestEndIsRecordedOnceThereIsRoom(t *testing.T) {
	t.Parallel()
	h, full := openFull(t)
	start := h.eng.HoldCreate()
	e := h.submit(t, remuda.ExecutionRequest{Runtime: "r", Script: "print kept\nvalue 1"})
	full.Store(true)
	start()
	if _, err := h.executions.WaitExecution(t.Context(), deployer, e.ID, time.Minute); remuda.CodeOf(err) != remuda.CodeUnavailable {
		t.Errorf("wait on a full disk: %v, want unavailable", err)
	}
	if got, err := h.executions.GetExecution(t.Context(), deployer, e.ID); err != nil || got.State.Final() {
		t.Errorf("an end that is not durable is shown: %s, %v", got.State, err)
	}
	full.Store(false)
	until(t, "the end is recorded", func() bool {
		got, err := h.executions.GetExecution(t.Context(), deployer, e.ID)
		return err == nil && got.State == remuda.ExecutionSuccess
	})
	if got := h.output(t, e.ID); got != "kept\n" {
		t.Errorf("output %q", got)
	}
	if got, want := h.audit(t, string(e.ID)), []string{"submit", "end"}; !slices.Equal(got, want) {
		t.Errorf("audit log %v, want %v", got, want)
	}
}

func TestOutputThatCannotBeStoredEndsTheRun(t *testing.T) {
	t.Parallel()
	h, full := openFull(t)
	start := h.eng.HoldCreate()
	e := h.submit(t, remuda.ExecutionRequest{Runtime: "r", Script: "flood 2000000\nblock"})
	full.Store(true)
	start()
	until(t, "it runs", func() bool { return len(h.eng.Created()) == 1 })
	until(t, "the run has given up", func() bool { return len(h.eng.Living()) == 0 })
	full.Store(false)
	until(t, "the end is recorded", func() bool {
		got, err := h.executions.GetExecution(t.Context(), deployer, e.ID)
		return err == nil && got.State.Final()
	})
	got, err := h.executions.GetExecution(t.Context(), deployer, e.ID)
	if err != nil || got.State != remuda.ExecutionError || !strings.Contains(got.Reason, "could not be stored") {
		t.Errorf("ended as %s, %q, %v", got.State, got.Reason, err)
	}
	if text := h.output(t, e.ID); text != "" {
		t.Errorf("%d bytes of output, want none: a record after a gap is worse than none", len(text))
	}
}
