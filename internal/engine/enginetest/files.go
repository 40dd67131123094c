package enginetest

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/remuda"
)

// filesAttempts attempts to lead the files API astray (F02 to F07).
func filesAttempts(t *testing.T, e engine.Engine) {
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("of the host"), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Run("links", func(t *testing.T) {
		both(t, e, resources, func(b box) { links(b, secret) })
	})
	if b, err := os.ReadFile(secret); err != nil || string(b) != "of the host" {
		t.Errorf("the host's file now holds %q, %v", b, err)
	}
	t.Run("no files", func(t *testing.T) {
		both(t, e, resources, noFiles)
	})
	t.Run("race", func(t *testing.T) {
		both(t, e, resources, race)
	})
	t.Run("names", func(t *testing.T) {
		both(t, e, resources, names)
	})
}

// refuse checks that nothing comes back and nothing is written.
func (b box) refuse(path string, codes ...remuda.Code) {
	b.t.Helper()
	_, r, readErr := b.Files().Read(b.t.Context(), path, 1<<20)
	if readErr == nil {
		content, err := io.ReadAll(r)
		b.t.Errorf("read of %q gave %.100q, %v", path, content, errors.Join(err, r.Close()))
	}
	_, writeErr := b.Files().Write(b.t.Context(), path, strings.NewReader("taken"), 1<<20)
	for what, err := range map[string]error{"read": readErr, "write": writeErr} {
		ok := false
		for _, c := range codes {
			ok = ok || remuda.CodeOf(err) == c
		}
		if !ok {
			b.t.Errorf("%s of %q: %v, want one of %v", what, path, err, codes)
		}
	}
}

func links(b box, secret string) {
	b.run(fmt.Sprintf(`
import os
os.symlink(%q, "file")
os.symlink("/etc", "dir")
os.symlink("../etc/passwd", "up")
os.symlink("loop", "loop")
os.symlink("/proc/self/root", "root")
os.symlink("/proc/1/root", "first")
os.makedirs("d")
os.symlink("../../tmp", "d/out")
open("/tmp/own", "w").write("x")
print("linked")
`, secret)).ok().says("linked")
	for _, path := range []string{"dir/passwd", "d/out/own", "root/etc/passwd", "first/etc/passwd", "dir/x"} {
		b.refuse(path, remuda.CodeInvalid, remuda.CodeNotFound)
	}
	// A link itself may be replaced, never followed out.
	for _, path := range []string{"file", "up", "loop"} {
		if _, r, err := b.Files().Read(b.t.Context(), path, 1<<20); err == nil {
			content, _ := io.ReadAll(r)
			b.t.Errorf("read through %q gave %q", path, content)
		}
	}
	if _, err := b.Files().List(b.t.Context(), "dir", 10); err == nil {
		b.t.Error("a list led outside")
	}
	b.run("print(open('/etc/passwd').read()[:5])").ok().says("root:")
}

func noFiles(b box) {
	b.run(`
import os, socket
os.mkfifo("fifo")
os.mkdir("dir")
s = socket.socket(socket.AF_UNIX); s.bind("socket")
os.symlink("/dev/zero", "zero")
f = os.open("sparse", os.O_CREAT | os.O_WRONLY); os.ftruncate(f, 100 << 20)
print("made")
`).ok().says("made")
	for _, path := range []string{"fifo", "dir", "socket"} {
		b.refuse(path, remuda.CodeInvalid)
	}
	if _, _, err := b.Files().Read(b.t.Context(), "zero", 1<<20); err == nil {
		b.t.Error("a device was read")
	}
	if _, _, err := b.Files().Read(b.t.Context(), "sparse", 1<<20); remuda.CodeOf(err) != remuda.CodeTooLarge {
		b.t.Errorf("a sparse file of 100 MiB: %v", err)
	}
	b.run("print('alive')").ok().says("alive")
}

// race swaps a directory and a link while the API writes (F03).
func race(b box) {
	started, ended := b.background(engine.Request{Script: `
import os, time
os.mkdir("real")
os.symlink("/tmp", "link")
print("on", flush=True)
end = time.monotonic() + 60
while time.monotonic() < end and not os.path.exists("stop"):
    try:
        os.rename("real", "spare"); os.rename("link", "real")
        os.rename("real", "link"); os.rename("spare", "real")
    except OSError: pass
print("escaped", os.path.exists("/tmp/raced"))
assert not os.path.exists("/tmp/raced")
`})
	<-started
	wrote := 0
	for range 300 {
		if _, err := b.Files().Write(b.t.Context(), "real/raced", strings.NewReader("x"), 100); err == nil {
			wrote++
		} else if c := remuda.CodeOf(err); c == remuda.CodeInternal || c == remuda.CodeUnavailable {
			b.t.Fatalf("write: %v", err)
		}
	}
	if _, err := b.Files().Write(b.t.Context(), "stop", strings.NewReader(""), 1); err != nil {
		b.t.Fatal(err)
	}
	(<-ended).ok()
	b.t.Logf("%d of 300 writes arrived", wrote)
}

// names are no names of files (F07, F16).
func names(b box) {
	for _, path := range []string{
		"", ".", "..", "/", "../x", "a/../../x", "/etc/passwd", "a\x00b", "a\nb", strings.Repeat("x", 300), strings.Repeat("x/", 3000), "\xff",
	} {
		b.refuse(path, remuda.CodeInvalid, remuda.CodeTooLarge)
	}
	if _, err := b.Files().Write(b.t.Context(), "..%2fx", strings.NewReader("x"), 10); err != nil {
		b.t.Errorf("an odd but harmless name: %v", err)
	}
}
