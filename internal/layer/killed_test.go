package layer_test

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

	"github.com/remuda-run/remuda/internal/engine/local"
	"github.com/remuda-run/remuda/internal/layer"
	"github.com/remuda-run/remuda/internal/layer/indextest"
	"github.com/remuda-run/remuda/internal/remuda"
)

// Variables that make this test binary a server that builds until it is killed.
const (
	serverDir   = "REMUDA_TEST_LAYER_DIR"
	serverIndex = "REMUDA_TEST_LAYER_INDEX"
)

// server resolves and installs the package "killme" and says what it hears.
func server(dir, address string) {
	ctx := context.Background()
	eng, err := local.New(ctx, local.Options{DataDir: filepath.Join(dir, "engine"), Blanks: -1})
	if err != nil {
		fmt.Println("failed", err)
		return
	}
	maker, err := layer.New(layer.Options{Dir: filepath.Join(dir, "layers"), Engine: eng, Settings: layer.Settings{
		PipIndexURL: address, BuildResources: remuda.Resources{CPU: 1, MemoryMB: 512, DiskMB: 64, Pids: 64},
	}})
	if err != nil {
		fmt.Println("failed", err)
		return
	}
	list, err := eng.Versions(ctx, "", remuda.LanguagePython)
	if err != nil {
		fmt.Println("failed", err)
		return
	}
	for _, in := range list {
		if in.Path == "/usr/bin/python3" || len(list) == 1 {
			r := layer.Request{Organization: remuda.NewOrganizationID(), Language: remuda.LanguagePython, Version: in.Version, Packages: []remuda.Package{pkg("killme", "")}}
			_, err = maker.Resolve(ctx, r, printer{})
		}
	}
	fmt.Println("ended", err)
}

type printer struct{}

func (printer) Log(b []byte)                                        { fmt.Printf("%s", b) }
func (printer) Package(string, remuda.PackageState, string, string) {}

// TestKilled kills a server in the middle of a build. Nothing of the build lives
// on, and the next server clears what it has left.
func TestKilled(t *testing.T) {
	t.Parallel()
	x := indextest.NewPython(t)
	mark := "remuda-killed-" + remuda.NewID("x")
	x.Sdist(t, indextest.Project{Name: "killme", Version: "1.0", Files: map[string]string{"killme.py": ""}, Setup: "import os\nos.execvp('sleep', ['" + mark + "', '600'])"})
	dir := t.TempDir()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), serverDir+"="+dir, serverIndex+"="+x.URL())
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill() }()
	lines := bufio.NewScanner(out)
	for lines.Scan() && !strings.Contains(lines.Text(), "Preparing metadata") {
		if strings.HasPrefix(lines.Text(), "failed") || strings.HasPrefix(lines.Text(), "ended") {
			t.Fatal(lines.Text())
		}
	}
	until(t, "the package's own script runs", func() bool { return living(mark) })
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it was killed
	until(t, "the build has ended with its server", func() bool { return !living(mark) })
	eng, err := local.New(t.Context(), local.Options{DataDir: filepath.Join(dir, "engine"), Blanks: -1})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := eng.Recover(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	maker, err := layer.New(layer.Options{Dir: filepath.Join(dir, "layers"), Engine: eng})
	if err != nil {
		t.Fatal(err)
	}
	if err := maker.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := eng.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if left, err := filepath.Glob(filepath.Join(dir, "*", "tmp", "*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

// until waits for a condition.
func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for !is() {
		if time.Now().After(deadline) {
			t.Fatalf("not so after a minute: %s", what)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// living looks for a process that was started with a word.
func living(word string) bool {
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		return false
	}
	for _, f := range files {
		if content, err := os.ReadFile(f); err == nil && strings.HasPrefix(string(content), word+"\x00") {
			return true
		}
	}
	return false
}
