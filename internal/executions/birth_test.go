package executions_test

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/remuda-run/remuda/internal/executions"
	"github.com/remuda-run/remuda/internal/remuda"
	"github.com/remuda-run/remuda/internal/store"
)

// counted counts the writes of the service.
type counted struct {
	*store.Store
	writes *atomic.Int64
}

func (c counted) Begin(fn func(*store.Tx) error) *store.Pending {
	c.writes.Add(1)
	return c.Store.Begin(fn)
}

func (c counted) BeginPatiently(patience time.Duration, company int, fn func(*store.Tx) error) *store.Pending {
	c.writes.Add(1)
	return c.Store.BeginPatiently(patience, company, fn)
}

func (c counted) Write(ctx context.Context, fn func(*store.Tx) error) error {
	c.writes.Add(1)
	return c.Store.Write(ctx, fn)
}

func (c counted) RecordEnd(ctx context.Context, e *store.End) error {
	c.writes.Add(1)
	return c.Store.RecordEnd(ctx, e)
}

func openCounted(t *testing.T, set executions.Settings) (h *house, writes *atomic.Int64) {
	t.Helper()
	writes = &atomic.Int64{}
	h = open(t, settings{executions: set, store: func(st *store.Store) executions.Store { return counted{st, writes} }})
	return h, writes
}

// A short run is one write also when its instance had to be made.
func TestShortRunIsOneWrite(t *testing.T) {
	t.Parallel()
	h, writes := openCounted(t, executions.Settings{RecordAfter: time.Hour, RecordQueued: time.Hour, FlushEvery: time.Hour})
	e := h.run(t, remuda.ExecutionRequest{Runtime: "r", Script: "print 1"})
	if n := writes.Load(); n != 1 {
		t.Errorf("%d writes, want 1", n)
	}
	if got, want := h.audit(t, string(e.ID)), []string{"submit", "end"}; !slices.Equal(got, want) {
		t.Errorf("audit log %v, want %v", got, want)
	}
	if got := h.output(t, e.ID); got != "1\n" {
		t.Errorf("output %q", got)
	}
}

// What takes longer is in the record as it is, though nobody was told of it.
func TestLongRunIsRecordedAsItIs(t *testing.T) {
	t.Parallel()
	h, _ := openCounted(t, executions.Settings{RecordAfter: time.Millisecond, RecordQueued: time.Millisecond, CancelGrace: time.Millisecond})
	start := h.eng.HoldCreate()
	defer start()
	var end remuda.Execution
	var caller sync.WaitGroup
	caller.Go(func() {
		var err error
		end, err = h.executions.SubmitExecution(t.Context(), deployer, remuda.ExecutionRequest{Runtime: "r", Script: "block"}, time.Minute)
		if err != nil {
			t.Error(err)
		}
	})
	var id remuda.ExecutionID
	recorded := func(state remuda.ExecutionState) func() bool {
		return func() bool {
			list, _, err := h.executions.ListExecutions(t.Context(), deployer, remuda.ExecutionFilter{State: state}, remuda.Page{})
			if err != nil || len(list) != 1 {
				return false
			}
			id = list[0].ID
			return (list[0].Instance != "") == (state == remuda.ExecutionRunning)
		}
	}
	until(t, "it is recorded as queued", recorded(remuda.ExecutionQueued))
	start()
	until(t, "it is recorded as running", recorded(remuda.ExecutionRunning))
	if _, err := h.executions.CancelExecution(t.Context(), deployer, id); err != nil {
		t.Error(err)
	}
	caller.Wait()
	if end.ID != id || end.State != remuda.ExecutionCanceled {
		t.Errorf("execution %s ended as %+v", id, end)
	}
	if got, want := h.audit(t, string(id)), []string{"submit", "cancel", "end"}; !slices.Equal(got, want) {
		t.Errorf("audit log %v, want %v", got, want)
	}
}
