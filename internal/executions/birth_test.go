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
	writes, patient *atomic.Int64
}

func (c counted) Begin(fn func(*store.Tx) error) *store.Pending {
	c.writes.Add(1)
	return c.Store.Begin(fn)
}

func (c counted) BeginPatiently(patience time.Duration, company int, fn func(*store.Tx) error) *store.Pending {
	c.writes.Add(1)
	c.patient.Add(1)
	return c.Store.BeginPatiently(patience, company, fn)
}

func (c counted) Write(ctx context.Context, fn func(*store.Tx) error) error {
	c.writes.Add(1)
	return c.Store.Write(ctx, fn)
}

func openCounted(t *testing.T, set executions.Settings) (h *house, writes, patient *atomic.Int64) {
	t.Helper()
	writes, patient = &atomic.Int64{}, &atomic.Int64{}
	h = open(t, settings{executions: set, store: func(st *store.Store) executions.Store { return counted{st, writes, patient} }})
	return h, writes, patient
}

// A short run is one write also when its instance had to be made.
func TestShortRunIsOneWrite(t *testing.T) {
	t.Parallel()
	h, writes, _ := openCounted(t, executions.Settings{RecordAfter: time.Hour, RecordQueued: time.Hour, FlushEvery: time.Hour})
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
	h, _, _ := openCounted(t, executions.Settings{RecordAfter: time.Millisecond, RecordQueued: time.Millisecond, CancelGrace: time.Millisecond})
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

// In a crowd ends wait for each other, and none is lost.
func TestEndsOfACrowdShareCommits(t *testing.T) {
	t.Parallel()
	h, _, patient := openCounted(t, executions.Settings{RecordAfter: time.Hour, RecordQueued: time.Hour})
	start := h.eng.HoldCreate()
	defer start()
	const crowd = 16
	var callers sync.WaitGroup
	var ended atomic.Int64
	for range crowd {
		callers.Go(func() {
			e, err := h.executions.SubmitExecution(t.Context(), deployer, remuda.ExecutionRequest{Runtime: "r", Script: "value 1"}, time.Minute)
			if err != nil || e.State != remuda.ExecutionSuccess {
				t.Errorf("%+v, %v", e, err)
				return
			}
			if got := h.audit(t, string(e.ID)); !slices.Equal(got, []string{"submit", "end"}) {
				t.Errorf("audit log %v", got)
			}
			ended.Add(1)
		})
	}
	until(t, "all of them wait", func() bool { return h.pool.Slots().InUse == crowd })
	start()
	callers.Wait()
	if n := ended.Load(); n != crowd {
		t.Errorf("%d of %d ended", n, crowd)
	}
	if patient.Load() == 0 {
		t.Error("no end waited for another")
	}
}
