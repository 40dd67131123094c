package local

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/remuda"
)

// TestShare gives instances that wait, forked and started ones, a part of a busy
// processor; it is in force when the script runs, and no earlier.
func TestShare(t *testing.T) {
	e := open(t, Options{})
	forked := upTemplate(t, e, templateSpec())
	started := templateSpec()
	started.Generation = remuda.GenerationKey{}
	weight := func(inst *Instance) string {
		t.Helper()
		for _, file := range []string{"/sys/fs/cgroup/cpu" + inst.blank.group.Path() + "/cpu.shares", filepath.Join("/sys/fs/cgroup", inst.blank.group.Path(), "cpu.weight")} {
			if b, err := os.ReadFile(file); err == nil {
				return strings.TrimSpace(string(b))
			}
		}
		t.Fatal("the weight of an instance cannot be read")
		return ""
	}
	for name, spec := range map[string]engine.Spec{"forked": forked, "started": started} {
		for _, spec.Background = range []bool{true, false} {
			full, part := create(t, e, spec), create(t, e, spec)
			waiting := weight(part)
			part.Share(4)
			if got := weight(part); got != waiting {
				t.Errorf("%s: weighs %s before its script, %s when it was told its share", name, waiting, got)
			}
			for _, inst := range []*Instance{full, part, part} {
				if res := execute(t, inst, "print(1)"); res.State != remuda.ExecutionSuccess {
					t.Fatalf("%s: %+v", name, res)
				}
			}
			want := map[string]string{"1024": "256", "100": "25"}[weight(full)]
			if got := weight(part); want == "" || got != want {
				t.Errorf("%s, in the background %v: one of four weighs %s, one alone %s", name, spec.Background, got, weight(full))
			}
		}
	}
}
