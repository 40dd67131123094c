//go:build vm

package smoke

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

const cgroupRoot = "/sys/fs/cgroup"

// newCgroup makes a cgroup beside the one of the test, with the given limits.
func newCgroup(t *testing.T, name string, limits map[string]string) string {
	t.Helper()
	dir := filepath.Join(cgroupRoot, "user.slice", name)
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		// Killed processes leave in their own time.
		err := os.Remove(dir)
		for deadline := time.Now().Add(time.Minute); err != nil && time.Now().Before(deadline); err = os.Remove(dir) {
			time.Sleep(10 * time.Millisecond)
		}
		if err != nil {
			t.Errorf("remove the cgroup: %v", err)
		}
	})
	for file, value := range limits {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(value), 0); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// runIn runs Python code inside the cgroup and returns its output and error.
func runIn(t *testing.T, dir, code string) (string, error) {
	t.Helper()
	fd, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = fd.Close() }()
	cmd := exec.CommandContext(t.Context(), "/usr/bin/python3", "-I", "-S", "-c", code)
	cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(fd.Fd())}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// counter reads one value of a flat keyed file such as memory.events.
func counter(t *testing.T, dir, file, key string) int64 {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, file))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if k, v, _ := strings.Cut(strings.TrimSpace(line), " "); k == key {
			n, err := strconv.ParseInt(v, 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatalf("%s has no %q:\n%s", file, key, text)
	return 0
}

// TestMachineHasV2 proves that this machine is what the other tests were
// brought here for: the controllers are on v2 and their limits bite.
func TestMachineHasV2(t *testing.T) {
	text, err := os.ReadFile(cgroupRoot + "/cgroup.controllers")
	if err != nil {
		t.Fatal(err)
	}
	have := " " + strings.TrimSpace(string(text)) + " "
	for _, want := range []string{"cpu", "io", "memory", "pids"} {
		if !strings.Contains(have, " "+want+" ") {
			t.Errorf("controller %s is not on v2; there are %s", want, have)
		}
	}

	memory := newCgroup(t, "check-memory", map[string]string{"memory.max": "48M", "memory.swap.max": "0"})
	if out, err := runIn(t, memory, "x = bytearray(200 << 20)"); err == nil {
		t.Errorf("200 MB fitted into memory.max of 48M: %s", out)
	}
	if n := counter(t, memory, "memory.events", "oom_kill"); n != 1 {
		t.Errorf("oom_kill is %d, want 1", n)
	}

	pids := newCgroup(t, "check-pids", map[string]string{"pids.max": "5"})
	out, err := runIn(t, pids, "import os, signal\nn = 0\ntry:\n  for n in range(20):\n    if os.fork() == 0:\n      signal.pause()\nexcept BlockingIOError:\n  print('refused', n)\nfinally:\n  open('"+pids+"/cgroup.kill', 'w').write('1')")
	if counter(t, pids, "pids.events", "max") == 0 {
		t.Errorf("pids.max of 5 refused nothing: %v %s", err, out)
	}

	cpu := newCgroup(t, "check-cpu", map[string]string{"cpu.max": "20000 100000"})
	if out, err := runIn(t, cpu, "import time\nend = time.monotonic() + 1\nwhile time.monotonic() < end: pass"); err != nil {
		t.Errorf("spin: %v %s", err, out)
	}
	if n := counter(t, cpu, "cpu.stat", "nr_throttled"); n == 0 {
		t.Error("cpu.max of a fifth of a core throttled nothing in a second of spinning")
	}
}
