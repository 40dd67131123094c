package fake

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/remuda"
)

// Engine is an engine.Engine in memory. Its zero value is not usable; see New.
type Engine struct {
	machine *machine // that this server shares with those before and after it

	mu        sync.Mutex
	instances map[remuda.InstanceID]*Instance // living
	created   []*Instance                     // all, in order
	attached  []*Instance                     // likewise, of earlier servers
	left      []remuda.InstanceID             // what Recover will report
	losses    map[remuda.InstanceID]string    // why Recover will not find them
	failures  []error                         // errors of the next Creates
	findings  []engine.Finding
	gate      chan struct{} // when not nil, Create waits for it to be closed
	delay     time.Duration
	narrowing error           // of every Narrow
	noLinger  error           // of every SetLinger
	holding   <-chan struct{} // of every SetLinger, until it is closed
	retired   []remuda.GenerationKey
	closed    bool
}

var (
	_ engine.Engine  = (*Engine)(nil)
	_ engine.Retirer = (*Engine)(nil)
)

// New returns an engine that creates instances at once and without errors.
func New() *Engine { return newEngine(&machine{sandboxes: map[remuda.InstanceID]*sandbox{}}) }

func newEngine(m *machine) *Engine {
	return &Engine{
		machine:   m,
		instances: map[remuda.InstanceID]*Instance{},
		findings:  []engine.Finding{{Name: "fake", OK: true, Detail: "in memory"}},
	}
}

// Name implements engine.Engine.
func (e *Engine) Name() string { return "fake" }

// Check implements engine.Engine with what SetFindings said.
func (e *Engine) Check(context.Context) []engine.Finding {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.findings)
}

// SetFindings makes Check return f.
func (e *Engine) SetFindings(f ...engine.Finding) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.findings = f
}

// Leave makes the next Recover report ids, as if an earlier server had left them.
func (e *Engine) Leave(ids ...remuda.InstanceID) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.left = append(e.left, ids...)
}

// Lose makes the next Recover not find an instance that it is to keep, and say why.
func (e *Engine) Lose(id remuda.InstanceID, reason string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.losses == nil {
		e.losses = map[remuda.InstanceID]string{}
	}
	e.losses[id] = reason
}

// Next is the engine of the next server. What this one has not let go of ends now,
// unless it lingers: before Close it is as if the server had been killed.
func (e *Engine) Next() *Engine {
	e.mu.Lock()
	e.closed = true
	e.mu.Unlock()
	for _, inst := range e.Living() {
		inst.letGo()
	}
	return newEngine(e.machine)
}

// Recover implements engine.Engine.
func (e *Engine) Recover(_ context.Context, keep []engine.Spec) (engine.Recovered, error) {
	e.mu.Lock()
	found := engine.Recovered{Ended: e.left, Lost: e.losses}
	e.left, e.losses = nil, nil
	e.mu.Unlock()
	if found.Lost == nil {
		found.Lost = map[remuda.InstanceID]string{}
	}
	e.machine.mu.Lock()
	sandboxes := maps.Clone(e.machine.sandboxes)
	e.machine.mu.Unlock()
	for _, spec := range keep {
		b := sandboxes[spec.ID]
		delete(sandboxes, spec.ID)
		lost := found.Lost[spec.ID] != ""
		switch {
		case b == nil && !lost:
			found.Lost[spec.ID] = "the earlier server left nothing of it"
		case b == nil:
		case lost:
			b.kill(stopped{dead: true}, "it was lost")
			b.remove()
		default:
			inst := newInstance(e, b)
			if !b.adopt(inst) {
				found.Lost[spec.ID] = "the sandbox had ended before this server came"
				b.remove()
				continue
			}
			e.attach(inst)
			found.Attached = append(found.Attached, inst)
		}
	}
	for _, b := range sandboxes {
		if !slices.Contains(found.Ended, b.spec.ID) {
			found.Ended = append(found.Ended, b.spec.ID)
		}
		b.kill(stopped{dead: true}, "nobody wanted it")
		b.remove()
	}
	return found, nil
}

// attach registers an instance of an earlier server.
func (e *Engine) attach(inst *Instance) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.attached = append(e.attached, inst)
	if inst.Alive() {
		e.instances[inst.spec.ID] = inst
	}
}

// FailCreate makes the next Creates fail, one for each error.
func (e *Engine) FailCreate(errs ...error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.failures = append(e.failures, errs...)
}

// DelayCreate makes every following Create take d.
func (e *Engine) DelayCreate(d time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.delay = d
}

// HoldCreate makes every Create wait until the returned function is called.
func (e *Engine) HoldCreate() (release func()) {
	gate := make(chan struct{})
	e.mu.Lock()
	defer e.mu.Unlock()
	e.gate = gate
	return sync.OnceFunc(func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		if e.gate == gate {
			e.gate = nil
		}
		close(gate)
	})
}

// FailLinger makes every following SetLinger fail, nil none.
func (e *Engine) FailLinger(err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.noLinger = err
}

// HoldLinger makes every following SetLinger wait until the channel is closed.
func (e *Engine) HoldLinger(until <-chan struct{}) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.holding = until
}

func (e *Engine) lingerError(ctx context.Context) error {
	e.mu.Lock()
	err, holding := e.noLinger, e.holding
	e.mu.Unlock()
	if holding == nil {
		return err
	}
	select {
	case <-holding:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// FailNarrow makes every following Narrow fail, nil none.
func (e *Engine) FailNarrow(err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.narrowing = err
}

func (e *Engine) narrowError() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.narrowing
}

// Retire implements engine.Retirer.
func (e *Engine) Retire(key remuda.GenerationKey) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.retired = append(e.retired, key)
}

// Retired returns the generations that were retired, in order.
func (e *Engine) Retired() []remuda.GenerationKey {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.retired)
}

// Create implements engine.Engine.
func (e *Engine) Create(ctx context.Context, spec engine.Spec) (engine.Instance, error) {
	e.mu.Lock()
	gate, delay := e.gate, e.delay
	e.mu.Unlock()
	if err := wait(ctx, gate, delay); err != nil {
		return nil, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return nil, remuda.Errorf(remuda.CodeUnavailable, "the engine is closed")
	}
	if len(e.failures) > 0 {
		err := e.failures[0]
		e.failures = e.failures[1:]
		if err != nil {
			return nil, err
		}
	}
	if spec.ID == "" || e.instances[spec.ID] != nil {
		return nil, remuda.Errorf(remuda.CodeConflict, "instance id %q is empty or in use", spec.ID)
	}
	if _, err := version(spec.Language, spec.Version); err != nil {
		return nil, err
	}
	b := newSandbox(e.machine, spec)
	inst := newInstance(e, b)
	b.owner = inst
	e.instances[spec.ID] = inst
	e.created = append(e.created, inst)
	return inst, nil
}

// wait returns after gate is closed (nil is open) and d has passed.
func wait(ctx context.Context, gate <-chan struct{}, d time.Duration) error {
	if ctx.Err() != nil {
		return remuda.Errorf(remuda.CodeCanceled, "create instance: %w", ctx.Err())
	}
	if gate != nil {
		select {
		case <-gate:
		case <-ctx.Done():
			return remuda.Errorf(remuda.CodeCanceled, "create instance: %w", ctx.Err())
		}
	}
	if d > 0 {
		t := time.NewTimer(d)
		defer t.Stop()
		select {
		case <-t.C:
		case <-ctx.Done():
			return remuda.Errorf(remuda.CodeCanceled, "create instance: %w", ctx.Err())
		}
	}
	return nil
}

// Living returns the instances that were attached or created and have not ended, in
// this order.
func (e *Engine) Living() []*Instance {
	e.mu.Lock()
	defer e.mu.Unlock()
	var living []*Instance
	for _, inst := range slices.Concat(e.attached, e.created) {
		if e.instances[inst.spec.ID] == inst {
			living = append(living, inst)
		}
	}
	return living
}

// Created returns every instance ever created, in order.
func (e *Engine) Created() []*Instance {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.created)
}

// Versions implements engine.Engine: two of each language.
func (e *Engine) Versions(_ context.Context, environment string, language remuda.Language) ([]engine.Interpreter, error) {
	if environment != "" && environment != remuda.EnvironmentHost {
		return nil, remuda.NotFound("environment", environment)
	}
	return interpreters(language), nil
}

func interpreters(language remuda.Language) []engine.Interpreter {
	if !slices.Contains(remuda.Languages(), language) {
		return nil
	}
	return []engine.Interpreter{
		{Language: language, Version: "2.0.1", Path: "/usr/bin/fake2"},
		{Language: language, Version: "1.9.0", Path: "/usr/bin/fake1"},
	}
}

func version(language remuda.Language, want string) (engine.Interpreter, error) {
	known := interpreters(language)
	for _, in := range known {
		if want == "" || want == in.Version {
			return in, nil
		}
	}
	return engine.Interpreter{}, remuda.Invalid(remuda.FieldError{Field: "version", Message: "is not one of 2.0.1, 1.9.0"})
}

// Close implements engine.Engine.
func (e *Engine) Close(ctx context.Context) error {
	e.mu.Lock()
	e.closed = true
	e.mu.Unlock()
	for _, inst := range e.Living() {
		_ = inst.Destroy(ctx) // cannot fail
	}
	return nil
}

func (e *Engine) forget(inst *Instance) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.instances[inst.spec.ID] == inst {
		delete(e.instances, inst.spec.ID)
	}
}
