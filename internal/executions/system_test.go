package executions_test

import (
	"context"
	"testing"

	"github.com/remuda-run/remuda/internal/remuda"
	"github.com/remuda-run/remuda/internal/runspaces"
)

// TestSystemEndsWithRun has a script of the server's own run when the service ends.
func TestSystemEndsWithRun(t *testing.T) {
	t.Parallel()
	h := open(t, settings{})
	rs := h.space(t, remuda.RunspaceRequest{})
	id, _, err := h.executions.RunSystem(t.Context(), deployer, runspaces.SystemRun{Runspace: rs.ID, Script: "print 1\nblock"})
	if err != nil {
		t.Fatal(err)
	}
	if e, err := h.executions.GetExecution(t.Context(), deployer, id); err != nil || e.State != remuda.ExecutionRunning {
		t.Fatalf("before the end it is %s, %v", e.State, err)
	}
	over, end := context.WithCancel(t.Context())
	end()
	if err := h.executions.Run(over); err != nil {
		t.Fatal(err)
	}
	e, err := h.executions.GetExecution(t.Context(), deployer, id)
	if err != nil || e.State != remuda.ExecutionCanceled || e.EndedAt == nil {
		t.Errorf("after the end it is %s (%s), %v", e.State, e.Reason, err)
	}
	for range 2 { // a refused one does not keep the runspace
		if _, _, err := h.executions.RunSystem(t.Context(), deployer, runspaces.SystemRun{Runspace: rs.ID, Script: "print 1"}); remuda.CodeOf(err) != remuda.CodeUnavailable {
			t.Errorf("one more: %v, want unavailable", err)
		}
	}
}
