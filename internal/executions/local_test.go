package executions_test

import (
	"context"
	"log/slog"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/remuda-run/remuda/internal/engine/local"
	"github.com/remuda-run/remuda/internal/executions"
	"github.com/remuda-run/remuda/internal/pool"
	"github.com/remuda-run/remuda/internal/remuda"
)

// sandboxed is a house whose instances are real sandboxes.
func sandboxed(t *testing.T) *house {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("these tests make real sandboxes: run them as root")
	}
	eng, err := local.New(t.Context(), local.Options{DataDir: t.TempDir(), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := eng.Recover(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // after the house, which was made later
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := eng.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return open(t, settings{engine: eng, executions: executions.Settings{CancelGrace: 300 * time.Millisecond}})
}

// TestRealSandboxes runs the services on the local engine: what the fake one
// promises must hold there too.
func TestRealSandboxes(t *testing.T) {
	t.Parallel()
	h := sandboxed(t)
	h.runtime(t, remuda.Definition{
		Name: "py", Language: remuda.LanguagePython, Resources: remuda.Resources{MemoryMB: 64, DiskMB: 16, Pids: 32},
		ExecTimeout: 30 * time.Second, Pool: remuda.PoolBounds{MinCached: 1, MaxCached: 1}, Env: map[string]string{"GREETING": "hello"},
	})
	until(t, "an instance is warm", func() bool {
		for _, s := range h.pool.Status() {
			if s.Ready > 0 {
				return true
			}
		}
		return false
	})
	t.Run("warm one-shot", func(t *testing.T) {
		e := h.run(t, remuda.ExecutionRequest{
			Runtime: "py", Files: []remuda.File{{Path: "in.csv", Content: []byte("1,2,3")}},
			Script: "import os\nprint(os.environ['GREETING'])\nprint(open('in.csv').read())\n6 * 7",
		})
		if e.State != remuda.ExecutionSuccess || !e.Fresh || e.Value == nil || string(e.Value.JSON) != "42" {
			t.Fatalf("ended as %+v", e)
		}
		if _, cold := e.Timings["create"]; cold {
			t.Errorf("it was a cold start: %v", e.Timings)
		}
		if got := h.output(t, e.ID); got != "hello\n1,2,3\n" {
			t.Errorf("output %q", got)
		}
		t.Logf("timings: %v", e.Timings)
	})
	t.Run("cold one-shot", func(t *testing.T) {
		e := h.run(t, remuda.ExecutionRequest{Runtime: "r", Script: "raise ValueError('no')"})
		if e.State != remuda.ExecutionError || e.Error == nil || e.Error.Type != "ValueError" || e.Timings["interpreter"] == 0 {
			t.Errorf("ended as %+v", e)
		}
		t.Logf("timings: %v", e.Timings)
	})
	t.Run("time", func(t *testing.T) {
		e := h.run(t, remuda.ExecutionRequest{Runtime: "r", Script: "while True: pass", Timeout: 300 * time.Millisecond})
		if e.State != remuda.ExecutionTimeout || e.KilledBy != remuda.KilledByTime {
			t.Errorf("ended as %s, killed by %q, %q", e.State, e.KilledBy, e.Reason)
		}
	})
	t.Run("runspace", func(t *testing.T) {
		rs := h.space(t, remuda.RunspaceRequest{Runtime: "py", InitScript: "x = 20"})
		if e := h.run(t, remuda.ExecutionRequest{Runspace: rs.ID, Script: "x += 1\nx * 2"}); e.Value == nil || e.Value.Text != "42" {
			t.Errorf("ended as %+v", e)
		}
		e := h.submit(t, remuda.ExecutionRequest{Runspace: rs.ID, Script: "print('begun', flush=True)\nimport time\ntime.sleep(60)"})
		if _, err := h.executions.Output(t.Context(), deployer, e.ID, 0, 0, time.Minute); err != nil {
			t.Fatal(err)
		}
		if _, err := h.executions.CancelExecution(t.Context(), deployer, e.ID); err != nil {
			t.Fatal(err)
		}
		if end := h.wait(t, e.ID); end.State != remuda.ExecutionCanceled {
			t.Errorf("ended as %s, %q", end.State, end.Reason)
		}
		// The interrupt left the state alone.
		if e := h.run(t, remuda.ExecutionRequest{Runspace: rs.ID, Script: "x"}); e.Value == nil || e.Value.Text != "21" {
			t.Errorf("after the interrupt: %+v", e)
		}
		e = h.run(t, remuda.ExecutionRequest{Runspace: rs.ID, Script: "b = bytearray(1 << 30)\nfor i in range(0, len(b), 4096): b[i] = 1"})
		if e.KilledBy != remuda.KilledByMemory {
			t.Errorf("a memory bomb ended as %s, killed by %q, %q", e.State, e.KilledBy, e.Reason)
		}
		until(t, "the runspace says so", func() bool {
			got, err := h.runspaces.GetRunspace(t.Context(), deployer, rs.ID)
			return err == nil && got.State == remuda.RunspaceError && strings.Contains(got.Error, "memory")
		})
	})
	t.Run("delete while it runs", func(t *testing.T) {
		rs := h.space(t, remuda.RunspaceRequest{Runtime: "r"})
		e := h.submit(t, remuda.ExecutionRequest{Runspace: rs.ID, Script: "sum(range(10**12))"}) // a loop in C
		if err := h.runspaces.DeleteRunspace(t.Context(), deployer, rs.ID); err != nil {
			t.Fatal(err)
		}
		if end := h.wait(t, e.ID); end.State != remuda.ExecutionCanceled {
			t.Errorf("ended as %s, %q", end.State, end.Reason)
		}
	})
}

// TestNarrowedRealSandboxes attempts to exceed what requests have lowered, in
// warm instances.
func TestNarrowedRealSandboxes(t *testing.T) {
	t.Parallel()
	h := sandboxed(t)
	h.runtime(t, remuda.Definition{
		Name: "py", Language: remuda.LanguagePython, Resources: remuda.Resources{CPU: 1, MemoryMB: 256, DiskMB: 16, Pids: 64},
		ExecTimeout: 30 * time.Second, Pool: remuda.PoolBounds{MinCached: 1, MaxCached: 1},
	})
	const script = "import subprocess\nx = bytearray(100 << 20)\nfor p in [subprocess.Popen(['sleep', '60']) for _ in range(30)]: p.kill(), p.wait()\nlen(x)"
	for name, c := range map[string]struct {
		limits remuda.Resources
		by     remuda.KilledBy
		says   string
	}{
		"nothing":   {},
		"memory":    {remuda.Resources{MemoryMB: 64}, remuda.KilledByMemory, "its 64 MiB"},
		"processes": {remuda.Resources{Pids: 8}, remuda.KilledByPids, "its 8 processes"},
	} {
		until(t, "an instance is warm", func() bool {
			return slices.ContainsFunc(h.pool.Status(), func(s pool.Status) bool { return s.Ready > 0 })
		})
		e := h.run(t, remuda.ExecutionRequest{Runtime: "py", Script: script, Limits: c.limits})
		if !e.Warm || e.ColdReason != "" || e.KilledBy != c.by || !strings.Contains(e.Reason, c.says) || (c.by == "") != (e.State == remuda.ExecutionSuccess) {
			t.Errorf("%s: warm %v, cold because %q, ended as %s, killed by %q, %q", name, e.Warm, e.ColdReason, e.State, e.KilledBy, e.Reason)
		}
	}
}
