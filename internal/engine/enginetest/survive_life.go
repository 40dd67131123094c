package enginetest

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/remuda"
)

// life is one instance over several servers.
type life struct {
	t       *testing.T
	servers Servers
	spec    engine.Spec
	engine  engine.Engine
	box     box
}

// born makes an instance that can outlive its server.
func born(t *testing.T, servers Servers, s Survival) *life {
	t.Helper()
	l := &life{t: t, servers: servers, spec: spec(s.Language, resources)}
	l.spec.Generation = remuda.GenerationKey{Runtime: remuda.NewRuntimeID(), Number: 1}
	l.spec.Linger = time.Hour
	l.engine = servers(t)
	if _, err := l.engine.Recover(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if s.Prepare != nil {
		s.Prepare(t, l.engine, l.spec)
	}
	inst, err := l.engine.Create(t.Context(), l.spec)
	if err != nil {
		t.Fatal(err)
	}
	if s.Look != nil {
		s.Look(t, inst)
	}
	l.box = box{Instance: inst, t: t}
	return l
}

// detach lets go of the instance and closes the server.
func (l *life) detach() {
	l.t.Helper()
	if err := l.box.Instance.(engine.Detacher).Detach(l.t.Context()); err != nil {
		l.t.Fatalf("detach: %v", err)
	}
	l.close()
}

func (l *life) close() {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := l.engine.Close(ctx); err != nil {
		l.t.Errorf("close: %v", err)
	}
}

// recover opens the next server, which wants the instance.
func (l *life) recover() engine.Recovered {
	l.t.Helper()
	l.engine = l.servers(l.t)
	l.t.Cleanup(l.close)
	found, err := l.engine.Recover(l.t.Context(), []engine.Spec{l.spec})
	if err != nil {
		l.t.Fatalf("recover: %v", err)
	}
	return found
}

// restart is detach and recover, when the instance is to be there afterwards.
func (l *life) restart() {
	l.t.Helper()
	l.detach()
	l.take(l.recover())
}

func (l *life) take(found engine.Recovered) {
	l.t.Helper()
	if len(found.Attached) != 1 || len(found.Ended) != 0 || len(found.Lost) != 0 || found.Attached[0].ID() != l.spec.ID {
		l.t.Fatalf("recovered %+v, want the instance %s attached", found, l.spec.ID)
	}
	l.box = box{Instance: found.Attached[0], t: l.t}
	if _, ok := l.box.Instance.(engine.Resumer); !ok {
		l.t.Fatal("an attached instance cannot resume")
	}
	if !l.box.Alive() {
		l.t.Error("an attached instance is not alive")
	}
}

// destroyed ends the instance and expects nothing of it afterwards.
func (l *life) destroyed() {
	l.t.Helper()
	if err := l.box.Destroy(l.t.Context()); err != nil {
		l.t.Errorf("destroy: %v", err)
	}
	l.box.gone()
}

// pending is what waits to be resumed.
func (l *life) pending(want remuda.ExecutionID) (first int64) {
	l.t.Helper()
	id, first, ok := l.box.Instance.(engine.Resumer).Pending()
	if ok != (want != "") || id != want {
		l.t.Fatalf("pending is %q (%v), want %q", id, ok, want)
	}
	return first
}

// tape is output as a store has it.
type tape struct {
	t       *testing.T
	mu      sync.Mutex
	records []remuda.OutputRecord
	more    chan struct{} // capacity 1: something was added
	each    func(remuda.OutputRecord)
}

func newTape(t *testing.T) *tape { return &tape{t: t, more: make(chan struct{}, 1)} }

// sink is the engine.Sink of it.
func (p *tape) sink(r remuda.OutputRecord) error {
	p.mu.Lock()
	if want := int64(len(p.records)) + 1; r.Seq != want {
		p.t.Errorf("record %d comes as number %d", r.Seq, want)
	}
	p.records = append(p.records, r)
	p.mu.Unlock()
	select {
	case p.more <- struct{}{}:
	default:
	}
	if p.each != nil {
		p.each(r)
	}
	return nil
}

func (p *tape) last() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return int64(len(p.records))
}

// cut throws away what comes after a number, as a server does that dies.
func (p *tape) cut(last int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.records = p.records[:last]
}

func (p *tape) text() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var b strings.Builder
	for _, r := range p.records {
		b.Write(r.Data)
	}
	return b.String()
}

// await waits until so many records are there.
func (p *tape) await(n int64) {
	p.t.Helper()
	timeout := time.After(patience)
	for p.last() < n {
		select {
		case <-p.more:
		case <-timeout:
			p.t.Fatalf("only %d records", p.last())
		}
	}
}

// Counted checks that text holds every number that Survival.Count prints.
func Counted(t *testing.T, text string) {
	t.Helper()
	lines := strings.Split(text, "\n")
	for n := 1; n <= counted; n++ {
		if n > len(lines) || lines[n-1] != fmt.Sprint(n) {
			t.Fatalf("line %d of %d is %q", n, len(lines), lines[min(n, len(lines))-1])
		}
	}
	if len(lines) != counted+1 || lines[counted] != "" {
		t.Fatalf("%d lines after the last number: %q", len(lines)-counted, lines[counted])
	}
}

// running is an execution that somebody waits for.
type running struct {
	res engine.Result
	err error
}

// begin starts a script whose output is held until it is acknowledged.
func (l *life) begin(id remuda.ExecutionID, script string, p *tape) <-chan running {
	ended := make(chan running, 1)
	go func(inst engine.Instance) {
		res, err := inst.Execute(l.t.Context(), engine.Request{ID: id, Script: script, HoldOutput: true}, p.sink)
		ended <- running{res, err}
	}(l.box.Instance)
	return ended
}

func (l *life) acknowledge(id remuda.ExecutionID, seq int64) {
	l.box.Instance.(engine.Acknowledger).Acknowledge(id, seq)
}

// resume goes on with it, and acknowledges what it gets.
func (l *life) resume(id remuda.ExecutionID, p *tape) engine.Result {
	l.t.Helper()
	p.each = func(r remuda.OutputRecord) { l.acknowledge(id, r.Seq) }
	res, err := l.box.Instance.(engine.Resumer).Resume(l.t.Context(), engine.Request{ID: id, HoldOutput: true}, p.last(), p.sink)
	if err != nil {
		l.t.Fatalf("resume: %v", err)
	}
	if res.LastSeq != p.last() {
		l.t.Errorf("the result's last record is %d, the output's %d", res.LastSeq, p.last())
	}
	return res
}
