package local

import (
	"testing"
	"time"

	"github.com/remuda-run/remuda/internal/remuda"
)

// wasteful uses memory and processor time, and says that it has.
const wasteful = `
import time
x = bytearray(60 << 20)
end = time.process_time() + 0.1
while time.process_time() < end: pass
"wasted"
`

// TestSpareGroups has an instance in the cgroup of an earlier one, of which it may have
// nothing, and which has nothing to say there any more.
func TestSpareGroups(t *testing.T) {
	e := open(t, Options{Blanks: -1})
	if e.herd.Version() != 1 {
		t.Skip("with cgroup v2 no group is used again")
	}
	spec := upTemplate(t, e, templateSpec())
	spec.Background = true
	forked := func() *Instance {
		t.Helper()
		spec.ID = remuda.NewInstanceID()
		inst, err := e.Create(t.Context(), spec)
		if err != nil {
			t.Fatal(err)
		}
		if !inst.(*Instance).blank.forked {
			t.Fatal("the instance was not forked")
		}
		return inst.(*Instance)
	}
	var first, next *Instance
	for n := 0; ; n++ { // the kernel may take a while to let go of the memory
		if n == 50 {
			t.Fatal("no instance has the cgroup of another")
		}
		first = forked()
		if res := execute(t, first, wasteful); res.State != remuda.ExecutionSuccess || res.Usage.PeakMemory < 60<<20 || res.Usage.CPU < 100*time.Millisecond {
			t.Fatalf("%+v", res)
		}
		if err := first.Destroy(t.Context()); err != nil {
			t.Fatal(err)
		}
		if next = forked(); next.blank.group.Path() == first.blank.group.Path() {
			break
		}
		if err := next.Destroy(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if err := first.Narrow(t.Context(), remuda.Resources{MemoryMB: 16, Pids: 1}); err == nil {
		t.Error("the limits of an instance that has ended were lowered")
	}
	if err := first.blank.group.Kill(); err != nil {
		t.Error(err)
	}
	if res := execute(t, next, "1+1"); res.State != remuda.ExecutionSuccess || res.Usage.PeakMemory >= 60<<20 || res.Usage.CPU >= 100*time.Millisecond {
		t.Errorf("the next one has %+v", res)
	}
	if res := execute(t, next, wasteful); res.State != remuda.ExecutionSuccess {
		t.Errorf("it has not all of its limits: %+v", res)
	}
	if res := execute(t, next, bomb+"\nx = bytearray(400 << 20)"); res.KilledBy != remuda.KilledByMemory {
		t.Errorf("it has more than its limits: %+v", res)
	}
	if err := next.Destroy(t.Context()); err != nil {
		t.Error(err)
	}
	after := forked() // a group in which something was killed is nobody's any more
	if after.blank.group.Path() == next.blank.group.Path() {
		t.Error("a group that has run out of memory was used again")
	}
	if err := after.Narrow(t.Context(), remuda.Resources{Pids: 8}); err != nil {
		t.Error(err)
	}
	if err := after.Destroy(t.Context()); err != nil {
		t.Error(err)
	}
	last := forked()
	if last.blank.group.Path() == after.blank.group.Path() {
		t.Error("a group that was narrowed was used again")
	}
	if err := last.Destroy(t.Context()); err != nil {
		t.Error(err)
	}
}
