package local

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/remuda"
)

// Recover implements engine.Engine. The herd's cgroups say what an earlier
// server left; metadata only gives it names, and finds a process that had not
// reached its cgroup.
func (e *Engine) Recover(ctx context.Context, keep []engine.Spec) (engine.Recovered, error) {
	found := engine.Recovered{Lost: map[remuda.InstanceID]string{}}
	left, err := e.dir.leftovers()
	if err != nil {
		return found, remuda.Internal("looking for what an earlier server left", err)
	}
	wanted, err := e.sort(ctx, left, keep, &found)
	errs := []error{err}
	pids := map[remuda.InstanceID]int{}
	for _, a := range wanted {
		if !a.proc.Exited() {
			pids[a.meta.ID] = a.proc.pid
		}
	}
	errs = append(errs, e.slots.Recover(ctx, pids))
	for _, a := range wanted {
		inst, err := a.adopt(ctx, e)
		if err != nil {
			e.log.Warn("a sandbox of the earlier server is lost", "instance", a.meta.ID, "error", err)
			found.Lost[a.meta.ID] = reasonOf(err)
			continue
		}
		found.Attached = append(found.Attached, inst)
	}
	cleared, err := e.clearOthers(ctx)
	if errs = append(errs, err); cleared > 0 || len(left) > 0 {
		e.log.Info("took over from an earlier server", "kept", len(found.Attached), "lost", len(found.Lost), "ended", len(found.Ended), "cgroups_cleared", cleared)
	}
	if err := errors.Join(errs...); err != nil {
		return found, remuda.Internal("clearing what an earlier server left", err)
	}
	e.mu.Lock()
	e.recovered = true
	e.mu.Unlock()
	e.placeDrivers(ctx)
	e.stock.fill()
	return found, nil
}

// sort tells what is wanted from what is not, which it kills.
func (e *Engine) sort(ctx context.Context, left []metadata, keep []engine.Spec, found *engine.Recovered) ([]*adoption, error) {
	specs := map[remuda.InstanceID]engine.Spec{}
	for _, spec := range keep {
		specs[spec.ID] = spec
		found.Lost[spec.ID] = "the earlier server left nothing of it" // until it is found
	}
	var wanted []*adoption
	var errs []error
	for _, m := range left {
		spec, want := specs[m.ID]
		if !want {
			found.Ended = append(found.Ended, m.ID)
			e.dismiss(ctx, m)
			errs = append(errs, killLeft(ctx, m))
			continue
		}
		a, err := e.locate(m, spec)
		if err != nil {
			e.log.Warn("a sandbox of the earlier server is lost", "instance", m.ID, "error", err)
			found.Lost[m.ID] = reasonOf(err)
			errs = append(errs, killLeft(ctx, m))
			continue
		}
		delete(found.Lost, m.ID)
		wanted = append(wanted, a)
	}
	return wanted, errors.Join(errs...)
}

// clearOthers clears what belongs to no instance of ours. It returns how many
// cgroups that were.
func (e *Engine) clearOthers(ctx context.Context) (int, error) {
	groups, files := e.kept()
	names, err := e.herd.Names()
	errs := []error{err}
	cleared := 0
	for _, name := range names {
		if !groups[name] {
			errs = append(errs, e.herd.Group(name).Clear(ctx))
			cleared++
		}
	}
	if err := errors.Join(errs...); err != nil {
		return cleared, err
	}
	return cleared, e.dir.sweep(files)
}

// kept lists the cgroups and the files of the instances that were taken over.
func (e *Engine) kept() (groups, files map[string]bool) {
	groups, files = map[string]bool{}, map[string]bool{}
	e.mu.Lock()
	defer e.mu.Unlock()
	for id, inst := range e.instances {
		groups[inst.blank.name] = true
		files[e.dir.metadata(id)] = true
		if inst.blank.socket != "" {
			files[inst.blank.socket] = true
		}
	}
	for name := range e.orphans {
		groups[name] = true
		files[e.dir.socket(name)] = true
	}
	return groups, files
}

// placeDrivers puts what can be known ahead into the prepared root, before any
// blank is made: a root that changes later makes the blanks of the old one
// useless. What is not ready now is placed when it is first asked for.
func (e *Engine) placeDrivers(ctx context.Context) {
	if e.opts.Ephemeral {
		return // one script: it pays for its own language only
	}
	found, err := e.versions.list(ctx, remuda.LanguagePython)
	if err != nil {
		return // Create says why
	}
	for _, in := range found {
		if _, err := e.driver(ctx, remuda.LanguagePython, in); err != nil {
			e.log.Warn("a driver could not be prepared", "interpreter", in.Path, "error", err)
		}
	}
}

// leftovers reads the metadata files. A file that does not hold metadata is of a
// crash of the machine, and so is its sandbox.
func (d *dataDir) leftovers() ([]metadata, error) {
	entries, err := os.ReadDir(d.run)
	if err != nil {
		return nil, fmt.Errorf("list metadata: %w", err)
	}
	var left []metadata
	for _, entry := range entries {
		name, ok := strings.CutSuffix(entry.Name(), ".json")
		if !ok || !remuda.IsID(remuda.PrefixInstance, name) {
			continue
		}
		b, err := os.ReadFile(filepath.Join(d.run, entry.Name()))
		if err != nil {
			return nil, fmt.Errorf("read metadata: %w", err)
		}
		m := metadata{}
		if json.Unmarshal(b, &m) != nil {
			m = metadata{}
		}
		m.ID = remuda.InstanceID(name)
		left = append(left, m)
	}
	return left, nil
}

// killLeft kills the first process that metadata names, if it is still the same.
func killLeft(ctx context.Context, m metadata) error {
	p, err := leftProcess(m.Pid, m.StartTime)
	if errors.Is(err, errEnded) {
		return nil
	}
	if err != nil {
		return err
	}
	defer p.close()
	if err := p.Kill(); err != nil {
		return err
	}
	for wait := time.Millisecond; !p.Exited(); wait = min(2*wait, 50*time.Millisecond) {
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return fmt.Errorf("wait for the end of process %d: %w", m.Pid, ctx.Err())
		}
	}
	return nil
}

// sweep removes the files of sandboxes that have ended, which are all but those
// that are kept.
func (d *dataDir) sweep(kept map[string]bool) error {
	var errs []error
	for _, dir := range []string{d.run, d.disk} {
		entries, err := os.ReadDir(dir)
		errs = append(errs, err)
		for _, entry := range entries {
			if path := filepath.Join(dir, entry.Name()); !kept[path] {
				errs = append(errs, remove(path))
			}
		}
	}
	return errors.Join(errs...)
}
