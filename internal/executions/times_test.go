package executions_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/remuda-run/remuda/internal/remuda"
	"github.com/remuda-run/remuda/internal/runspaces"
)

// limits are what an organization is bound by now.
type limits struct{ now atomic.Pointer[remuda.Limits] }

func (l *limits) Limits(remuda.OrganizationID) remuda.Limits { return *l.now.Load() }

func (l *limits) set(to remuda.Limits) *limits {
	l.now.Store(&to)
	return l
}

func TestActiveTimeoutEndsTheRunspace(t *testing.T) {
	t.Parallel()
	bounds := new(limits).set(remuda.Limits{})
	h := open(t, settings{runspaces: runspaces.Settings{SweepEvery: 5 * time.Millisecond, CancelGrace: 10 * time.Millisecond, Limits: bounds}})
	never := time.Duration(0)
	rs, own := h.space(t, remuda.RunspaceRequest{}), h.space(t, remuda.RunspaceRequest{ActiveTimeout: &never})
	e := h.submit(t, remuda.ExecutionRequest{Runspace: rs.ID, Script: "print 1\nblock"})
	spared := h.submit(t, remuda.ExecutionRequest{Runspace: own.ID, Script: "block"})
	bounds.set(remuda.Limits{ActiveTimeout: 50 * time.Millisecond}) // reaches what is open
	end := h.wait(t, e.ID)
	if end.State != remuda.ExecutionError || end.KilledBy != remuda.KilledByTime || !strings.Contains(end.Reason, "active timeout of 50ms") {
		t.Errorf("the execution is %s by %q: %s", end.State, end.KilledBy, end.Reason)
	}
	until(t, "the runspace has ended", func() bool {
		got, err := h.runspaces.GetRunspace(t.Context(), deployer, rs.ID)
		return err == nil && got.State == remuda.RunspaceError && strings.Contains(got.Error, "active timeout of 50ms") && got.ErrorCode == remuda.CodeDeadline
	})
	if got, err := h.executions.GetExecution(t.Context(), deployer, spared.ID); err != nil || got.State != remuda.ExecutionRunning {
		t.Errorf("one in a runspace that asked for its own timeout is %s, %v", got.State, err)
	}
}

func TestIdleTimeoutFollowsTheOrganization(t *testing.T) {
	t.Parallel()
	bounds := new(limits).set(remuda.Limits{})
	h := open(t, settings{runspaces: runspaces.Settings{SweepEvery: 5 * time.Millisecond, Limits: bounds}})
	hour := time.Hour
	follows, own := h.space(t, remuda.RunspaceRequest{}), h.space(t, remuda.RunspaceRequest{IdleTimeout: &hour})
	used := h.space(t, remuda.RunspaceRequest{})
	release, inst, err := h.runspaces.Use(t.Context(), deployer, used.ID)
	if err != nil || inst.ID() != used.Instance {
		t.Fatalf("use: %v, %v", inst, err)
	}
	bounds.set(remuda.Limits{IdleTimeout: 30 * time.Millisecond})
	gone := func(id remuda.RunspaceID) func() bool {
		return func() bool {
			got, err := h.runspaces.GetRunspace(t.Context(), deployer, id)
			return err == nil && got.State == remuda.RunspaceClosed && strings.Contains(got.Error, "idle for 30ms")
		}
	}
	until(t, "the idle one is closed", gone(follows.ID))
	for _, id := range []remuda.RunspaceID{own.ID, used.ID} {
		if got, err := h.runspaces.GetRunspace(t.Context(), deployer, id); err != nil || got.State != remuda.RunspaceReady {
			t.Errorf("one that asked for an hour, or is in use, is %s: %s, %v", got.State, got.Error, err)
		}
	}
	release()
	until(t, "the one that was in use is closed", gone(used.ID))
}

// sessions are the ones that live.
type sessions struct{ gone atomic.Bool }

func (s *sessions) Living(_ context.Context, tokens []remuda.TokenID) (map[remuda.TokenID]bool, error) {
	living := map[remuda.TokenID]bool{}
	for _, token := range tokens {
		living[token] = token != "tok_1" || !s.gone.Load()
	}
	return living, nil
}

func TestRunspaceEndsWithItsSession(t *testing.T) {
	t.Parallel()
	known := &sessions{}
	h := open(t, settings{runspaces: runspaces.Settings{SessionsEvery: 5 * time.Millisecond, Sessions: known}})
	idle, busy := h.space(t, remuda.RunspaceRequest{Session: "tok_1"}), h.space(t, remuda.RunspaceRequest{Session: "tok_1"})
	other, none := h.space(t, remuda.RunspaceRequest{Session: "tok_2"}), h.space(t, remuda.RunspaceRequest{})
	seated := h.space(t, remuda.RunspaceRequest{Session: "tok_1"})
	release, _, err := h.runspaces.Use(t.Context(), deployer, seated.ID)
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	e := h.submit(t, remuda.ExecutionRequest{Runspace: busy.ID, Script: "block"})
	known.gone.Store(true)
	closed := func(id remuda.RunspaceID) func() bool {
		return func() bool {
			got, err := h.runspaces.GetRunspace(t.Context(), deployer, id)
			return err == nil && got.State == remuda.RunspaceClosed && strings.Contains(got.Error, "session")
		}
	}
	until(t, "the idle one is closed", closed(idle.ID))
	until(t, "the one with a terminal is closed", closed(seated.ID))
	for _, id := range []remuda.RunspaceID{busy.ID, other.ID, none.ID} {
		if got, err := h.runspaces.GetRunspace(t.Context(), deployer, id); err != nil || got.State.Final() {
			t.Errorf("one that runs something, or belongs to another session or none, is %s: %s, %v", got.State, got.Error, err)
		}
	}
	if _, err := h.executions.CancelExecution(t.Context(), deployer, e.ID); err != nil {
		t.Fatal(err)
	}
	until(t, "the busy one is closed once it is idle", closed(busy.ID))
}

func TestMemoryOfARunspace(t *testing.T) {
	t.Parallel()
	bounds := new(limits).set(remuda.Limits{MemoryMB: 128})
	h := open(t, settings{runspaces: runspaces.Settings{Limits: bounds}})
	for _, c := range []struct {
		asked, row, has int
	}{{0, 128, 128}, {64, 64, 64}} {
		rs := h.space(t, remuda.RunspaceRequest{MemoryMB: c.asked})
		for _, inst := range h.eng.Living() {
			if has, _ := inst.Fence(); inst.ID() == rs.Instance && has.MemoryMB != c.has {
				t.Errorf("the instance has %d MiB, want %d", has.MemoryMB, c.has)
			}
		}
		if rs.MemoryMB != c.row {
			t.Errorf("asked for %d the runspace shows %d MiB, want %d", c.asked, rs.MemoryMB, c.row)
		}
	}
	for _, asked := range []int{129, 1 << 20, -1} {
		_, err := h.runspaces.CreateRunspace(t.Context(), deployer, remuda.RunspaceRequest{Runtime: "r", MemoryMB: asked})
		var e *remuda.Error
		if !errors.As(err, &e) || e.Code != remuda.CodeInvalid || e.Fields[0].Field != "memory_mb" {
			t.Errorf("%d MiB: %v, want invalid", asked, err)
		}
	}
}

func TestRunspacesPerUserAreBounded(t *testing.T) {
	t.Parallel()
	bounds := new(limits).set(remuda.Limits{MaxRunspaces: 3, MaxRunspacesPerUser: 2})
	h := open(t, settings{runspaces: runspaces.Settings{Limits: bounds}})
	other := deployer
	other.User = "usr_b"
	create := func(p remuda.Principal) error {
		_, err := h.runspaces.CreateRunspace(t.Context(), p, remuda.RunspaceRequest{Runtime: "r"})
		return err
	}
	if err := errors.Join(create(deployer), create(deployer)); err != nil {
		t.Fatal(err)
	}
	if err := create(deployer); remuda.ReasonOf(err) != remuda.ReasonTooManyRunspaces {
		t.Errorf("a third one of a user: %v", err)
	}
	if err := create(other); err != nil {
		t.Errorf("the first one of another user: %v", err)
	}
	if err := create(other); remuda.ReasonOf(err) != remuda.ReasonTooManyRunspaces || remuda.CodeOf(err) != remuda.CodeExhausted {
		t.Errorf("a fourth one of the organization: %v", err)
	}
}

func TestReset(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{runspaces: runspaces.Settings{CancelGrace: 10 * time.Millisecond}})
	c := newClient(w)
	ctx, s := t.Context(), w.now
	id, err := c.create(ctx, remuda.RunspaceRequest{InitScript: "set x init"})
	if err != nil {
		t.Fatal(err)
	}
	before, err := s.runspaces.GetRunspace(ctx, deployer, id)
	if err != nil {
		t.Fatal(err)
	}
	run := func(script string, queue bool, wait time.Duration) remuda.Execution {
		t.Helper()
		e, err := s.executions.SubmitExecution(ctx, deployer, remuda.ExecutionRequest{Runspace: id, Script: script, Queue: queue}, wait)
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	run("set x changed\nset y 1\nwrite kept text", false, time.Minute)
	for _, block := range []string{"write more text\nblock", "stubborn\nblock"} {
		running, waiting := run(block, false, 0), run("print never", true, 0)
		for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
			if _, content, err := s.runspaces.ReadFile(ctx, deployer, id, "more"); err == nil {
				_ = content.Close()
				break
			} else if time.Now().After(deadline) {
				t.Fatal(err)
			}
		}
		rs, err := s.runspaces.ResetRunspace(ctx, deployer, id, runspaces.ResetRequest{})
		if err != nil || rs.State != remuda.RunspaceCreating {
			t.Fatalf("reset: %s, %v", rs.State, err)
		}
		if _, err := s.runspaces.ResetRunspace(ctx, deployer, id, runspaces.ResetRequest{}); err != nil && remuda.ReasonOf(err) != remuda.ReasonRunspaceNotReady {
			t.Errorf("a second reset: %v", err)
		}
		for _, e := range []remuda.Execution{running, waiting} {
			end, err := s.executions.WaitExecution(ctx, deployer, e.ID, time.Minute)
			if err != nil || end.State != remuda.ExecutionCanceled || !strings.Contains(end.Reason, "reset") {
				t.Errorf("what ran or waited is %s: %s, %v", end.State, end.Reason, err)
			}
		}
		rs, err = s.runspaces.WaitRunspace(ctx, deployer, id, time.Minute)
		if err != nil || rs.State != remuda.RunspaceReady || rs.Instance == before.Instance || rs.Resets < 1 || rs.Generation != before.Generation {
			t.Fatalf("after the reset: %+v, %v", rs, err)
		}
		if e := run("read kept\nread more\nget x", false, time.Minute); c.output(t, e.ID) != "texttextinit\n" {
			t.Errorf("after the reset: %q, %s", c.output(t, e.ID), e.Reason)
		}
		if e := run("get y", false, time.Minute); e.Error == nil || e.Error.Type != "NameError" {
			t.Errorf("a variable of before: %s %s", e.State, e.Reason)
		}
	}
	if n := w.now.pool.Slots().InUse; n != len(w.eng.Living()) {
		t.Errorf("%d slots are in use for %d sandboxes", n, len(w.eng.Living()))
	}
	w.leave()
	w.start()
	c.spaceHolds(t, id, &toldSpace{ready: true, x: "init"})
}
