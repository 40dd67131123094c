package cgroup

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
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
