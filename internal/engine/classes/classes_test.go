package classes_test

import (
	"errors"
	"testing"
	"time"

	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/engine/classes"
	"github.com/remuda-run/remuda/internal/engine/fake"
	"github.com/remuda-run/remuda/internal/remuda"
)

// optional is a scripted engine that may be missing.
type optional struct {
	*fake.Engine

	missing error
	retired []remuda.GenerationKey
}

func (o *optional) Available() error                { return o.missing }
func (o *optional) Retire(key remuda.GenerationKey) { o.retired = append(o.retired, key) }

func TestEachClassHasItsEngine(t *testing.T) {
	t.Parallel()
	process, gvisor := fake.New(), &optional{Engine: fake.New()}
	e := classes.New(process, gvisor)
	for _, tt := range []struct {
		class remuda.Isolation
		of    *fake.Engine
	}{{"", process}, {remuda.IsolationProcess, process}, {remuda.IsolationGVisor, gvisor.Engine}} {
		s := engine.Spec{ID: remuda.NewInstanceID(), Language: remuda.LanguageBash, Isolation: tt.class}
		inst, err := e.Create(t.Context(), s)
		if err != nil {
			t.Fatal(err)
		}
		s.Isolation = ""
		if _, err := tt.of.Create(t.Context(), s); remuda.CodeOf(err) != remuda.CodeConflict {
			t.Errorf("class %q was not made by its engine: %v", tt.class, err)
		}
		if err := inst.Destroy(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if _, err := e.Create(t.Context(), engine.Spec{ID: remuda.NewInstanceID(), Language: remuda.LanguageBash, Isolation: "vm"}); remuda.CodeOf(err) != remuda.CodeInvalid {
		t.Errorf("a class that there is not: %v", err)
	}
	e.Retire(remuda.GenerationKey{Runtime: "rt_x", Number: 3})
	if len(gvisor.retired) != 1 {
		t.Errorf("retired %v", gvisor.retired)
	}
	if err := e.Close(t.Context()); err != nil {
		t.Error(err)
	}
	for class, of := range map[string]engine.Engine{"process": process, "gvisor": gvisor} {
		if _, err := of.Create(t.Context(), engine.Spec{ID: remuda.NewInstanceID(), Language: remuda.LanguageBash}); err == nil {
			t.Errorf("the engine of %s is not closed", class)
		}
	}
}

func TestAvailable(t *testing.T) {
	t.Parallel()
	missing := errors.New("no runsc")
	e := classes.New(fake.New(), &optional{Engine: fake.New(), missing: missing})
	for class, want := range map[remuda.Isolation]error{"": nil, remuda.IsolationProcess: nil, remuda.IsolationGVisor: missing} {
		if err := e.Available(class); !errors.Is(err, want) {
			t.Errorf("class %q: %v, want %v", class, err, want)
		}
	}
	if err := e.Available("vm"); remuda.CodeOf(err) != remuda.CodeInvalid {
		t.Errorf("a class that there is not: %v", err)
	}
}

// TestRecoverKeepsByClass has each engine asked for its own instances.
func TestRecoverKeepsByClass(t *testing.T) {
	t.Parallel()
	first, firstGvisor := fake.New(), &optional{Engine: fake.New()}
	e := classes.New(first, firstGvisor)
	var keep []engine.Spec
	for _, class := range remuda.Isolations() {
		s := engine.Spec{ID: remuda.NewInstanceID(), Language: remuda.LanguageBash, Isolation: class, Linger: time.Hour}
		if _, err := e.Create(t.Context(), s); err != nil {
			t.Fatal(err)
		}
		keep = append(keep, s)
	}
	gvisor := &optional{Engine: firstGvisor.Next()}
	gvisor.Lose(keep[1].ID, "it ended with its server")
	found, err := classes.New(first.Next(), gvisor).Recover(t.Context(), append(keep, engine.Spec{ID: "ins_z"}))
	if err != nil || len(found.Attached) != 1 || found.Attached[0].ID() != keep[0].ID || len(found.Ended) != 0 {
		t.Fatalf("%+v, %v", found, err)
	}
	if len(found.Lost) != 2 || found.Lost[keep[1].ID] != "it ended with its server" || found.Lost["ins_z"] == "" {
		t.Errorf("lost: %v", found.Lost)
	}
}
