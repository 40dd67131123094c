package executions_test

import (
	"context"
	"testing"
	"time"

	"github.com/remuda-run/remuda/internal/executions"
	"github.com/remuda-run/remuda/internal/remuda"
	"github.com/remuda-run/remuda/internal/store"
)

// late has ends durable, and readable, for a while before it says so.
type late struct {
	*store.Store
	goOn chan struct{}
}

func (l late) RecordEnd(ctx context.Context, e *store.End) error {
	err := l.Store.RecordEnd(ctx, e)
	<-l.goOn
	return err
}

// Whoever reads that the output has ended finds that the execution has, also between
// the moments in which its end is stored and told.
func TestOutputEndsWithItsExecution(t *testing.T) {
	t.Parallel()
	goOn := make(chan struct{})
	h := open(t, settings{
		executions: executions.Settings{RecordAfter: time.Millisecond},
		store:      func(s *store.Store) executions.Store { return late{s, goOn} },
	})
	e := h.submit(t, remuda.ExecutionRequest{Runtime: "r", Script: "print x\nblock"})
	until(t, "it has printed", func() bool {
		page, err := h.executions.Output(t.Context(), deployer, e.ID, 0, 0, 0)
		return err == nil && len(page.Records) == 1
	})
	if _, err := h.executions.CancelExecution(t.Context(), deployer, e.ID); err != nil {
		t.Fatal(err)
	}
	until(t, "its end is stored", func() bool {
		list, _, err := h.executions.ListExecutions(t.Context(), deployer, remuda.ExecutionFilter{}, remuda.Page{})
		return err == nil && len(list) == 1 && list[0].State.Final()
	})
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		page, err := h.executions.Output(t.Context(), deployer, e.ID, 0, 0, 0)
		if err != nil || !page.Ended || len(page.Records) != 1 {
			t.Errorf("output %+v, %v", page, err)
		}
		if got, err := h.executions.GetExecution(t.Context(), deployer, e.ID); err != nil || got.State != remuda.ExecutionCanceled {
			t.Errorf("after the end of its output it is %s, %v", got.State, err)
		}
	}()
	select { // it waits; that it did not is seen by what it finds
	case <-answered:
	case <-time.After(50 * time.Millisecond):
	}
	close(goOn)
	<-answered
}
