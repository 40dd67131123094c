package index_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/remuda-run/remuda/internal/layer/index"
	"github.com/remuda-run/remuda/internal/remuda"
)

// site serves fixed answers as an upstream.
func site(t *testing.T, answers map[string]string, kinds map[string]string) *url.URL {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, password, ok := r.BasicAuth(); r.URL.Path != "/open" && (!ok || user != "u" || password != "p") {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		body, ok := answers[r.URL.Path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		if kind := kinds[r.URL.Path]; kind != "" {
			w.Header().Set("Content-Type", kind)
		}
		_, _ = io.WriteString(w, body)
	}))
	t.Cleanup(s.Close)
	u, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword("u", "p")
	return u
}

type visit struct {
	t     *testing.T
	url   string
	s     *index.Session
	mu    sync.Mutex
	notes []string
}

func open(t *testing.T, opts index.Options, lock []remuda.Locked) *visit {
	t.Helper()
	g, err := index.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	v := &visit{t: t}
	v.s = g.Session(lock, func(s string) {
		v.mu.Lock()
		defer v.mu.Unlock()
		v.notes = append(v.notes, s)
	})
	server := httptest.NewServer(v.s)
	t.Cleanup(server.Close)
	v.url = server.URL
	return v
}

func (v *visit) get(path string) (int, string) {
	v.t.Helper()
	req, err := http.NewRequestWithContext(v.t.Context(), http.MethodGet, v.url, nil)
	if err != nil {
		v.t.Fatal(err)
	}
	req.URL.Opaque = path // as it is
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err.Error()
	}
	return resp.StatusCode, string(body)
}

func TestPipGateway(t *testing.T) {
	t.Parallel()
	const sum = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824" // of "hello"
	up := site(t, map[string]string{
		"/simple/horse/": `<a href="/files/horse-1.0.tar.gz#sha256=` + sum + `">x</a><a href="file:///etc/passwd">horse-2.0.tar.gz</a>
			<a href="/files/other-1.0.tar.gz">other</a><a href="/files/horse-3.0.tar.gz#sha256=` + strings.Repeat("0", 64) + `" data-yanked="bad &quot;one">y</a>`,
		"/files/horse-1.0.tar.gz": "hello", "/files/horse-3.0.tar.gz": "not what it says", "/files/secret": "secret", "/etc/passwd": "up",
	}, map[string]string{"/simple/horse/": "text/html"})
	v := open(t, index.Options{Pip: up.JoinPath("simple")}, nil)
	status, page := v.get("/pip/simple/Horse/")
	if status != 200 || !strings.Contains(page, `href="/pip/file/horse/horse-1.0.tar.gz#sha256=`+sum+`"`) || strings.Contains(page, "other") || strings.Contains(page, "horse-2.0") || strings.Contains(page, "u:p") {
		t.Errorf("%d %s", status, page)
	}
	if !strings.Contains(page, `data-yanked="bad &#34;one"`) {
		t.Errorf("yanked: %s", page)
	}
	if status, body := v.get("/pip/file/horse/horse-1.0.tar.gz"); status != 200 || body != "hello" {
		t.Errorf("%d %q", status, body)
	}
	if _, body := v.get("/pip/file/horse/horse-3.0.tar.gz"); body != "not what it says" {
		t.Errorf("%q", body) // the installer is to see it, and to refuse it
	}
	served := v.s.Served()
	if len(served) != 2 || served[0].Wrong || served[0].Hash != "sha256:"+sum || !served[1].Wrong {
		t.Errorf("served %+v", served)
	}
	for _, path := range []string{
		"/pip/file/horse/secret", "/pip/file/horse/../secret", "/pip/file/horse/..%2fsecret", "/pip/simple/..%2ffiles%2fsecret", "/pip/simple/../files/secret", "/pip/simple/", "/pip/simple//",
		"/pip/simple/a b/", "/", "/files/secret", "/etc/passwd", "/apt/0/dists/x", "/apt/-1/dists/x", "/npm/horse", "/npm/..%2fsimple%2fhorse",
	} {
		if status, body := v.get(path); status == 200 || strings.Contains(body, "secret\n") {
			t.Errorf("%s: %d %q", path, status, body)
		}
	}
	// With a lock only what it names is there.
	v = open(t, index.Options{Pip: up.JoinPath("simple")}, []remuda.Locked{{Manager: remuda.ManagerPip, Name: "horse", Version: "1.0", Hashes: []string{"sha256:" + sum}}})
	if _, page := v.get("/pip/simple/horse/"); strings.Count(page, "<a ") != 1 || !strings.Contains(page, sum) {
		t.Errorf("locked: %s", page)
	}
	if status, _ := v.get("/pip/simple/other/"); status != 404 {
		t.Errorf("what the lock does not name: %d", status)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, v.url+"/pip/simple/horse/", strings.NewReader("x"))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil || resp.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("a write: %v %v", resp, err)
	}
	_ = resp.Body.Close()
}

func TestAptGateway(t *testing.T) {
	t.Parallel()
	up := site(t, map[string]string{
		"/debian/dists/stable/InRelease": "signed", "/debian/pool/main/j/jq/jq_1.6_amd64.deb": "hello", "/debian/pool/secret": "secret", "/secret": "secret",
		"/debian/dists/evil.deb": "x", "/debian/pool/main/e/epoch/jepoch_1%3a2_amd64.deb": "epoch",
	}, nil)
	v := open(t, index.Options{Apt: []*url.URL{up.JoinPath("debian")}, Allow: []string{"apt:j*"}}, nil)
	for path, want := range map[string]int{
		"/apt/0/dists/stable/InRelease": 200, "/apt/0/pool/main/j/jq/jq_1.6_amd64.deb": 200, "/apt/0/pool/secret": 404, "/apt/0/dists/../pool/secret": 404, "/apt/0/dists/..%2f..%2fsecret": 404,
		"/apt/0/dists/%252e%252e/%252e%252e/%252e%252e/secret": 404, "/apt/0/pool/main/e/epoch/jepoch_1%253a2_amd64.deb": 200,
		"/apt/0/dists/absent": 404, "/apt/1/dists/stable/InRelease": 404, "/apt/0/pool/x_1_amd64.deb": 404, "/apt/0/pool/xy_1_amd64.deb": 403, "/apt/0/dists/evil.deb": 404,
	} {
		if status, body := v.get(path); status != want {
			t.Errorf("%s: %d %q, want %d", path, status, body, want)
		}
	}
	if denied := v.s.Denied(); len(denied) != 1 || denied[0] != "xy" {
		t.Errorf("denied %v", denied)
	}
}

func TestNpmGateway(t *testing.T) {
	t.Parallel()
	sum := "sha512-" + strings.Repeat("A", 86) + "=="
	up := site(t, map[string]string{
		"/npm/@a/b": `{"name":"@a/b","dist-tags":{"latest":"2.0.0"},"versions":{"1.0.0":{"dist":{"tarball":"/npm/f.tgz","integrity":"sha1-x ` + sum + `"},"scripts":{"install":"x"}},
			"2.0.0":{"dist":{"tarball":"/npm/g.tgz","shasum":"abc"}},"3.0.0":{"dist":{"tarball":"file:///etc/passwd","integrity":"` + sum + `"}},"4.0.0":{"dist":null},"5.0.0":null}}`,
		"/npm/f.tgz": "hello", "/npm/liar": `{"name":"other","versions":{}}`, "/npm/none": `{"name":"none","versions":{}}`, "/npm/junk": `[`,
	}, nil)
	v := open(t, index.Options{Npm: up.JoinPath("npm")}, nil)
	status, page := v.get("/npm/@a%2fb")
	if status != 200 || strings.Contains(page, "2.0.0") || strings.Contains(page, "3.0.0") || !strings.Contains(page, `"latest":"1.0.0"`) || !strings.Contains(page, `"tarball":"`+v.url+`/npm/-/file/@a%2Fb/1.0.0.tgz"`) {
		t.Errorf("%d %s", status, page)
	}
	if status, body := v.get("/npm/-/file/@a%2Fb/1.0.0.tgz"); status != 200 || body != "hello" || !v.s.Served()[0].Wrong {
		t.Errorf("%d %s %+v", status, body, v.s.Served())
	}
	for _, path := range []string{"/npm/liar", "/npm/none", "/npm/junk", "/npm/absent", "/npm/-/file/@a%2Fb/2.0.0.tgz", "/npm/-/v1/search"} {
		if status, body := v.get(path); status == 200 {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
}

func TestAllowListIsChecked(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{"gem:x", "[", "", "pip:"} {
		if _, err := index.New(index.Options{Allow: []string{bad}}); remuda.CodeOf(err) != remuda.CodeInvalid {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestFilenames(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"Foo_Bar-1.0-py3-none-any.whl": "foo-bar 1.0", "foo-1.0-1-py3-none-any.whl": "foo 1.0", "a.b-c-2.1.tar.gz": "a-b-c 2.1", "x-1.zip": "x 1",
		"foo.exe": "", "foo-1.0.whl": "", ".tar.gz": "", "-1.tar.gz": "", "foo-.tar.gz": "",
	} {
		project, version, ok := index.ParseFilename(name)
		if got := strings.TrimSpace(project + " " + version); ok != (want != "") || ok && got != want {
			t.Errorf("%s: %q %v", name, got, ok)
		}
	}
}

// TestSlowBuild has one build that reads nothing of what it asks for; another one
// is not held up.
func TestSlowBuild(t *testing.T) {
	t.Parallel()
	big := strings.Repeat("x", 8<<20)
	up := site(t, map[string]string{"/simple/horse/": `<a href="/files/horse-1.0.tar.gz">x</a>` + big, "/files/horse-1.0.tar.gz": big}, map[string]string{"/simple/horse/": "text/html"})
	g, err := index.New(index.Options{Pip: up.JoinPath("simple")})
	if err != nil {
		t.Fatal(err)
	}
	serve := func() string {
		s := httptest.NewServer(g.Session(nil, func(string) {}))
		t.Cleanup(s.Close)
		return s.URL
	}
	fetch := func(address, path string) *http.Response {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		return resp
	}
	slow, other := serve(), serve()
	_ = fetch(slow, "/pip/simple/horse/").Body.Close()
	var held []*http.Response
	for range 16 { // all its room
		held = append(held, fetch(slow, "/pip/file/horse/horse-1.0.tar.gz"))
	}
	_ = fetch(other, "/pip/simple/horse/").Body.Close()
	resp := fetch(other, "/pip/file/horse/horse-1.0.tar.gz")
	body, err := io.ReadAll(resp.Body)
	if err != nil || len(body) != len(big) {
		t.Errorf("%d bytes, %v", len(body), err)
	}
	for _, r := range append(held, resp) {
		_ = r.Body.Close()
	}
}
