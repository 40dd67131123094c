package local

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/remuda"
)

// serveChaos is a server that takes over what was promised to live, makes more, runs
// scripts in all of it, narrows and destroys, until it is killed. It says only what
// went wrong.
func serveChaos(dir string) error {
	ctx := context.Background()
	e, err := New(ctx, Options{DataDir: dir, Blanks: 1})
	if err != nil {
		return err
	}
	promised := filepath.Join(dir, "promised")
	entries, err := os.ReadDir(promised)
	if err != nil {
		return err
	}
	var keep []engine.Spec
	for _, entry := range entries {
		keep = append(keep, engine.Spec{ID: remuda.InstanceID(entry.Name())})
	}
	found, err := e.Recover(ctx, keep)
	if err != nil {
		return err
	}
	if len(found.Lost) > 0 {
		return fmt.Errorf("lost: %v", found.Lost)
	}
	for _, inst := range found.Attached {
		if err := inst.(engine.Resumer).Drop(ctx); err != nil {
			return fmt.Errorf("drop in %s: %w", inst.ID(), err)
		}
	}
	living := found.Attached
	for n := 0; ; n++ {
		inst, err := e.Create(ctx, chaosSpec(n))
		if err != nil {
			return err
		}
		if err := promise(ctx, inst, promised); err != nil {
			return err
		}
		if living = append(living, inst); len(living) < 4 {
			continue
		}
		// A promise is taken back before the instance goes.
		first := living[0]
		living = living[1:]
		if err := os.Remove(filepath.Join(promised, string(first.ID()))); err != nil {
			return err
		}
		if err := first.Destroy(ctx); err != nil {
			return err
		}
	}
}

func chaosSpec(n int) engine.Spec {
	spec := engine.Spec{
		ID: remuda.NewInstanceID(), Language: remuda.LanguagePython,
		Resources: remuda.Resources{CPU: 1, MemoryMB: 128, DiskMB: 16 + n%2*200, Pids: 32},
	}
	if n%3 > 0 {
		spec.Background, spec.Generation = true, remuda.GenerationKey{Runtime: "rt_chaos", Number: 1}
	}
	return spec
}

// promise runs something in the instance and then says that it will live.
func promise(ctx context.Context, inst engine.Instance, dir string) error {
	run := func(script string) error {
		res, err := inst.Execute(ctx, engine.Request{ID: remuda.NewExecutionID(), Script: script}, nil)
		if err == nil && res.State != remuda.ExecutionSuccess {
			err = fmt.Errorf("%s in %s: %+v", script, inst.ID(), res)
		}
		return err
	}
	if err := run(fmt.Sprintf("mine = %q", inst.ID())); err != nil {
		return err
	}
	if err := inst.SetLinger(ctx, time.Hour); err != nil {
		return err
	}
	// The keeper has heard of it when it answers to what came later.
	if err := run("1"); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, string(inst.ID())), nil, 0o600); err != nil {
		return err
	}
	if err := inst.(engine.Narrower).Narrow(ctx, remuda.Resources{Pids: 30}); err != nil {
		return err
	}
	return run("import time; print(1); time.sleep(0.02)")
}
