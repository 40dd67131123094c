package layer_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/engine/local"
	"github.com/remuda-run/remuda/internal/layer"
	"github.com/remuda-run/remuda/internal/layer/indextest"
	"github.com/remuda-run/remuda/internal/remuda"
)

// shared is the engine of all tests: sandboxes are what is to be tested in.
var shared *local.Engine

func TestMain(m *testing.M) {
	if os.Geteuid() != 0 {
		fmt.Println("skipped: these tests make sandboxes and need root")
		return
	}
	if dir := os.Getenv(serverDir); dir != "" {
		server(dir, os.Getenv(serverIndex))
		return
	}
	// Fuzzing needs no sandbox, and its workers are killed at their end.
	if slices.ContainsFunc(os.Args, func(arg string) bool { return strings.HasPrefix(arg, "-test.fuzz=") || arg == "-test.fuzzworker" }) {
		os.Exit(m.Run())
	}
	os.Exit(withEngine(m))
}

func withEngine(m *testing.M) int {
	dir, err := os.MkdirTemp("", "remuda-layer-test")
	if err != nil {
		fmt.Println(err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	ctx := context.Background()
	if shared, err = local.New(ctx, local.Options{DataDir: dir, Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))}); err != nil {
		fmt.Println(err)
		return 1
	}
	if _, err := shared.Recover(ctx, nil); err != nil {
		fmt.Println(err)
		return 1
	}
	code := m.Run()
	if err := shared.Close(ctx); err != nil {
		fmt.Println(err)
		return 1
	}
	return code
}

// heard is a Progress that remembers.
type heard struct {
	mu     sync.Mutex
	log    strings.Builder
	states map[string]string
}

func (h *heard) Log(b []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.log.Write(b)
}

func (h *heard) Package(name string, state remuda.PackageState, resolved, message string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.states == nil {
		h.states = map[string]string{}
	}
	h.states[name] = strings.TrimSpace(string(state) + " " + resolved + " " + message)
}

func (h *heard) String() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return fmt.Sprintf("%v\n%s", h.states, h.log.String())
}

// house is a maker with an organization that asks it.
type house struct {
	t testing.TB
	*layer.Maker
	dir     string
	org     remuda.OrganizationID
	created atomic.Int64 // sandboxes
}

// counting is the shared engine with a count of what a house has it make.
type counting struct {
	layer.Engine
	h *house
}

// Create implements layer.Engine.
func (c counting) Create(ctx context.Context, spec engine.Spec) (engine.Instance, error) {
	c.h.created.Add(1)
	return c.Engine.Create(ctx, spec)
}

func newHouse(t testing.TB, settings layer.Settings) *house {
	t.Helper()
	h := &house{t: t, dir: filepath.Join(t.TempDir(), "layers"), org: remuda.NewOrganizationID()}
	h.open(settings)
	return h
}

func (h *house) open(settings layer.Settings) {
	h.t.Helper()
	if settings.BuildResources == (remuda.Resources{}) {
		settings.BuildResources = remuda.Resources{CPU: 2, MemoryMB: 1024, DiskMB: 256, Pids: 128}
	}
	if settings.BuildTimeout == 0 {
		settings.BuildTimeout = 5 * time.Minute
	}
	maker, err := layer.New(layer.Options{Dir: h.dir, Engine: counting{shared, h}, Settings: settings, Logger: slog.New(slog.NewTextHandler(h.t.Output(), nil))})
	if err != nil {
		h.t.Fatal(err)
	}
	h.Maker = maker
}

func (h *house) request(language remuda.Language, packages ...remuda.Package) layer.Request {
	h.t.Helper()
	list, err := shared.Versions(h.t.Context(), "", language)
	if err != nil || len(list) == 0 {
		h.t.Fatalf("no %s: %v", language, err)
	}
	version := list[0].Version
	for _, in := range list { // the one of the distribution, which has pip
		if in.Path == "/usr/bin/python3" {
			version = in.Version
		}
	}
	return layer.Request{Organization: h.org, Language: language, Version: version, Packages: packages}
}

// make resolves and installs.
func (h *house) make(r layer.Request) (remuda.Lock, engine.Layer, *heard) {
	h.t.Helper()
	p := &heard{}
	lock, err := h.Resolve(h.t.Context(), r, p)
	if err != nil {
		h.t.Fatalf("resolve: %v\n%s", err, p)
	}
	l, err := h.Install(h.t.Context(), h.org, lock, p)
	if err != nil {
		h.t.Fatalf("install: %v\n%s", err, p)
	}
	return lock, l, p
}

// fails expects an error of Resolve or Install.
func (h *house) fails(r layer.Request) (*heard, error) {
	h.t.Helper()
	p := &heard{}
	lock, err := h.Resolve(h.t.Context(), r, p)
	if err == nil {
		_, err = h.Install(h.t.Context(), h.org, lock, p)
	}
	if err == nil {
		h.t.Fatalf("it was installed\n%s", p)
	}
	return p, err
}

// run runs a script in an instance that has layers.
func run(t testing.TB, language remuda.Language, version, script string, layers ...engine.Layer) string {
	t.Helper()
	inst, err := shared.Create(t.Context(), engine.Spec{
		ID: remuda.NewInstanceID(), Language: language, Version: version, Layers: layers,
		Resources: remuda.Resources{CPU: 2, MemoryMB: 512, DiskMB: 64, Pids: 64},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := inst.Destroy(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	}()
	var out strings.Builder
	res, err := inst.Execute(t.Context(), engine.Request{ID: remuda.NewExecutionID(), Script: script, Timeout: time.Minute}, func(r remuda.OutputRecord) error {
		out.Write(r.Data)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if res.State != remuda.ExecutionSuccess {
		t.Errorf("the script ended with %s %+v", res.State, res.Error)
	}
	return out.String()
}

func pkg(name, version string) remuda.Package { return remuda.Package{Name: name, Version: version} }

// herd is an index with packages that need each other.
func herd(t testing.TB) *indextest.Python {
	t.Helper()
	x := indextest.NewPython(t)
	x.Wheel(t, indextest.Project{
		Name: "horse-lib", Version: "1.2", Files: map[string]string{"horse/__init__.py": "from saddle import leather\nname = 'horse on ' + leather\ndef main(): print(name)\n"},
		Requires: []string{"saddle>=2"}, Scripts: map[string]string{"horse": "horse:main"},
	})
	x.Wheel(t, indextest.Project{Name: "saddle", Version: "1.0", Files: map[string]string{"saddle.py": "leather = 'old'\n"}})
	x.Sdist(t, indextest.Project{Name: "saddle", Version: "2.1", Files: map[string]string{"saddle.py": "leather = 'leather 2.1'\n"}})
	return x
}

func TestPip(t *testing.T) {
	t.Parallel()
	for _, form := range []string{"json", "html"} {
		t.Run(form, func(t *testing.T) {
			t.Parallel()
			x := herd(t)
			if form == "html" {
				x.HTML()
			}
			h := newHouse(t, layer.Settings{PipIndexURL: x.URL()})
			r := h.request(remuda.LanguagePython, pkg("Horse_Lib", ""))
			lock, l, p := h.make(r)
			if p.states["Horse_Lib"] != "installed 1.2" && p.states["horse-lib"] != "installed 1.2" {
				t.Errorf("states %v", p.states)
			}
			if len(lock.Packages) != 2 || lock.Packages[0].Name != "horse-lib" || !lock.Packages[0].Asked || lock.Packages[1].Version != "2.1" || lock.Packages[1].Asked {
				t.Errorf("lock %+v", lock.Packages)
			}
			if !strings.Contains(p.log.String(), "Successfully installed") {
				t.Errorf("the log lacks pip's own words:\n%s", p.log.String())
			}
			const script = `
import horse, subprocess
print(horse.name, horse.__file__)
print(subprocess.run(["horse"], capture_output=True, text=True))
`
			out := run(t, remuda.LanguagePython, r.Version, script, l)
			if !strings.Contains(out, "horse on leather 2.1 /layer/0/python/horse/__init__.py") || !strings.Contains(out, `stdout='horse on leather 2.1\n'`) {
				t.Errorf("got %s", out)
			}
		})
	}
}

// TestLinesStayWhole has a script say errors as apt-get does, piece by piece on its
// standard error, and other things on its standard output.
func TestLinesStayWhole(t *testing.T) {
	t.Parallel()
	const times = 1000
	h, p := newHouse(t, layer.Settings{}), &heard{}
	if err := h.Say(t.Context(), p, fmt.Sprintf("for n in {1..%d}; do printf 'E: ' >&2; printf 'none\\n' >&2; echo out; done", times)); err != nil {
		t.Fatal(err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if got := p.log.String(); got != strings.Repeat("E: none\nout\n", times) {
		t.Errorf("%d of %d errors are whole, in:\n%.400s", strings.Count(got, "E: none\nout\n"), times, got)
	}
}
