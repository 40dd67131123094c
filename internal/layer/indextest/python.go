package indextest

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"html"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/remuda-run/remuda/internal/layer/index"
)

// Python is a Python package index.
type Python struct {
	server *httptest.Server
	asked  atomic.Int64

	mu    sync.Mutex
	files map[string][]*File // by project
	html  bool
}

// File is one that an index has.
type File struct {
	Name    string
	Content []byte
	// Hash is what pages say of it; "" is the true one, "-" none.
	Hash string
	// URL is what pages link to instead of the file.
	URL string
}

// NewPython starts an empty one that ends with the test.
func NewPython(t testing.TB) *Python {
	t.Helper()
	p := &Python{files: map[string][]*File{}}
	p.server = httptest.NewServer(p)
	t.Cleanup(p.server.Close)
	return p
}

// URL is what packages_pip_index_url has to be.
func (p *Python) URL() string { return p.server.URL + "/simple/" }

// Asked is how many requests came.
func (p *Python) Asked() int64 { return p.asked.Load() }

// HTML serves pages by PEP 503 instead of PEP 691.
func (p *Python) HTML() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.html = true
}

// Add has a file in the index and returns it; it may be changed before the first
// request for it.
func (p *Python) Add(project, name string, content []byte) *File {
	f := &File{Name: name, Content: content}
	p.mu.Lock()
	defer p.mu.Unlock()
	project = index.Canonical("pip", project)
	p.files[project] = append(p.files[project], f)
	return f
}

// Remove takes a file out of the index.
func (p *Python) Remove(project, name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	project = index.Canonical("pip", project)
	p.files[project] = slices.DeleteFunc(p.files[project], func(f *File) bool { return f.Name == name })
}

// Project is what a package is built from.
type Project struct {
	Name, Version string
	Files         map[string]string // modules, by path
	Requires      []string
	Scripts       map[string]string // entry points: "name" -> "module:function"
	// Setup is put before the call of setup() in setup.py: it runs when the package is
	// built.
	Setup string
	// Pyproject is the text of pyproject.toml; "" is none.
	Pyproject string
}

// Wheel builds a wheel and has it in the index.
func (p *Python) Wheel(t testing.TB, from Project) *File {
	t.Helper()
	path := Build(t, from, "bdist_wheel")
	return p.Add(from.Name, filepath.Base(path), read(t, path))
}

// Sdist builds a source distribution and has it in the index.
func (p *Python) Sdist(t testing.TB, from Project) *File {
	t.Helper()
	path := Build(t, from, "sdist")
	return p.Add(from.Name, filepath.Base(path), read(t, path))
}

func read(t testing.TB, path string) []byte {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// Build builds a distribution with the machine's own setuptools ("bdist_wheel" or
// "sdist") and returns its path. What Project.Setup does is left out of this build.
func Build(t testing.TB, from Project, command string) string {
	t.Helper()
	dir := t.TempDir()
	setup := "import os, sys\nfrom setuptools import setup, find_packages\n" +
		indent(from.Setup) +
		fmt.Sprintf("setup(name=%q, version=%q, packages=find_packages(), py_modules=%s, install_requires=%s, entry_points={'console_scripts': %s})\n",
			from.Name, from.Version, list(modules(from.Files)), list(from.Requires), list(entryPoints(from.Scripts)))
	files := map[string]string{"setup.py": setup}
	if from.Pyproject != "" {
		files["pyproject.toml"] = from.Pyproject
	}
	maps.Copy(files, from.Files)
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), "/usr/bin/python3", "setup.py", "-q", command)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "INDEXTEST_BUILD=1", "SOURCE_DATE_EPOCH=1000000000")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build %s (is python3-setuptools and python3-wheel installed?): %v\n%s", from.Name, err, out)
	}
	built, err := filepath.Glob(filepath.Join(dir, "dist", "*"))
	if err != nil || len(built) != 1 {
		t.Fatalf("setuptools has built %v (%v)", built, err)
	}
	return built[0]
}

// indent makes a block that runs only where the package is built from its sdist.
func indent(code string) string {
	if code == "" {
		return ""
	}
	return "if os.environ.get('INDEXTEST_BUILD') != '1':\n    " + strings.ReplaceAll(strings.TrimSpace(code), "\n", "\n    ") + "\n"
}

func modules(files map[string]string) []string {
	var names []string
	for name := range files {
		if module, ok := strings.CutSuffix(name, ".py"); ok && !strings.Contains(name, "/") && name != "setup.py" {
			names = append(names, module)
		}
	}
	return names
}

func entryPoints(scripts map[string]string) []string {
	var list []string
	for name, at := range scripts {
		list = append(list, name+"="+at)
	}
	return list
}

func list(words []string) string {
	if words == nil {
		return "[]"
	}
	b, err := json.Marshal(words)
	if err != nil {
		panic(err) // strings
	}
	return string(b)
}

// ServeHTTP implements http.Handler.
func (p *Python) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.asked.Add(1)
	p.mu.Lock()
	defer p.mu.Unlock()
	if project, ok := strings.CutPrefix(r.URL.Path, "/simple/"); ok {
		project = strings.Trim(project, "/")
		files := p.files[project]
		if files == nil {
			http.NotFound(w, r)
			return
		}
		if p.html || !strings.Contains(r.Header.Get("Accept"), "application/vnd.pypi.simple.v1+json") {
			writeHTML(w, project, files)
			return
		}
		writeJSON(w, project, files)
		return
	}
	for _, f := range p.files[filepath.Base(filepath.Dir(r.URL.Path))] {
		if f.Name == filepath.Base(r.URL.Path) {
			_, _ = w.Write(f.Content)
			return
		}
	}
	http.NotFound(w, r)
}

func (f *File) hash() string {
	switch f.Hash {
	case "":
		sum := sha256.Sum256(f.Content)
		return hex.EncodeToString(sum[:])
	case "-":
		return ""
	}
	return f.Hash
}

func (f *File) link(project string) string {
	if f.URL != "" {
		return f.URL
	}
	return "../../files/" + project + "/" + f.Name
}

func writeHTML(w http.ResponseWriter, project string, files []*File) {
	w.Header().Set("Content-Type", "text/html")
	_, _ = fmt.Fprintln(w, "<!DOCTYPE html><html><body>")
	for _, f := range files {
		link := f.link(project)
		if h := f.hash(); h != "" {
			link += "#sha256=" + h
		}
		_, _ = fmt.Fprintf(w, "<a href=\"%s\" data-requires-python=\"&gt;=3.6\">%s</a>\n", html.EscapeString(link), html.EscapeString(f.Name))
	}
	_, _ = fmt.Fprintln(w, "</body></html>")
}

func writeJSON(w http.ResponseWriter, project string, files []*File) {
	w.Header().Set("Content-Type", "application/vnd.pypi.simple.v1+json")
	type file struct {
		Filename string            `json:"filename"`
		URL      string            `json:"url"`
		Hashes   map[string]string `json:"hashes"`
		Python   string            `json:"requires-python"`
		Yanked   bool              `json:"yanked"`
	}
	page := struct {
		Meta  map[string]string `json:"meta"`
		Name  string            `json:"name"`
		Files []file            `json:"files"`
	}{map[string]string{"api-version": "1.0"}, project, nil}
	for _, f := range files {
		hashes := map[string]string{}
		if h := f.hash(); h != "" {
			hashes["sha256"] = h
		}
		page.Files = append(page.Files, file{Filename: f.Name, URL: f.link(project), Hashes: hashes, Python: ">=3.6"})
	}
	_ = json.NewEncoder(w).Encode(page)
}
