package oci

import (
	"bytes"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/remuda"
)

func TestCheck(t *testing.T) {
	e := openEngine(t, Options{})
	findings := e.Check(t.Context())
	if len(findings) != 2 {
		t.Fatalf("findings: %+v", findings)
	}
	for _, f := range findings {
		t.Logf("%s: %s", f.Name, f.Detail)
		if !f.OK || f.Detail == "" || !f.Optional {
			t.Errorf("%+v", f)
		}
	}
}

// TestWithoutRunsc asks a machine without the runtime for a sandbox.
func TestWithoutRunsc(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	text := filepath.Join(dir, "text")
	if err := os.WriteFile(text, []byte("no program"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{filepath.Join(dir, "absent"), text, dir} {
		e := New(Options{DataDir: filepath.Join(dir, "oci"), Runsc: path})
		for what, err := range map[string]error{"available": e.Available(), "create": create(t, e, spec(remuda.LanguagePython))} {
			if remuda.CodeOf(err) != remuda.CodeUnsupported {
				t.Errorf("%s with runsc %s: %v", what, path, err)
			}
		}
		if f := e.Check(t.Context()); len(f) != 1 || f[0].OK || f[0].Remedy == "" || !f[0].Optional {
			t.Errorf("findings with runsc %s: %+v", path, f)
		}
		if err := e.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "oci")); !os.IsNotExist(err) {
		t.Errorf("an engine that was of no use has left a directory: %v", err)
	}
}

func create(t *testing.T, e *Engine, s engine.Spec) error {
	t.Helper()
	inst, err := e.Create(t.Context(), s)
	if err == nil {
		t.Errorf("a sandbox was made: %+v", s)
		_ = inst.Destroy(t.Context())
	}
	return err
}

func TestRefusals(t *testing.T) {
	e := openEngine(t, Options{})
	for name, tt := range map[string]struct {
		change func(*engine.Spec)
		want   remuda.Code
		says   string
	}{
		"egress":           {func(s *engine.Spec) { s.Egress.CIDRs = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")} }, remuda.CodeUnsupported, "reaches no network"},
		"names to reach":   {func(s *engine.Spec) { s.Egress.Names = []string{"example.org"} }, remuda.CodeUnsupported, "reaches no network"},
		"no memory limit":  {func(s *engine.Spec) { s.Resources.MemoryMB = 0 }, remuda.CodeInvalid, "memory_mb"},
		"no process limit": {func(s *engine.Spec) { s.Resources.Pids = 0 }, remuda.CodeInvalid, "pids"},
	} {
		t.Run(name, func(t *testing.T) {
			s := spec(remuda.LanguagePython)
			tt.change(&s)
			err := create(t, e, s)
			if remuda.CodeOf(err) != tt.want || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("the error is %v", err)
			}
		})
	}
}

// TestBrokenRuntime has a program that is no runtime say so.
func TestBrokenRuntime(t *testing.T) {
	broken := filepath.Join(t.TempDir(), runscName)
	if err := os.WriteFile(broken, []byte("#!/bin/sh\necho 'no such platform' >&2\nexit 3\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	runscForTests(t) // asks for root
	e := New(Options{DataDir: filepath.Join(t.TempDir(), "oci"), Runsc: broken})
	if err := create(t, e, spec(remuda.LanguagePython)); err == nil || !strings.Contains(err.Error(), "no such platform") {
		t.Errorf("the error does not tell what the runtime said: %v", err)
	}
	if err := e.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if left := leftovers(e); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

func TestTail(t *testing.T) {
	t.Parallel()
	var got tail
	for range 100 {
		n, err := got.Write(bytes.Repeat([]byte("0123456789"), 10))
		if n != 100 || err != nil {
			t.Fatal(n, err)
		}
	}
	if s := got.String(); len(s) != tailBytes || !strings.HasSuffix(s, "0123456789") {
		t.Errorf("%d bytes: %q", len(s), s)
	}
}
