package executions_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/remuda-run/remuda/internal/remuda"
	"github.com/remuda-run/remuda/internal/runspaces"
)

func queued(id remuda.RunspaceID, script string) remuda.ExecutionRequest {
	return remuda.ExecutionRequest{Runspace: id, Script: script, Queue: true}
}

func TestLineIsFirstComeFirstServed(t *testing.T) {
	t.Parallel()
	h := open(t, settings{})
	rs := h.space(t, remuda.RunspaceRequest{})
	first := h.submit(t, queued(rs.ID, "set order 0\nblock"))
	if first.State != remuda.ExecutionRunning {
		t.Errorf("the first one is %s", first.State)
	}
	var line []remuda.Execution
	for _, script := range []string{"get order\nset order 1", "get order\nset order 2", "get order"} {
		e := h.submit(t, queued(rs.ID, script))
		if e.State != remuda.ExecutionQueued || e.StartedAt != nil || e.Runspace != rs.ID {
			t.Errorf("one in line is %+v", e)
		}
		line = append(line, e)
	}
	// In line nobody pushes in, and one may leave.
	_, err := h.executions.SubmitExecution(t.Context(), deployer, remuda.ExecutionRequest{Runspace: rs.ID, Script: "get order"}, 0)
	var busy *remuda.Error
	if !errors.As(err, &busy) || busy.Reason != remuda.ReasonRunspaceBusy || busy.Object != string(first.ID) {
		t.Errorf("without a place in line: %v", err)
	}
	leaves := h.submit(t, queued(rs.ID, "set order wrong"))
	if _, err := h.executions.CancelExecution(t.Context(), deployer, leaves.ID); err != nil {
		t.Fatal(err)
	}
	if e := h.wait(t, leaves.ID); e.State != remuda.ExecutionCanceled || !strings.Contains(e.Reason, "before it started") {
		t.Errorf("one that left the line is %s: %s", e.State, e.Reason)
	}
	if _, err := h.runspaces.InterruptRunspace(t.Context(), deployer, rs.ID); err != nil {
		t.Fatal(err)
	}
	if e := h.wait(t, first.ID); e.State != remuda.ExecutionCanceled {
		t.Errorf("the interrupted one is %s: %s", e.State, e.Reason)
	}
	for i, want := range []string{"0\n", "1\n", "2\n"} {
		if e := h.wait(t, line[i].ID); e.State != remuda.ExecutionSuccess || h.output(t, e.ID) != want || e.StartedAt == nil {
			t.Errorf("number %d is %s: %s", i, e.State, e.Reason)
		}
	}
}

func TestLineIsBoundedAndEndsWithItsRunspace(t *testing.T) {
	t.Parallel()
	h := open(t, settings{runspaces: runspaces.Settings{CancelGrace: 10 * time.Millisecond}})
	rs := h.space(t, remuda.RunspaceRequest{})
	running := h.submit(t, queued(rs.ID, "block"))
	var last remuda.Execution
	for range 100 {
		last = h.submit(t, queued(rs.ID, "print no"))
	}
	_, err := h.executions.SubmitExecution(t.Context(), deployer, queued(rs.ID, "print no"), 0)
	if remuda.CodeOf(err) != remuda.CodeExhausted {
		t.Errorf("one more than 100: %v, want exhausted", err)
	}
	if err := h.runspaces.DeleteRunspace(t.Context(), deployer, rs.ID); err != nil {
		t.Fatal(err)
	}
	for _, id := range []remuda.ExecutionID{running.ID, last.ID} {
		if e := h.wait(t, id); e.State != remuda.ExecutionCanceled || !strings.Contains(e.Reason, "deleted") {
			t.Errorf("after the deletion one is %s: %s", e.State, e.Reason)
		}
	}
	_, err = h.executions.SubmitExecution(t.Context(), deployer, queued(rs.ID, "print no"), 0)
	if remuda.ReasonOf(err) != remuda.ReasonRunspaceNotReady {
		t.Errorf("a place in the line of a closed runspace: %v", err)
	}
}

func TestLineHoldsSoMuchMemoryOnly(t *testing.T) {
	t.Parallel()
	h := open(t, settings{runspaces: runspaces.Settings{CancelGrace: 10 * time.Millisecond}})
	rs, other := h.space(t, remuda.RunspaceRequest{}), h.space(t, remuda.RunspaceRequest{})
	h.submit(t, queued(rs.ID, "block"))
	h.submit(t, queued(other.ID, "block"))
	heavy := func(id remuda.RunspaceID) (remuda.Execution, error) {
		req := queued(id, "print no")
		req.Stdin = make([]byte, remuda.MaxStdinBytes)
		return h.executions.SubmitExecution(t.Context(), deployer, req, 0)
	}
	var first remuda.Execution
	for i := range 7 { // 112 MiB and a little
		e, err := heavy([]remuda.RunspaceID{rs.ID, other.ID}[i%2])
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			first = e
		}
	}
	if _, err := heavy(other.ID); remuda.CodeOf(err) != remuda.CodeExhausted || !strings.Contains(err.Error(), "128 MiB") {
		t.Errorf("more than 128 MiB: %v, want exhausted", err)
	}
	if _, err := h.executions.CancelExecution(t.Context(), deployer, first.ID); err != nil {
		t.Fatal(err)
	}
	h.wait(t, first.ID)
	if _, err := heavy(other.ID); err != nil {
		t.Errorf("after one has left the line: %v", err)
	}
	if err := h.runspaces.DeleteRunspace(t.Context(), deployer, other.ID); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := heavy(rs.ID); err != nil {
			t.Errorf("after a line has ended: %v", err)
		}
	}
}

func TestStreamWaitsInLine(t *testing.T) {
	t.Parallel()
	h := open(t, settings{})
	rs := h.space(t, remuda.RunspaceRequest{})
	running := h.submit(t, queued(rs.ID, "set x 1\nblock"))
	alone := func() bool { return false }
	ended := make(chan remuda.Execution)
	go func() {
		recorded, err := h.executions.RunExecution(context.WithoutCancel(t.Context()), deployer, queued(rs.ID, "get x"), alone)
		if err != nil {
			t.Error(err)
			close(ended)
			return
		}
		e, err := recorded()
		if err != nil {
			t.Error(err)
		}
		ended <- e
	}()
	until(t, "it waits", func() bool {
		list, _, err := h.executions.ListExecutions(t.Context(), deployer, remuda.ExecutionFilter{Runspace: rs.ID}, remuda.Page{})
		return err == nil && len(list) == 2 && list[0].State == remuda.ExecutionQueued
	})
	if _, err := h.executions.CancelExecution(t.Context(), deployer, running.ID); err != nil {
		t.Fatal(err)
	}
	if e := <-ended; e.State != remuda.ExecutionSuccess || h.output(t, e.ID) != "1\n" {
		t.Errorf("it is %s: %s", e.State, e.Reason)
	}
}

// TestOwnOnly has a user of a door whose tenancy is by user meet the things of another
// user of the same organization.
func TestOwnOnly(t *testing.T) {
	t.Parallel()
	h := open(t, settings{})
	ctx := t.Context()
	other := deployer
	other.User, other.UserName, other.OwnOnly = "usr_b", "b", true
	own := deployer
	own.OwnOnly = true
	rs := h.space(t, remuda.RunspaceRequest{})
	e := h.submit(t, remuda.ExecutionRequest{Runspace: rs.ID, Script: "print 1\nblock"})
	done := h.run(t, remuda.ExecutionRequest{Runtime: "r", Script: "print 1"})
	for name, try := range map[string]func(p remuda.Principal) error{
		"get runspace":  func(p remuda.Principal) error { _, err := h.runspaces.GetRunspace(ctx, p, rs.ID); return err },
		"wait runspace": func(p remuda.Principal) error { _, err := h.runspaces.WaitRunspace(ctx, p, rs.ID, 0); return err },
		"files":         func(p remuda.Principal) error { _, err := h.runspaces.ListFiles(ctx, p, rs.ID, ""); return err },
		"use": func(p remuda.Principal) error {
			release, _, err := h.runspaces.Use(ctx, p, rs.ID)
			if err == nil {
				release()
			}
			return err
		},
		"get running": func(p remuda.Principal) error { _, err := h.executions.GetExecution(ctx, p, e.ID); return err },
		"get ended":   func(p remuda.Principal) error { _, err := h.executions.GetExecution(ctx, p, done.ID); return err },
		"output":      func(p remuda.Principal) error { _, err := h.executions.Output(ctx, p, e.ID, 0, 0, 0); return err },
		"wait":        func(p remuda.Principal) error { _, err := h.executions.WaitExecution(ctx, p, e.ID, 0); return err },
		"run": func(p remuda.Principal) error {
			_, err := h.executions.SubmitExecution(ctx, p, queued(rs.ID, "print 1"), 0)
			return err
		},
		"z1 cancel": func(p remuda.Principal) error { _, err := h.executions.CancelExecution(ctx, p, e.ID); return err },
	} {
		if err := try(other); remuda.CodeOf(err) != remuda.CodeNotFound {
			t.Errorf("%s by another user: %v, want not_found", name, err)
		}
		if err := try(own); err != nil {
			t.Errorf("%s by its owner: %v", name, err)
		}
	}
	if err := h.runspaces.DeleteRunspace(ctx, other, rs.ID); remuda.CodeOf(err) != remuda.CodeNotFound {
		t.Errorf("delete by another user: %v, want not_found", err)
	}
	spaces, _, err := h.runspaces.ListRunspaces(ctx, other, remuda.Page{})
	runs, _, err2 := h.executions.ListExecutions(ctx, other, remuda.ExecutionFilter{}, remuda.Page{})
	if err := errors.Join(err, err2); err != nil || len(spaces)+len(runs) != 0 {
		t.Errorf("another user lists %d runspaces and %d executions, %v", len(spaces), len(runs), err)
	}
	spaces, _, err = h.runspaces.ListRunspaces(ctx, own, remuda.Page{})
	runs, _, err2 = h.executions.ListExecutions(ctx, own, remuda.ExecutionFilter{}, remuda.Page{})
	if err := errors.Join(err, err2); err != nil || len(spaces) != 1 || len(runs) < 2 {
		t.Errorf("the owner lists %d runspaces and %d executions, %v", len(spaces), len(runs), err)
	}
}
