package survive

import (
	"archive/zip"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/remuda-run/remuda/test/harness"
)

// wheel writes a package of two modules.
func wheel(t *testing.T, dir, name string) {
	t.Helper()
	f, err := os.Create(filepath.Join(dir, name+"-1.0-py3-none-any.whl"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	z := zip.NewWriter(f)
	info := name + "-1.0.dist-info/"
	for _, part := range [][2]string{
		{name + "/__init__.py", ""}, {name + "/early.py", "said = 'early'\n"}, {name + "/late.py", "said = 'late'\n"},
		{info + "METADATA", "Metadata-Version: 2.1\nName: " + name + "\nVersion: 1.0\n"},
		{info + "WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"},
		{info + "RECORD", name + "/__init__.py,,\n" + name + "/early.py,,\n" + name + "/late.py,,\n" + info + "METADATA,,\n" + info + "WHEEL,,\n" + info + "RECORD,,\n"},
	} {
		w, err := z.Create(part[0])
		if err == nil {
			_, err = w.Write([]byte(part[1]))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
}

// The packages of a generation that serves no more stay for the runspace that is of
// it, over kill -9 and whatever is built and collected after that, and go with it.
func TestPackagesStay(t *testing.T) {
	t.Parallel()
	wheels := t.TempDir()
	for _, name := range []string{"bay", "dun", "roan"} {
		wheel(t, wheels, name)
	}
	w := newWorld(t, 1, 1, "--packages-wheel-dir", wheels)
	install := func(method, path, name string) {
		t.Helper()
		body := harness.JSON{"packages": []harness.JSON{{"name": name}}}
		if method == http.MethodPost {
			body["name"], body["language"] = "packed", "python"
		}
		w.Call(method, path, body, nil)
		var rt struct {
			Status, Reason string
			Serving        int `json:"serving_generation"`
			Generation     int
		}
		w.Eventually("the packages are installed", func() bool {
			w.Call(http.MethodGet, "/v1/runtimes/packed?wait=30s", nil, &rt)
			return rt.Status != "busy"
		})
		if rt.Status != "ready" || rt.Serving != rt.Generation {
			t.Fatalf("%s: the runtime is %s: %s", name, rt.Status, rt.Reason)
		}
	}
	layers := func() int {
		found, err := filepath.Glob(filepath.Join(w.Data, "layers", "org_*", "*", "tree"))
		if err != nil {
			t.Fatal(err)
		}
		for _, tree := range found { // young ones are kept in any case
			if err := os.Chtimes(filepath.Dir(tree), time.Time{}, time.Now().Add(-time.Hour)); err != nil {
				t.Fatal(err)
			}
		}
		return len(found)
	}
	install(http.MethodPost, "/v1/runtimes", "bay")
	old := &space{id: w.Runspace("packed")}
	if err := w.holds(old, "import bay.early\nbay.early.said", "early"); err != nil {
		t.Fatal(err)
	}
	install(http.MethodPatch, "/v1/runtimes/packed", "dun")
	if n := layers(); n != 2 {
		t.Errorf("%d layers are there, want that of the old generation and that of the present one", n)
	}
	w.Kill()
	w.up()
	w.remember()
	install(http.MethodPatch, "/v1/runtimes/packed", "roan")
	if n := layers(); n < 2 {
		t.Errorf("%d layers are there, want that of the old generation and that of the present one", n)
	}
	if err := w.holds(old, "import bay.late\n(bay.early.said, bay.late.said)", "('early', 'late')"); err != nil {
		t.Errorf("the packages of an old generation: %v", err)
	}
	fresh := &space{id: w.Runspace("packed")}
	if err := w.holds(fresh, "import roan.late\nroan.late.said", "late"); err != nil {
		t.Errorf("the packages of the present one: %v", err)
	}
	w.Call(http.MethodDelete, "/v1/runspaces/"+old.id, nil, nil)
	w.Call(http.MethodDelete, "/v1/runspaces/"+fresh.id, nil, nil)
	w.Call(http.MethodDelete, "/v1/runtimes/packed", nil, nil)
	w.Eventually("no layer is left", func() bool { return layers() == 0 })
	w.finish()
	w.close()
	w.Down()
	w.Untouched()
}
