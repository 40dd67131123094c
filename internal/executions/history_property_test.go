package executions_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/remuda-run/remuda/internal/remuda"
	"github.com/remuda-run/remuda/internal/runspaces"
)

// past is a history of a world: what one client does, and servers that are killed or
// shut down meanwhile.
type past struct {
	*client
	t    *rapid.T
	n    int // values for variables
	used map[remuda.RunspaceID]func()
}

// TestAnyHistoryIsTold draws histories with restarts. Whatever was told holds after
// each, and nothing is stuck or left over at the end.
func TestAnyHistoryIsTold(t *testing.T) {
	t.Parallel()
	histories := 25 // a history takes longer than most of what properties are checked on
	if asked := flag.Lookup("rapid.checks"); asked.Value.String() != asked.DefValue {
		histories = math.MaxInt
	}
	rapid.Check(t, func(t *rapid.T) {
		if histories--; histories < 0 {
			return
		}
		dir, err := os.MkdirTemp("", "remuda-history")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = os.RemoveAll(dir) }()
		w := openWorld(t, dir, settings{runspaces: runspaces.Settings{CancelGrace: 5 * time.Millisecond, SweepEvery: 5 * time.Millisecond}})
		p := &past{client: newClient(w), t: t, used: map[remuda.RunspaceID]func(){}}
		defer w.end()
		t.Repeat(map[string]func(*rapid.T){
			"create": p.opens, "set": p.sets, "get": p.gets, "start": p.starts, "line": p.lines, "cancel": p.cancels, "interrupt": p.interrupts,
			"reset": p.resets, "delete": p.deletes, "die": p.dies, "sit down": p.sits, "kill": p.kills, "leave": p.leaves,
		})
		p.settle()
		p.holds(t)
	})
}

func (p *past) must(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatalf("%v", err)
	}
}

// space draws an open runspace.
func (p *past) space(t *rapid.T) remuda.RunspaceID {
	var open []remuda.RunspaceID
	for id, told := range p.spaces {
		if told.ready {
			open = append(open, id)
		}
	}
	if len(open) == 0 {
		t.Skip("no runspace is open")
	}
	slices.Sort(open)
	return rapid.SampledFrom(open).Draw(t, "runspace")
}

func (p *past) opens(t *rapid.T) {
	open := 0
	for _, told := range p.spaces {
		if told.ready {
			open++
		}
	}
	if open > 3 {
		t.Skip("enough")
	}
	req := remuda.RunspaceRequest{}
	if rapid.Bool().Draw(t, "init") {
		req.InitScript = "set x init"
	}
	id, err := p.create(context.Background(), req)
	p.must(err)
	if req.InitScript != "" {
		p.spaces[id].x = "init"
	}
}

// now runs a script that ends by itself, if the runspace is not busy.
func (p *past) now(t *rapid.T, id remuda.RunspaceID, script, out string) remuda.Execution {
	e, err := p.w.now.executions.SubmitExecution(context.Background(), deployer, remuda.ExecutionRequest{Runspace: id, Script: script}, 10*time.Second)
	if remuda.ReasonOf(err) == remuda.ReasonRunspaceBusy {
		t.Skip("busy")
	}
	p.must(err)
	p.tell(e, out)
	return e
}

func (p *past) sets(t *rapid.T) {
	id := p.space(t)
	p.n++
	value := fmt.Sprint(p.n)
	if e := p.now(t, id, "set x "+value, ""); e.State != remuda.ExecutionSuccess {
		t.Fatalf("set is %s: %s", e.State, e.Reason)
	}
	p.spaces[id].x = value
}

func (p *past) gets(t *rapid.T) {
	id := p.space(t)
	if x := p.spaces[id].x; x != "" {
		if e := p.now(t, id, "get x", x+"\n"); e.State != remuda.ExecutionSuccess {
			t.Fatalf("get is %s: %s", e.State, e.Reason)
		}
	}
}

// starts runs something that may still run when the server ends.
func (p *past) starts(t *rapid.T) {
	id := p.space(t)
	size := rapid.IntRange(0, 300_000).Draw(t, "bytes")
	script, out := fmt.Sprintf("print on\nflood %d\nsleep 3ms\nprint off", size), "on\n"+strings.Repeat("x", size)+"off\n"
	if rapid.Bool().Draw(t, "for ever") {
		script, out = "print on\nblock", "on\n"
	}
	e, err := p.w.now.executions.SubmitExecution(context.Background(), deployer, remuda.ExecutionRequest{Runspace: id, Script: script}, 0)
	if remuda.ReasonOf(err) == remuda.ReasonRunspaceBusy {
		t.Skip("busy")
	}
	p.must(err)
	p.tell(e, out)
}

func (p *past) lines(t *rapid.T) {
	_, err := p.run(context.Background(), p.space(t), "print turn", "turn\n", 0)
	p.must(err)
}

func (p *past) cancels(t *rapid.T) {
	var open []remuda.ExecutionID
	for id, told := range p.runs {
		if told.end.ID == "" {
			open = append(open, id)
		}
	}
	if len(open) == 0 {
		t.Skip("nothing runs")
	}
	slices.Sort(open)
	id := rapid.SampledFrom(open).Draw(t, "execution")
	if _, err := p.w.now.executions.CancelExecution(context.Background(), deployer, id); remuda.CodeOf(err) != remuda.CodeConflict {
		p.must(err)
	}
	p.must(p.wait(context.Background(), id))
}

func (p *past) interrupts(t *rapid.T) {
	_, err := p.w.now.runspaces.InterruptRunspace(context.Background(), deployer, p.space(t))
	p.must(err)
}

func (p *past) resets(t *rapid.T) {
	id := p.space(t)
	told := p.spaces[id]
	_, err := p.w.now.runspaces.ResetRunspace(context.Background(), deployer, id, runspaces.ResetRequest{})
	p.must(err)
	rs, err := p.w.now.runspaces.WaitRunspace(context.Background(), deployer, id, 10*time.Second)
	p.must(err)
	if rs.State != remuda.RunspaceReady {
		t.Fatalf("after a reset it is %s: %s", rs.State, rs.Error)
	}
	told.x = ""
	if rs.InitScript != "" {
		told.x = "init"
	}
	told.resets++
}

func (p *past) deletes(t *rapid.T) {
	id := p.space(t)
	p.must(p.w.now.runspaces.DeleteRunspace(context.Background(), deployer, id))
	*p.spaces[id] = toldSpace{closed: true}
}

func (p *past) dies(t *rapid.T) {
	id := p.space(t)
	if e := p.now(t, id, "die memory", ""); e.KilledBy != remuda.KilledByMemory {
		t.Fatalf("it died by %q: %s", e.KilledBy, e.Reason)
	}
	*p.spaces[id] = toldSpace{}
}

// sits uses a runspace as a terminal does.
func (p *past) sits(t *rapid.T) {
	id := p.space(t)
	if p.used[id] != nil {
		t.Skip("somebody sits there")
	}
	release, _, err := p.w.now.runspaces.Use(context.Background(), deployer, id)
	p.must(err)
	p.used[id] = release
}

// stands ends all use: connections end with their server.
func (p *past) stands() {
	for _, release := range p.used {
		release()
	}
	clear(p.used)
}

func (p *past) kills(*rapid.T) {
	p.w.kill()
	p.stands()
	p.w.start()
	p.check()
}

func (p *past) leaves(*rapid.T) {
	p.stands()
	p.w.leave()
	p.w.start()
	p.check()
}

// check looks at what was told while nobody has to wait for it.
func (p *past) check() {
	for id, told := range p.spaces {
		rs, err := p.w.now.runspaces.GetRunspace(context.Background(), deployer, id)
		if p.must(err); told.ready && rs.State != remuda.RunspaceReady && rs.State != remuda.RunspaceActive {
			p.t.Fatalf("after a restart a runspace that was ready is %s: %s", rs.State, rs.Error)
		}
	}
	for id, told := range p.runs {
		e, err := p.w.now.executions.GetExecution(context.Background(), deployer, id)
		if p.must(err); told.end.ID != "" && e.State != told.end.State {
			p.t.Fatalf("after a restart an execution that was %s is %s", told.end.State, e.State)
		}
	}
}

// settle ends what may run for ever.
func (p *past) settle() {
	p.stands()
	for _, id := range slices.Sorted(maps.Keys(p.runs)) {
		_, err := p.w.now.executions.CancelExecution(context.Background(), deployer, id)
		var known *remuda.Error
		if err != nil && (!errors.As(err, &known) || known.Code != remuda.CodeConflict) {
			p.t.Fatalf("cancel: %v", err)
		}
	}
}
