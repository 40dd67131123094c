package layer_test

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"io"
	"maps"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/remuda-run/remuda/internal/layer"
	"github.com/remuda-run/remuda/internal/layer/indextest"
	"github.com/remuda-run/remuda/internal/remuda"
)

// TestHostileSetup builds a package whose setup.py tries to get out. Each attempt
// says that it ran, and what came of it.
func TestHostileSetup(t *testing.T) {
	t.Parallel()
	// A service of the machine that the sandbox must not reach.
	service, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = service.Close() }()
	outside := make(chan string, 100)
	go func() {
		for {
			c, err := service.Accept()
			if err != nil {
				return
			}
			outside <- c.RemoteAddr().String()
			_ = c.Close()
		}
	}()
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("the machine's secret"), 0o644); err != nil {
		t.Fatal(err)
	}
	x := indextest.NewPython(t)
	setup := strings.NewReplacer("@SERVICE@", service.Addr().String(), "@SECRET@", secret).Replace(`
import socket, sys, glob, urllib.request
def attempt(name, f):
    try:
        r = f()
    except BaseException as e:
        r = "refused %s" % type(e).__name__
    print("ATTEMPT", name, r, file=sys.stderr)
    open("/workspace/attempts.txt", "a").write("ATTEMPT %s %s\n" % (name, r))
def connect(host, port):
    s = socket.create_connection((host, port), 3)
    return "REACHED"
host, port = "@SERVICE@".split(":")
attempt("machine", lambda: connect(host, int(port)))
attempt("world", lambda: connect("192.0.2.1", 80))
attempt("metadata", lambda: connect("169.254.169.254", 80))
attempt("name", lambda: "RESOLVED %s" % socket.gethostbyname("example.com"))
attempt("secret", lambda: "READ " + open("@SECRET@").read())
attempt("shadow", lambda: "READ " + open("/etc/shadow").read())
attempt("homes", lambda: "SAW %s" % glob.glob("/root/*") if glob.glob("/root/*") else "empty")
attempt("write", lambda: "WROTE %s" % open("/usr/lib/python3/dist-packages/evil.py", "w"))
attempt("root", lambda: "BECAME %s" % os.setuid(0))
attempt("other index", lambda: "GOT %s" % urllib.request.urlopen("http://127.0.0.1:8080/pip/simple/../../../etc/passwd").read())
attempt("proxy", lambda: "GOT %s" % urllib.request.urlopen("http://127.0.0.1:8080/http://@SERVICE@/").read())
def through():
    s = socket.create_connection(("127.0.0.1", 8080), 3)
    s.sendall(b"CONNECT @SERVICE@ HTTP/1.1\r\nHost: @SERVICE@\r\n\r\n")
    return "status %s" % s.recv(100).split()[1].decode()
attempt("tunnel", through)
`)
	x.Sdist(t, indextest.Project{Name: "trojan", Version: "1.0", Files: map[string]string{"trojan.py": "x = 1\n"}, Setup: setup + "\nraise SystemExit('enough')"})
	h := newHouse(t, layer.Settings{PipIndexURL: x.URL()})
	p, err := h.fails(h.request(remuda.LanguagePython, pkg("trojan", "")))
	if layer.BlamedPackage(err) != "trojan" {
		t.Errorf("got %v", err)
	}
	log := p.log.String()
	for _, name := range []string{"machine", "world", "metadata", "name", "secret", "shadow", "homes", "write", "root", "other index", "proxy", "tunnel"} {
		if !strings.Contains(log, "ATTEMPT "+name+" ") {
			t.Errorf("attempt %q was not made", name)
		}
	}
	for _, success := range []string{"REACHED", "RESOLVED", "READ", "SAW", "WROTE", "BECAME", "GOT", "status 2", "secret of", "the machine's secret"} {
		for line := range strings.SplitSeq(log, "\n") {
			if strings.Contains(line, "ATTEMPT") && strings.Contains(line, success) {
				t.Errorf("an attempt succeeded: %s", line)
			}
		}
	}
	select {
	case from := <-outside:
		t.Errorf("the machine's service was reached from %s", from)
	default:
	}
}

// TestGreedySetup builds packages that use up what there is.
func TestGreedySetup(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		setup string
		code  remuda.Code
		want  string // in the error
	}{
		"memory":  {"x = bytearray(10 << 30)\nfor i in range(0, len(x), 4096): x[i] = 1", remuda.CodeInvalid, ""},
		"forks":   {"import os\nwhile True:\n    try: os.fork()\n    except OSError: pass", remuda.CodeDeadline, "longer than"},
		"disk":    {"f = open('/workspace/fill', 'wb')\nwhile True: f.write(bytes(1 << 20))", remuda.CodeInvalid, ""},
		"endless": {"while True: print('x' * 1000)", "", ""}, // pip keeps it until memory or time is up
		"sleeps":  {"import signal, time\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nwhile True: time.sleep(1)", remuda.CodeDeadline, "longer than"},
		"killer":  {"import os, signal\nos.kill(-1, signal.SIGKILL)", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x := indextest.NewPython(t)
			x.Sdist(t, indextest.Project{Name: "greedy", Version: "1.0", Files: map[string]string{"greedy.py": ""}, Setup: c.setup})
			h := newHouse(t, layer.Settings{
				PipIndexURL: x.URL(), BuildTimeout: 15 * time.Second,
				BuildResources: remuda.Resources{CPU: 1, MemoryMB: 300, DiskMB: 64, Pids: 64},
			})
			p, err := h.fails(h.request(remuda.LanguagePython, pkg("greedy", "")))
			if c.code != "" && remuda.CodeOf(err) != c.code || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %s %v\n%.3000s", remuda.CodeOf(err), err, p)
			}
			if p.log.Len() > 20<<20 {
				t.Errorf("the log has %d bytes", p.log.Len())
			}
			empty(t, h)
		})
	}
}

// empty checks that a house has no layer and nothing half done.
func empty(t *testing.T, h *house) {
	t.Helper()
	for _, pattern := range []string{"tmp/*", "org_*/[0-9a-f]*"} {
		if left, err := filepath.Glob(filepath.Join(h.dir, pattern)); err != nil || len(left) > 0 {
			t.Errorf("left behind: %v %v", left, err)
		}
	}
}

func TestBadPackages(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		file func(t *testing.T, x *indextest.Python)
		want string
	}{
		"broken wheel": {func(_ *testing.T, x *indextest.Python) {
			x.Add("bad", "bad-1.0-py3-none-any.whl", []byte("this is no zip"))
		}, ""},
		"wheel of another": {func(t *testing.T, x *indextest.Python) {
			f := x.Wheel(t, indextest.Project{Name: "other", Version: "1.0", Files: map[string]string{"other.py": ""}})
			x.Add("bad", "bad-1.0-py3-none-any.whl", f.Content)
		}, ""},
		"wrong hash": {func(t *testing.T, x *indextest.Python) {
			x.Wheel(t, indextest.Project{Name: "bad", Version: "1.0", Files: map[string]string{"bad.py": ""}}).Hash = strings.Repeat("ab", 32)
		}, "another hash"},
		"huge": {func(t *testing.T, x *indextest.Python) {
			x.Add("bad", "bad-1.0-py3-none-any.whl", hugeWheel(t, 400))
		}, "256 MiB of disk"},
		"absent": {func(*testing.T, *indextest.Python) {}, "no index has"},
		"for another Python": {func(_ *testing.T, x *indextest.Python) {
			x.Add("bad", "bad-1.0-cp27-none-win32.whl", nil)
		}, "fits this interpreter"},
		"broken setup": {func(t *testing.T, x *indextest.Python) {
			x.Sdist(t, indextest.Project{Name: "bad", Version: "1.0", Files: map[string]string{"bad.py": ""}, Setup: "import no_such_module"})
		}, ""},
		"tar with links out": {func(t *testing.T, x *indextest.Python) {
			x.Add("bad", "bad-1.0.tar.gz", evilSdist(t))
		}, ""},
		"wheel that writes above": {func(t *testing.T, x *indextest.Python) {
			x.Add("bad", "bad-1.0-py3-none-any.whl", zipOf(t, wheelFiles("bad", map[string]string{"../../../../tmp/above": "x", "bad.py": ""})))
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x := indextest.NewPython(t)
			x.Wheel(t, indextest.Project{Name: "good", Version: "1.0", Files: map[string]string{"good.py": ""}})
			c.file(t, x)
			h := newHouse(t, layer.Settings{PipIndexURL: x.URL()})
			p, err := h.fails(h.request(remuda.LanguagePython, pkg("good", ""), pkg("bad", "1.0")))
			blamed := "bad"
			if name == "huge" {
				blamed = "" // several may share the blame
			}
			if layer.BlamedPackage(err) != blamed || !strings.Contains(err.Error(), c.want) {
				t.Errorf("blamed %q: %v\n%s", layer.BlamedPackage(err), err, p)
			}
			if !strings.HasPrefix(p.states["bad"], "not_installed") || !strings.HasPrefix(p.states["good"], "not_installed") {
				t.Errorf("states %v", p.states)
			}
			empty(t, h)
			if _, err := os.Lstat("/tmp/above"); err == nil {
				t.Error("a file outside was written")
			}
		})
	}
}

func wheelFiles(name string, files map[string]string) map[string]string {
	all := map[string]string{
		name + "-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: " + name + "\nVersion: 1.0\n",
		name + "-1.0.dist-info/WHEEL":    "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
		name + "-1.0.dist-info/RECORD":   "",
	}
	maps.Copy(all, files)
	return all
}

func zipOf(t *testing.T, files map[string]string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for name, content := range files {
		w, err := z.Create(name)
		if err == nil {
			_, err = w.Write([]byte(content))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// hugeWheel is small as a file and large when it is unpacked.
func hugeWheel(t *testing.T, mib int) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for name, content := range wheelFiles("bad", map[string]string{"bad.bin": ""}) {
		w, err := z.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, content); err != nil {
			t.Fatal(err)
		}
		for n := 0; n < mib && name == "bad.bin"; n++ {
			if _, err := w.Write(make([]byte, 1<<20)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// evilSdist is a tar with a link out and a file that is written through it.
func evilSdist(t *testing.T) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	for _, h := range []*tar.Header{
		{Name: "bad-1.0/PKG-INFO", Typeflag: tar.TypeReg, Mode: 0o644},
		{Name: "bad-1.0/out", Typeflag: tar.TypeSymlink, Linkname: "/tmp"},
		{Name: "bad-1.0/out/above", Typeflag: tar.TypeReg, Mode: 0o644},
		{Name: "../../../../../../tmp/above", Typeflag: tar.TypeReg, Mode: 0o644},
	} {
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestBadWords gives names and versions that would lead an installer elsewhere.
func TestBadWords(t *testing.T) {
	t.Parallel()
	for _, p := range []struct {
		language remuda.Language
		pkg      remuda.Package
	}{
		{remuda.LanguagePython, pkg("--index-url=http://evil", "")}, {remuda.LanguagePython, pkg("a @ http://evil/a.whl", "")},
		{remuda.LanguagePython, pkg("../a", "")}, {remuda.LanguagePython, pkg("a; import os", "")}, {remuda.LanguagePython, pkg("a\n-e .", "")},
		{remuda.LanguagePython, pkg("a", "1.0 --hash=x")}, {remuda.LanguagePython, pkg("a", "1.0\n-e .")}, {remuda.LanguagePython, pkg("a", "==1; x")},
		{remuda.LanguagePython, pkg("", "")}, {remuda.LanguagePython, pkg(strings.Repeat("a", 300), "")},
		{remuda.LanguageNode, pkg("a", "git+ssh://x/y")}, {remuda.LanguageNode, pkg("a", "file:../x")}, {remuda.LanguageNode, pkg("a/b/c", "")}, {remuda.LanguageNode, pkg("a", "x/y")},
		{remuda.LanguageNode, pkg("-g", "")}, {remuda.LanguageBash, pkg("-oDebug::x=1", "")}, {remuda.LanguageBash, pkg("./a.deb", "")}, {remuda.LanguageBash, pkg("a+", "=1 b")},
		{remuda.LanguageBash, remuda.Package{Name: "a", Manager: "gem"}}, {remuda.LanguageNode, remuda.Package{Name: "a", Manager: remuda.ManagerPip}},
	} {
		if wrong := layer.CheckPackages(p.language, []remuda.Package{p.pkg}); len(wrong) == 0 {
			t.Errorf("%s %+v was taken", p.language, p.pkg)
		}
	}
	if wrong := layer.CheckPackages(remuda.LanguagePython, []remuda.Package{pkg("a_b", ""), pkg("A-B", "1")}); len(wrong) != 1 || wrong[0].Field != "packages[1].name" {
		t.Errorf("twice: %v", wrong)
	}
	for _, p := range []remuda.Package{pkg("requests[socks]", "2.31.0"), pkg("a", ">=1,<2"), pkg("mstrio-py", "11.3.7.101"), pkg("a", "latest"), {Name: "jq", Manager: remuda.ManagerApt, Version: "1:1.6-2.1+deb12u1"}} {
		if wrong := layer.CheckPackages(remuda.LanguagePython, []remuda.Package{p}); len(wrong) > 0 {
			t.Errorf("%+v: %v", p, wrong)
		}
	}
	// A lock that no Resolve has made.
	h := newHouse(t, layer.Settings{})
	for _, l := range []remuda.Locked{
		{Manager: remuda.ManagerPip, Name: "a", Version: "1", Hashes: []string{"md5:00"}}, {Manager: remuda.ManagerPip, Name: "a", Version: "1"},
		{Manager: remuda.ManagerPip, Name: "a", Version: "1 -r /etc/passwd", Hashes: []string{"sha256:" + strings.Repeat("0", 64)}},
	} {
		if _, err := h.Install(t.Context(), h.org, remuda.Lock{Language: remuda.LanguagePython, Packages: []remuda.Locked{l}}, &heard{}); remuda.CodeOf(err) != remuda.CodeInvalid {
			t.Errorf("%+v: %v", l, err)
		}
	}
}
