package classes

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"

	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/remuda"
)

// Engine is an engine.Engine over one engine for each class.
type Engine struct {
	process engine.Engine
	gvisor  Optional
}

// Optional is an engine of a class that a machine may lack.
type Optional interface {
	engine.Engine

	// Available says what is missing; nil is nothing, as far as a look tells.
	Available() error
}

var (
	_ engine.Engine  = (*Engine)(nil)
	_ engine.Retirer = (*Engine)(nil)
	_ engine.Yielder = (*Engine)(nil)
)

// New takes over both engines: they are closed with it.
func New(process engine.Engine, gvisor Optional) *Engine {
	return &Engine{process: process, gvisor: gvisor}
}

// Name implements engine.Engine.
func (e *Engine) Name() string { return e.process.Name() }

// Check implements engine.Engine: for what a server does not start without.
func (e *Engine) Check(ctx context.Context) []engine.Finding { return e.process.Check(ctx) }

// CheckAll also tries the optional classes, whose findings say that they are.
func (e *Engine) CheckAll(ctx context.Context) []engine.Finding {
	return append(e.Check(ctx), e.gvisor.Check(ctx)...)
}

// Available says why this machine has no sandboxes of a class; nil is that it
// has, as far as a look tells.
func (e *Engine) Available(class remuda.Isolation) error {
	_, err := e.of(class)
	if err == nil && class == remuda.IsolationGVisor {
		err = e.gvisor.Available()
	}
	return err
}

// of is the engine of a class.
func (e *Engine) of(class remuda.Isolation) (engine.Engine, error) {
	switch class {
	case "", remuda.IsolationProcess:
		return e.process, nil
	case remuda.IsolationGVisor:
		return e.gvisor, nil
	default:
		return nil, remuda.Invalid(remuda.FieldError{Field: "isolation", Message: fmt.Sprintf("must be one of %v", remuda.Isolations())})
	}
}

// Recover implements engine.Engine.
func (e *Engine) Recover(ctx context.Context, keep []engine.Spec) (engine.Recovered, error) {
	var process, gvisor []engine.Spec
	for _, spec := range keep {
		if spec.Isolation == remuda.IsolationGVisor {
			gvisor = append(gvisor, spec)
		} else {
			process = append(process, spec)
		}
	}
	found, err := e.process.Recover(ctx, process)
	more, otherErr := e.gvisor.Recover(ctx, gvisor)
	found.Attached, found.Ended = append(found.Attached, more.Attached...), append(found.Ended, more.Ended...)
	if found.Lost == nil {
		found.Lost = map[remuda.InstanceID]string{}
	}
	maps.Copy(found.Lost, more.Lost)
	return found, errors.Join(err, otherErr)
}

// Create implements engine.Engine.
func (e *Engine) Create(ctx context.Context, spec engine.Spec) (engine.Instance, error) {
	of, err := e.of(spec.Isolation)
	if err != nil {
		return nil, err
	}
	return of.Create(ctx, spec)
}

// Versions implements engine.Engine. Every class has the machine's interpreters.
func (e *Engine) Versions(ctx context.Context, environment string, language remuda.Language) ([]engine.Interpreter, error) {
	return e.process.Versions(ctx, environment, language)
}

// Retire implements engine.Retirer.
func (e *Engine) Retire(key remuda.GenerationKey) {
	for _, of := range []engine.Engine{e.process, e.gvisor} {
		if r, ok := of.(engine.Retirer); ok {
			r.Retire(key)
		}
	}
}

// Yield implements engine.Yielder.
func (e *Engine) Yield(on bool) {
	for _, of := range []engine.Engine{e.process, e.gvisor} {
		if y, ok := of.(engine.Yielder); ok {
			y.Yield(on)
		}
	}
}

// Close implements engine.Engine.
func (e *Engine) Close(ctx context.Context) error {
	var errs [2]error
	var wg sync.WaitGroup
	for n, of := range []engine.Engine{e.process, e.gvisor} {
		wg.Go(func() { errs[n] = of.Close(ctx) })
	}
	wg.Wait()
	return errors.Join(errs[:]...)
}
