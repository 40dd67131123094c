package executions_test

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/remuda-run/remuda/internal/remuda"
	"github.com/remuda-run/remuda/internal/runspaces"
)

func TestRunspaceKeepsState(t *testing.T) {
	t.Parallel()
	h := open(t, settings{})
	rs := h.space(t, remuda.RunspaceRequest{Env: map[string]string{"A": "of the runspace", "B": "b"}})
	first := h.run(t, remuda.ExecutionRequest{Runspace: rs.ID, Script: "set x 1"})
	second := h.run(t, remuda.ExecutionRequest{Runspace: rs.ID, Script: "get x\nenv A\nenv B", Env: map[string]string{"A": "of the run"}})
	if !first.Fresh || second.Fresh || first.Instance != second.Instance || second.Runspace != rs.ID {
		t.Errorf("first %+v\nsecond %+v", first, second)
	}
	if got := h.output(t, second.ID); got != "1\nof the run\nb\n" {
		t.Errorf("output %q", got)
	}
}

func TestRunspaceRunsOneAtATime(t *testing.T) {
	t.Parallel()
	h := open(t, settings{})
	rs := h.space(t, remuda.RunspaceRequest{})
	e := h.submit(t, remuda.ExecutionRequest{Runspace: rs.ID, Script: "block"})
	if got, err := h.runspaces.GetRunspace(t.Context(), deployer, rs.ID); err != nil || got.State != remuda.RunspaceActive {
		t.Errorf("while it runs the runspace is %s, %v", got.State, err)
	}
	if list, _, err := h.runspaces.ListRunspaces(t.Context(), deployer, remuda.Page{}); err != nil || len(list) != 1 || list[0].State != remuda.RunspaceActive {
		t.Errorf("list while it runs: %v, %v", list, err)
	}
	_, err := h.executions.SubmitExecution(t.Context(), deployer, remuda.ExecutionRequest{Runspace: rs.ID, Script: "print 1"}, time.Minute)
	var busy *remuda.Error
	if !errors.As(err, &busy) || busy.Code != remuda.CodeConflict || !strings.Contains(busy.Cause, string(e.ID)) {
		t.Errorf("a second run: %v, want a conflict that names %s", err, e.ID)
	}
	// Many at once: exactly as many run as were accepted, one after the other.
	if _, err := h.executions.CancelExecution(t.Context(), deployer, e.ID); err != nil {
		t.Fatal(err)
	}
	h.wait(t, e.ID)
	var callers sync.WaitGroup
	for range 8 {
		callers.Go(func() {
			for range 10 {
				e, err := h.executions.SubmitExecution(t.Context(), deployer, remuda.ExecutionRequest{Runspace: rs.ID, Script: "print 1"}, time.Minute)
				if remuda.CodeOf(err) == remuda.CodeConflict {
					continue
				}
				if err != nil || e.State != remuda.ExecutionSuccess {
					t.Errorf("run: %+v, %v", e, err)
				}
			}
		})
	}
	callers.Wait()
}

func TestDeadInstanceEndsTheRunspace(t *testing.T) {
	t.Parallel()
	h := open(t, settings{})
	for _, c := range []struct {
		name string
		end  func(t *testing.T, rs remuda.Runspace)
		says string
	}{
		{"by a run", func(t *testing.T, rs remuda.Runspace) {
			t.Helper()
			if e := h.run(t, remuda.ExecutionRequest{Runspace: rs.ID, Script: "die memory"}); e.KilledBy != remuda.KilledByMemory {
				t.Errorf("killed by %q", e.KilledBy)
			}
		}, "memory"},
		{"while idle", func(t *testing.T, rs remuda.Runspace) {
			t.Helper()
			for _, inst := range h.eng.Living() {
				if inst.ID() == rs.Instance {
					inst.Kill(remuda.KilledByPids, "too many processes")
				}
			}
		}, "too many processes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			rs := h.space(t, remuda.RunspaceRequest{})
			c.end(t, rs)
			until(t, "the runspace has ended", func() bool {
				got, err := h.runspaces.GetRunspace(t.Context(), deployer, rs.ID)
				return err == nil && got.State == remuda.RunspaceError && strings.Contains(got.Error, c.says) && got.EndedAt != nil
			})
			_, err := h.executions.SubmitExecution(t.Context(), deployer, remuda.ExecutionRequest{Runspace: rs.ID, Script: "print 1"}, 0)
			var ended *remuda.Error
			if !errors.As(err, &ended) || ended.Code != remuda.CodeConflict || !strings.Contains(ended.Cause, c.says) {
				t.Errorf("run afterwards: %v, want a conflict that says why", err)
			}
		})
	}
}

func TestDeleteEndsWhatRuns(t *testing.T) {
	t.Parallel()
	for _, script := range []string{"block", "stubborn\nblock"} {
		t.Run(script, func(t *testing.T) {
			t.Parallel()
			h := open(t, settings{runspaces: runspaces.Settings{CancelGrace: 20 * time.Millisecond}})
			rs := h.space(t, remuda.RunspaceRequest{Name: "n"})
			e := h.submit(t, remuda.ExecutionRequest{Runspace: rs.ID, Script: script})
			until(t, "it runs", func() bool { return h.eng.Living()[0].Executed() == 1 })
			if err := h.runspaces.DeleteRunspace(t.Context(), deployer, rs.ID); err != nil {
				t.Fatal(err)
			}
			if n := len(h.eng.Living()); n != 0 {
				t.Errorf("%d instances live after the delete", n)
			}
			end, err := h.executions.GetExecution(t.Context(), deployer, e.ID)
			if err != nil || end.State != remuda.ExecutionCanceled || !strings.Contains(end.Reason, "deleted") {
				t.Errorf("right after the delete the execution is %s, %q, %v", end.State, end.Reason, err)
			}
			got, err := h.runspaces.GetRunspace(t.Context(), deployer, rs.ID)
			if err != nil || got.State != remuda.RunspaceClosed {
				t.Errorf("the runspace is %s, %v", got.State, err)
			}
			if err := h.runspaces.DeleteRunspace(t.Context(), deployer, rs.ID); err != nil {
				t.Errorf("a second delete: %v", err)
			}
			h.space(t, remuda.RunspaceRequest{Name: "n"}) // the name is free again
		})
	}
}
