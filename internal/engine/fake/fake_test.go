package fake

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/engine/enginetest"
	"github.com/remuda-run/remuda/internal/remuda"
)

func create(t *testing.T, e *Engine) *Instance {
	t.Helper()
	inst, err := e.Create(t.Context(), engine.Spec{ID: remuda.NewInstanceID(), Language: remuda.LanguagePython, Resources: remuda.Resources{DiskMB: 1}, Env: map[string]string{"A": "of the instance"}})
	if err != nil {
		t.Fatal(err)
	}
	return inst.(*Instance)
}

func TestScript(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, script, out string
		state             remuda.ExecutionState
		killedBy          remuda.KilledBy
		dead              bool
	}{
		{name: "print", script: "print a\neprint b", out: "a\nb\n", state: remuda.ExecutionSuccess},
		{name: "request", script: "stdin\nargs\nenv A\nenv B", out: "inx\ny\nof the instance\nof the request\n", state: remuda.ExecutionSuccess},
		{name: "state", script: "set k v w\nget k", out: "v w\n", state: remuda.ExecutionSuccess},
		{name: "files", script: "write d/f text\nread d/f", out: "text", state: remuda.ExecutionSuccess},
		{name: "raise", script: "raise ValueError no\nprint never", state: remuda.ExecutionError},
		{name: "exit", script: "exit 3", state: remuda.ExecutionError},
		{name: "unknown", script: "frobnicate", state: remuda.ExecutionError},
		{name: "escape", script: "write ../f text", state: remuda.ExecutionError},
		{name: "die", script: "die memory", state: remuda.ExecutionError, killedBy: remuda.KilledByMemory, dead: true},
		{name: "limit", script: "print 0123456789012345678901234567890123456789012345678901234567890123456789", out: strings.Repeat("0123456789", 6) + "0123", state: remuda.ExecutionSuccess},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			inst := create(t, New())
			var out strings.Builder
			res, err := inst.Execute(t.Context(), engine.Request{Script: tt.script, Stdin: []byte("in"), Args: []string{"x", "y"}, Env: map[string]string{"B": "of the request"}, OutputLimit: 64},
				func(r remuda.OutputRecord) error { out.Write(r.Data); return nil })
			if err != nil {
				t.Fatal(err)
			}
			if res.State != tt.state || res.KilledBy != tt.killedBy || res.Dead != tt.dead || out.String() != tt.out {
				t.Errorf("got %+v and output %q", res, out.String())
			}
			if inst.Alive() == tt.dead {
				t.Errorf("Alive is %v after %+v", inst.Alive(), res)
			}
		})
	}
}

func TestInterruptAndTimeout(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		inst := create(t, New())
		res, err := inst.Execute(t.Context(), engine.Request{Script: "block", Timeout: time.Minute}, nil)
		if err != nil || res.State != remuda.ExecutionTimeout || res.Dead {
			t.Fatalf("timeout: %+v, %v", res, err)
		}
		go func() {
			time.Sleep(time.Second)
			_ = inst.Interrupt(t.Context(), remuda.KilledByCancel, time.Second)
		}()
		res, err = inst.Execute(t.Context(), engine.Request{Script: "stubborn\nblock"}, nil)
		if err != nil || res.State != remuda.ExecutionCanceled || !res.Dead {
			t.Fatalf("stubborn: %+v, %v", res, err)
		}
		<-inst.Done()
		if _, err = inst.Execute(t.Context(), engine.Request{Script: "print"}, nil); remuda.CodeOf(err) != remuda.CodeUnavailable {
			t.Fatalf("execute on a dead instance: %v", err)
		}
	})
}

func TestFailuresAndClose(t *testing.T) {
	t.Parallel()
	e := New()
	e.FailCreate(errors.New("boom"))
	if _, err := e.Create(t.Context(), engine.Spec{ID: "ins_a", Language: remuda.LanguageBash}); err == nil {
		t.Fatal("Create did not fail as asked")
	}
	inst := create(t, e)
	if len(e.Living()) != 1 {
		t.Fatalf("living: %d", len(e.Living()))
	}
	if err := e.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	<-inst.Done()
	if len(e.Living()) != 0 || inst.Destroyed() != 1 {
		t.Fatal("Close left an instance")
	}
	if _, err := e.Create(t.Context(), engine.Spec{ID: "ins_b", Language: remuda.LanguageBash}); remuda.CodeOf(err) != remuda.CodeUnavailable {
		t.Fatalf("Create after Close: %v", err)
	}
}

func TestWorkspace(t *testing.T) {
	t.Parallel()
	e := New()
	old := create(t, e)
	run := func(inst engine.Instance, script string) (string, error) {
		var out strings.Builder
		_, err := inst.Execute(t.Context(), engine.Request{ID: remuda.NewExecutionID(), Script: script}, func(r remuda.OutputRecord) error { out.Write(r.Data); return nil })
		return out.String(), err
	}
	if _, err := run(old, "write d/f text"); err != nil {
		t.Fatal(err)
	}
	w, err := old.Workspace(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := old.Destroy(t.Context()); err != nil {
		t.Fatal(err)
	}
	inst, err := e.Create(t.Context(), engine.Spec{ID: remuda.NewInstanceID(), Language: remuda.LanguagePython, Workspace: w})
	if err != nil {
		t.Fatal(err)
	}
	if out, err := run(inst, "read d/f"); err != nil || out != "text" {
		t.Errorf("the file reads %q, %v", out, err)
	}
	if _, err := old.Workspace(t.Context()); remuda.CodeOf(err) != remuda.CodeUnavailable {
		t.Errorf("the workspace of what has ended: %v", err)
	}
}

// dialect says simple things in the line language.
func dialect() enginetest.Dialect {
	return enginetest.Dialect{
		Language: remuda.LanguagePython,
		Print:    "print hello", Complain: "eprint oops", Stdin: "stdin", Value: "value 42", Raise: "raise ValueError no", Exit: "exit 3",
		Set: "set x kept", Get: "get x", Block: "block", Stubborn: "stubborn\nprint on\nblock", Flood: "flood 3145728", Write: "write f text",
	}
}

// TestContract and TestSurvive hold the fake to what real engines promise.
func TestContract(t *testing.T) {
	t.Parallel()
	enginetest.Contract(t, func(*testing.T) engine.Engine { return New() }, dialect())
}

func TestSurvive(t *testing.T) {
	t.Parallel()
	begin := func(*testing.T) enginetest.Servers {
		var last *Engine
		return func(*testing.T) engine.Engine {
			if last == nil {
				last = New()
			} else {
				last = last.Next()
			}
			return last
		}
	}
	enginetest.Survive(t, begin, enginetest.Survival{Dialect: dialect(), Count: "count 2000 500us\nvalue 42"})
}

// TestKilled has a server end without a word.
func TestKilled(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		first := New()
		lingers, other, lost := create(t, first), create(t, first), create(t, first)
		for _, inst := range []*Instance{lingers, lost} {
			if err := inst.SetLinger(t.Context(), time.Minute); err != nil {
				t.Fatal(err)
			}
		}
		ended := make(chan error)
		go func() {
			_, err := lingers.Execute(t.Context(), engine.Request{ID: "ex_a", Script: "print a\nsleep 10s\nprint b", HoldOutput: true}, nil)
			ended <- err
		}()
		synctest.Wait()
		next := first.Next()
		if err := <-ended; !errors.Is(err, engine.ErrDetached) {
			t.Errorf("what ran: %v", err)
		}
		<-other.Done()
		next.Lose(lost.ID(), "it went astray")
		found, err := next.Recover(t.Context(), []engine.Spec{{ID: lingers.ID()}, {ID: other.ID()}, {ID: lost.ID()}, {ID: "ins_z"}})
		if err != nil || len(found.Attached) != 1 || len(found.Lost) != 3 || found.Lost[lost.ID()] != "it went astray" || len(next.Living()) != 1 {
			t.Fatalf("%+v, %v", found, err)
		}
		var out strings.Builder
		res, err := found.Attached[0].(*Instance).Resume(t.Context(), engine.Request{ID: "ex_a"}, 0, func(r remuda.OutputRecord) error { out.Write(r.Data); return nil })
		if err != nil || res.State != remuda.ExecutionSuccess || res.Usage.Wall != 10*time.Second || out.String() != "a\nb\n" {
			t.Errorf("%+v, %v, output %q", res, err, out.String())
		}
		// The next one comes too late.
		last := next.Next()
		time.Sleep(time.Hour)
		if found, err = last.Recover(t.Context(), []engine.Spec{{ID: lingers.ID()}}); err != nil || len(found.Lost) != 1 {
			t.Errorf("%+v, %v", found, err)
		}
	})
}
