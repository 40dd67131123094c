package runtimes_test

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/remuda-run/remuda/internal/pool"
	"github.com/remuda-run/remuda/internal/remuda"
)

// TestAnyHistory changes a runtime at random while its builds succeed, fail, wait,
// are replaced, and survive servers. After every step what serves has the newest
// policy, is ready, and is what the pool hands out; and every build has moved as the
// table of states allows.
func TestAnyHistory(t *testing.T) {
	t.Parallel()
	dir, round := t.TempDir(), 0
	rapid.Check(t, func(r *rapid.T) {
		round++
		path, i := filepath.Join(dir, fmt.Sprintf("%d.db", round)), newInstaller()
		i.goOn()
		h := builds(r, path, i)
		h.create(r, asks("r", rapid.SampledFrom([]string{"ok-a", "bad-a", "slow-a"}).Draw(r, "first")))
		i.hold()
		seen := map[int]remuda.RuntimeStatus{}
		for range rapid.IntRange(0, 1).Draw(r, "restarts") {
			h.steps(r, i, seen)
			h.end()
			h = builds(r, path, i)
			h.sound(r, seen)
		}
		h.steps(r, i, seen)
		i.goOn()
		if rt := h.settled(r, "r"); !rt.Build.Status.Final() {
			r.Errorf("stuck at %s", rt.Build.Status)
		}
		h.sound(r, seen)
		h.end()
	})
}

func (h *house) steps(r *rapid.T, i *installer, seen map[int]remuda.RuntimeStatus) {
	for range rapid.IntRange(0, 6).Draw(r, "steps") {
		h.step(r, i)
		h.sound(r, seen)
	}
}

// step does one thing to the runtime.
func (h *house) step(r *rapid.T, i *installer) {
	switch rapid.SampledFrom([]string{"policy", "packages", "both", "rebuild", "refresh", "relabel", "settle", "go on"}).Draw(r, "step") {
	case "policy":
		h.update(r, "r", remuda.RuntimePatch{MemoryMB: new(rapid.IntRange(64, 70).Draw(r, "memory"))})
	case "packages":
		h.update(r, "r", remuda.RuntimePatch{Packages: packagesOf(draw(r)...)})
	case "both":
		h.update(r, "r", remuda.RuntimePatch{Packages: packagesOf(draw(r)...), Pids: new(rapid.IntRange(8, 12).Draw(r, "pids"))})
	case "rebuild", "refresh":
		refresh := rapid.Bool().Draw(r, "refresh")
		if _, err := h.RebuildRuntime(r.Context(), deployer, "r", refresh); err != nil && remuda.CodeOf(err) != remuda.CodeConflict {
			r.Error(err)
		}
	case "relabel":
		h.update(r, "r", remuda.RuntimePatch{Others: new(fmt.Sprint(rapid.IntRange(1, 3).Draw(r, "others")))})
	case "settle":
		if _, err := h.WaitRuntime(r.Context(), deployer, "r", 20*time.Millisecond); err != nil {
			r.Error(err)
		}
	case "go on":
		i.goOn()
	}
}

func draw(r *rapid.T) []string {
	return rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"ok-a", "ok-b", "bad-a", "slow-a"}), 0, 2, rapid.ID).Draw(r, "packages")
}

// look is the runtime with its builds, and how it can be used, at one moment.
type look struct {
	rt     remuda.Runtime
	builds []remuda.Build
	usable remuda.Runtime
	err    error
	leased remuda.Definition
	number int // of the generation that the pool hands out
}

// look looks until no build has ended meanwhile.
func (h *house) look(t tb) (l look) {
	t.Helper()
	for {
		var err error
		if l.rt, err = h.GetRuntime(t.Context(), deployer, "r"); err != nil {
			t.Fatal(err)
		}
		if l.builds, _, err = h.ListBuilds(t.Context(), deployer, "r", remuda.Page{Limit: 200}); err != nil {
			t.Fatal(err)
		}
		if l.usable, l.err = h.Usable(deployer, "r"); l.err == nil {
			lease, err := h.pool.Reserve(pool.Claim{Runtime: l.rt.ID})
			if err != nil {
				t.Fatal(err)
			}
			l.leased, l.number = lease.Definition(), lease.Generation().Number
			lease.Release()
		}
		// An end is recorded before it is in force.
		again, err := h.GetRuntime(t.Context(), deployer, "r")
		if err == nil && again.Build.Status == l.rt.Build.Status && l.builds[0].Status == l.rt.Build.Status {
			return l
		}
	}
}

// sound checks what must hold at any time. seen are the states of the builds as
// they were looked at before.
func (h *house) sound(t tb, seen map[int]remuda.RuntimeStatus) {
	t.Helper()
	l := h.look(t)
	ready := 0
	for _, b := range l.builds {
		was, known := seen[b.Key.Number]
		if known && was != b.Status && !was.CanBecome(b.Status) {
			t.Errorf("build %d went from %s to %s", b.Key.Number, was, b.Status)
		}
		seen[b.Key.Number] = b.Status
		if b.Key.Number < l.rt.Generation && !b.Status.Final() {
			t.Errorf("build %d is %s although %d is the newest", b.Key.Number, b.Status, l.rt.Generation)
		}
		if b.Status == remuda.RuntimeError && b.Reason == "" || b.Status.Final() == b.EndedAt.IsZero() {
			t.Errorf("build %d: %+v", b.Key.Number, b)
		}
		if b.Status == remuda.RuntimeReady {
			ready = max(ready, b.Key.Number)
		}
	}
	if l.rt.Serving != ready || len(l.builds) != l.rt.Generation || (l.rt.Build.Status == remuda.RuntimeReady) != (ready == l.rt.Generation) {
		t.Errorf("serving %d of %d (%s); the newest ready one of %d is %d", l.rt.Serving, l.rt.Generation, l.rt.Build.Status, len(l.builds), ready)
	}
	if ready == 0 {
		if remuda.CodeOf(l.err) != remuda.CodeUnavailable {
			t.Errorf("nothing is ready, and use of it gives %v", l.err)
		}
		return
	}
	if l.err != nil || l.number != ready || l.leased.Resources != l.rt.Resources || l.usable.Resources != l.rt.Resources || l.usable.Others != l.rt.Others {
		t.Errorf("generation %d is handed out with %+v, usable with %+v (%v); want %d with %+v", l.number, l.leased.Resources, l.usable.Resources, l.err, ready, l.rt.Resources)
	}
}
