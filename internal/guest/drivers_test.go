package guest_test

import (
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/remuda-run/remuda/internal/guest"
	"github.com/remuda-run/remuda/internal/guest/channel"
	"github.com/remuda-run/remuda/internal/remuda"
)

// wire is our end of a driver's channel.
type wire struct {
	t  *testing.T
	f  *os.File
	in []byte
}

// interpreters lists what the drivers are tried with: the machine's own, and for
// Python also those named in REMUDA_TEST_PYTHONS, separated by colons.
func interpreters() map[string]remuda.Language {
	all := map[string]remuda.Language{"/usr/bin/python3": remuda.LanguagePython, "/usr/bin/node": remuda.LanguageNode}
	for p := range strings.SplitSeq(os.Getenv("REMUDA_TEST_PYTHONS"), ":") {
		if p != "" {
			all[p] = remuda.LanguagePython
		}
	}
	return all
}

// startDriver runs a driver without a sandbox.
func startDriver(t *testing.T, language remuda.Language, interpreter string) *wire {
	t.Helper()
	d, err := guest.Driver(language, interpreter)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), filepath.Base(d.Path))
	if err := os.WriteFile(path, d.Source, 0o600); err != nil {
		t.Fatal(err)
	}
	argv := slices.Clone(d.Argv)
	argv[len(argv)-1] = path
	pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	theirs := os.NewFile(uintptr(pair[1]), "driver")
	defer theirs.Close()
	if err := syscall.SetNonblock(pair[0], true); err != nil {
		t.Fatal(err)
	}
	w := &wire{t: t, f: os.NewFile(uintptr(pair[0]), "channel")}
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.ExtraFiles = []*os.File{theirs}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		w.f.Close()
		_ = cmd.Wait() // a driver whose channel closes ends
	})
	if typ, p := w.next(); typ != channel.TypeReady {
		t.Fatalf("frame %d first", typ)
	} else if v, err := channel.ParseReady(p); err != nil || v == "" {
		t.Fatalf("version %q, %v", v, err)
	}
	return w
}

func (w *wire) next() (byte, []byte) {
	w.t.Helper()
	_ = w.f.SetReadDeadline(time.Now().Add(20 * time.Second))
	buf := make([]byte, 64<<10)
	for {
		typ, p, rest, ok, err := channel.Next(w.in)
		if err != nil {
			w.t.Fatal(err)
		}
		if ok {
			w.in = rest
			return typ, p
		}
		n, err := w.f.Read(buf)
		if err != nil {
			w.t.Fatal(err)
		}
		w.in = append(w.in, buf[:n]...)
	}
}

func (w *wire) run(r channel.Run) *channel.Done {
	w.t.Helper()
	if _, err := w.f.Write(r.Append(nil)); err != nil {
		w.t.Fatal(err)
	}
	typ, p := w.next()
	d, err := channel.ParseDone(p)
	if typ != channel.TypeDone || err != nil {
		w.t.Fatalf("frame %d, %v", typ, err)
	}
	return d
}

// The same small scripts in every interpreter that can be had.
func TestDriversDirectly(t *testing.T) {
	t.Parallel()
	scripts := map[remuda.Language][][2]string{
		remuda.LanguagePython: {
			{"1+1", "2"}, {"x = [1, {'a': 'b'}]\nreturn x", `[1,{"a":"b"}]`}, {"x[0]", "1"}, {"1/0", "ZeroDivisionError"}, {"if", "SyntaxError"},
			{"import sys\nsys.exit(4)", "SystemExit"}, {"import asyncio\nawait asyncio.sleep(0, 5)", "5"}, {"def f():\n  return undefined\nf()", "NameError"},
			{"try:\n  return p + 1\nfinally:\n  y = 1", "43"}, {"from math import *\nreturn floor(2.5)", "2"}, {"y", "1"},
		},
		remuda.LanguageNode: {
			{"1+1", "2"}, {"var x = [1]; x", "[1]"}, {"x[0]", "1"}, {"null.a", "TypeError"}, {"(", "SyntaxError"}, {"await 5", "5"}, {"return p + 1", "43"},
		},
	}
	for interpreter, language := range interpreters() {
		t.Run(interpreter, func(t *testing.T) {
			t.Parallel()
			w := startDriver(t, language, interpreter)
			for _, s := range scripts[language] {
				d := w.run(channel.Run{Source: s[0], Parameters: []channel.Pair{{Name: "p", Value: "42"}}})
				if got := string(d.JSON) + d.ErrType; got != s[1] {
					t.Errorf("%q gives %s, want %s (%s)", s[0], got, s[1], d.Traceback)
				}
				if strings.Contains(d.Traceback, "driver") {
					t.Errorf("the traceback of %q shows the driver: %s", s[0], d.Traceback)
				}
			}
			big := strings.Repeat("#", 3<<20)
			if language == remuda.LanguageNode {
				big = "//" + big
			}
			if d := w.run(channel.Run{Source: big + "\n6*7"}); string(d.JSON) != "42" {
				t.Errorf("a script of 3 MiB gives %+v", d)
			}
		})
	}
}

// What no init of ours sends ends a driver.
func TestDriversEndOnGarbage(t *testing.T) {
	t.Parallel()
	for interpreter, language := range interpreters() {
		t.Run(interpreter, func(t *testing.T) {
			t.Parallel()
			w := startDriver(t, language, interpreter)
			frame := binary.BigEndian.AppendUint32(nil, 1)
			if _, err := w.f.Write(append(frame, 77, 'x')); err != nil {
				t.Fatal(err)
			}
			_ = w.f.SetReadDeadline(time.Now().Add(20 * time.Second))
			if n, err := w.f.Read(make([]byte, 1)); n != 0 || err == nil || os.IsTimeout(err) {
				t.Errorf("%d bytes, %v, want the end", n, err)
			}
		})
	}
}

func TestDriverOfAnUnknownLanguage(t *testing.T) {
	t.Parallel()
	if _, err := guest.Driver("cobol", "/usr/bin/cobc"); err == nil || !strings.Contains(err.Error(), "python") {
		t.Errorf("error %v names no language to use instead", err)
	}
}
