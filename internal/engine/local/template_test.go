package local

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/engine/enginetest"
	"github.com/remuda-run/remuda/internal/remuda"
)

// templateSpec is of a generation that only one test has.
func templateSpec(preload ...string) engine.Spec {
	return engine.Spec{
		ID: remuda.NewInstanceID(), Generation: remuda.GenerationKey{Runtime: remuda.NewRuntimeID(), Number: 1},
		Language: remuda.LanguagePython, Resources: remuda.Resources{CPU: 1, MemoryMB: 256, DiskMB: 64, Pids: 64}, Preload: preload,
	}
}

// upTemplate makes the generation's template and waits for it.
func upTemplate(t *testing.T, e *Engine, spec engine.Spec) engine.Spec {
	t.Helper()
	for range 2 { // what is used once gets none
		again := spec
		again.ID = remuda.NewInstanceID()
		inst, err := e.Create(t.Context(), again)
		if err != nil {
			t.Fatal(err)
		}
		if err := inst.Destroy(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	waitTemplate(t, e, spec)
	return spec
}

func waitTemplate(t *testing.T, e *Engine, spec engine.Spec) {
	t.Helper()
	e.templates.mu.Lock()
	wanted := e.templates.byKey[spec.Generation] != nil
	e.templates.mu.Unlock()
	if !wanted {
		t.Fatal("nobody makes a template")
	}
	deadline := time.Now().Add(time.Minute)
	for e.templates.of(t.Context(), spec) == nil {
		if time.Now().After(deadline) {
			t.Fatal("no template after a minute")
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// run runs a script in a fresh instance and returns its end and output.
func runOnce(t *testing.T, e *Engine, spec engine.Spec, script string) (engine.Result, string) {
	t.Helper()
	spec.ID = remuda.NewInstanceID()
	inst, err := e.Create(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := inst.Destroy(t.Context()); err != nil {
			t.Error(err)
		}
	}()
	if !inst.(*Instance).blank.forked {
		t.Fatal("the instance was not forked from the template")
	}
	var out []byte
	res, err := inst.Execute(t.Context(), engine.Request{ID: remuda.NewExecutionID(), Script: script, KillOnTimeout: true, Timeout: 20 * time.Second}, func(r remuda.OutputRecord) error {
		out = append(out, r.Data...)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return res, string(out)
}

func TestForkRuns(t *testing.T) {
	e := open(t, Options{})
	spec := upTemplate(t, e, templateSpec())
	res, out := runOnce(t, e, spec, "print('hello'); 6*7")
	if res.State != remuda.ExecutionSuccess || out != "hello\n" || res.Value == nil || string(res.Value.JSON) != "42" {
		t.Fatalf("%+v %q", res, out)
	}
}

// forking is an engine that starts Python only by forking it from a template, so
// that the conformance suite judges forked instances.
type forking struct {
	*Engine
	t *testing.T

	mu   sync.Mutex
	keys map[string]remuda.GenerationKey
}

// Create makes the template of all specs with the same environment first.
func (f *forking) Create(ctx context.Context, spec engine.Spec) (engine.Instance, error) {
	if checkSpec(spec) != nil {
		return f.Engine.Create(ctx, spec)
	}
	id := fmt.Sprint(spec.Language, spec.Version, spec.Env, spec.Resources.MemoryMB, spec.Resources.DiskMB)
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, ok := f.keys[id]; !ok {
		key := remuda.GenerationKey{Runtime: remuda.NewRuntimeID(), Number: 1}
		first := spec
		first.ID, first.Generation = remuda.NewInstanceID(), key
		first.Background = true // the template is made at once
		inst, err := f.Engine.Create(ctx, first)
		if err != nil {
			return nil, err
		}
		if err := inst.Destroy(ctx); err != nil {
			return nil, err
		}
		f.keys[id] = key
	}
	spec.Generation = f.keys[id]
	waitTemplate(f.t, f.Engine, spec)
	inst, err := f.Engine.Create(ctx, spec)
	if err == nil && !inst.(*Instance).blank.forked {
		f.t.Error("an instance was not forked")
	}
	return inst, err
}

func TestConformanceOfForks(t *testing.T) {
	enginetest.Run(t, func(t *testing.T) engine.Engine {
		return &forking{Engine: open(t, Options{}), t: t, keys: map[string]remuda.GenerationKey{}}
	})
}

func TestNoTemplateForOneUse(t *testing.T) {
	e := open(t, Options{})
	spec := templateSpec()
	for _, want := range []bool{false, true} {
		spec.ID = remuda.NewInstanceID()
		create(t, e, spec)
		e.templates.mu.Lock()
		made := e.templates.byKey[spec.Generation] != nil
		e.templates.mu.Unlock()
		if made != want {
			t.Errorf("a template is made: %v", made)
		}
	}
}

// A fork that dies while it waits for somebody is not given to anybody.
func TestForksAhead(t *testing.T) {
	e := open(t, Options{})
	spec := upTemplate(t, e, templateSpec())
	create(t, e, spec) // begins the stock
	tmpl := e.templates.of(t.Context(), spec)
	for deadline := time.Now().Add(time.Minute); len(tmpl.stock.ready) < forksAhead; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("no forks are made ahead")
		}
	}
	dead := <-tmpl.stock.ready
	if err := errors.Join(dead.proc.Kill(), dead.proc.Wait()); err != nil {
		t.Fatal(err)
	}
	tmpl.stock.ready <- dead
	seen := map[int]bool{dead.proc.pid: true}
	for range 3 * forksAhead {
		spec.ID = remuda.NewInstanceID()
		inst, err := e.Create(t.Context(), spec)
		if err != nil {
			t.Fatal(err)
		}
		b := inst.(*Instance).blank
		if !b.forked || seen[b.proc.pid] {
			t.Errorf("process %d: forked %v, given before %v", b.proc.pid, b.forked, seen[b.proc.pid])
		}
		seen[b.proc.pid] = true
		if res := execute(t, inst, "6 * 7"); res.Value == nil || res.Value.Text != "42" {
			t.Errorf("it does not serve: %+v", res)
		}
	}
}

// TestCrowdAtATemplate forks more instances at once than a keeper can greet at
// once: all are forks, and the template stays.
func TestCrowdAtATemplate(t *testing.T) {
	e := open(t, Options{})
	spec := upTemplate(t, e, templateSpec())
	was := e.templates.find(spec)
	const crowd = 48
	made := make([]engine.Instance, crowd)
	errs := make([]error, crowd)
	var wg sync.WaitGroup
	for n := range crowd {
		wg.Go(func() {
			one := spec
			one.ID = remuda.NewInstanceID()
			made[n], errs[n] = e.Create(t.Context(), one)
		})
	}
	wg.Wait()
	for n, inst := range made {
		if errs[n] != nil {
			t.Error(errs[n])
			continue
		}
		if !inst.(*Instance).blank.forked {
			t.Error("an instance was started although there is a template")
		}
		if err := inst.Destroy(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	}
	if now := e.templates.find(spec); now == nil || now != was {
		t.Error("the template was given up")
	}
}
