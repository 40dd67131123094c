package local

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/engine/enginetest"
	"github.com/remuda-run/remuda/internal/engine/local/cgroup"
)

func TestConformance(t *testing.T) {
	enginetest.Run(t, func(t *testing.T) engine.Engine { return open(t, Options{}) })
}

// open makes an engine that must have left nothing on the machine at the end of
// its test.
func open(t *testing.T, opts Options) *Engine {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("these tests make real sandboxes: run them as root")
	}
	if opts.DataDir == "" {
		opts.DataDir = t.TempDir()
	}
	opts.Logger = slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	e, err := New(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.Recover(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	enginetest.CloseAtEnd(t, e, func() []string { return leftovers(e) })
	return e
}

// leftovers looks for all that an engine makes: processes, cgroups, mounts,
// loop devices, sockets and files. Network namespaces and uid locks live as long
// as processes do.
func leftovers(e *Engine) []string {
	var left []string
	for _, dir := range []string{e.dir.run, e.dir.disk} {
		entries, err := os.ReadDir(dir)
		if err != nil {
			left = append(left, err.Error())
		}
		for _, entry := range entries {
			left = append(left, "file "+filepath.Join(dir, entry.Name()))
		}
	}
	groups, err := filepath.Glob("/sys/fs/cgroup/*/" + filepath.Base(e.herd.Path()))
	if err != nil {
		left = append(left, err.Error())
	}
	if e.herd.Version() == 2 {
		groups, _ = filepath.Glob("/sys/fs/cgroup/" + filepath.Base(e.herd.Path()))
	}
	left = append(left, groups...)
	left = append(left, childrenLeft()...)
	if b, err := os.ReadFile("/proc/self/mountinfo"); err != nil || strings.Contains(string(b), filepath.Dir(e.dir.run)) {
		left = append(left, fmt.Sprintf("a mount below the data directory (%v)", err))
	}
	backing, err := filepath.Glob("/sys/block/loop*/loop/backing_file")
	if err != nil {
		left = append(left, err.Error())
	}
	for _, p := range backing {
		if b, err := os.ReadFile(p); err == nil && strings.HasPrefix(string(b), e.dir.disk) {
			left = append(left, "loop device "+p)
		}
	}
	if b, err := os.ReadFile("/proc/net/unix"); err != nil || strings.Contains(string(b), e.dir.run) {
		left = append(left, fmt.Sprintf("a socket below the data directory (%v)", err))
	}
	return left
}

// childrenLeft are the keepers among our children, zombies too.
func childrenLeft() []string {
	var left []string
	tasks, err := filepath.Glob("/proc/self/task/*/children")
	if err != nil {
		return []string{err.Error()}
	}
	for _, p := range tasks {
		b, err := os.ReadFile(p)
		if err != nil {
			continue // a thread that has ended
		}
		for pid := range strings.FieldsSeq(string(b)) {
			if comm, err := os.ReadFile("/proc/" + pid + "/comm"); err == nil {
				left = append(left, "process "+pid+" "+strings.TrimSpace(string(comm)))
			}
		}
	}
	return left
}

// TestDataDirIsTakenOnce has two engines want one directory.
func TestDataDirIsTakenOnce(t *testing.T) {
	dir := t.TempDir()
	open(t, Options{DataDir: dir, Blanks: -1})
	second, err := New(t.Context(), Options{DataDir: dir})
	if err == nil {
		_ = second.Close(t.Context())
		t.Fatal("two engines have one data directory")
	}
	if !strings.Contains(err.Error(), "in use") {
		t.Errorf("the error is %v", err)
	}
}

func TestCheck(t *testing.T) {
	e := open(t, Options{Blanks: -1})
	names := map[string]bool{}
	for _, f := range e.Check(t.Context()) {
		t.Logf("%s: %v %s", f.Name, f.OK, f.Detail)
		if !f.OK || f.Detail == "" {
			t.Errorf("%+v", f)
		}
		names[f.Name] = true
	}
	for _, want := range []string{"root", "user namespace", "network namespace", "cgroup", "disk image", "interpreters", "sandbox"} {
		if !names[want] {
			t.Errorf("no finding %q", want)
		}
	}
	f := probe{"x", "do this", func(context.Context) (string, error) { return "", errors.New("broken") }}.run(t.Context())
	if f.OK || f.Detail != "broken" || f.Remedy != "do this" {
		t.Errorf("a failed probe gives %+v", f)
	}
	if _, err := checkRoot(1000); err == nil {
		t.Error("uid 1000 passes for root")
	}
}

func TestCgroup(t *testing.T) {
	hierarchy, err := cgroup.Detect()
	if err != nil {
		t.Fatal(err)
	}
	herd, err := hierarchy.Open("", "remuda-test-"+randomHex(4))
	if err != nil {
		t.Fatal(err)
	}
	g, err := herd.Create("g")
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Limit(cgroup.Limits{CPU: 0.5, Memory: 64 << 20, Pids: 10}); err != nil {
		t.Error(err)
	}
	u, err := g.Usage()
	if err != nil || u.OOMKills != 0 || u.PidsMax != 0 || u.PeakMemory > 1<<20 {
		t.Errorf("usage of an empty group: %+v, %v", u, err)
	}
	if names, err := herd.Names(); err != nil || len(names) != 1 || names[0] != "g" {
		t.Errorf("names: %v, %v", names, err)
	}
	if err := errors.Join(g.Empty(t.Context()), g.Remove(), herd.Remove()); err != nil {
		t.Error(err)
	}
	if names, err := herd.Names(); err != nil || len(names) != 0 {
		t.Errorf("names after removal: %v, %v", names, err)
	}
}
