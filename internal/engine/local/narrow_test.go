package local

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/remuda"
)

const (
	bomb   = "x = bytearray(100 << 20); len(x)"
	throng = "import subprocess, sys\nfor p in [subprocess.Popen(['sleep', '60']) for _ in range(30)]: p.kill(), p.wait()\n'all'"
	spin   = "import time\nend = time.monotonic() + 1.5\nwhile time.monotonic() < end: pass\n'spun'"
)

// execute runs a script in an instance that is there.
func execute(t *testing.T, inst engine.Instance, script string) engine.Result {
	t.Helper()
	res, err := inst.Execute(t.Context(), engine.Request{ID: remuda.NewExecutionID(), Script: script, Timeout: 30 * time.Second}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

// create makes an instance that is gone at the end of the test.
func create(t *testing.T, e *Engine, spec engine.Spec) *Instance {
	t.Helper()
	spec.ID = remuda.NewInstanceID()
	inst, err := e.Create(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := inst.Destroy(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	return inst.(*Instance)
}

// TestNarrow lowers the limits of instances that wait, forked and started ones,
// and attempts to exceed them. What is attempted succeeds without.
func TestNarrow(t *testing.T) {
	e := open(t, Options{})
	forked := upTemplate(t, e, templateSpec())
	started := templateSpec()
	started.Generation = remuda.GenerationKey{}
	for name, spec := range map[string]engine.Spec{"forked": forked, "started": started} {
		t.Run(name, func(t *testing.T) {
			for _, c := range []struct {
				what   string
				limits remuda.Resources
				script string
				by     remuda.KilledBy
				says   string
			}{
				{"memory", remuda.Resources{MemoryMB: 64}, bomb, remuda.KilledByMemory, "its 64 MiB"},
				{"processes", remuda.Resources{Pids: 8}, throng, remuda.KilledByPids, "its 8 processes"},
			} {
				wide := create(t, e, spec)
				if res := execute(t, wide, c.script); res.State != remuda.ExecutionSuccess || res.Value == nil || wide.blank.forked != (name == "forked") {
					t.Fatalf("%s: the attempt itself: %+v", c.what, res)
				}
				inst := create(t, e, spec)
				if err := inst.Narrow(t.Context(), c.limits); err != nil {
					t.Fatal(err)
				}
				if res := execute(t, inst, c.script); res.State != remuda.ExecutionError || res.KilledBy != c.by || !strings.Contains(res.Reason, c.says) {
					t.Errorf("%s: %+v", c.what, res)
				}
			}
			inst := create(t, e, spec)
			share := func() float64 {
				res := execute(t, inst, spin)
				if res.State != remuda.ExecutionSuccess {
					t.Fatalf("%+v", res)
				}
				return res.Usage.CPU.Seconds() / res.Usage.Wall.Seconds()
			}
			share() // as wide as it is
			before := throttled(t, inst)
			if err := inst.Narrow(t.Context(), remuda.Resources{CPU: 0.05}); err != nil {
				t.Fatal(err)
			}
			if got, held := share(), throttled(t, inst)-before; got > 0.1 || held < 1 {
				t.Errorf("its share of a processor was %.2f of 0.05, and the kernel held it %d times", got, held)
			}
		})
	}
}

// throttled is how often the kernel has held the instance at its quota.
func throttled(t *testing.T, inst *Instance) (times int) {
	t.Helper()
	for _, root := range []string{"/sys/fs/cgroup/cpu", "/sys/fs/cgroup"} {
		stat, err := os.ReadFile(filepath.Join(root, inst.blank.group.Path(), "cpu.stat"))
		if err != nil {
			continue
		}
		_, rest, _ := strings.Cut(string(stat), "nr_throttled ")
		if _, err := fmt.Sscan(rest, &times); err == nil {
			return times
		}
	}
	t.Fatal("the kernel does not count it")
	return 0
}

// TestNarrowRefuses wants nothing changed by what cannot be done.
func TestNarrowRefuses(t *testing.T) {
	e := open(t, Options{})
	spec := templateSpec()
	spec.Generation = remuda.GenerationKey{}
	inst := create(t, e, spec)
	for name, c := range map[string]struct {
		limits remuda.Resources
		code   remuda.Code
	}{
		"cpu above":       {remuda.Resources{CPU: 1.5, MemoryMB: 64}, remuda.CodeInvalid},
		"memory above":    {remuda.Resources{MemoryMB: 257, Pids: 8}, remuda.CodeInvalid},
		"disk above":      {remuda.Resources{DiskMB: 65, Pids: 8}, remuda.CodeInvalid},
		"processes above": {remuda.Resources{Pids: 65, CPU: 0.5}, remuda.CodeInvalid},
		"negative":        {remuda.Resources{Pids: -1, CPU: 0.5}, remuda.CodeInvalid},
		"disk below":      {remuda.Resources{DiskMB: 63, MemoryMB: 64, Pids: 8}, remuda.CodeUnsupported},
	} {
		if err := inst.Narrow(t.Context(), c.limits); remuda.CodeOf(err) != c.code {
			t.Errorf("%s: %v", name, err)
		}
	}
	if inst.Resources() != spec.Resources {
		t.Errorf("it has %+v by now", inst.Resources())
	}
	if res := execute(t, inst, throng); res.State != remuda.ExecutionSuccess || res.Reason != "" {
		t.Errorf("%+v", res)
	}
	// What it has taken is not taken away by its death.
	if res := execute(t, inst, bomb); res.State != remuda.ExecutionSuccess {
		t.Fatalf("%+v", res)
	}
	if err := inst.Narrow(t.Context(), remuda.Resources{MemoryMB: 64}); remuda.CodeOf(err) != remuda.CodeUnsupported || !strings.Contains(remuda.Public(err), "MiB") {
		t.Errorf("below what it uses: %v", err)
	}
	if res := execute(t, inst, "y = bytearray(50 << 20); len(x) + len(y)"); res.State != remuda.ExecutionSuccess {
		t.Errorf("after that it has less: %+v", res)
	}
	if err := inst.Narrow(t.Context(), spec.Resources); err != nil {
		t.Errorf("to what it has: %v", err)
	}
	if err := inst.Destroy(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := inst.Narrow(t.Context(), remuda.Resources{Pids: 8}); remuda.CodeOf(err) != remuda.CodeUnavailable {
		t.Errorf("when it is gone: %v", err)
	}
}
