//go:build vm

package smoke

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/remuda-run/remuda/test/harness"
)

// TestDoctor: on a plain Debian machine with cgroup v2 nothing is missing.
func TestDoctor(t *testing.T) {
	got := harness.Command(t.Context(), t, nil, "", "doctor")
	if got.Status != 0 {
		t.Errorf("doctor ended with %d\n%s%s", got.Status, got.Stdout, got.Stderr)
	}
	if !strings.Contains(strings.ToLower(got.Stdout), "cgroup") {
		t.Errorf("doctor says nothing of cgroups:\n%s", got.Stdout)
	}
}

// TestRunCommand: the command with no server, exit status and streams passed through.
func TestRunCommand(t *testing.T) {
	script := filepath.Join(t.TempDir(), "script.py")
	const code = "import sys\nprint(sys.stdin.read().upper(), sys.argv[1:])\nprint('to stderr', file=sys.stderr)\nsys.exit(7)\n"
	if err := os.WriteFile(script, []byte(code), 0o600); err != nil {
		t.Fatal(err)
	}
	got := harness.Command(t.Context(), t, nil, "hello", "run", script, "--", "a", "b")
	if got.Status != 7 || got.Stdout != "HELLO ['a', 'b']\n" || !strings.Contains(got.Stderr, "to stderr") {
		t.Errorf("got status %d, stdout %q, stderr %q", got.Status, got.Stdout, got.Stderr)
	}
}

// TestLimits runs into each limit, on a cold and on a warm instance.
func TestLimits(t *testing.T) {
	s := harness.Start(t)
	cases := []struct {
		name, script string
		state        string // "" is any but success
		killedBy     string
		stdout       string
	}{
		{"memory", "x = bytearray(400 << 20)\nprint('still here')", "error", "memory", ""},
		// A few more than 40, because the first process of the sandbox has its own.
		{"processes", "import os, signal\nn = 0\ntry:\n    while True:\n        if os.fork() == 0:\n            signal.pause()\n        n += 1\nexcept BlockingIOError:\n    print('refused', 30 < n < 50)\n", "success", "", "refused True\n"},
		{"time", "while True: pass", "timeout", "time", ""},
		{"disk", "f = open('big', 'wb')\ntry:\n    while True: f.write(bytes(1 << 20)); f.flush()\nexcept OSError as e:\n    print(e.errno, f.tell() >> 20 <= 32)\n", "success", "", "28 True\n"},
	}
	for _, pool := range []string{"cold", "warm"} {
		warm := 0
		if pool == "warm" {
			warm = 2
		}
		runtime := s.Runtime(harness.JSON{
			"name": pool, "language": "python", "exec_timeout_s": 12,
			"resources": harness.JSON{"cpu": 1, "memory_mb": 128, "disk_mb": 32, "pids": 40},
			"pool":      harness.JSON{"min_cached": warm, "max_cached": warm},
		})
		t.Run(pool, func(t *testing.T) {
			t.Parallel()
			for _, c := range cases {
				t.Run(c.name, func(t *testing.T) {
					s := s.For(t)
					ex := s.Run(harness.JSON{"runtime": runtime, "script": c.script})
					stdout, stderr := s.Output(ex.ID)
					if ex.State != c.state || ex.KilledBy != c.killedBy || stdout != c.stdout {
						t.Errorf("ended as %s; stdout %q, stderr %q; want %s, killed by %q, stdout %q", ex, stdout, stderr, c.state, c.killedBy, c.stdout)
					}
					if ex.KilledBy != "" && ex.Reason == "" {
						t.Error("killed without a reason")
					}
				})
			}
		})
	}
}

// TestCPULimit: a fifth of a core gets a fifth of the time, and the figures say so.
func TestCPULimit(t *testing.T) {
	s := harness.Start(t)
	runtime := s.Runtime(harness.JSON{"name": "slow", "language": "python", "exec_timeout_s": 120, "resources": harness.JSON{"cpu": 0.2, "memory_mb": 128, "disk_mb": 32, "pids": 40}})
	ex, _ := s.Success(harness.JSON{"runtime": runtime, "script": "import time\nend = time.monotonic() + 5\nwhile time.monotonic() < end: pass\n"})
	if ex.Usage.CPUSeconds < 0.3 || ex.Usage.CPUSeconds > 2.5 {
		t.Errorf("5 s of spinning with 0.2 cores used %.2f s of processor, want about 1", ex.Usage.CPUSeconds)
	}
}

// TestUsage: the figures come from the cgroup and are of the right size.
func TestUsage(t *testing.T) {
	s := harness.Start(t)
	runtime := s.Runtime(harness.JSON{"name": "usage", "language": "python", "exec_timeout_s": 120, "resources": harness.JSON{"cpu": 1, "memory_mb": 256, "disk_mb": 32, "pids": 40}})
	ex, _ := s.Success(harness.JSON{"runtime": runtime, "script": "import time\nx = bytearray(100 << 20)\nend = time.process_time() + 1\nwhile time.process_time() < end: pass\n"})
	if ex.Usage.PeakMemoryMB < 100 || ex.Usage.PeakMemoryMB > 200 {
		t.Errorf("peak memory is %.1f MB, want a little over 100", ex.Usage.PeakMemoryMB)
	}
	if ex.Usage.CPUSeconds < 1 || ex.Usage.CPUSeconds > ex.Usage.WallSeconds*2.2 {
		t.Errorf("processor %.2f s of %.2f s, want at least 1", ex.Usage.CPUSeconds, ex.Usage.WallSeconds)
	}
}

// TestLanguages: every interpreter starts and says its own name.
func TestLanguages(t *testing.T) {
	s := harness.Start(t)
	for language, script := range map[string]string{
		"python": "import platform; print(platform.python_implementation())",
		"node":   "console.log(process.release.name)",
		"bash":   "echo ${BASH_VERSION:+bash}",
	} {
		runtime := s.Runtime(harness.JSON{"name": language + "-hello", "language": language})
		_, stdout := s.Success(harness.JSON{"runtime": runtime, "script": script})
		want := map[string]string{"python": "CPython\n", "node": "node\n", "bash": "bash\n"}[language]
		if stdout != want {
			t.Errorf("%s printed %q, want %q", language, stdout, want)
		}
	}
}

// TestNothingIsLeft: after SIGTERM, and after SIGKILL and the next start, no
// cgroup, mount or process of a sandbox is on the machine.
func TestNothingIsLeft(t *testing.T) {
	before := residue(t)
	s := harness.Start(t)
	runtime := s.Runtime(harness.JSON{"name": "left", "language": "python", "exec_timeout_s": 600, "pool": harness.JSON{"min_cached": 2, "max_cached": 2}})
	s.Runspace(runtime)
	s.Call("POST", "/v1/executions", harness.JSON{"runtime": runtime, "script": "import os, time\nif os.fork() == 0: os.setsid()\ntime.sleep(500)"}, nil)
	during := residue(t)
	if len(during.processes) == len(before.processes) || len(during.cgroups) == len(before.cgroups) {
		t.Fatalf("no sandbox is to be seen while three are up; this test looks at the wrong things: %+v", during)
	}
	s.Kill()
	s.Up()
	s.Success(harness.JSON{"runtime": runtime, "script": "print(1)"})
	s.Down()
	waitFor(t, func() string { return before.difference(residue(t)) })
}

// leftover is what a sandbox could leave behind.
type leftover struct{ cgroups, mounts, processes map[string]bool }

func residue(t *testing.T) leftover {
	t.Helper()
	l := leftover{cgroups: map[string]bool{}, mounts: map[string]bool{}, processes: map[string]bool{}}
	err := filepath.WalkDir(cgroupRoot, func(p string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			l.cgroups[p] = true
		}
		return nil // one that went away while it was looked at is no fault
	})
	if err != nil {
		t.Fatal(err)
	}
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		l.mounts[strings.Fields(line)[1]] = true
	}
	processes, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range processes {
		text, err := os.ReadFile(p)
		if err != nil || len(text) == 0 {
			continue // gone, or a thread of the kernel
		}
		pid := strings.Split(p, "/")[2]
		l.processes[pid+" "+strings.ReplaceAll(string(text), "\x00", " ")] = true
	}
	return l
}

// difference names what is in now and was not in l. The engine's own parent
// cgroup may stay: it is empty and made once.
func (l leftover) difference(now leftover) string {
	var more []string
	for what, pair := range map[string][2]map[string]bool{"cgroup": {l.cgroups, now.cgroups}, "mount": {l.mounts, now.mounts}, "process": {l.processes, now.processes}} {
		for name := range pair[1] {
			if !pair[0][name] && name != filepath.Join(cgroupRoot, "remuda") {
				more = append(more, what+" "+name)
			}
		}
	}
	return strings.Join(more, "\n")
}

// waitFor waits until left returns nothing, and fails with what it returned last.
func waitFor(t *testing.T, left func() string) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		more := left()
		if more == "" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("left on the machine:\n%s", more)
		}
	}
}
