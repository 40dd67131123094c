package local

import (
	"log/slog"
	"path/filepath"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/engine/enginetest"
)

// survival is for instances of Python.
func survival() enginetest.Survival {
	return enginetest.Survival{
		Dialect: enginetest.Python(),
		Count:   "import time\nfor n in range(1, 2001):\n    print(n, flush=True)\n    time.sleep(0.0005)\n42",
	}
}

// servers opens engines on one data directory. At the end of the test that it is
// called for nothing may be left on the machine.
func servers(t *testing.T) func(*testing.T) enginetest.Servers {
	t.Helper()
	base := t.TempDir()
	var mu sync.Mutex
	var all []*Engine
	t.Cleanup(func() {
		// What has ended while no engine was there is still our child.
		for pid := 1; pid > 0; {
			pid, _ = unix.Wait4(-1, nil, unix.WNOHANG, nil)
		}
		for _, e := range all {
			if left := leftovers(e); len(left) > 0 {
				t.Errorf("left on the machine: %v", left)
			}
		}
	})
	return func(t *testing.T) enginetest.Servers {
		t.Helper()
		dir := filepath.Join(base, randomHex(4))
		return func(t *testing.T) engine.Engine {
			t.Helper()
			e, err := New(t.Context(), Options{DataDir: dir, Logger: slog.New(slog.NewTextHandler(t.Output(), nil)), Blanks: 1})
			if err != nil {
				t.Fatal(err)
			}
			mu.Lock()
			defer mu.Unlock()
			all = append(all, e)
			return e
		}
	}
}

func TestSurvive(t *testing.T) { enginetest.Survive(t, servers(t), survival()) }

// TestSurviveForked is about instances whose keeper is their template's.
func TestSurviveForked(t *testing.T) {
	s := survival()
	s.Prepare = func(t *testing.T, e engine.Engine, spec engine.Spec) {
		t.Helper()
		upTemplate(t, e.(*Engine), spec)
	}
	s.Look = func(t *testing.T, inst engine.Instance) {
		t.Helper()
		if !inst.(*Instance).blank.forked {
			t.Fatal("the instance was not forked")
		}
	}
	enginetest.Survive(t, servers(t), s)
}
