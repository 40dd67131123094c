package oci

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/remuda"
)

// serverEnv makes this test binary a server that is there to be killed; the
// other names its runtime.
const (
	serverEnv = "REMUDA_TEST_OCI_SERVER"
	runscEnv  = "REMUDA_TEST_OCI_RUNSC"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(serverEnv); dir != "" {
		fmt.Println(serveForKilling(dir))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// serveForKilling makes two busy instances with a long linger, says so, and waits
// for its end.
func serveForKilling(dir string) error {
	ctx := context.Background()
	e := New(Options{DataDir: dir, Runsc: os.Getenv(runscEnv)})
	for range 2 {
		s := spec(remuda.LanguagePython)
		s.Linger = time.Hour
		inst, err := e.Create(ctx, s)
		if err != nil {
			return err
		}
		go func() {
			_, _ = inst.Execute(ctx, engine.Request{ID: remuda.NewExecutionID(), Script: "import os, time\nos.fork()\nprint('up', flush=True)\ntime.sleep(10000)"}, func(remuda.OutputRecord) error {
				fmt.Println("instance", inst.ID())
				return nil
			})
		}()
	}
	select {}
}

// TestRecover kills a server with SIGKILL and expects the next one to find and
// clear all that it left.
func TestRecover(t *testing.T) {
	runsc := runscForTests(t)
	dir := filepath.Join(t.TempDir(), "oci")
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run=^$")
	cmd.Env = append(os.Environ(), serverEnv+"="+dir, runscEnv+"="+runsc)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ids := map[string]bool{}
	for lines := bufio.NewScanner(out); len(ids) < 2 && lines.Scan(); {
		id, ok := strings.CutPrefix(lines.Text(), "instance ")
		if !ok {
			t.Fatalf("the server said %q", lines.Text())
		}
		ids[id] = true
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // killed
	e := New(Options{DataDir: dir, Runsc: runsc})
	o, err := e.site()
	if err != nil {
		t.Fatal(err)
	}
	groups, err := o.herd.Names()
	if err != nil || len(groups) != 2 {
		t.Fatalf("the killed server's cgroups: %v, %v", groups, err)
	}
	for _, name := range groups {
		if pids, err := o.herd.Group(name).Pids(); err != nil || len(pids) < 3 {
			t.Errorf("the sandbox %s did not outlive its server: processes %v, %v", name, pids, err)
		}
	}
	found, err := e.Recover(t.Context())
	if err != nil || len(found) != 2 || !ids[string(found[0])] || !ids[string(found[1])] {
		t.Errorf("Recover: %v, %v, want %v", found, err, ids)
	}
	if err := e.Close(t.Context()); err != nil {
		t.Error(err)
	}
	for deadline := time.Now().Add(time.Minute); len(leftovers(e)) > 0 && time.Now().Before(deadline); {
		time.Sleep(5 * time.Millisecond) // a killed process may still be seen until it is reaped
	}
	if left := leftovers(e); len(left) > 0 {
		t.Errorf("left after Recover:\n%s", strings.Join(left, "\n"))
	}
}

// TestRecoverWithoutRunsc clears files of an earlier server on a machine that has
// no runtime any more.
func TestRecoverWithoutRunsc(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("these tests make cgroups: run them as root")
	}
	dir, id := filepath.Join(t.TempDir(), "oci"), remuda.NewInstanceID()
	if err := os.MkdirAll(filepath.Join(dir, "run", string(id), "state"), 0o700); err != nil {
		t.Fatal(err)
	}
	e := New(Options{DataDir: dir, Runsc: filepath.Join(dir, "absent")})
	found, err := e.Recover(t.Context())
	if err != nil || len(found) != 1 || found[0] != id {
		t.Errorf("Recover: %v, %v, want %s", found, err, id)
	}
	if left := leftovers(e); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
	if found, err = e.Recover(t.Context()); err != nil || len(found) != 0 {
		t.Errorf("Recover again: %v, %v", found, err)
	}
	if err := e.Close(t.Context()); err != nil {
		t.Error(err)
	}
}
