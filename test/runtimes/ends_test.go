package runtimes

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/remuda-run/remuda/test/harness"
)

// TestDeleteRefusesOrDrains deletes runtimes on which something runs.
func TestDeleteRefusesOrDrains(t *testing.T) {
	t.Parallel()
	s := harness.Start(t)
	s.Runtime(harness.JSON{"name": "r", "language": "python", "pool": harness.JSON{"min_cached": 1, "max_cached": 1}})
	var ex harness.Execution
	s.Call(http.MethodPost, "/v1/executions", harness.JSON{"runtime": "r", "script": "import time\ntime.sleep(600)"}, &ex)
	if p := s.Refuse(http.MethodDelete, "/v1/runtimes/r?refuse_if_busy=true", nil); p.Status != http.StatusConflict {
		t.Errorf("refuse_if_busy while an execution runs: %v", p)
	}
	var rs struct{ ID, State, Error string }
	s.Call(http.MethodPost, "/v1/runspaces?wait=60s", harness.JSON{"runtime": "r"}, &rs)
	if p := s.Refuse(http.MethodDelete, "/v1/runtimes/r", nil); p.Status != http.StatusConflict {
		t.Errorf("delete while a runspace is open: %v", p)
	}
	if p := s.Refuse(http.MethodDelete, "/v1/runtimes/r?refuse_if_busy=true&drain=1s", nil); p.Status != http.StatusBadRequest {
		t.Errorf("refuse and drain: %v", p)
	}
	deleted := make(chan error, 1)
	go func() { deleted <- s.Try(http.MethodDelete, "/v1/runtimes/r?drain=2s", nil, nil) }()
	refused := false
	for !refused { // nothing new begins on it
		err := s.Try(http.MethodPost, "/v1/executions?wait=10s", harness.JSON{"runtime": "r", "script": "1"}, nil)
		refused = err != nil && strings.Contains(err.Error(), "being deleted")
		if err != nil && !refused {
			t.Fatalf("an execution while the runtime drains: %v", err)
		}
	}
	if err := <-deleted; err != nil {
		t.Fatalf("drain: %v", err)
	}
	s.Call(http.MethodGet, "/v1/executions/"+ex.ID+"?wait=10s", nil, &ex)
	if ex.State != "canceled" || !strings.Contains(ex.Reason, "its runtime was deleted") {
		t.Errorf("the execution ended as %s", &ex)
	}
	s.Call(http.MethodGet, "/v1/runspaces/"+rs.ID, nil, &rs)
	if rs.State != "closed" || !strings.Contains(rs.Error, "its runtime was deleted") {
		t.Errorf("the runspace is %+v", rs)
	}
	if p := s.Refuse(http.MethodGet, "/v1/runtimes/r", nil); p.Status != http.StatusNotFound {
		t.Errorf("after the delete: %v", p)
	}
	// What ends in time is not ended.
	s.Runtime(harness.JSON{"name": "brief", "language": "python"})
	s.Call(http.MethodPost, "/v1/executions", harness.JSON{"runtime": "brief", "script": "import time\ntime.sleep(1)\n'done'"}, &ex)
	s.Call(http.MethodDelete, "/v1/runtimes/brief?drain=120s", nil, nil)
	s.Call(http.MethodGet, "/v1/executions/"+ex.ID, nil, &ex)
	if ex.State != "success" {
		t.Errorf("the brief execution ended as %s", &ex)
	}
}

// TestPoolSizes changes the bounds of a pool and looks at what there is.
func TestPoolSizes(t *testing.T) {
	t.Parallel()
	s := harness.Start(t)
	s.Runtime(harness.JSON{"name": "r", "language": "bash", "pool": harness.JSON{"min_cached": 0, "max_cached": 0}})
	if rt := get(s, "r"); rt.Instances.Ready != 0 || rt.Instances.Starting != 0 {
		t.Errorf("of 0: %+v", rt.Instances)
	}
	s.Call(http.MethodPatch, "/v1/runtimes/r", harness.JSON{"pool": harness.JSON{"min_cached": 3, "max_cached": 5}}, nil)
	deadline := time.Now().Add(time.Minute)
	for get(s, "r").Instances.Ready != 3 {
		if time.Now().After(deadline) {
			t.Fatalf("of 3 to 5 there are %+v", get(s, "r").Instances)
		}
		time.Sleep(20 * time.Millisecond)
	}
	var rt runtime
	s.Call(http.MethodPatch, "/v1/runtimes/r", harness.JSON{"pool": harness.JSON{"min_cached": 0, "max_cached": 0}}, &rt)
	if rt.Instances.Ready != 0 || rt.Instances.Starting != 0 || rt.Generation != 3 {
		t.Errorf("of 0 again: %+v at generation %d", rt.Instances, rt.Generation)
	}
}

// TestInterpretersSideBySide has a second Python below a prefix of its own.
func TestInterpretersSideBySide(t *testing.T) {
	t.Parallel()
	prefix, err := os.MkdirTemp("/opt", "remuda-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(prefix) })
	program, liar := filepath.Join(prefix, "bin", "python3.98"), filepath.Join(prefix, "bin", "python3.97")
	for _, dir := range []string{prefix, filepath.Dir(program)} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	newest := renamedPython(t, program)
	const lies = "#!/bin/sh\nif [ \"$1\" = --version ]; then echo 'Python 3.97.1'; exit; fi\nexec /usr/bin/python3 \"$@\"\n"
	if err := os.WriteFile(liar, []byte(lies), 0o755); err != nil {
		t.Fatal(err)
	}
	s := harness.Start(t, "--interpreters", prefix)
	var list struct {
		Items []struct{ Version, Path string }
	}
	s.Call(http.MethodGet, "/v1/versions?language=python", nil, &list)
	if len(list.Items) < 3 || list.Items[0].Version != newest || list.Items[0].Path != program {
		t.Fatalf("versions: %+v", list.Items)
	}
	older := list.Items[2].Version
	s.Runtime(harness.JSON{"name": "liar", "language": "python", "version": "3.97"})
	if ex := s.Run(harness.JSON{"runtime": "liar", "script": "1"}); ex.State != "error" || !strings.Contains(ex.Reason, "runs as "+older) {
		t.Errorf("one that is another version inside: %s", ex)
	}
	s.Runtime(harness.JSON{"name": "new", "language": "python", "version": "3.98"})
	s.Runtime(harness.JSON{"name": "old", "language": "python", "version": older})
	for _, name := range []string{"new", "old"} {
		if got := run(t, s, name, fmt.Sprintf("import os\nos.path.isfile(%q)", program)); got != "True" {
			t.Errorf("%s does not see the prefix: %q", name, got)
		}
	}
	if ex := s.Run(harness.JSON{"runtime": "new", "script": "open('" + program + "', 'a')"}); ex.Error == nil || ex.Error.Type != "OSError" && ex.Error.Type != "PermissionError" {
		t.Errorf("writing to the prefix: %s", ex)
	}
	if p := s.Refuse(http.MethodPost, "/v1/runtimes", harness.JSON{"name": "x", "language": "python", "version": "3.10.5"}); p.Status != http.StatusBadRequest || !strings.Contains(p.Error(), newest+", 3.97.1, "+older) {
		t.Errorf("an unknown version: %v", p)
	}
	var rt struct {
		Version         string
		VersionResolved string `json:"version_resolved"`
	}
	s.Call(http.MethodPost, "/v1/runtimes", harness.JSON{"name": "compatible", "language": "python", "version": "3.10.5", "version_policy": "compatible"}, &rt)
	if rt.Version != "3.10.5" || rt.VersionResolved != older {
		t.Errorf("compatible: %+v, want %s", rt, older)
	}
	if text := buildLog(s, "compatible", 1); !strings.Contains(text, older) || !strings.Contains(text, "3.10.5 (compatible)") {
		t.Errorf("the build's log: %s", text)
	}
}

// renamedPython places a copy of the machine's Python that has another version, and
// returns that.
func renamedPython(t *testing.T, at string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "/usr/bin/python3", "-c", "import platform; print(platform.python_version())").Output()
	if err != nil {
		t.Fatal(err)
	}
	version := strings.TrimSpace(string(out))
	newest := "3.98." + strings.Repeat("1", len(version)-len("3.98."))
	content, err := os.ReadFile("/usr/bin/python3")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(at, bytes.ReplaceAll(content, []byte(version), []byte(newest)), 0o755); err != nil {
		t.Fatal(err)
	}
	return newest
}
