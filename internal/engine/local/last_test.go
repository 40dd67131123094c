package local

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/remuda-run/remuda/internal/engine/local/cgroup"
	"github.com/remuda-run/remuda/internal/remuda"
)

// comesLast reads what the kernel has of a group.
func comesLast(t *testing.T, g *cgroup.Group) bool {
	t.Helper()
	for _, file := range []string{"/sys/fs/cgroup/cpu" + g.Path() + "/cpu.idle", filepath.Join("/sys/fs/cgroup", g.Path(), "cpu.idle")} {
		if b, err := os.ReadFile(file); err == nil {
			return strings.TrimSpace(string(b)) == "1"
		}
	}
	t.Skip("this kernel (before Linux 5.15) has no groups that come last")
	return false
}

// TestLast has instances come last: from their making and while they wait or live. Their
// template, which others may wait for, does not. A share that they are told of meanwhile is
// kept for later.
func TestLast(t *testing.T) {
	e := open(t, Options{})
	spec := upTemplate(t, e, templateSpec())
	template := e.templates.find(spec).blank.group
	works := func(inst *Instance) {
		t.Helper()
		if res := execute(t, inst, "print(1)"); res.State != remuda.ExecutionSuccess {
			t.Fatalf("%+v", res)
		}
	}
	expect := func(when string, inst *Instance, last bool) {
		t.Helper()
		if got := comesLast(t, inst.blank.group); got != last {
			t.Errorf("%s: an instance comes last: %v", when, got)
		}
		if got := comesLast(t, template); got {
			t.Errorf("%s: the template comes last: %v", when, got)
		}
	}
	spec.Last = true
	first := create(t, e, spec)
	expect("made so", first, true)
	works(first)
	expect("after a script", first, true)

	spec.Last, spec.Background = false, true
	warm := create(t, e, spec)
	expect("beside one that waits", first, true)
	warm.Share(4)
	warm.Last(true)
	expect("told so", warm, true)
	works(warm)
	expect("after a script", warm, true)
	warm.Last(false)
	expect("told otherwise", warm, false)
	works(warm)
	if warm.Burned() <= 0 {
		t.Error("an instance that has run scripts has burned nothing")
	}

	started := spec
	started.Generation, started.Background, started.Last = remuda.GenerationKey{}, false, true
	other := create(t, e, started)
	expect("started", other, true)
	other.Last(false)
	expect("started, told otherwise", other, false)
	works(other)
	if err := warm.Destroy(t.Context()); err != nil {
		t.Fatal(err)
	}
	expect("alone again", first, true)
}
