package runtimes_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/remuda-run/remuda/internal/remuda"
	"github.com/remuda-run/remuda/internal/runtimes"
	"github.com/remuda-run/remuda/internal/store"
)

func TestBuildsSurviveTheServer(t *testing.T) {
	t.Parallel()
	path, i := database(t), newInstaller()
	t.Run("killed", func(t *testing.T) {
		h := builds(t, path, i)
		h.create(t, asks("ready", "ok-a"))
		h.settled(t, "ready")
		h.create(t, asks("busy", "ok-b"))
		h.settled(t, "busy")
		h.update(t, "busy", remuda.RuntimePatch{Packages: packagesOf("slow-c")})
		h.create(t, asks("failed", "bad-d"))
		h.settled(t, "failed")
	})
	i.goOn()
	h := builds(t, path, i)
	if rt, err := h.GetRuntime(t.Context(), deployer, "ready"); err != nil || rt.Build.Status != remuda.RuntimeReady || rt.Build.Version != "2.0.1" {
		t.Errorf("ready after a restart: %+v, %v", rt.Build, err)
	} else if _, _, layers := h.serves(t, rt); len(layers) != 1 {
		t.Errorf("layers after a restart: %q", layers)
	}
	rt, err := h.GetRuntime(t.Context(), deployer, "busy")
	if err != nil || rt.Serving == 0 {
		t.Errorf("busy after a restart: serving %d, %v", rt.Serving, err)
	}
	if rt = h.settled(t, "busy"); rt.Build.Status != remuda.RuntimeReady || rt.Serving != 2 {
		t.Errorf("resumed: serving %d, %+v", rt.Serving, rt.Build)
	}
	if text := h.log(t, "busy", 2); !strings.Contains(text, "the build begins anew") || strings.Count(text, "is ready") != 1 {
		t.Errorf("the log of a resumed build:\n%s", text)
	}
	if rt = h.settled(t, "failed"); rt.Build.Status != remuda.RuntimeError || rt.Build.Packages[0].State != remuda.PackageNotInstalled {
		t.Errorf("failed after a restart: %+v", rt.Build)
	}
}

// TestLostLayer starts a server whose layers are gone: it serves nothing without
// what it promises, and installs the same again.
func TestLostLayer(t *testing.T) {
	t.Parallel()
	path, i := database(t), newInstaller()
	h := builds(t, path, i)
	h.create(t, asks("r", "ok-a"))
	h.settled(t, "r")
	h.end()
	lost := newInstaller()
	lost.revision = 5
	var rt remuda.Runtime
	var err error
	func() {
		h := buildStopped(t, path, lost)
		defer h.end()
		rt, err = h.GetRuntime(t.Context(), deployer, "r")
		if err != nil || rt.Serving != 0 || rt.Generation != 2 || rt.Build.Status != remuda.RuntimeBusy {
			t.Errorf("without its layer: serving %d of %d, %s, %v", rt.Serving, rt.Generation, rt.Build.Status, err)
		}
		if _, err := h.Usable(deployer, "r"); remuda.CodeOf(err) != remuda.CodeUnavailable {
			t.Errorf("use without its layer: %v", err)
		}
	}()
	h = builds(t, path, lost)
	if rt = h.settled(t, "r"); rt.Serving != 2 || rt.Build.Status != remuda.RuntimeReady {
		t.Errorf("built again: serving %d, %+v", rt.Serving, rt.Build)
	}
}

// TestAdoptsGenerationsWithoutBuilds starts on what a server from before there were
// builds has left.
func TestAdoptsGenerationsWithoutBuilds(t *testing.T) {
	t.Parallel()
	path, i := database(t), newInstaller()
	h := builds(t, path, i)
	d := runtimes.WithDefaults(remuda.Definition{Name: "old", Language: remuda.LanguagePython, Version: "1.9.0"})
	rt := remuda.Runtime{ID: remuda.NewRuntimeID(), Organization: ours, Definition: d, Generation: 3, Serving: 3, CreatedAt: remuda.Now(), UpdatedAt: remuda.Now()}
	err := h.store.Write(t.Context(), func(tx *store.Tx) error {
		return errors.Join(tx.InsertRuntime(t.Context(), rt), tx.InsertGeneration(t.Context(), ours, rt.Key(), d, rt.CreatedAt))
	})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		h.end()
		h = builds(t, path, i)
		got, err := h.GetRuntime(t.Context(), deployer, "old")
		if err != nil || got.Generation != 3 || got.Serving != 3 || got.Build.Status != remuda.RuntimeReady || got.Build.Version != "1.9.0" {
			t.Errorf("adopted: serving %d of %d, %+v, %v", got.Serving, got.Generation, got.Build, err)
		}
		if n, _, _ := h.serves(t, got); n != 3 {
			t.Errorf("generation %d is handed out", n)
		}
		if b, err := h.GetBuild(t.Context(), deployer, "old", 3); err != nil || b.Status != remuda.RuntimeReady {
			t.Errorf("its build: %+v, %v", b, err)
		}
	}
	if got := h.update(t, "old", remuda.RuntimePatch{MemoryMB: new(99)}); got.Generation != 4 || got.Serving != 4 {
		t.Errorf("changed: serving %d of %d", got.Serving, got.Generation)
	}
}
