package executions_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/remuda-run/remuda/internal/executions"
	"github.com/remuda-run/remuda/internal/remuda"
	"github.com/remuda-run/remuda/internal/store"
)

// paused lets something happen after each read, before its reader goes on.
type paused struct {
	*store.Store

	mu    sync.Mutex
	after func() // nil when there is nothing
}

func (p *paused) Read(ctx context.Context, fn func(*store.Tx) error) error {
	err := p.Store.Read(ctx, fn)
	p.mu.Lock()
	after := p.after
	p.after = nil
	p.mu.Unlock()
	if after != nil {
		after()
	}
	return err
}

// An execution that ends while the sweeper looks for those that nobody owns has the
// end that it had: the sweeper has seen it without an end, and finds that nobody owns
// it any more.
func TestEndWhileUnownedAreLookedFor(t *testing.T) {
	t.Parallel()
	var st *paused
	h := open(t, settings{
		executions: executions.Settings{RecordAfter: time.Millisecond, RecordQueued: time.Millisecond, OrphansEvery: 5 * time.Millisecond},
		store: func(s *store.Store) executions.Store {
			st = &paused{Store: s}
			return st
		},
	})
	space := h.space(t, remuda.RunspaceRequest{Runtime: "r"})
	for range 20 {
		e := h.submit(t, remuda.ExecutionRequest{Runspace: space.ID, Script: "block"})
		met := make(chan struct{})
		st.mu.Lock()
		st.after = func() {
			defer close(met)
			if _, err := h.executions.CancelExecution(t.Context(), deployer, e.ID); err != nil {
				t.Errorf("cancel: %v", err)
			}
			if _, err := h.executions.WaitExecution(t.Context(), deployer, e.ID, time.Minute); err != nil {
				t.Errorf("wait: %v", err)
			}
		}
		st.mu.Unlock()
		<-met // the only reader is the sweeper
		if got := h.wait(t, e.ID); got.State != remuda.ExecutionCanceled {
			t.Fatalf("it ended as %s: %s", got.State, got.Reason)
		}
		until(t, "the sweeper looks again", h.sweptOnce(st))
		h.write(t, func(tx *store.Tx) error {
			got, err := tx.Execution(t.Context(), ours, e.ID)
			if err == nil && got.State != remuda.ExecutionCanceled {
				t.Errorf("it is stored as %s: %s", got.State, got.Reason)
			}
			return err
		})
	}
}

// sweptOnce tells when the sweeper has read once more.
func (h *house) sweptOnce(st *paused) func() bool {
	swept := make(chan struct{})
	st.mu.Lock()
	st.after = func() { close(swept) }
	st.mu.Unlock()
	return func() bool {
		select {
		case <-swept:
			return true
		default:
			return false
		}
	}
}
