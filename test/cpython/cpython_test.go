package cpython

import (
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/remuda-run/remuda/test/harness"
)

// modules of the package test that are run. test_sqlite3 is not in Debian's
// package (docs/cpython.md); test/real has a workload for sqlite3 instead.
// TestModulesAreThere fails when that changes.
var modules = []string{"test_json", "test_zlib", "test_threading", "test_subprocess", "test_tempfile", "test_decimal"}

// minimum is the number of tests that the modules had when this was written,
// less a margin; a suite that shrinks to nothing must not look like success.
const minimum = 1000

// outcome is what suite.py says of one module.
type outcome struct {
	Run     int               `json:"run"`
	Failed  map[string]string `json:"failed"`
	Skipped map[string]string `json:"skipped"`
}

const python = "/usr/bin/python3"

func TestRegressionTestsInsideAndOutside(t *testing.T) {
	suite, err := os.ReadFile("suite.py")
	if err != nil {
		t.Fatal(err)
	}
	explained := explanations(t)
	s := harness.Start(t)
	runtime := s.Runtime(harness.JSON{
		"name": "cpython", "language": "python", "exec_timeout_s": 600,
		"resources": harness.JSON{"cpu": 2, "memory_mb": 1024, "disk_mb": 256, "pids": 256},
	})
	var total atomic.Int64
	t.Run("modules", func(t *testing.T) {
		for _, module := range modules {
			t.Run(module, func(t *testing.T) {
				t.Parallel() // they wait more than they compute
				in := inside(t, s.For(t), runtime, string(suite), module)
				out := outside(t, string(suite), module)
				total.Add(int64(in.Run))
				t.Logf("inside:  %d run, %d failed, %d skipped", in.Run, len(in.Failed), len(in.Skipped))
				t.Logf("outside: %d run, %d failed, %d skipped", out.Run, len(out.Failed), len(out.Skipped))
				compare(t, module, in, out, explained)
			})
		}
	})
	if total.Load() < minimum && !t.Failed() {
		t.Errorf("%d tests were run, want at least %d", total.Load(), minimum)
	}
}

// TestModulesAreThere proves that the list above is what it says: a module that
// Debian starts to ship is to be added to it.
func TestModulesAreThere(t *testing.T) {
	t.Parallel()
	const find = "import importlib.util, sys; print(importlib.util.find_spec('test.' + sys.argv[1]) is not None)"
	for module, want := range map[string]string{"test_sqlite3": "False\n", "test_json": "True\n"} {
		out, err := exec.CommandContext(t.Context(), python, "-I", "-S", "-c", find, module).CombinedOutput()
		if err != nil || string(out) != want {
			t.Errorf("is test.%s there? %s (%v), want %s", module, out, err, want)
		}
	}
}

// inside runs a module in a runspace of its own.
func inside(t *testing.T, s *harness.Server, runtime, suite, module string) outcome {
	t.Helper()
	space := s.Runspace(runtime)
	s.Call("PUT", "/v1/runspaces/"+space+"/files/suite.py", strings.NewReader(suite), nil)
	ex := s.RunIn(space, harness.JSON{"code_file": "suite.py", "args": []string{module}})
	stdout, stderr := s.Output(ex.ID)
	if ex.State != "success" {
		t.Fatalf("%s ended as %s\nstdout: %s\nstderr: %s", module, ex, stdout, stderr)
	}
	return parse(t, module, stdout)
}

// outside runs a module as an ordinary user of this machine, because that is
// what a script is inside.
func outside(t *testing.T, suite, module string) outcome {
	t.Helper()
	const nobody = 65534
	cmd := exec.CommandContext(t.Context(), python, "-I", "-S", "-B", "-", module)
	cmd.Stdin = strings.NewReader(suite)
	cmd.Dir = "/"
	cmd.Env = []string{"PATH=/usr/bin:/bin", "HOME=/nonexistent", "LANG=C.UTF-8"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	stdout, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s outside: %v\n%s", module, err, stdout)
	}
	return parse(t, module, string(stdout))
}

func parse(t *testing.T, module, text string) outcome {
	t.Helper()
	var report map[string]outcome
	if err := json.Unmarshal([]byte(text), &report); err != nil {
		t.Fatalf("%s reported no JSON object (%v): %.400q", module, err, text)
	}
	o, ok := report[module]
	if !ok || o.Run == 0 {
		t.Fatalf("%s ran no test: %.400q", module, text)
	}
	return o
}

// compare fails on every difference that is not explained.
func compare(t *testing.T, module string, in, out outcome, explained []string) {
	t.Helper()
	differ := func(name, what string) {
		if i := slices.IndexFunc(explained, func(pattern string) bool { return matches(pattern, name) }); i >= 0 {
			t.Logf("explained (%s): %s %s", explained[i], name, what)
			return
		}
		t.Errorf("not explained in docs/cpython.md: %s %s", name, what)
	}
	if in.Run != out.Run {
		differ(module, "ran a different number of tests")
	}
	pairs := []struct {
		word    string
		in, out map[string]string
	}{{"failed", in.Failed, out.Failed}, {"was skipped", in.Skipped, out.Skipped}}
	for _, p := range pairs {
		for _, name := range slices.Sorted(maps.Keys(p.in)) {
			if _, both := p.out[name]; !both {
				differ(strings.TrimPrefix(name, "test."), p.word+" inside only: "+p.in[name])
			}
		}
		for _, name := range slices.Sorted(maps.Keys(p.out)) {
			if _, both := p.in[name]; !both {
				differ(strings.TrimPrefix(name, "test."), p.word+" outside only: "+p.out[name])
			}
		}
	}
}

func matches(pattern, name string) bool {
	ok, err := path.Match(pattern, name)
	return err == nil && ok
}

// row is a line of the table in the document: the test in code, and the reason.
var row = regexp.MustCompile("(?m)^\\| `(test_[A-Za-z0-9_.*]+)` \\|[^|]*\\| *[^| ][^|]*\\|$")

// explanations returns the test names, or patterns of them, that the document
// explains.
func explanations(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile("../../docs/cpython.md")
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, m := range row.FindAllStringSubmatch(string(text), -1) {
		list = append(list, m[1])
	}
	if rows := strings.Count(string(text), "\n| `test_"); rows != len(list) {
		t.Fatalf("docs/cpython.md has %d rows of tests, but %d of the form that this test reads", rows, len(list))
	}
	return list
}
