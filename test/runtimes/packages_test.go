package runtimes

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/remuda-run/remuda/client"
	"github.com/remuda-run/remuda/internal/layer/indextest"
	"github.com/remuda-run/remuda/test/harness"
)

// runtime is what the API says of one.
type runtime struct {
	ID                string
	Generation        int
	ServingGeneration *int `json:"serving_generation"`
	Status            string
	Reason            *string
	Layer             *string
	Packages          []struct {
		Name, Status      string
		Resolved, Message *string
	}
	Instances struct{ Ready, Starting, Active int }
}

func get(s *harness.Server, name string) (rt runtime) {
	s.Call(http.MethodGet, "/v1/runtimes/"+name+"?wait=120s", nil, &rt)
	return rt
}

func packages(names ...string) []harness.JSON {
	list := []harness.JSON{}
	for _, name := range names {
		list = append(list, harness.JSON{"name": name})
	}
	return list
}

// settings writes a settings file with the test's index.
func settings(t *testing.T, index *indextest.Python) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "remuda.yaml")
	if err := os.WriteFile(path, []byte("packages_pip_index_url: "+index.URL()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func run(t *testing.T, s *harness.Server, runtime, script string) string {
	t.Helper()
	ex, stdout := s.Success(harness.JSON{"runtime": runtime, "script": script})
	return fmt.Sprint(stdout, ex.Value.Text)
}

func buildLog(s *harness.Server, name string, number int) string {
	var page struct{ Records []struct{ Data string } }
	s.Call(http.MethodGet, fmt.Sprintf("/v1/runtimes/%s/builds/%d/log", name, number), nil, &page)
	text := ""
	for _, r := range page.Records {
		text += r.Data
	}
	return text
}

// follow follows a build as it goes on, to its end, and compares what came with
// what is stored.
func follow(t *testing.T, s *harness.Server, name string, number int) {
	t.Helper()
	c, err := client.New(s.Base, s.Token)
	if err != nil {
		t.Fatal(err)
	}
	said, states := "", []string{}
	end, err := c.FollowBuild(t.Context(), name, number, 0, func(r client.OutputRecord) error {
		said += string(client.Bytes(r))
		return nil
	}, func(b client.Build) error {
		states = append(states, string(b.Packages[0].Status))
		return nil
	})
	if err != nil || end.Status != "ready" || end.Generation != number || end.EndedAt == nil {
		t.Errorf("the stream ended with %+v, %v", end, err)
	}
	if stored := buildLog(s, name, number); said != stored || !strings.Contains(said, "is ready") {
		t.Errorf("the stream said %q, the log has %q", said, stored)
	}
	if len(states) < 2 || states[len(states)-1] != "installed" || states[0] == "installed" {
		t.Errorf("the package went through %q", states)
	}
}

// TestPackages installs from a real index with the real pip, in real sandboxes.
func TestPackages(t *testing.T) {
	t.Parallel()
	index := indextest.NewPython(t)
	index.Wheel(t, indextest.Project{Name: "herd", Version: "1.0", Files: map[string]string{"herd/__init__.py": "horses = 1\n"}})
	index.Sdist(t, indextest.Project{Name: "broken", Version: "1.0", Setup: "raise SystemExit('broken on purpose')"})
	s := harness.Start(t, "--config", settings(t, index))
	s.Runtime(harness.JSON{"name": "lab", "language": "python", "packages": packages("herd"), "pool": harness.JSON{"min_cached": 1, "max_cached": 2}})
	rt := get(s, "lab")
	if rt.Status != "ready" || rt.Layer == nil || rt.Packages[0].Status != "installed" || *rt.Packages[0].Resolved != "1.0" {
		t.Fatalf("built: %+v\n%s", rt, buildLog(s, "lab", 1))
	}
	if got := run(t, s, "lab", "import herd; herd.horses"); got != "1" {
		t.Errorf("the package says %q", got)
	}
	began := time.Now()
	s.Runtime(harness.JSON{"name": "equal", "language": "python", "packages": packages("herd")})
	t.Logf("an equal runtime took %s", time.Since(began))
	if equal := get(s, "equal"); equal.Status != "ready" || *equal.Layer != *rt.Layer || equal.Generation != 1 {
		t.Errorf("an equal runtime: %+v", equal)
	}

	// A build that fails leaves the last one serving, with a tighter policy at once.
	s.Call(http.MethodPatch, "/v1/runtimes/lab", harness.JSON{"packages": packages("herd", "broken")}, nil)
	if rt = get(s, "lab"); rt.Status != "error" || *rt.ServingGeneration != 1 || !strings.Contains(*rt.Reason, "broken") {
		t.Errorf("after a build that failed: %+v", rt)
	}
	if text := buildLog(s, "lab", 2); !strings.Contains(text, "broken on purpose") {
		t.Errorf("the installer's words are not in the log:\n%s", text)
	}
	if got := run(t, s, "lab", "import herd; herd.horses"); got != "1" {
		t.Errorf("the last good generation says %q", got)
	}

	// What is new in the index comes with refresh only.
	index.Wheel(t, indextest.Project{Name: "herd", Version: "2.0", Files: map[string]string{"herd/__init__.py": "horses = 2\n"}})
	s.Call(http.MethodPatch, "/v1/runtimes/lab", harness.JSON{"packages": packages("herd")}, nil)
	if got := run(t, s, "lab", "import herd; herd.horses"); get(s, "lab").Status != "ready" || got != "1" {
		t.Errorf("without refresh the package says %q", got)
	}
	s.Call(http.MethodPost, "/v1/runtimes/lab/rebuild", harness.JSON{"refresh": true}, &rt)
	follow(t, s, "lab", rt.Generation)
	if rt = get(s, "lab"); rt.Status != "ready" || *rt.Packages[0].Resolved != "2.0" {
		t.Errorf("refreshed: %+v\n%s", rt, buildLog(s, "lab", rt.Generation))
	}
	if got := run(t, s, "lab", "import herd; herd.horses"); got != "2" {
		t.Errorf("with refresh the package says %q", got)
	}
	layers, err := filepath.Glob(filepath.Join(s.Data, "layers", "org_*", strings.Repeat("[0-9a-f]", 64)))
	if err != nil || len(layers) == 0 {
		t.Errorf("layers on disk: %v, %v", layers, err)
	}
}

// TestBuildSurvivesKill kills the server in the middle of a build.
func TestBuildSurvivesKill(t *testing.T) {
	t.Parallel()
	index := indextest.NewPython(t)
	index.Wheel(t, indextest.Project{Name: "herd", Version: "1.0", Files: map[string]string{"herd/__init__.py": "horses = 1\n"}})
	index.Sdist(t, indextest.Project{Name: "slow", Version: "1.0", Files: map[string]string{"slow.py": "pace = 'walk'\n"}, Setup: "import time, sys\nprint('grazing', file=sys.stderr, flush=True)\ntime.sleep(3)"})
	config := settings(t, index)
	s := harness.Start(t, "--config", config)
	s.Runtime(harness.JSON{"name": "lab", "language": "python", "packages": packages("herd")})
	if rt := get(s, "lab"); rt.Status != "ready" {
		t.Fatalf("built: %+v", rt)
	}
	s.Call(http.MethodPatch, "/v1/runtimes/lab", harness.JSON{"packages": packages("herd", "slow")}, nil)
	for deadline := time.Now().Add(time.Minute); !strings.Contains(buildLog(s, "lab", 2), "slow"); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the build does not begin:\n%s", buildLog(s, "lab", 2))
		}
	}
	s.Kill()
	s.Up("--config", config)
	var now runtime
	s.Call(http.MethodGet, "/v1/runtimes/lab", nil, &now)
	if now.Generation != 2 || now.ServingGeneration == nil {
		t.Errorf("after the kill: %+v", now)
	}
	if got := run(t, s, "lab", "import herd; herd.horses"); got != "1" {
		t.Errorf("the serving generation says %q", got)
	}
	rt := get(s, "lab")
	text := buildLog(s, "lab", 2)
	if rt.Status != "ready" || *rt.ServingGeneration != 2 || !strings.Contains(text, "the build begins anew") {
		t.Fatalf("resumed: %+v\n%s", rt, text)
	}
	if got := run(t, s, "lab", "import herd, slow; slow.pace"); !strings.Contains(got, "walk") {
		t.Errorf("the resumed build says %q", got)
	}
	left, err := filepath.Glob(filepath.Join(s.Data, "layers", "*tmp*", "*"))
	if err != nil || len(left) != 0 {
		t.Errorf("left of the killed build: %v, %v", left, err)
	}
}
