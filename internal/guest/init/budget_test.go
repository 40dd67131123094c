package guestinit

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/remuda-run/remuda/internal/guest/protocol"
)

// TestBudget fills the outputs of instances that share a keeper: alone each could
// hold heldMax, together they cannot, and every one can go on a little.
func TestBudget(t *testing.T) {
	t.Parallel()
	var shared budget
	piece := bytes.Repeat([]byte("x"), 32<<10)
	all := make([]*execution, 200)
	for i := range all {
		all[i] = &execution{output: output{limit: 1 << 40, shared: &shared}}
		for !all[i].full() {
			all[i].add(protocol.StreamStdout, piece)
		}
		if all[i].heldBytes < outputLeast || all[i].heldBytes > heldMax+len(piece)+100 {
			t.Fatalf("instance %d holds %d bytes", i, all[i].heldBytes)
		}
	}
	if most := outputMax + len(all)*(outputLeast+len(piece)+100); shared.output < outputMax || shared.output > most {
		t.Errorf("%d bytes are held, want %d to %d", shared.output, outputMax, most)
	}
	// Who is taken from goes on, however much the others hold.
	last := all[len(all)-1]
	last.release(last.seq)
	if last.full() {
		t.Error("an instance that holds nothing waits")
	}
	for _, r := range all {
		r.drop()
	}
	if shared.output != 0 || all[0].heldBytes != 0 {
		t.Errorf("%d bytes are held when nothing is", shared.output)
	}
	alone := &execution{output: output{limit: 1 << 40}}
	for !alone.full() {
		alone.add(protocol.StreamStdout, piece)
	}
	if alone.heldBytes < heldMax {
		t.Errorf("one with a keeper of its own holds %d bytes", alone.heldBytes)
	}
}

// TestEndsInABudget holds ends with large values until there is no more room.
func TestEndsInABudget(t *testing.T) {
	t.Parallel()
	large := func() *protocol.End {
		return &protocol.End{ID: "e", State: "success", HasValue: true, ValueJSON: bytes.Repeat([]byte("1"), 8<<20), Rich: map[string]string{"text/html": strings.Repeat("x", 4<<20)}}
	}
	root := &keeper{template: newTemplate(&protocol.Template{})}
	shared := &root.template.held
	ends := func(n int) (*keeper, *execution) {
		child := &keeper{parent: root, run: &execution{output: output{shared: shared}}}
		root.template.children[n] = child
		return child, child.run
	}
	var whole, lean int
	for n := range 40 {
		child, r := ends(n)
		if child.hold(large()); r.end.HasValue {
			whole++
			continue
		}
		if lean++; r.end.ValueJSON != nil || r.end.Rich != nil || !strings.Contains(r.end.Reason, "value was not kept") || r.end.State != "success" {
			t.Fatalf("an end that is too large is held as %+v", r.end)
		}
	}
	if whole < 4 || lean == 0 || shared.ends > endsMax+(1<<20) {
		t.Errorf("%d whole, %d without their value, %d bytes", whole, lean, shared.ends)
	}
	small, r := ends(100)
	if small.hold(&protocol.End{State: "error", Reason: "r"}); r.end.Reason != "r" {
		t.Errorf("an end without a value is held as %+v", r.end)
	}
	// What a server has had for long makes room.
	for _, child := range root.template.children {
		child.run.sentAt = time.Now().Add(-time.Hour)
	}
	next, r := ends(101)
	if next.hold(large()); !r.end.HasValue || shared.ends > 20<<20 {
		t.Errorf("there is no room after all: %d bytes are held", shared.ends)
	}
	for _, child := range root.template.children {
		child.run.drop()
	}
	if *shared != (budget{}) {
		t.Errorf("%+v is held when nothing is", *shared)
	}
	alone := &keeper{run: &execution{}}
	if alone.hold(large()); !alone.run.end.HasValue {
		t.Error("one with a keeper of its own does not hold its value")
	}
}
