package oci

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/engine/enginetest"
	"github.com/remuda-run/remuda/internal/remuda"
)

// runscForTests finds the runtime as `make runsc` leaves it, and reports the test
// as not run where there is none: it cannot be built everywhere.
func runscForTests(t *testing.T) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("these tests make real sandboxes: run them as root")
	}
	built, err := filepath.Abs("../../../bin/" + runscName)
	if err != nil {
		t.Fatal(err)
	}
	if executable(built) == nil {
		return built
	}
	path, err := New(Options{}).findRunsc()
	if err != nil {
		t.Skipf("not run: %v (%s)", err, installRunsc)
	}
	return path
}

// openEngine makes an engine that must have left nothing on the machine at the
// end of its test.
func openEngine(t *testing.T, opts Options) *Engine {
	t.Helper()
	opts.Runsc = runscForTests(t)
	if opts.DataDir == "" {
		opts.DataDir = filepath.Join(t.TempDir(), "oci")
	}
	opts.Logger = slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	e := New(opts)
	if _, err := e.Recover(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	enginetest.CloseAtEnd(t, e, func() []string { return leftovers(e) })
	return e
}

// leftovers looks for all that an engine makes: processes, cgroups, mounts,
// sockets and files.
func leftovers(e *Engine) []string {
	var left []string
	look := func(pattern string) {
		found, err := filepath.Glob(pattern)
		if err != nil {
			found = []string{err.Error()}
		}
		left = append(left, found...)
	}
	look(filepath.Join(e.opts.DataDir, "run", "*"))
	look(filepath.Join(e.opts.DataDir, "spool", "*"))
	look(filepath.Join(e.opts.DataDir, rootPrefix+"*"))
	if o := e.opened; o != nil {
		look("/sys/fs/cgroup/*/" + filepath.Base(o.herd.Path()))
		look("/sys/fs/cgroup/" + filepath.Base(o.herd.Path()))
	}
	for _, table := range []string{"/proc/self/mountinfo", "/proc/net/unix"} {
		if b, err := os.ReadFile(table); err != nil || strings.Contains(string(b), e.opts.DataDir) {
			left = append(left, fmt.Sprintf("%s names the data directory (%v)", table, err))
		}
	}
	lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		left = append(left, err.Error())
	}
	for _, p := range lines {
		if b, err := os.ReadFile(p); err == nil && strings.Contains(string(b), e.opts.DataDir) {
			left = append(left, "process "+filepath.Dir(p))
		}
	}
	return left
}

func spec(language remuda.Language) engine.Spec {
	return engine.Spec{
		ID: remuda.NewInstanceID(), Generation: remuda.GenerationKey{Runtime: "rt_test", Number: 1}, Language: language,
		Environment: remuda.EnvironmentHost, Isolation: remuda.IsolationGVisor, Resources: remuda.Resources{CPU: 2, MemoryMB: 256, DiskMB: 64, Pids: 64},
	}
}

// differences are those that docs/isolation.md tells.
var differences = enginetest.Differences{MemoryOverhead: Overhead, Unseen: true, UnmarkedRoot: true}

func TestConformance(t *testing.T) {
	enginetest.RunDifferent(t, func(t *testing.T) engine.Engine { return openEngine(t, Options{}) }, differences)
}
