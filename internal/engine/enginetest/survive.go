package enginetest

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/remuda"
)

// Servers opens the next server's engine on what the one before has left. It does
// not call Recover. The one before has to be closed.
type Servers func(*testing.T) engine.Engine

// Survival is how to say what the tests of Survive need in an engine's language.
type Survival struct {
	Dialect

	// Count prints the numbers from 1 to 2000, one a line and each as a record of
	// its own as far as possible, for a second or more, and evaluates to 42.
	Count string
	// Prepare, when not nil, has an engine make the spec's instances in a way of their
	// own, and Look sees to it that one was made so.
	Prepare func(*testing.T, engine.Engine, engine.Spec)
	Look    func(*testing.T, engine.Instance)
}

// counted is how far Count counts.
const counted = 2000

// Survive checks that instances outlive their server and are whole afterwards.
// begin is called for each test; the machine has nothing of it left at the end.
func Survive(t *testing.T, begin func(*testing.T) Servers, s Survival) {
	for _, tt := range []struct {
		name string
		test func(*testing.T, Servers, Survival)
	}{
		{"state", survivesWithState}, {"running", survivesRunning}, {"end that nobody took", survivesWithEnd},
		{"output that nobody took", survivesWithOutput}, {"drop", dropped}, {"stubborn drop", droppedStubborn},
		{"time limit", resumesTimeLimit}, {"unwanted", unwanted}, {"too late", tooLate}, {"detached", detached}, {"not to be detached", notDetached},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.test(t, begin(t), s)
		})
	}
}

func survivesWithState(t *testing.T, servers Servers, s Survival) {
	l := born(t, servers, s)
	l.box.run(s.Set).ok()
	l.box.run(s.Write).ok()
	for range 2 {
		l.restart()
		// Its end was told, but not acknowledged.
		if id, _, ok := l.box.Instance.(engine.Resumer).Pending(); ok {
			if err := l.box.Instance.(engine.Resumer).Drop(t.Context()); err != nil {
				t.Fatalf("drop of %s: %v", id, err)
			}
		}
		l.pending("")
		if got := l.box.run(s.Get).ok(); got.out != "kept\n" {
			t.Errorf("state came back as %q", got.out)
		}
		info, r, err := l.box.Files().Read(t.Context(), "f", 100)
		if err != nil {
			t.Fatalf("a file of before: %v", err)
		}
		if info.Size != 4 || r.Close() != nil {
			t.Errorf("a file of before has %d bytes", info.Size)
		}
		started, ended := l.box.background(engine.Request{Script: s.Print + "\n" + s.Block})
		<-started
		if err := l.box.Interrupt(t.Context(), remuda.KilledByCancel, patience); err != nil {
			t.Fatal(err)
		}
		(<-ended).wants(remuda.ExecutionCanceled, remuda.KilledByCancel)
		if u := l.box.run(s.Print).ok().Usage; u.Wall <= 0 || u.PeakMemory <= 0 {
			t.Errorf("usage is %+v", u)
		}
	}
	l.destroyed()
}

// survivesRunning has a script run through two changes of the server. The second
// server has lost a part of what it had been given.
func survivesRunning(t *testing.T, servers Servers, s Survival) {
	l := born(t, servers, s)
	id, p := remuda.NewExecutionID(), newTape(t)
	p.each = func(r remuda.OutputRecord) {
		if r.Seq <= 20 {
			l.acknowledge(id, r.Seq)
		}
	}
	ended := l.begin(id, s.Count, p)
	p.await(40)
	l.detach()
	if got := <-ended; !errors.Is(got.err, engine.ErrDetached) {
		t.Fatalf("what ran has ended with %+v, %v", got.res, got.err)
	}
	p.cut(25)
	l.take(l.recover())
	if first := l.pending(id); first != 21 {
		t.Errorf("the first record that comes again is %d, want 21", first)
	}
	if _, err := l.box.try(engine.Request{Script: s.Print}); remuda.CodeOf(err) != remuda.CodeConflict {
		t.Errorf("an execution before the pending one is resumed: %v", err)
	}
	resumer := l.box.Instance.(engine.Resumer)
	if _, err := resumer.Resume(t.Context(), engine.Request{ID: remuda.NewExecutionID()}, 25, p.sink); remuda.CodeOf(err) != remuda.CodeConflict {
		t.Errorf("resuming another execution: %v", err)
	}
	if _, err := resumer.Resume(t.Context(), engine.Request{ID: id}, 3, p.sink); remuda.CodeOf(err) != remuda.CodeConflict {
		t.Errorf("resuming from what is gone: %v", err)
	}
	res := l.resume(id, p)
	if res.State != remuda.ExecutionSuccess || res.Value == nil || string(res.Value.JSON) != "42" || res.Dead {
		t.Errorf("the resumed script ended as %+v", res)
	}
	if res.Usage.Wall < 500*time.Millisecond {
		t.Errorf("it is told to have run for %s", res.Usage.Wall)
	}
	Counted(t, p.text())
	if _, err := resumer.Resume(t.Context(), engine.Request{ID: id}, p.last(), p.sink); remuda.CodeOf(err) != remuda.CodeConflict {
		t.Errorf("resuming it again: %v", err)
	}
	l.acknowledge(id, res.LastSeq+1)
	l.box.run(s.Print).ok()
	l.destroyed()
}

// survivesWithEnd loses an end that the first server had, but not stored.
func survivesWithEnd(t *testing.T, servers Servers, s Survival) {
	l := born(t, servers, s)
	id, p := remuda.NewExecutionID(), newTape(t)
	if got := <-l.begin(id, s.Print+"\n"+s.Value, p); got.err != nil || got.res.State != remuda.ExecutionSuccess {
		t.Fatalf("%+v, %v", got.res, got.err)
	}
	l.acknowledge(id, 1)
	l.restart()
	l.pending(id)
	res := l.resume(id, p)
	if res.State != remuda.ExecutionSuccess || res.Value == nil || string(res.Value.JSON) != "42" || p.text() != "hello\n" {
		t.Errorf("it ended as %+v with the output %q", res, p.text())
	}
	l.acknowledge(id, res.LastSeq+1)
	l.restart()
	l.pending("")
	l.box.run(s.Print).ok()
	l.destroyed()
}

// survivesWithOutput acknowledges nothing of more output than is held: the script
// waits for a server that takes it.
func survivesWithOutput(t *testing.T, servers Servers, s Survival) {
	l := born(t, servers, s)
	id, p := remuda.NewExecutionID(), newTape(t)
	ended := l.begin(id, s.Flood, p)
	p.await(1)
	select {
	case got := <-ended:
		t.Fatalf("3 MiB are not held, but the script has ended: %+v, %v", got.res, got.err)
	default:
	}
	l.detach()
	<-ended
	p.cut(0)
	l.take(l.recover())
	if first := l.pending(id); first != 1 {
		t.Errorf("the first record that comes again is %d", first)
	}
	if res := l.resume(id, p); res.State != remuda.ExecutionSuccess {
		t.Errorf("it ended as %+v", res)
	}
	if got := p.text(); len(got) != 3<<20 || strings.Trim(got, "x") != "" {
		t.Errorf("%d bytes came", len(got))
	}
	l.destroyed()
}

func dropped(t *testing.T, servers Servers, s Survival) {
	l := born(t, servers, s)
	l.box.run(s.Set).ok()
	p := newTape(t)
	l.begin(remuda.NewExecutionID(), s.Print+"\n"+s.Block, p)
	p.await(1)
	l.restart()
	resumer := l.box.Instance.(engine.Resumer)
	for range 2 { // nothing the second time
		if err := resumer.Drop(t.Context()); err != nil {
			t.Fatalf("drop: %v", err)
		}
	}
	l.pending("")
	if !l.box.Alive() {
		t.Skip("the script did not end in time: the machine is too busy to judge what follows")
	}
	if got := l.box.run(s.Get).ok(); got.out != "kept\n" {
		t.Errorf("state after a drop is %q", got.out)
	}
	l.destroyed()
}

func droppedStubborn(t *testing.T, servers Servers, s Survival) {
	l := born(t, servers, s)
	p := newTape(t)
	l.begin(remuda.NewExecutionID(), s.Stubborn, p)
	p.await(1)
	l.restart()
	if err := l.box.Instance.(engine.Resumer).Drop(t.Context()); err != nil {
		t.Errorf("drop: %v", err)
	}
	l.box.gone()
	l.destroyed()
}

// resumesTimeLimit has time run out that was counted from before the change.
func resumesTimeLimit(t *testing.T, servers Servers, s Survival) {
	l := born(t, servers, s)
	id, p := remuda.NewExecutionID(), newTape(t)
	limit := 3 * time.Second // more than another server takes to come
	if testing.Short() {     // in the emulated machine
		limit = 20 * time.Second
	}
	begun := time.Now()
	go func(inst engine.Instance) {
		_, _ = inst.Execute(t.Context(), engine.Request{ID: id, Script: s.Stubborn, Timeout: limit, HoldOutput: true}, p.sink)
	}(l.box.Instance)
	p.await(1)
	l.restart()
	l.pending(id)
	res, err := l.box.Instance.(engine.Resumer).Resume(t.Context(), engine.Request{ID: id, Timeout: limit, HoldOutput: true}, p.last(), p.sink)
	if err != nil || res.State != remuda.ExecutionTimeout || res.KilledBy != remuda.KilledByTime || !res.Dead {
		t.Errorf("it ended as %+v, %v", res, err)
	}
	if took := time.Since(begun); took < limit {
		t.Errorf("a limit of %s was over after %s", limit, took)
	}
	l.box.gone()
	l.destroyed()
}

// unwanted has the next server not want it.
func unwanted(t *testing.T, servers Servers, s Survival) {
	l := born(t, servers, s)
	l.detach()
	id := l.spec.ID
	l.spec.ID = remuda.NewInstanceID()
	found := l.recover()
	if len(found.Attached) != 0 || len(found.Ended) != 1 || found.Ended[0] != id || len(found.Lost) != 1 || found.Lost[l.spec.ID] == "" {
		t.Errorf("recovered %+v, want %s ended and %s lost with a reason", found, id, l.spec.ID)
	}
}

// tooLate has its time be over before the next server comes.
func tooLate(t *testing.T, servers Servers, s Survival) {
	l := born(t, servers, s)
	if err := l.box.SetLinger(t.Context(), time.Millisecond); err != nil {
		t.Fatal(err)
	}
	l.box.run(s.Print).ok() // it has heard that
	l.detach()
	var found engine.Recovered
	eventually(t, "the sandbox ends by itself", func() bool {
		found = l.recover()
		if len(found.Attached) == 0 {
			return true
		}
		// Its keeper was as late as we are.
		l.take(found)
		l.detach()
		return false
	})
	if len(found.Ended) != 0 || len(found.Lost) != 1 || found.Lost[l.spec.ID] == "" {
		t.Errorf("recovered %+v, want %s lost with a reason", found, l.spec.ID)
	}
}

// detached asks for everything after Detach.
func detached(t *testing.T, servers Servers, s Survival) {
	l := born(t, servers, s)
	l.box.run(s.Set).ok()
	p := newTape(t)
	ended := l.begin(remuda.NewExecutionID(), s.Print+"\n"+s.Block, p)
	p.await(1)
	old, ctx := l.box.Instance, t.Context()
	if err := old.(engine.Detacher).Detach(ctx); err != nil {
		t.Fatal(err)
	}
	if got := <-ended; !errors.Is(got.err, engine.ErrDetached) || got.res.Unstarted {
		t.Errorf("what ran: %+v, %v", got.res, got.err)
	}
	res, execute := old.Execute(ctx, engine.Request{ID: remuda.NewExecutionID(), Script: s.Print}, nil)
	if !res.Unstarted {
		t.Error("an execution after Detach is told to have begun")
	}
	_, resume := old.(engine.Resumer).Resume(ctx, engine.Request{}, 0, nil)
	for name, err := range map[string]error{"execute": execute, "resume": resume, "destroy": old.Destroy(ctx), "linger": old.SetLinger(ctx, time.Minute)} {
		if !errors.Is(err, engine.ErrDetached) {
			t.Errorf("%s after Detach: %v", name, err)
		}
	}
	if _, err := old.Files().List(ctx, ".", 1); err == nil {
		t.Error("a detached instance has files")
	}
	if err := old.(engine.Detacher).Detach(ctx); err != nil {
		t.Errorf("detach again: %v", err)
	}
	if old.Alive() {
		t.Error("a detached instance is alive")
	}
	select {
	case <-old.Done():
		t.Error("a detached instance is told to have ended")
	default:
	}
	l.close()
	l.take(l.recover())
	l.destroyed()
}

func notDetached(t *testing.T, servers Servers, s Survival) {
	l := born(t, servers, s)
	t.Cleanup(l.close)
	if err := l.box.SetLinger(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	if err := l.box.Instance.(engine.Detacher).Detach(t.Context()); remuda.CodeOf(err) != remuda.CodeConflict {
		t.Errorf("detaching what would end at once: %v", err)
	}
	l.box.run(s.Print).ok()
	l.destroyed()
	if err := l.box.Instance.(engine.Detacher).Detach(t.Context()); remuda.CodeOf(err) != remuda.CodeUnavailable {
		t.Errorf("detaching what has ended: %v", err)
	}
}
