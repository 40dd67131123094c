package runtimes_test

import (
	"testing"
	"time"

	"github.com/remuda-run/remuda/internal/pool"
	"github.com/remuda-run/remuda/internal/remuda"
)

func TestUnusedLayersAreCollected(t *testing.T) {
	t.Parallel()
	i := newInstaller()
	h := builds(t, database(t), i)
	rt := h.create(t, asks("r", "ok-a"))
	h.settled(t, "r")
	held, err := h.pool.Reserve(pool.Claim{Runtime: rt.ID})
	if err != nil {
		t.Fatal(err)
	}
	want := func(when string, n int) {
		t.Helper()
		// The end of a build is known a moment before it lets others collect.
		layers := -1
		for deadline := time.Now().Add(time.Minute); layers != n && time.Now().Before(deadline); time.Sleep(time.Millisecond) {
			if err := h.Collect(t.Context()); err != nil {
				t.Fatal(err)
			}
			layers, _, _ = i.count()
		}
		if layers != n {
			t.Errorf("%s: %d layers, want %d", when, layers, n)
		}
	}
	h.update(t, "r", remuda.RuntimePatch{Packages: packagesOf("ok-b")})
	h.settled(t, "r")
	want("the old one is held", 2)
	if err := held.Destroy(t.Context()); err != nil {
		t.Fatal(err)
	}
	want("the old one is gone", 1)
	h.update(t, "r", remuda.RuntimePatch{Packages: packagesOf("bad-c")})
	h.settled(t, "r")
	want("what serves while a build has failed", 1)
	if err := h.DeleteRuntime(t.Context(), deployer, "r", remuda.Deletion{}); err != nil {
		t.Fatal(err)
	}
	want("it was deleted", 0)
}
