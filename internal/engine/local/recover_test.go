package local

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/engine/enginetest"
	"github.com/remuda-run/remuda/internal/engine/enginetest/leftover"
	"github.com/remuda-run/remuda/internal/remuda"
)

// serverEnv makes this test binary a server that is there to be killed.
const serverEnv = "REMUDA_TEST_SERVER"

func TestMain(m *testing.M) {
	if dir := os.Getenv(serverEnv); dir != "" {
		fmt.Println(serveForKilling(dir))
		os.Exit(1)
	}
	if dir := os.Getenv(survivedEnv); dir != "" {
		fmt.Println(serveToSurvive(dir))
		os.Exit(1)
	}
	if dir := os.Getenv(chaosEnv); dir != "" {
		fmt.Println(serveChaos(dir))
		os.Exit(1)
	}
	if paths := os.Getenv(knockEnv); paths != "" {
		knock(paths)
		os.Exit(0)
	}
	leftover.Sweep()
	os.Exit(m.Run())
}

// serveForKilling makes two instances, one of them busy and with a long linger,
// says so, and waits for its end.
func serveForKilling(dir string) error {
	e, err := New(context.Background(), Options{DataDir: dir})
	if err != nil {
		return err
	}
	script := "import os, time\nos.fork()\nopen('f', 'w').write('x' * 9999999)\nprint('up', flush=True)\ntime.sleep(10000)"
	var specs []engine.Spec
	for _, disk := range []int{16, 200} {
		specs = append(specs, engine.Spec{
			ID: remuda.NewInstanceID(), Language: remuda.LanguagePython, Linger: time.Hour,
			Resources: remuda.Resources{CPU: 1, MemoryMB: 128, DiskMB: disk, Pids: 32},
		})
	}
	return enginetest.ServeForKilling(e, script, specs...)
}

// TestRecover kills a server with SIGKILL and expects the next one to find and
// clear all that it left, and only then to report it.
func TestRecover(t *testing.T) {
	dir := t.TempDir()
	ids := enginetest.KillServer(t, 2, serverEnv+"="+dir)
	e, err := New(t.Context(), Options{DataDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	groups, err := e.herd.Names()
	if err != nil || len(groups) < 2 {
		t.Errorf("the killed server's cgroups: %v, %v", groups, err)
	}
	left, err := e.dir.leftovers()
	if err != nil || len(left) != 2 {
		t.Fatalf("the killed server's metadata: %v, %v", left, err)
	}
	for _, m := range left {
		if start, err := StartTime(m.Pid); err != nil || start != m.StartTime {
			t.Errorf("process %d of %s did not outlive its server: %v", m.Pid, m.ID, err)
		}
	}
	enginetest.RecoverAll(t, e, ids, func() []string { return leftovers(e) })
	for _, m := range left {
		// A zombie is gone; whoever inherited it reaps it in its own time.
		if start, err := StartTime(m.Pid); err == nil && start == m.StartTime && !zombie(t, m.Pid) {
			t.Errorf("process %d of %s has survived Recover", m.Pid, m.ID)
		}
	}
}

func zombie(t *testing.T, pid int) bool {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err != nil || strings.Contains(string(b), ") Z ")
}

// TestRecoverSparesStrangers has metadata name a process that is not the one.
func TestRecoverSparesStrangers(t *testing.T) {
	dir := t.TempDir()
	first := open(t, Options{DataDir: dir, Blanks: -1})
	cmd := exec.CommandContext(t.Context(), "/bin/sleep", "1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Wait() }()
	defer func() { _ = cmd.Process.Kill() }()
	id := remuda.NewInstanceID()
	if err := first.dir.writeMetadata(metadata{ID: id, Pid: cmd.Process.Pid, StartTime: 1}); err != nil {
		t.Fatal(err)
	}
	found, err := first.Recover(t.Context(), nil)
	if err != nil || !slices.Contains(found.Ended, id) {
		t.Errorf("Recover: %v, %v", found, err)
	}
	if zombie(t, cmd.Process.Pid) {
		t.Error("Recover has killed a process of someone else")
	}
}
