package executions_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/engine/fake"
	"github.com/remuda-run/remuda/internal/executions"
	"github.com/remuda-run/remuda/internal/pool"
	"github.com/remuda-run/remuda/internal/remuda"
)

// mortal is an engine whose instances die when they are to run a script.
type mortal struct {
	*fake.Engine

	deaths atomic.Int32 // how many of the next executions find theirs dead
	begun  atomic.Bool  // they die after the script has begun
	last   func()       // called at such a death
}

func (m *mortal) Create(ctx context.Context, spec engine.Spec) (engine.Instance, error) {
	inst, err := m.Engine.Create(ctx, spec)
	if err != nil {
		return nil, err
	}
	return &mortalInstance{Instance: inst.(*fake.Instance), engine: m}, nil
}

type mortalInstance struct {
	*fake.Instance

	engine *mortal
}

func (i *mortalInstance) Execute(ctx context.Context, req engine.Request, sink engine.Sink) (engine.Result, error) {
	if i.engine.deaths.Add(-1) < 0 {
		return i.Instance.Execute(ctx, req, sink)
	}
	if i.engine.last != nil {
		i.engine.last()
	}
	if i.engine.begun.Load() {
		time.AfterFunc(time.Millisecond, func() { i.Kill(remuda.KilledByNothing, "somebody killed it") })
		return i.Instance.Execute(ctx, engine.Request{Script: "block"}, sink)
	}
	i.Kill(remuda.KilledByNothing, "somebody killed it")
	return i.Instance.Execute(ctx, req, sink)
}

// mortals is a house in which the next executions find their instances dead.
func mortals(t *testing.T, deaths int32, pools pool.Settings) (*house, *mortal) {
	t.Helper()
	m := &mortal{Engine: fake.New()}
	h := open(t, settings{engine: m, pool: pools, executions: executions.Settings{CancelGrace: 100 * time.Millisecond}})
	h.runtime(t, remuda.Definition{Name: "warm", Language: remuda.LanguagePython, ExecTimeout: 20 * time.Second, Pool: remuda.PoolBounds{MinCached: 2, MaxCached: 2}})
	until(t, "two instances are warm", func() bool { return len(m.Living()) >= 2 })
	m.deaths.Store(deaths)
	return h, m
}

// TestDeadBeforeItBegan kills instances between their lease and their script. The
// script must run on another one, once, and nobody must notice.
func TestDeadBeforeItBegan(t *testing.T) {
	t.Parallel()
	for _, deaths := range []int32{1, 2} {
		h, m := mortals(t, deaths, pool.Settings{})
		e := h.run(t, remuda.ExecutionRequest{Runtime: "warm", Script: "print here", Files: []remuda.File{{Path: "f", Content: []byte("x")}}})
		if e.State != remuda.ExecutionSuccess || !e.Fresh || e.Warm || !strings.Contains(e.ColdReason, "had died") {
			t.Errorf("%d deaths: ended as %+v", deaths, e)
		}
		if got := h.output(t, e.ID); got != "here\n" {
			t.Errorf("%d deaths: output %q", deaths, got)
		}
		ran := 0
		for _, inst := range m.Created() {
			if inst.Executed() > 0 {
				ran++
				if inst.ID() != e.Instance {
					t.Errorf("%d deaths: it ran on %s and names %s", deaths, inst.ID(), e.Instance)
				}
			}
		}
		if got := h.audit(t, string(e.ID)); ran != 1 || !slices.Equal(got, []string{"submit", "end"}) {
			t.Errorf("%d deaths: ran on %d instances, audited as %v", deaths, ran, got)
		}
		if stored, err := h.executions.GetExecution(t.Context(), deployer, e.ID); err != nil || stored.Instance != e.Instance {
			t.Errorf("%d deaths: stored as %+v, %v", deaths, stored, err)
		}
	}
}

// TestDeadEverywhere has every instance die: an execution ends all the same.
func TestDeadEverywhere(t *testing.T) {
	t.Parallel()
	h, m := mortals(t, 1000, pool.Settings{})
	e := h.run(t, remuda.ExecutionRequest{Runtime: "warm", Script: "print here"})
	if tried := 1000 - m.deaths.Load(); e.State != remuda.ExecutionLost || !strings.Contains(e.Reason, "before the script began: somebody killed it") || tried != 3 {
		t.Errorf("ended as %s, %q, after %d instances", e.State, e.Reason, tried)
	}
}

// TestDeadAfterItBegan kills an instance whose script runs: it is never run again.
func TestDeadAfterItBegan(t *testing.T) {
	t.Parallel()
	h, m := mortals(t, 1, pool.Settings{})
	m.begun.Store(true)
	e := h.run(t, remuda.ExecutionRequest{Runtime: "warm", Script: "print here"})
	if e.State != remuda.ExecutionLost || e.Reason == "" {
		t.Errorf("ended as %s, %q", e.State, e.Reason)
	}
}

// TestDeadInARunspace: what earlier scripts left is nowhere else.
func TestDeadInARunspace(t *testing.T) {
	t.Parallel()
	h, m := mortals(t, 0, pool.Settings{})
	rs := h.space(t, remuda.RunspaceRequest{Runtime: "warm"})
	m.deaths.Store(1)
	if e := h.run(t, remuda.ExecutionRequest{Runspace: rs.ID, Script: "print here"}); e.State != remuda.ExecutionLost {
		t.Errorf("ended as %s, %q", e.State, e.Reason)
	}
}

// TestDeadAndNoOther has the second placement fail, in each way that it can.
func TestDeadAndNoOther(t *testing.T) {
	t.Parallel()
	t.Run("cannot be made", func(t *testing.T) {
		t.Parallel()
		h, m := mortals(t, 1, pool.Settings{})
		m.last = func() { m.FailCreate(slices.Repeat([]error{errors.New("boom")}, 50)...) }
		if e := h.run(t, remuda.ExecutionRequest{Runtime: "warm", Script: "print here"}); e.State != remuda.ExecutionLost || !strings.Contains(e.Reason, "no other instance") {
			t.Errorf("ended as %s, %q", e.State, e.Reason)
		}
	})
	t.Run("runtime was tightened", func(t *testing.T) {
		t.Parallel()
		h, m := mortals(t, 1, pool.Settings{})
		less := time.Second
		m.last = func() {
			if _, err := h.runtimes.UpdateRuntime(t.Context(), deployer, "warm", remuda.RuntimePatch{ExecTimeout: &less}); err != nil {
				t.Error(err)
			}
		}
		e := h.run(t, remuda.ExecutionRequest{Runtime: "warm", Script: "print here", Timeout: 10 * time.Second})
		if e.State != remuda.ExecutionLost || !strings.Contains(e.Reason, "no other instance") {
			t.Errorf("ended as %s, %q", e.State, e.Reason)
		}
	})
	t.Run("canceled meanwhile", func(t *testing.T) {
		t.Parallel()
		h, m := mortals(t, 1, pool.Settings{})
		var release func()
		waits := make(chan struct{})
		m.last = func() {
			release = m.HoldCreate()
			close(waits)
		}
		e := h.submit(t, remuda.ExecutionRequest{Runtime: "warm", Script: "print here"})
		<-waits
		if _, err := h.executions.CancelExecution(t.Context(), deployer, e.ID); err != nil {
			t.Fatal(err)
		}
		if got := h.wait(t, e.ID); got.State != remuda.ExecutionCanceled {
			t.Errorf("ended as %s, %q", got.State, got.Reason)
		}
		release()
	})
	t.Run("no slot but its own", func(t *testing.T) {
		t.Parallel()
		h, _ := mortals(t, 1, pool.Settings{Capacity: 2})
		if e := h.run(t, remuda.ExecutionRequest{Runtime: "warm", Script: "print here"}); e.State != remuda.ExecutionSuccess {
			t.Errorf("ended as %s, %q", e.State, e.Reason)
		}
	})
}
