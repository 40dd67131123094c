package oci

import (
	"context"
	"errors"
	"os"
	"slices"

	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/remuda"
)

// Recover implements engine.Engine. The herd's cgroups hold every process that
// an earlier server left; bundles give them names. None lives on: a container's
// keeper has one connection, its server's.
func (e *Engine) Recover(ctx context.Context, keep []engine.Spec) (engine.Recovered, error) {
	ended, err := e.clearAll(ctx)
	lost := engine.LoseAll(keep, "sandboxes of the class gvisor end with their server")
	ended = slices.DeleteFunc(ended, func(id remuda.InstanceID) bool { return lost[id] != "" })
	return engine.Recovered{Ended: ended, Lost: lost}, err
}

func (e *Engine) clearAll(ctx context.Context) ([]remuda.InstanceID, error) {
	if _, err := os.Stat(e.opts.DataDir); errors.Is(err, os.ErrNotExist) {
		return nil, nil // none was ever made here
	}
	if err := e.Available(); err != nil {
		return e.recoverWithout(ctx)
	}
	o, err := e.site()
	if err != nil {
		return nil, err
	}
	return e.clearOld(ctx, o)
}

// recoverWithout clears what is left on a machine that has lost its runsc.
func (e *Engine) recoverWithout(ctx context.Context) ([]remuda.InstanceID, error) {
	dir, err := openDataDir(e.opts.DataDir)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	o := &site{dir: dir}
	if err := o.prepare(e); err != nil {
		return nil, err
	}
	ids, err := e.clearOld(ctx, o)
	return ids, errors.Join(err, o.herd.Remove(), o.root.remove())
}

func (e *Engine) clearOld(ctx context.Context, o *site) ([]remuda.InstanceID, error) {
	ids, err := o.dir.leftovers()
	errs := []error{err}
	groups, err := o.herd.Names()
	errs = append(errs, err)
	for _, name := range groups {
		errs = append(errs, o.herd.Group(name).Clear(ctx))
	}
	if len(groups) > 0 || len(ids) > 0 {
		e.log.Info("cleared what an earlier server left", "cgroups", len(groups), "instances", len(ids))
	}
	if err := errors.Join(errs...); err != nil {
		return ids, remuda.Internal("clearing what an earlier server left", err)
	}
	if err := o.dir.sweep(o.root.path); err != nil {
		return ids, remuda.Internal("clearing what an earlier server left", err)
	}
	return ids, nil
}
