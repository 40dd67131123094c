package executions_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/remuda-run/remuda/internal/executions"
	"github.com/remuda-run/remuda/internal/remuda"
	"github.com/remuda-run/remuda/internal/runspaces"
	"github.com/remuda-run/remuda/internal/store"
)

func TestDrainWaitsThenCancels(t *testing.T) {
	t.Parallel()
	h := open(t, settings{})
	quick := h.submit(t, remuda.ExecutionRequest{Runtime: "r", Script: "sleep 50ms\nvalue 1"})
	slow := h.submit(t, remuda.ExecutionRequest{Runtime: "r", Script: "block"})
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	if err := h.executions.Drain(ctx); err != nil {
		t.Fatal(err)
	}
	if e := h.wait(t, quick.ID); e.State != remuda.ExecutionSuccess {
		t.Errorf("the quick one ended as %s", e.State)
	}
	if e := h.wait(t, slow.ID); e.State != remuda.ExecutionCanceled || !strings.Contains(e.Reason, "shut down") {
		t.Errorf("the slow one ended as %s, %q", e.State, e.Reason)
	}
	_, err := h.executions.SubmitExecution(t.Context(), deployer, remuda.ExecutionRequest{Runtime: "r", Script: "x"}, 0)
	var away *remuda.Error
	if !errors.As(err, &away) || away.Code != remuda.CodeUnavailable || away.RetryAfterSeconds == 0 {
		t.Errorf("submit while draining: %v, want unavailable", err)
	}
}

func TestRecover(t *testing.T) {
	t.Parallel()
	h := open(t, settings{})
	now := time.Now().UTC()
	row := func(state remuda.ExecutionState) remuda.Execution {
		return remuda.Execution{ID: remuda.NewExecutionID(), Organization: ours, Owner: "usr_a", Runtime: "rt_x", RuntimeName: "x", Generation: 1, State: state, CreatedAt: now}
	}
	ran, waited, ended := row(remuda.ExecutionRunning), row(remuda.ExecutionQueued), row(remuda.ExecutionSuccess)
	space := remuda.Runspace{ID: remuda.NewRunspaceID(), Organization: ours, Name: "n", Runtime: "rt_x", State: remuda.RunspaceReady, CreatedAt: now, LastUsedAt: now}
	h.write(t, func(tx *store.Tx) error {
		return errors.Join(tx.InsertExecution(t.Context(), ran), tx.InsertExecution(t.Context(), waited), tx.InsertExecution(t.Context(), ended),
			tx.AppendOutput(t.Context(), ours, ran.ID, []remuda.OutputRecord{{Seq: 1, Stream: remuda.StreamStdout, Data: []byte("kept")}}),
			tx.InsertRunspace(t.Context(), space))
	})
	alive := h.submit(t, remuda.ExecutionRequest{Runtime: "r", Script: "block"})
	recovered, err2 := h.runspaces.Recover(t.Context(), runspaces.Found{})
	gone, err := h.executions.Recover(t.Context())
	n, m := gone.Lost, recovered.Ended
	if err != nil || err2 != nil || n != 2 || m != 1 {
		t.Fatalf("recovered %d executions and %d runspaces, %v, %v; want 2 and 1", n, m, err, err2)
	}
	for id, says := range map[remuda.ExecutionID]string{ran.ID: "restarted while it ran", waited.ID: "before it started"} {
		e, err := h.executions.GetExecution(t.Context(), deployer, id)
		if err != nil || e.State != remuda.ExecutionLost || !strings.Contains(e.Reason, says) || e.EndedAt == nil {
			t.Errorf("after the recovery: %+v, %v", e, err)
		}
		if got := h.audit(t, string(id)); !slices.Equal(got, []string{"end"}) {
			t.Errorf("audit log %v", got)
		}
	}
	if got := h.output(t, ran.ID); got != "kept" {
		t.Errorf("output %q, want what was stored", got)
	}
	if e, err := h.executions.GetExecution(t.Context(), deployer, alive.ID); err != nil || e.State.Final() {
		t.Errorf("one that runs was touched: %s, %v", e.State, err)
	}
	if rs, err := h.runspaces.GetRunspace(t.Context(), deployer, space.ID); err != nil || rs.State != remuda.RunspaceError || !strings.Contains(rs.Error, "restarted") {
		t.Errorf("runspace after the recovery: %+v, %v", rs, err)
	}
}

func TestSweeperEndsWhatNobodyOwns(t *testing.T) {
	t.Parallel()
	h := open(t, settings{
		executions: executions.Settings{OrphansEvery: 10 * time.Millisecond}, runspaces: runspaces.Settings{OrphansEvery: 10 * time.Millisecond},
	})
	alive := h.submit(t, remuda.ExecutionRequest{Runtime: "r", Script: "block"})
	space := h.space(t, remuda.RunspaceRequest{})
	row := remuda.Execution{ID: remuda.NewExecutionID(), Organization: ours, Runtime: "rt_x", State: remuda.ExecutionRunning, CreatedAt: time.Now()}
	orphan := remuda.Runspace{ID: remuda.NewRunspaceID(), Organization: ours, Runtime: "rt_x", State: remuda.RunspaceReady, CreatedAt: time.Now(), LastUsedAt: time.Now()}
	h.write(t, func(tx *store.Tx) error {
		return errors.Join(tx.InsertExecution(t.Context(), row), tx.InsertRunspace(t.Context(), orphan))
	})
	until(t, "the orphans have ended", func() bool {
		e, err := h.executions.GetExecution(t.Context(), deployer, row.ID)
		rs, err2 := h.runspaces.GetRunspace(t.Context(), deployer, orphan.ID)
		return err == nil && err2 == nil && e.State == remuda.ExecutionLost && rs.State == remuda.RunspaceError
	})
	if e, _ := h.executions.GetExecution(t.Context(), deployer, alive.ID); e.State.Final() {
		t.Errorf("an owned execution was ended as %s", e.State)
	}
	if rs, _ := h.runspaces.GetRunspace(t.Context(), deployer, space.ID); rs.State.Final() {
		t.Errorf("an owned runspace was ended as %s", rs.State)
	}
}
