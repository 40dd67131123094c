package cgroup

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestClearHalf clears a group that is in some of the trees only, as one is whose
// server was killed while it made or removed it.
func TestClearHalf(t *testing.T) {
	herd := testHerd(t)
	if herd.Version() != 1 {
		t.Skip("with cgroup v2 there is one tree")
	}
	g, err := herd.Create("half")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "/bin/sleep", "1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	dirs := g.backend.dirs(g.path)
	if err := os.WriteFile(filepath.Join(dirs[0], "cgroup.procs"), fmt.Append(nil, cmd.Process.Pid), 0); err != nil {
		t.Fatal(err)
	}
	if err := unix.Rmdir(dirs[len(dirs)-1]); err != nil {
		t.Fatal(err)
	}
	if err := herd.Group("half").Clear(t.Context()); err != nil {
		t.Errorf("clear: %v", err)
	}
	select {
	case <-ended:
	case <-time.After(time.Minute):
		t.Error("what was in it lives")
		_ = cmd.Process.Kill()
	}
	if names, err := herd.Names(); err != nil || len(names) != 0 {
		t.Errorf("left: %v, %v", names, err)
	}
}

// TestLimitsMove raises and lowers the limits of a group, which has no swap from the
// start.
func TestLimitsMove(t *testing.T) {
	herd := testHerd(t)
	if herd.Version() != 1 {
		t.Skip("with cgroup v2 each file has one number of its own")
	}
	g, err := herd.Create("moves")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = g.Remove() })
	read := func(controller, file string) string {
		t.Helper()
		b, err := os.ReadFile(g.backend.files().dir(g.path, controller+"/"+file))
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(b))
	}
	if got := read("memory", "memory.swappiness"); got != "0" {
		t.Errorf("a new group has swappiness %s", got)
	}
	for _, mib := range []int64{64, 256, 32, 32, 1024} {
		want := map[string]string{
			"memory/memory.limit_in_bytes": fmt.Sprint(mib << 20), "pids/pids.max": fmt.Sprint(mib), "cpu/cpu.cfs_quota_us": "150000", "cpu/cpu.cfs_period_us": "100000",
		}
		if g.backend.(*v1).swap {
			want["memory/memory.memsw.limit_in_bytes"] = fmt.Sprint(mib << 20)
		}
		if err := g.Limit(Limits{CPU: 1.5, Memory: mib << 20, Pids: int(mib)}); err != nil {
			t.Fatalf("%d MiB: %v", mib, err)
		}
		for file, number := range want {
			if got := read(filepath.Dir(file), filepath.Base(file)); got != number {
				t.Errorf("%d MiB: %s is %s", mib, file, got)
			}
		}
	}
}
