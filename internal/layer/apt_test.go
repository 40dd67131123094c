package layer_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/remuda-run/remuda/internal/layer"
	"github.com/remuda-run/remuda/internal/remuda"
)

// aptHouse resolves with the machine's own sources, or skips where they do not
// answer.
func aptHouse(t *testing.T, settings layer.Settings) *house {
	t.Helper()
	settings.BuildResources = remuda.Resources{CPU: 2, MemoryMB: 1024, DiskMB: 1500, Pids: 128}
	return newHouse(t, settings)
}

func (h *house) makeApt(r layer.Request) (remuda.Lock, string) {
	h.t.Helper()
	p := &heard{}
	lock, err := h.Resolve(h.t.Context(), r, p)
	if err != nil {
		if strings.Contains(p.String(), "cannot be had") || strings.Contains(p.String(), "Could not resolve") {
			h.t.Skipf("the archives of this machine are not to be reached: %v", err)
		}
		h.t.Fatalf("resolve: %v\n%s", err, p)
	}
	l, err := h.Install(h.t.Context(), h.org, lock, p)
	if err != nil {
		h.t.Fatalf("install: %v\n%s", err, p)
	}
	return lock, l.Path
}

func TestAptTool(t *testing.T) {
	t.Parallel()
	h := aptHouse(t, layer.Settings{})
	r := h.request(remuda.LanguageBash, pkg("jq", ""), pkg("cowsay", ""))
	lock, _ := h.makeApt(r)
	l, ok := h.Layer(h.org, layer.ID(lock))
	if !ok {
		t.Fatal("the layer is not there")
	}
	out := run(t, remuda.LanguageBash, r.Version, `jq --version; echo '{"a": [1, 2]}' | jq -c .a; cowsay -f default moo | tail -n 1; ls /usr/bin/bash; ls -l /usr/bin/jq | cut -c 1-10`, l)
	if !strings.HasPrefix(out, "jq-1.") || !strings.Contains(out, "\n[1,2]\n") || !strings.Contains(out, "||") || !strings.Contains(out, "/usr/bin/bash\n-rwxr-xr-x\n") {
		t.Errorf("got %q", out)
	}
	for _, p := range lock.Packages {
		if p.Manager != remuda.ManagerApt || len(p.Hashes) != 1 {
			t.Errorf("locked %+v", p)
		}
	}
}

func TestAptPandas(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("it fetches 100 MB")
	}
	h := aptHouse(t, layer.Settings{})
	packages := []remuda.Package{{Name: "python3-numpy", Manager: remuda.ManagerApt}, {Name: "python3-pandas", Manager: remuda.ManagerApt}}
	r := h.request(remuda.LanguagePython, packages...)
	lock, _ := h.makeApt(r)
	l, _ := h.Layer(h.org, layer.ID(lock))
	out := run(t, remuda.LanguagePython, r.Version, "import numpy, pandas\nprint(pandas.DataFrame({'a': numpy.arange(4)}).a.sum(), pandas.__file__)", l)
	if compiled, err := filepath.Glob(filepath.Join(l.Path, "usr/lib/python3/dist-packages/pandas/__pycache__/*.pyc")); err != nil || len(compiled) == 0 {
		t.Errorf("nothing was compiled: %v", err)
	}
	if out != "6 /usr/lib/python3/dist-packages/pandas/__init__.py\n" {
		t.Errorf("got %q", out)
	}
}

func TestAptRefuses(t *testing.T) {
	t.Parallel()
	h := aptHouse(t, layer.Settings{Allow: []string{"apt:jq", "pip:*"}})
	p, err := h.fails(h.request(remuda.LanguageBash, pkg("cowsay", "")))
	if remuda.CodeOf(err) != remuda.CodeForbidden || layer.BlamedPackage(err) != "cowsay" {
		t.Errorf("got %v\n%s", err, p)
	}
	h = aptHouse(t, layer.Settings{})
	p, err = h.fails(h.request(remuda.LanguageBash, pkg("no-such-package-as-this", "")))
	if strings.Contains(p.String(), "cannot be had") {
		t.Skip("the archives of this machine are not to be reached")
	}
	if remuda.CodeOf(err) != remuda.CodeInvalid || layer.BlamedPackage(err) != "no-such-package-as-this" {
		t.Errorf("got %v\n%s", err, p)
	}
}
