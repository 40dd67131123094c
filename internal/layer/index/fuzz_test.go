package index

import (
	"net/url"
	"strings"
	"testing"

	"github.com/remuda-run/remuda/internal/remuda"
)

func FuzzSimple(f *testing.F) {
	f.Add([]byte(`<base href="/x/"><a href="../a-1.0.tar.gz#sha256=00" data-requires-python="&gt;3">a</a>`), "text/html")
	f.Add([]byte(`{"meta":{"api-version":"1.1"},"files":[{"filename":"a-1.0.tar.gz","url":"a","hashes":{"sha256":"x"},"yanked":"why","requires-python":null}]}`), "application/json")
	base, err := url.Parse("http://index.test/simple/a/")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, body []byte, kind string) {
		entries, err := parseSimple(body, kind, base)
		if err != nil {
			return
		}
		for _, e := range entries {
			if fetchable(e.from) != nil || strings.ContainsAny(e.filename, "/\\\n ") || e.hash != "" && !hex64.MatchString(strings.TrimPrefix(e.hash, "sha256:")) {
				t.Errorf("%+v", e)
			}
		}
		g, err := New(Options{})
		if err != nil {
			t.Fatal(err)
		}
		s := g.Session(nil, func(string) {})
		page := s.pipHTML("a", entries)
		if strings.Count(page, "<a ") != strings.Count(page, "</a>") || strings.Count(page, "<a ") < len(s.files) {
			t.Errorf("a page that is broken: %q", page)
		}
	})
}

func FuzzPackument(f *testing.F) {
	f.Add([]byte(`{"name":"a","dist-tags":{"latest":"1.0.0"},"versions":{"1.0.0":{"dist":{"tarball":"http://x/a.tgz","integrity":"sha512-` + strings.Repeat("A", 86) + `=="}}}}`))
	f.Add([]byte(`{"name":"a","versions":{"1":{"dist":{}},"2":null}}`))
	at, err := url.Parse("http://registry.test/a")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		g, err := New(Options{})
		if err != nil {
			t.Fatal(err)
		}
		_, files, err := g.Session(nil, func(string) {}).packument(body, "a", at, "http://127.0.0.1:8080")
		if err != nil {
			return
		}
		for path, one := range files {
			if fetchable(one.from) != nil || !strings.HasPrefix(path, npmFiles+"a/") || !strings.HasPrefix(one.hash, "sha512-") || one.manager != remuda.ManagerNpm {
				t.Errorf("%s %+v", path, one)
			}
		}
	})
}

func FuzzNames(f *testing.F) {
	f.Add("foo-1.0-py3-none-any.whl")
	f.Add("jq_1%3a1.6_amd64.deb")
	f.Fuzz(func(t *testing.T, name string) {
		if project, version, ok := ParseFilename(name); ok && (project == "" || version == "") {
			t.Errorf("%q: %q %q", name, project, version)
		}
		if pkg, version, ok := ParseDeb(name); ok && (pkg == "" || version == "") {
			t.Errorf("%q: %q %q", name, pkg, version)
		}
	})
}
