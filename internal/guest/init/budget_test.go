package guestinit

import (
	"bytes"
	"strings"
	"testing"

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
		if all[i].heldBytes < sharedLeast || all[i].heldBytes > heldMax+len(piece)+100 {
			t.Fatalf("instance %d holds %d bytes", i, all[i].heldBytes)
		}
	}
	if most := sharedMax + len(all)*(sharedLeast+len(piece)+100); shared.held < sharedMax || shared.held > most {
		t.Errorf("%d bytes are held, want %d to %d", shared.held, sharedMax, most)
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
	if shared.held != 0 || all[0].heldBytes != 0 {
		t.Errorf("%d bytes are held when nothing is", shared.held)
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
	var shared budget
	large := func() *protocol.End {
		return &protocol.End{ID: "e", State: "success", HasValue: true, ValueJSON: bytes.Repeat([]byte("1"), 8<<20), Rich: map[string]string{"text/html": strings.Repeat("x", 4<<20)}}
	}
	var whole, lean int
	var all []*execution
	for range 40 {
		r := &execution{output: output{shared: &shared}}
		r.hold(large())
		if all = append(all, r); r.end.HasValue {
			whole++
			continue
		}
		if lean++; r.end.ValueJSON != nil || r.end.Rich != nil || !strings.Contains(r.end.Reason, "value was not kept") || r.end.State != "success" {
			t.Fatalf("an end that is too large is held as %+v", r.end)
		}
	}
	if whole < 4 || lean == 0 || shared.held > endsMax+(1<<20) {
		t.Errorf("%d whole, %d without their value, %d bytes", whole, lean, shared.held)
	}
	small := &execution{output: output{shared: &shared}}
	if small.hold(&protocol.End{State: "error", Reason: "r"}); small.end.Reason != "r" {
		t.Errorf("an end without a value is held as %+v", small.end)
	}
	for _, r := range append(all, small) {
		r.drop()
	}
	if shared.held != 0 {
		t.Errorf("%d bytes are held when nothing is", shared.held)
	}
	alone := &execution{}
	if alone.hold(large()); !alone.end.HasValue {
		t.Error("one with a keeper of its own does not hold its value")
	}
}
