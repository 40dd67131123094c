package oci

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/engine/enginetest"
	"github.com/remuda-run/remuda/internal/engine/enginetest/leftover"
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
	leftover.Sweep()
	os.Exit(m.Run())
}

// serveForKilling makes two busy instances with a long linger, says so, and waits
// for its end.
func serveForKilling(dir string) error {
	var specs []engine.Spec
	for range 2 {
		s := spec(remuda.LanguagePython)
		s.Linger = time.Hour
		specs = append(specs, s)
	}
	e := New(Options{DataDir: dir, Runsc: os.Getenv(runscEnv)})
	return enginetest.ServeForKilling(e, "import os, time\nos.fork()\nprint('up', flush=True)\ntime.sleep(10000)", specs...)
}

// TestRecover kills a server with SIGKILL and expects the next one to find and
// clear all that it left.
func TestRecover(t *testing.T) {
	runsc := runscForTests(t)
	dir := filepath.Join(t.TempDir(), "oci")
	ids := enginetest.KillServer(t, 2, serverEnv+"="+dir, runscEnv+"="+runsc)
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
	enginetest.RecoverAll(t, e, ids, func() []string { return leftovers(e) })
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
	found, err := e.clearAll(t.Context())
	if err != nil || len(found) != 1 || found[0] != id {
		t.Errorf("Recover: %v, %v, want %s", found, err, id)
	}
	if left := leftovers(e); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
	again, err := e.Recover(t.Context(), []engine.Spec{{ID: id}})
	if err != nil || len(again.Ended)+len(again.Attached) != 0 || !strings.Contains(again.Lost[id], "gvisor") {
		t.Errorf("Recover again, with something to keep: %+v, %v", again, err)
	}
	if err := e.Close(t.Context()); err != nil {
		t.Error(err)
	}
}
