package indextest

import (
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// Npm is an npm registry.
type Npm struct {
	server *httptest.Server
	asked  atomic.Int64

	mu       sync.Mutex
	versions map[string]map[string]*Tarball
}

// Tarball is a version of a package.
type Tarball struct {
	Manifest map[string]any
	Content  []byte
	// Integrity is what the packument says of it; "" is the truth.
	Integrity string
}

// NewNpm starts an empty one that ends with the test.
func NewNpm(t testing.TB) *Npm {
	t.Helper()
	n := &Npm{versions: map[string]map[string]*Tarball{}}
	n.server = httptest.NewServer(n)
	t.Cleanup(n.server.Close)
	return n
}

// URL is what packages_npm_registry_url has to be.
func (n *Npm) URL() string { return n.server.URL + "/" }

// Asked is how many requests came.
func (n *Npm) Asked() int64 { return n.asked.Load() }

// Publish packs files with npm and has them in the registry. files has to hold a
// package.json.
func (n *Npm) Publish(t testing.TB, files map[string]string) *Tarball {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), "npm", "pack", "--silent", "--ignore-scripts", "--update-notifier=false")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "npm_config_cache="+t.TempDir())
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("npm pack: %v\n%s", err, out)
	}
	packed, err := filepath.Glob(filepath.Join(dir, "*.tgz"))
	if err != nil || len(packed) != 1 {
		t.Fatalf("npm has packed %v (%v)", packed, err)
	}
	var manifest map[string]any
	if err := json.Unmarshal([]byte(files["package.json"]), &manifest); err != nil {
		t.Fatal(err)
	}
	name, version := manifest["name"].(string), manifest["version"].(string)
	tarball := &Tarball{Manifest: manifest, Content: read(t, packed[0])}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.versions[name] == nil {
		n.versions[name] = map[string]*Tarball{}
	}
	n.versions[name][version] = tarball
	return tarball
}

// ServeHTTP implements http.Handler.
func (n *Npm) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n.asked.Add(1)
	n.mu.Lock()
	defer n.mu.Unlock()
	name, err := url.PathUnescape(strings.TrimPrefix(r.URL.EscapedPath(), "/"))
	if err != nil {
		http.NotFound(w, r)
		return
	}
	if pkg, version, ok := strings.Cut(name, "/-/"); ok {
		if tarball := n.versions[pkg][strings.TrimSuffix(version, ".tgz")]; tarball != nil {
			_, _ = w.Write(tarball.Content)
			return
		}
		http.NotFound(w, r)
		return
	}
	if n.versions[name] == nil {
		http.NotFound(w, r)
		return
	}
	versions, latest := map[string]any{}, ""
	for version, tarball := range n.versions[name] {
		integrity := tarball.Integrity
		if integrity == "" {
			sum := sha512.Sum512(tarball.Content)
			integrity = "sha512-" + base64.StdEncoding.EncodeToString(sum[:])
		}
		manifest := map[string]any{"dist": map[string]any{"tarball": n.server.URL + "/" + url.PathEscape(name) + "/-/" + version + ".tgz", "integrity": integrity}}
		maps.Copy(manifest, tarball.Manifest)
		if scripts, ok := tarball.Manifest["scripts"].(map[string]any); ok && (scripts["install"] != nil || scripts["postinstall"] != nil) {
			manifest["hasInstallScript"] = true
		}
		versions[version], latest = manifest, max(latest, version)
	}
	w.Header().Set("Content-Type", "application/vnd.npm.install-v1+json")
	_ = json.NewEncoder(w).Encode(map[string]any{"name": name, "dist-tags": map[string]string{"latest": latest}, "versions": versions})
}
