//go:build vm

package vm

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// root is the top of the source tree, seen from this package.
const root = "../.."

// only is for whoever looks for a fault in there.
var only = flag.String("only", "", "run in the machine only the tests that match, a pattern as of go test -run")

// skipped is what the emulated machine has no time for: what has to do neither with
// cgroups nor with its kernel (streams of output, the channel, races in the files API
// and the like, which the same binaries prove outside), of the suite's second run, on
// forked instances, the same and more, hostile templates, which meet no other kernel
// there, and of layers, of what survives and of terminals what is tried many times or
// in every language.
const skipped = "TestConformance/(streams|channel)|TestConformance/files/race|TestLayers/node" +
	"|TestConformanceOfForks/(streams|kernel|loops|channel|sight|files|network|languages)|TestTemplate(TakenOver|HasNoPowers|Spies|Undoes)" +
	"|TestKilledAnytime|TestLanguagesSurvive|TestLost/forked|TestEgressSurvives/started|TestTerminalIsNeverHalfFenced|TestTerminalIsNoWayOut"

// suites are the packages whose tests run inside the machine. Everything that
// touches cgroups, namespaces or the guest belongs here.
var suites = []struct {
	pkg     string
	minutes int
	minimum int // top-level tests that must have passed
}{
	{"internal/engine/local", 15, 15},
	{"test/vm/smoke", 8, 8},
}

// TestMachine boots the machine, runs every suite in it and judges the report.
func TestMachine(t *testing.T) {
	imageDir := makeImage(t)
	payloadDir := t.TempDir()
	steps := makePayload(t, payloadDir)

	limit := 3 * time.Minute // to boot and to turn off
	for _, s := range steps {
		limit += time.Duration(s.TimeoutSeconds+10) * time.Second
	}
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	outcomes, err := ParseReport(bootMachine(ctx, t, imageDir, payloadDir))
	if err != nil {
		t.Errorf("the report is not complete: %v", err)
	}
	byName := make(map[string]Outcome, len(outcomes))
	for _, o := range outcomes {
		byName[o.Name] = o
	}
	for i, step := range steps {
		t.Run(step.Name, func(t *testing.T) {
			o, ok := byName[step.Name]
			if !ok {
				t.Fatal("the step did not run")
			}
			minimum := suites[i].minimum
			if *only != "" {
				minimum = 0
			}
			judge(t, o, minimum)
		})
	}
}

// judge fails a step that failed or that tested less than it must.
func judge(t *testing.T, o Outcome, minimum int) {
	t.Helper()
	passed, failed, skipped := TestCounts(o.Output)
	t.Logf("%d passed, %d failed, %d skipped in %v", passed, failed, skipped, o.Took)
	if o.Status != 0 || failed > 0 {
		t.Errorf("exit status %d, %d tests failed; the output is above", o.Status, failed)
	}
	if passed < minimum {
		t.Errorf("%d tests passed, want at least %d", passed, minimum)
	}
	for _, line := range o.Output {
		if strings.HasPrefix(line, "--- SKIP: ") {
			t.Logf("skipped in the machine: %s", line)
		}
	}
}

// makeImage returns the directory of the image, made by image.sh unless a run
// with the same script has left it.
func makeImage(t *testing.T) string {
	t.Helper()
	script := mustRead(t, "image.sh")
	cache, err := filepath.Abs(filepath.Join(root, ".cache", "vm"))
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(cache, fmt.Sprintf("%x", sha256.Sum256(script))[:16])
	if _, err := os.Stat(dir); err == nil {
		return dir
	}
	// Images of earlier versions of the script are of no use any more.
	if err := os.RemoveAll(cache); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		t.Fatal(err)
	}
	// Made beside its place and renamed, so that a broken run leaves no half image.
	part, err := os.MkdirTemp(cache, "part-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(part)
	start := time.Now()
	run(t, ".", nil, "./image.sh", part)
	if err := os.Rename(part, dir); err != nil {
		t.Fatal(err)
	}
	t.Logf("made the image in %v", time.Since(start).Round(time.Second))
	return dir
}

// makePayload lays out what the machine runs: the guest program, the test
// binaries with their testdata, the product itself and the list of steps.
func makePayload(t *testing.T, dir string) []Step {
	t.Helper()
	static := []string{"CGO_ENABLED=0"}
	run(t, root, nil, "install", "-D", "bin/remuda", filepath.Join(dir, "bin", "remuda"))
	run(t, root, static, "go", "build", "-trimpath", "-o", filepath.Join(dir, "guest"), "./test/vm/guest")
	var steps []Step
	for _, s := range suites {
		name := strings.ReplaceAll(s.pkg, "/", "-")
		run(t, root, static, "go", "test", "-c", "-trimpath", "-tags", "vm", "-o", filepath.Join(dir, name+".test"), "./"+s.pkg)
		work := filepath.Join(dir, "src", s.pkg)
		if err := os.MkdirAll(work, 0o755); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(filepath.Join(root, s.pkg, "testdata")); err == nil {
			run(t, root, nil, "cp", "-r", filepath.Join(s.pkg, "testdata"), work)
		}
		steps = append(steps, Step{
			Name: name,
			Argv: []string{"/payload/" + name + ".test", "-test.v", "-test.count=1", "-test.parallel=2", "-test.short", "-test.run=" + *only, "-test.skip=" + skipped, fmt.Sprintf("-test.timeout=%dm", s.minutes)},
			Dir:  filepath.Join("/payload/src", s.pkg),
			Env:  []string{"PROGRAM_UNDER_TEST=/payload/bin/remuda"},
			// The test binary's own limit comes first and says more.
			TimeoutSeconds: s.minutes*60 + 20,
			// A test that hangs tells its goroutines before the machine is ended.
			SilenceSeconds: int(silence.Seconds()) * 3 / 4,
		})
	}
	text, err := json.Marshal(steps)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "steps.json"), text, 0o600); err != nil {
		t.Fatal(err)
	}
	return steps
}

// run runs a command of the preparation in dir and fails the test with its
// output when it fails.
func run(t *testing.T, dir string, env []string, name string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
}
