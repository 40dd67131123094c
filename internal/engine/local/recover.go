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

	"golang.org/x/sys/unix"

	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/remuda"
)

// Recover implements engine.Engine. The herd's cgroups say what an earlier
// server left; metadata only gives it names, and finds a process that had not
// reached its cgroup.
func (e *Engine) Recover(ctx context.Context, keep []engine.Spec) (engine.Recovered, error) {
	ended, err := e.clearAll(ctx)
	return engine.Recovered{Ended: ended, Lost: engine.LoseAll(keep, "this engine ends its sandboxes with their server")}, err
}

func (e *Engine) clearAll(ctx context.Context) ([]remuda.InstanceID, error) {
	left, err := e.dir.leftovers()
	if err != nil {
		return nil, remuda.Internal("looking for what an earlier server left", err)
	}
	var ids []remuda.InstanceID
	var errs []error
	for _, m := range left {
		ids = append(ids, m.ID)
		errs = append(errs, killLeft(ctx, m))
	}
	errs = append(errs, e.slots.Recover(ctx, nil))
	groups, err := e.herd.Names()
	errs = append(errs, err)
	for _, name := range groups {
		errs = append(errs, e.herd.Group(name).Clear(ctx))
	}
	if len(groups) > 0 || len(ids) > 0 {
		e.log.Info("cleared what an earlier server left", "cgroups", len(groups), "instances", len(ids))
	}
	if err := errors.Join(errs...); err != nil {
		return ids, remuda.Internal("clearing what an earlier server left", err)
	}
	if err := e.dir.sweep(); err != nil {
		return ids, remuda.Internal("clearing what an earlier server left", err)
	}
	e.placeDrivers(ctx)
	e.stock.fill()
	return ids, nil
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

// killLeft kills the keeper that metadata names, if it is still the same
// process.
func killLeft(ctx context.Context, m metadata) error {
	if m.Pid <= 1 {
		return nil
	}
	fd, err := unix.PidfdOpen(m.Pid, 0)
	if err != nil {
		return nil // it has gone
	}
	defer func() { _ = unix.Close(fd) }()
	// Looked at after the pidfd was opened: the number cannot change hands now.
	if start, err := StartTime(m.Pid); err != nil || start != m.StartTime {
		return nil
	}
	if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("kill process %d: %w", m.Pid, err)
	}
	for wait := time.Millisecond; !readable(fd); wait = min(2*wait, 50*time.Millisecond) {
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return fmt.Errorf("wait for the end of process %d: %w", m.Pid, ctx.Err())
		}
	}
	return nil
}

// sweep removes the files of sandboxes, all of which have ended.
func (d *dataDir) sweep() error {
	var errs []error
	for _, dir := range []string{d.run, d.disk} {
		entries, err := os.ReadDir(dir)
		errs = append(errs, err)
		for _, entry := range entries {
			errs = append(errs, remove(filepath.Join(dir, entry.Name())))
		}
	}
	return errors.Join(errs...)
}
