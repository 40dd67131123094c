package layer_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/remuda-run/remuda/internal/layer"
)

// tarOf makes a tar of headers; files have their size in zeros.
func tarOf(t testing.TB, headers ...tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range headers {
		err := w.WriteHeader(&h)
		if err == nil && h.Typeflag == tar.TypeReg {
			_, err = w.Write(make([]byte, h.Size))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// fence is a directory with a place to unpack and a secret beside it.
func fence(t testing.TB) (tree, secret string) {
	t.Helper()
	dir := t.TempDir()
	tree, secret = filepath.Join(dir, "tree"), filepath.Join(dir, "secret")
	if err := errors.Join(os.Mkdir(tree, 0o755), os.WriteFile(secret, []byte("secret"), 0o600)); err != nil {
		t.Fatal(err)
	}
	return tree, secret
}

func TestUnpackRefuses(t *testing.T) {
	t.Parallel()
	for name, headers := range map[string][]tar.Header{
		"above":                {{Name: "../secret", Typeflag: tar.TypeReg, Size: 3}},
		"above inside":         {{Name: "python/../../secret", Typeflag: tar.TypeReg, Size: 3}},
		"absolute":             {{Name: "/tmp/above", Typeflag: tar.TypeReg}},
		"another folder":       {{Name: "etc/passwd", Typeflag: tar.TypeReg}},
		"link out":             {{Name: "python/out", Typeflag: tar.TypeSymlink, Linkname: "../../secret"}},
		"absolute link":        {{Name: "python/out", Typeflag: tar.TypeSymlink, Linkname: "/etc"}},
		"link to the tree":     {{Name: "python/out", Typeflag: tar.TypeSymlink, Linkname: ".."}},
		"hard link out":        {{Name: "python/out", Typeflag: tar.TypeLink, Linkname: "../secret"}},
		"hard link absolute":   {{Name: "python/out", Typeflag: tar.TypeLink, Linkname: "/etc/shadow"}},
		"hard link to nothing": {{Name: "python/out", Typeflag: tar.TypeLink, Linkname: "python/none"}},
		"through a link":       {{Name: "python/to", Typeflag: tar.TypeSymlink, Linkname: "other"}, {Name: "python/to", Typeflag: tar.TypeReg}},
		"device":               {{Name: "python/null", Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 3}},
		"pipe":                 {{Name: "python/pipe", Typeflag: tar.TypeFifo}},
		"twice":                {{Name: "python/a", Typeflag: tar.TypeReg}, {Name: "python/a", Typeflag: tar.TypeReg}},
		"too large":            {{Name: "python/a", Typeflag: tar.TypeReg, Size: 600}, {Name: "python/b", Typeflag: tar.TypeReg, Size: 600}},
		"too deep":             {{Name: "python/" + strings.Repeat("d/", 100) + "f", Typeflag: tar.TypeReg}},
		"a file as directory":  {{Name: "python/a", Typeflag: tar.TypeReg}, {Name: "python/a/b", Typeflag: tar.TypeReg}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tree, secret := fence(t)
			if err := layer.Unpack(tree, 1000, bytes.NewReader(tarOf(t, headers...))); err == nil {
				t.Error("it was taken")
			}
			if b, err := os.ReadFile(secret); err != nil || string(b) != "secret" {
				t.Errorf("the secret is %q, %v", b, err)
			}
		})
	}
}

func TestUnpackTakes(t *testing.T) {
	t.Parallel()
	tree, _ := fence(t)
	err := layer.Unpack(tree, 1000, bytes.NewReader(tarOf(t,
		tar.Header{Name: "./", Typeflag: tar.TypeDir, Mode: 0o700}, tar.Header{Name: "./python/", Typeflag: tar.TypeDir, Mode: 0o777},
		tar.Header{Name: "./python/a.py", Typeflag: tar.TypeReg, Size: 5, Mode: 0o666}, tar.Header{Name: "python/b.py", Typeflag: tar.TypeLink, Linkname: "python/a.py"},
		tar.Header{Name: "python/c.py", Typeflag: tar.TypeSymlink, Linkname: "d/../a.py"},
		tar.Header{Name: "bin/tool", Typeflag: tar.TypeReg, Size: 5, Mode: 0o6777}, tar.Header{Name: "bin/other", Typeflag: tar.TypeSymlink, Linkname: "../node/node_modules/x"},
	)))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]fs.FileMode{
		"python": fs.ModeDir | 0o755, "python/a.py": 0o644, "python/b.py": 0o644, "bin/tool": 0o755, "python/c.py": fs.ModeSymlink | 0o777, "bin/other": fs.ModeSymlink | 0o777,
	} {
		if st, err := os.Lstat(filepath.Join(tree, name)); err != nil || st.Mode() != want {
			t.Errorf("%s: %v, %v; want %v", name, st, err, want)
		}
	}
}

func FuzzUnpack(f *testing.F) {
	f.Add(tarOf(f, tar.Header{Name: "python/a", Typeflag: tar.TypeReg, Size: 10}, tar.Header{Name: "python/l", Typeflag: tar.TypeSymlink, Linkname: "a"}))
	f.Add(tarOf(f, tar.Header{Name: "../a", Typeflag: tar.TypeReg, Size: 10}))
	f.Add(tarOf(f, tar.Header{Name: "bin/x", Typeflag: tar.TypeSymlink, Linkname: "../python/a"}, tar.Header{Name: "bin/x/y", Typeflag: tar.TypeReg}))
	f.Fuzz(func(t *testing.T, content []byte) {
		tree, secret := fence(t)
		err := layer.Unpack(tree, 1<<20, bytes.NewReader(content))
		if b, read := os.ReadFile(secret); read != nil || string(b) != "secret" {
			t.Fatalf("the secret is %q, %v", b, read)
		}
		entries, read := os.ReadDir(filepath.Dir(tree))
		if read != nil || len(entries) != 2 {
			t.Fatalf("a file outside was made: %v", entries)
		}
		if err != nil {
			return
		}
		walked := filepath.WalkDir(tree, func(path string, e fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if e.Type()&fs.ModeSymlink != 0 {
				target, err := os.Readlink(path)
				if to := filepath.Join(filepath.Dir(path), target); err != nil || filepath.IsAbs(target) || !strings.HasPrefix(to, tree+"/") {
					t.Errorf("link %s leads to %s", path, target)
				}
				return err
			}
			if e.Type()&^fs.ModeDir != 0 {
				t.Errorf("%s is %s", path, e.Type())
			}
			return nil
		})
		if walked != nil {
			t.Error(walked)
		}
	})
}

func FuzzReport(f *testing.F) {
	f.Add([]byte(`{"version":"1","install":[{"download_info":{"archive_info":{"hash":"sha256=` + strings.Repeat("a", 64) + `"}},"metadata":{"name":"A_b","version":"1.0"}}]}`))
	f.Add([]byte(`{"version":"0","install":[{"metadata":{"name":"--x","version":"1 -r"}}]}`))
	f.Fuzz(func(t *testing.T, content []byte) {
		locked, err := layer.ParseReport(content)
		if err != nil {
			return
		}
		for _, l := range locked {
			if strings.ContainsAny(l.Name+l.Version+l.Hashes[0], " \n\r\t;@/\\") || strings.HasPrefix(l.Name, "-") {
				t.Errorf("%+v", l)
			}
		}
	})
}

func FuzzPackageLock(f *testing.F) {
	f.Add([]byte(`{"lockfileVersion":3,"packages":{"":{"dependencies":{"a":"1"}},"node_modules/a":{"version":"1.0.0","resolved":"http://127.0.0.1:8080/npm/-/file/a/1.0.0.tgz","integrity":"sha512-` + strings.Repeat("A", 86) + `=="},"node_modules/a/node_modules/@b/c":{"version":"2.0.0","resolved":"http://127.0.0.1:8080/npm/x","integrity":"sha512-` + strings.Repeat("B", 86) + `=="}}}`))
	f.Add([]byte(`{"lockfileVersion":3,"packages":{"x":{"link":true}}}`))
	f.Fuzz(func(t *testing.T, content []byte) {
		locked, err := layer.ParsePackageLock(content)
		if err != nil {
			return
		}
		for _, l := range locked {
			if l.Name == "" || strings.ContainsAny(l.Name+l.Version, " \n\\:") || strings.HasPrefix(l.Name, "-") || strings.Contains(l.Name, "..") && strings.Contains(l.Name, "/..") {
				t.Errorf("%+v", l)
			}
		}
	})
}

func FuzzFound(f *testing.F) {
	f.Add("jq 1.6-2.1+deb12u1 " + strings.Repeat("a", 64) + "\n")
	f.Fuzz(func(t *testing.T, content string) {
		locked, err := layer.ParseFound(content)
		if err == nil && len(locked) == 0 {
			t.Error("nothing is no list")
		}
	})
}

func FuzzWords(f *testing.F) {
	f.Add("ERROR: No matching distribution found for x\n", "Types: deb\nURIs: http://a/\nSuites: b\n")
	f.Add("  error: subprocess-exited-with-error\n", "deb [signed-by=/x] http://a/debian b main\n")
	f.Fuzz(func(_ *testing.T, tail, sources string) {
		layer.Diagnose(tail)
		layer.LastWord(tail)
		layer.ParseList(sources)
	})
}

func TestDiagnose(t *testing.T) {
	t.Parallel()
	const another = "ERROR: Ignored the following versions that require a different python version: 9.0 Requires-Python >=3.12\nERROR: Could not find a version that satisfies the requirement mare==9.0 (from versions: 1.0)\nERROR: No matching distribution found for mare==9.0\n"
	if _, why := layer.Diagnose(another); !strings.HasPrefix(why, "it needs another Python") {
		t.Errorf("got %q", why)
	}
	for tail, want := range map[string]string{
		another: "mare",
		"ERROR: Could not find a version that satisfies the requirement foo==9 (from versions: 1.0)\nERROR: No matching distribution found for foo==9\n": "foo",
		"Collecting a\nCollecting b\n  error: subprocess-exited-with-error\n":                                                                            "b",
		"E: Unable to locate package nothing\n":                                                  "nothing",
		"npm error code ETARGET\nnpm error notarget No matching version found for pony@9.9.9.\n": "pony",
		"npm error 404  '@a/b@1' is not in this registry.\n":                                     "@a/b",
		"all is well": "",
	} {
		if got, _ := layer.Diagnose(tail); got != want {
			t.Errorf("%q: got %q, want %q", tail, got, want)
		}
	}
}
