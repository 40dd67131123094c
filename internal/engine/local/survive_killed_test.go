package local

import (
	"context"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/engine/enginetest"
	"github.com/remuda-run/remuda/internal/remuda"
)

// survivedEnv makes this test binary a server whose instances survive it.
const survivedEnv = "REMUDA_TEST_SURVIVED_SERVER"

// survivors are instances of every kind: started and forked, with their disk in
// memory and on an image.
func survivors() []engine.Spec {
	var specs []engine.Spec
	for n, disk := range []int{16, 200, 16, 200} {
		spec := engine.Spec{
			ID: remuda.NewInstanceID(), Language: remuda.LanguagePython, Linger: time.Hour,
			Resources: remuda.Resources{CPU: 1, MemoryMB: 128, DiskMB: disk, Pids: 32},
		}
		if n >= 2 { // waits for its template
			spec.Background, spec.Generation = true, remuda.GenerationKey{Runtime: "rt_forked", Number: 1}
		}
		specs = append(specs, spec)
	}
	return specs
}

func serveToSurvive(dir string) error {
	e, err := New(context.Background(), Options{DataDir: dir})
	if err != nil {
		return err
	}
	if _, err := e.Recover(context.Background(), nil); err != nil {
		return err
	}
	return enginetest.ServeToSurvive(e, survival(), survivors()...)
}

// TestKilledServer kills a server with SIGKILL while scripts run, and expects the
// next one to go on with every one of them.
func TestKilledServer(t *testing.T) {
	dir := t.TempDir()
	killed := enginetest.KillCounting(t, 4, survivedEnv+"="+dir)
	e, err := New(t.Context(), Options{DataDir: dir, Logger: slog.New(slog.NewTextHandler(t.Output(), nil))})
	if err != nil {
		t.Fatal(err)
	}
	enginetest.CloseAtEnd(t, e, func() []string { return leftovers(e) })
	left, err := e.dir.leftovers()
	if err != nil || len(left) != 4 {
		t.Fatalf("the killed server's metadata: %v, %v", left, err)
	}
	var keep []engine.Spec
	for id := range killed {
		keep = append(keep, engine.Spec{ID: id, Language: remuda.LanguagePython})
	}
	found, err := e.Recover(t.Context(), keep)
	if err != nil || len(found.Attached) != 4 || len(found.Lost)+len(found.Ended) != 0 {
		t.Fatalf("%+v, %v", found, err)
	}
	// Nothing else is left of the server: four instances, and one keeper of a template.
	groups, err := e.herd.Names()
	groups = slices.DeleteFunc(groups, func(name string) bool { return e.orphans[name] != nil })
	if err != nil || len(e.orphans) != 1 || len(groups) < 4 {
		t.Errorf("cgroups %v, keepers of templates %v, %v", groups, e.orphans, err)
	}
	forked, images := 0, 0
	for _, inst := range found.Attached {
		i := inst.(*Instance)
		if i.blank.forked {
			forked++
		}
		if i.disk != nil {
			images++
		}
		if r := i.Resources(); r.MemoryMB != 128 || r.Pids != 32 || r.CPU != 1 {
			t.Errorf("the limits of %s are known as %+v", inst.ID(), r)
		}
	}
	if forked != 2 || images != 2 {
		t.Fatalf("%d were forked, %d have an image", forked, images)
	}
	for _, inst := range found.Attached {
		t.Run(string(inst.ID()), func(t *testing.T) {
			killed[inst.ID()].GoesOn(t, inst, survival())
			if err := inst.Destroy(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	if len(e.orphans) != 0 {
		t.Errorf("keepers that keep nothing: %v", e.orphans)
	}
	for _, m := range left {
		for pid, start := range map[int]uint64{m.Pid: m.StartTime, sharedOf(m).Pid: sharedOf(m).StartTime} {
			if now, err := StartTime(pid); err == nil && now == start && !zombie(t, pid) {
				t.Errorf("process %d of %s has outlived it", pid, m.ID)
			}
		}
	}
}

func sharedOf(m metadata) sharedKeeper {
	if m.Shared == nil {
		return sharedKeeper{}
	}
	return *m.Shared
}
