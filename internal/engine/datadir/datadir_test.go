package datadir

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/remuda-run/remuda/internal/remuda"
)

func TestOpen(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a", "b")
	first, err := Open(path, "run", "disk")
	if err != nil {
		t.Fatal(err)
	}
	if first.Path != path || len(first.Herd) != 2*herdBytes {
		t.Errorf("opened %q with the herd %q", first.Path, first.Herd)
	}
	for _, dir := range []string{path, first.Sub("run"), first.Sub("disk")} {
		if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("%s: %v, %v", dir, info, err)
		}
	}
	if _, err := Open(path); remuda.CodeOf(err) != remuda.CodeConflict || !strings.Contains(err.Error(), "in use") {
		t.Errorf("a second one has it too: %v", err)
	}
	first.Close()
	second, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	if second.Herd != first.Herd {
		t.Errorf("the herd's name changed from %q to %q", first.Herd, second.Herd)
	}
}

// What an earlier program left open to others is closed again.
func TestOpenProtects(t *testing.T) {
	t.Parallel()
	path := t.TempDir()
	if err := os.Mkdir(filepath.Join(path, "run"), 0o755); err != nil {
		t.Fatal(err)
	}
	d, err := Open(path, "run")
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if info, err := os.Stat(d.Sub("run")); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the folder is %v, %v", info, err)
	}
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	if _, err := Open(""); remuda.CodeOf(err) != remuda.CodeInvalid {
		t.Errorf("no path: %v", err)
	}
	for name, text := range map[string]string{"a path": "../../etc", "nothing": "", "too much": "0123456789abcdef", "no hex": "wonderful123"} {
		path := t.TempDir()
		if err := os.WriteFile(filepath.Join(path, herdName), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(path); err == nil || !strings.Contains(err.Error(), "does not hold a herd's name") {
			t.Errorf("a herd's file with %s: %v", name, err)
		}
		if err := os.Remove(filepath.Join(path, herdName)); err != nil {
			t.Fatal(err)
		}
		d, err := Open(path)
		if err != nil {
			t.Fatalf("the refusal has kept the lock: %v", err)
		}
		d.Close()
	}
}

// TestOpenWaits: one who has just let go of it is waited for.
func TestOpenWaits(t *testing.T) {
	t.Parallel()
	path := t.TempDir()
	first, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(lockPatience/20, first.Close)
	second, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	second.Close()
}
