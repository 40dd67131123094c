package executions_test

import (
	"context"
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/remuda-run/remuda/internal/executions"
	"github.com/remuda-run/remuda/internal/pool"
	"github.com/remuda-run/remuda/internal/remuda"
)

func TestOneShot(t *testing.T) {
	t.Parallel()
	h := open(t, settings{})
	e := h.run(t, remuda.ExecutionRequest{
		Runtime: "r", Script: "args\nparam n\nenv A\nstdin\nread in.txt\nvalue 42", Args: []string{"x", "y"},
		Parameters: map[string]json.RawMessage{"n": json.RawMessage("7")}, Env: map[string]string{"A": "b"},
		Stdin: []byte("in"), Files: []remuda.File{{Path: "in.txt", Content: []byte("file")}},
	})
	if e.State != remuda.ExecutionSuccess || !e.Fresh || e.Generation != 1 || e.Instance == "" || *e.ExitCode != 0 || string(e.Value.JSON) != "42" {
		t.Errorf("end: %+v", e)
	}
	if got := h.output(t, e.ID); got != "x\ny\n7\nb\ninfile" {
		t.Errorf("output %q", got)
	}
	for _, stage := range []string{"queue", "lease", "send", "run", "record", "total", "create", "fence", "interpreter"} {
		if _, ok := e.Timings[stage]; !ok {
			t.Errorf("no timing of stage %s: %v", stage, e.Timings)
		}
	}
	if got, want := h.audit(t, string(e.ID)), []string{"submit", "end"}; !slices.Equal(got, want) {
		t.Errorf("audit log %v, want %v", got, want)
	}
	// What was answered is what is stored.
	stored, err := h.executions.GetExecution(t.Context(), deployer, e.ID)
	if err != nil || !reflect.DeepEqual(stored, e) {
		t.Errorf("stored\n %+v, %v; answered\n %+v", stored, err, e)
	}
	until(t, "the instance is gone", func() bool { return len(h.eng.Living()) == 0 })
}

func TestEnds(t *testing.T) {
	t.Parallel()
	h := open(t, settings{})
	for _, c := range []struct {
		name   string
		req    remuda.ExecutionRequest
		state  remuda.ExecutionState
		killed remuda.KilledBy
		says   string
	}{
		{"exit code", remuda.ExecutionRequest{Script: "exit 3"}, remuda.ExecutionError, "", "exit code 3"},
		{"exception", remuda.ExecutionRequest{Script: "raise ValueError no"}, remuda.ExecutionError, "", "ValueError: no"},
		{"time", remuda.ExecutionRequest{Script: "block", Timeout: 20 * time.Millisecond}, remuda.ExecutionTimeout, remuda.KilledByTime, "time"},
		{"memory", remuda.ExecutionRequest{Script: "die memory"}, remuda.ExecutionError, remuda.KilledByMemory, "memory"},
		{"no such code file", remuda.ExecutionRequest{CodeFile: "absent.py"}, remuda.ExecutionLost, "", "absent.py"},
		{"disk", remuda.ExecutionRequest{Script: "print 1", Files: []remuda.File{{Path: "big", Content: make([]byte, 2<<20)}}}, remuda.ExecutionError, remuda.KilledByDisk, "disk quota"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.req.Runtime = "small"
			h.runtimeOnce(t, "small")
			e := h.run(t, c.req)
			if e.State != c.state || e.KilledBy != c.killed || !strings.Contains(e.Reason, c.says) {
				t.Errorf("ended as %s, killed by %q, %q; want %s, %q, %q", e.State, e.KilledBy, e.Reason, c.state, c.killed, c.says)
			}
		})
	}
}

// runtimeOnce makes a runtime with a small disk, unless it is there.
func (h *house) runtimeOnce(t *testing.T, name string) {
	t.Helper()
	_, err := h.runtimes.CreateRuntime(t.Context(), deployer, remuda.Definition{Name: name, Language: remuda.LanguageBash, Resources: remuda.Resources{DiskMB: 1}})
	if err != nil && remuda.CodeOf(err) != remuda.CodeConflict {
		t.Fatal(err)
	}
}

func TestRequestIsChecked(t *testing.T) {
	t.Parallel()
	h := open(t, settings{})
	rs := h.space(t, remuda.RunspaceRequest{})
	for _, c := range []struct {
		name   string
		req    remuda.ExecutionRequest
		code   remuda.Code
		fields []string
	}{
		{"nothing", remuda.ExecutionRequest{}, remuda.CodeInvalid, []string{"runtime", "script"}},
		{"both of both", remuda.ExecutionRequest{Runtime: "r", Runspace: rs.ID, Script: "a", CodeFile: "b"}, remuda.CodeInvalid, []string{"runtime", "code_file"}},
		{"time and more", remuda.ExecutionRequest{Runtime: "r", Timeout: 2 * time.Minute, CodeFile: "../x", Args: []string{"\x00"}}, remuda.CodeInvalid, []string{"code_file", "args[0]", "timeout_s"}},
		{"time in a runspace", remuda.ExecutionRequest{Runspace: rs.ID, Script: "x", Timeout: 61 * time.Second}, remuda.CodeInvalid, []string{"timeout_s"}},
		{"negative time", remuda.ExecutionRequest{Runtime: "r", Script: "x", Timeout: -1}, remuda.CodeInvalid, []string{"timeout_s"}},
		{"parameters", remuda.ExecutionRequest{Runtime: "r", Script: "x", Parameters: map[string]json.RawMessage{"a-b": json.RawMessage("1"), "c": json.RawMessage("{")}}, remuda.CodeInvalid, []string{"parameters", "parameters.c"}},
		{"environment", remuda.ExecutionRequest{Runtime: "r", Script: "x", Env: map[string]string{"REMUDA_X": ""}}, remuda.CodeInvalid, []string{"env.REMUDA_X"}},
		{"files", remuda.ExecutionRequest{Runtime: "r", Script: "x", Files: []remuda.File{{Path: "/etc/passwd"}, {Path: "a"}, {Path: "a"}}}, remuda.CodeInvalid, []string{"files[0].path", "files[2].path"}},
		{"file in a file", remuda.ExecutionRequest{Runtime: "r", Script: "x", Files: []remuda.File{{Path: "a/b/c"}, {Path: "a/bc"}, {Path: "a/b"}, {Path: "b/c"}}}, remuda.CodeInvalid, []string{"files[0].path"}},
		{"file in a file of one letter", remuda.ExecutionRequest{Runtime: "r", Script: "x", Files: []remuda.File{{Path: "a"}, {Path: "a/b/c"}, {Path: "b"}}}, remuda.CodeInvalid, []string{"files[1].path"}},
		{"script size", remuda.ExecutionRequest{Runtime: "r", Script: strings.Repeat("x", remuda.MaxScriptBytes+1)}, remuda.CodeTooLarge, []string{"script"}},
		{"stdin size", remuda.ExecutionRequest{Runtime: "r", Script: "x", Stdin: make([]byte, remuda.MaxStdinBytes+1)}, remuda.CodeTooLarge, []string{"stdin"}},
		{"no such runtime", remuda.ExecutionRequest{Runtime: "absent", Script: "x"}, remuda.CodeNotFound, nil},
		{"no such runspace", remuda.ExecutionRequest{Runspace: "rs_absent", Script: "x"}, remuda.CodeNotFound, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, err := h.executions.SubmitExecution(t.Context(), deployer, c.req, time.Minute)
			var e *remuda.Error
			if !errors.As(err, &e) || e.Code != c.code {
				t.Fatalf("got %v, want %s", err, c.code)
			}
			var fields []string
			for _, f := range e.Fields {
				fields = append(fields, f.Field)
			}
			if !slices.Equal(fields, c.fields) {
				t.Errorf("fields %q, want %q", fields, c.fields)
			}
		})
	}
}

func TestRights(t *testing.T) {
	t.Parallel()
	h := open(t, settings{})
	rs := h.space(t, remuda.RunspaceRequest{})
	e := h.run(t, remuda.ExecutionRequest{Runspace: rs.ID, Script: "print secret"})
	running := h.submit(t, remuda.ExecutionRequest{Runtime: "r", Script: "print x\nblock"})
	stranger := principal(theirs, remuda.RoleAdministrator)
	monitor := principal(ours, remuda.RoleMonitor)
	ctx := t.Context()
	for _, id := range []remuda.ExecutionID{e.ID, running.ID} {
		if _, err := h.executions.GetExecution(ctx, stranger, id); remuda.CodeOf(err) != remuda.CodeNotFound {
			t.Errorf("get by a stranger: %v, want not_found", err)
		}
		if _, err := h.executions.WaitExecution(ctx, stranger, id, time.Minute); remuda.CodeOf(err) != remuda.CodeNotFound {
			t.Errorf("wait by a stranger: %v, want not_found", err)
		}
		if page, err := h.executions.Output(ctx, stranger, id, 0, 0, time.Minute); remuda.CodeOf(err) != remuda.CodeNotFound || len(page.Records) != 0 {
			t.Errorf("output by a stranger: %v, want not_found", err)
		}
		if _, err := h.executions.CancelExecution(ctx, stranger, id); remuda.CodeOf(err) != remuda.CodeNotFound {
			t.Errorf("cancel by a stranger: %v, want not_found", err)
		}
	}
	if _, err := h.executions.SubmitExecution(ctx, stranger, remuda.ExecutionRequest{Runspace: rs.ID, Script: "x"}, 0); remuda.CodeOf(err) != remuda.CodeNotFound {
		t.Errorf("run by a stranger: %v, want not_found", err)
	}
	if list, _, err := h.executions.ListExecutions(ctx, stranger, remuda.ExecutionFilter{}, remuda.Page{}); err != nil || len(list) != 0 {
		t.Errorf("list by a stranger: %d, %v; want none", len(list), err)
	}
	if _, err := h.executions.SubmitExecution(ctx, monitor, remuda.ExecutionRequest{Runtime: "r", Script: "x"}, 0); remuda.CodeOf(err) != remuda.CodeForbidden {
		t.Errorf("run by a monitor: %v, want forbidden", err)
	}
	if _, err := h.executions.CancelExecution(ctx, monitor, running.ID); remuda.CodeOf(err) != remuda.CodeForbidden {
		t.Errorf("cancel by a monitor: %v, want forbidden", err)
	}
	if list, _, err := h.executions.ListExecutions(ctx, monitor, remuda.ExecutionFilter{Runspace: rs.ID}, remuda.Page{}); err != nil || len(list) != 1 || list[0].ID != e.ID {
		t.Errorf("list by a monitor: %v, %v", list, err)
	}
}

func TestCancel(t *testing.T) {
	t.Parallel()
	h := open(t, settings{executions: executions.Settings{CancelGrace: 10 * time.Millisecond}})
	rs := h.space(t, remuda.RunspaceRequest{})
	for _, c := range []struct {
		name string
		req  remuda.ExecutionRequest
	}{
		{"one-shot", remuda.ExecutionRequest{Runtime: "r", Script: "print begun\nblock"}},
		{"runspace", remuda.ExecutionRequest{Runspace: rs.ID, Script: "print begun\nblock"}},
		{"stubborn", remuda.ExecutionRequest{Runtime: "r", Script: "stubborn\nprint begun\nblock"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := h.submit(t, c.req)
			if _, err := h.executions.Output(t.Context(), deployer, e.ID, 0, 0, time.Minute); err != nil {
				t.Fatal(err)
			}
			if _, err := h.executions.CancelExecution(t.Context(), deployer, e.ID); err != nil {
				t.Fatal(err)
			}
			end := h.wait(t, e.ID)
			if end.State != remuda.ExecutionCanceled || end.KilledBy != remuda.KilledByCancel || end.Reason == "" {
				t.Errorf("ended as %s, killed by %q, %q", end.State, end.KilledBy, end.Reason)
			}
			_, err := h.executions.CancelExecution(t.Context(), deployer, e.ID)
			var conflict *remuda.Error
			if !errors.As(err, &conflict) || conflict.Code != remuda.CodeConflict || !strings.Contains(conflict.Cause, "canceled") {
				t.Errorf("cancel after the end: %v, want a conflict that says the state", err)
			}
			if got, want := h.audit(t, string(e.ID)), []string{"submit", "cancel", "end"}; !slices.Equal(got, want) {
				t.Errorf("audit log %v, want %v", got, want)
			}
		})
	}
	// The runspace survived the interrupt and is not used up.
	if e := h.run(t, remuda.ExecutionRequest{Runspace: rs.ID, Script: "print again"}); e.State != remuda.ExecutionSuccess || e.Fresh {
		t.Errorf("after the interrupt: %+v", e)
	}
}

func TestCancelWhileQueued(t *testing.T) {
	t.Parallel()
	h := open(t, settings{})
	release := h.eng.HoldCreate()
	defer release()
	e := h.submit(t, remuda.ExecutionRequest{Runtime: "r", Script: "print 1"})
	if e.State != remuda.ExecutionQueued || e.Fresh || e.StartedAt != nil {
		t.Errorf("without an instance it is %+v", e)
	}
	if _, err := h.executions.CancelExecution(t.Context(), deployer, e.ID); err != nil {
		t.Fatal(err)
	}
	end := h.wait(t, e.ID)
	if end.State != remuda.ExecutionCanceled || end.StartedAt != nil || end.Fresh || end.Instance != "" {
		t.Errorf("ended as %+v", end)
	}
	if n := h.pool.Slots().InUse; n != 0 {
		t.Errorf("%d slots in use", n)
	}
}

func TestStartThatFailsSaysWhy(t *testing.T) {
	t.Parallel()
	h := open(t, settings{executions: executions.Settings{StartTimeout: 50 * time.Millisecond}})
	h.eng.FailCreate(&remuda.Error{Code: remuda.CodeUnsupported, Message: "no user namespaces"})
	if e := h.run(t, remuda.ExecutionRequest{Runtime: "r", Script: "print 1"}); e.State != remuda.ExecutionError || !strings.Contains(e.Reason, "no user namespaces") {
		t.Errorf("ended as %s, %q", e.State, e.Reason)
	}
	release := h.eng.HoldCreate()
	defer release()
	if e := h.run(t, remuda.ExecutionRequest{Runtime: "r", Script: "print 1"}); e.State != remuda.ExecutionError || !strings.Contains(e.Reason, "within 50ms") {
		t.Errorf("ended as %s, %q", e.State, e.Reason)
	}
}

func TestCallerThatGoesAwayStopsNothing(t *testing.T) {
	t.Parallel()
	h := open(t, settings{})
	ctx, cancel := context.WithCancel(t.Context())
	var e remuda.Execution
	var err error
	var call sync.WaitGroup
	call.Go(func() {
		e, err = h.executions.SubmitExecution(ctx, deployer, remuda.ExecutionRequest{Runtime: "r", Script: "sleep 100ms\nvalue 1"}, time.Minute)
	})
	until(t, "it runs", func() bool { return len(h.eng.Living()) == 1 && h.eng.Living()[0].Executed() == 1 })
	cancel()
	call.Wait()
	if remuda.CodeOf(err) != remuda.CodeCanceled {
		t.Errorf("the caller got %v, %v; want canceled", e, err)
	}
	var list []remuda.Execution
	until(t, "it is recorded", func() bool {
		list, _, err = h.executions.ListExecutions(t.Context(), deployer, remuda.ExecutionFilter{}, remuda.Page{})
		return err == nil && len(list) == 1
	})
	if end := h.wait(t, list[0].ID); end.State != remuda.ExecutionSuccess {
		t.Errorf("ended as %s", end.State)
	}
}

func TestWaitThatIsTooShort(t *testing.T) {
	t.Parallel()
	h := open(t, settings{})
	e, err := h.executions.SubmitExecution(t.Context(), deployer, remuda.ExecutionRequest{Runtime: "r", Script: "block", Timeout: 300 * time.Millisecond}, 20*time.Millisecond)
	if err != nil || e.State.Final() {
		t.Fatalf("after a short wait: %s, %v", e.State, err)
	}
	if end := h.wait(t, e.ID); end.State != remuda.ExecutionTimeout {
		t.Errorf("ended as %s", end.State)
	}
}

func TestCapacityIsRefusedWithoutATrace(t *testing.T) {
	t.Parallel()
	h := open(t, settings{pool: pool.Settings{Capacity: 1}})
	e := h.submit(t, remuda.ExecutionRequest{Runtime: "r", Script: "block"})
	_, err := h.executions.SubmitExecution(t.Context(), deployer, remuda.ExecutionRequest{Runtime: "r", Script: "print 1"}, time.Minute)
	var full *remuda.Error
	if !errors.As(err, &full) || full.Code != remuda.CodeExhausted || full.RetryAfterSeconds == 0 {
		t.Errorf("over capacity: %v, want exhausted", err)
	}
	list, _, err := h.executions.ListExecutions(t.Context(), deployer, remuda.ExecutionFilter{}, remuda.Page{})
	if err != nil || len(list) != 1 || list[0].ID != e.ID {
		t.Errorf("list %v, %v; want only the one that runs", list, err)
	}
}

// TestManyAtOnce checks the promises of one-shot runs in bulk: each on its own
// fresh instance, each with exactly its own output and one end.
func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	h := open(t, settings{})
	h.runtime(t, remuda.Definition{Name: "warm", Language: remuda.LanguagePython, Pool: remuda.PoolBounds{MinCached: 4, MaxCached: 8}})
	var seen sync.Map
	var callers sync.WaitGroup
	for range 8 {
		callers.Go(func() {
			for range 20 {
				word := remuda.NewID("word")
				e, err := h.executions.SubmitExecution(t.Context(), deployer, remuda.ExecutionRequest{Runtime: "warm", Script: "print " + word}, time.Minute)
				if err != nil || e.State != remuda.ExecutionSuccess || !e.Fresh {
					t.Errorf("run: %+v, %v", e, err)
					return
				}
				if _, twice := seen.LoadOrStore(e.Instance, true); twice {
					t.Errorf("instance %s served two executions", e.Instance)
				}
				if got := h.output(t, e.ID); got != word+"\n" {
					t.Errorf("output %q, want %q", got, word)
				}
			}
		})
	}
	callers.Wait()
	if err := h.store.VerifyAudit(t.Context()); err != nil {
		t.Errorf("audit chain: %v", err)
	}
}
