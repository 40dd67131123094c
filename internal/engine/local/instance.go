package local

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/engine/keeper"
	"github.com/remuda-run/remuda/internal/remuda"
)

// Instance is the engine.Instance of this package: what a keeper makes of a
// sandbox, and what of the machine belongs to it.
type Instance struct {
	*keeper.Instance // nil, like blank, only until it has a blank

	engine   *Engine
	spec     engine.Spec
	blank    *blank
	disk     *diskImage // nil when memory backs the disk
	net      connection
	metadata bool // a metadata file was begun

	narrowing sync.Mutex // held while the limits change
}

var _ engine.Instance = (*Instance)(nil)

func (e *Engine) newInstance(spec engine.Spec) (*Instance, error) {
	i := &Instance{engine: e, spec: spec}
	return i, e.add(i)
}

// take makes a blank the instance's.
func (i *Instance) take(b *blank, inodes int64, timings remuda.Timings) {
	i.blank = b
	i.Instance = keeper.New(keeper.Options{
		ID: i.spec.ID, Language: i.spec.Language, Resources: i.spec.Resources, Timings: timings, Log: i.engine.log,
		SpoolDir: i.engine.dir.disk, DiskInodes: inodes, Group: b.group, Process: b.proc, Conn: b.conn,
		Yields: i.spec.Background, Shared: b.forked, Ephemeral: i.engine.opts.Ephemeral, Clear: i.clear,
	})
}

// abandon removes an instance that was not begun.
func (i *Instance) abandon(ctx context.Context) error {
	if i.Instance == nil {
		i.engine.forget(i)
		return nil
	}
	return i.Abandon(ctx)
}

// undo lets go of all that a building which has failed has made, so that the
// instance can be built anew.
func (i *Instance) undo(ctx context.Context) error {
	if i.Instance == nil {
		return nil
	}
	err := i.Abandon(ctx)
	i.Instance, i.blank, i.disk, i.metadata = nil, nil, nil, false
	i.net = connection{} // nobody else knows of it yet
	return errors.Join(err, i.engine.add(i))
}

// SetLinger implements engine.Instance.
func (i *Instance) SetLinger(ctx context.Context, d time.Duration) error {
	if d > 0 && !i.engine.opts.Ephemeral && !i.metadata { // it may outlive us: say what it is
		if err := i.describe(); err != nil {
			return remuda.Internal("describing a sandbox", err)
		}
	}
	return i.Instance.SetLinger(ctx, d)
}

// clear removes what is left when the sandbox's first process is gone.
func (i *Instance) clear(ctx context.Context) error {
	errs := []error{i.disconnect(ctx), i.blank.clear(ctx)}
	if i.disk != nil {
		errs = append(errs, i.disk.drop(ctx))
	}
	if i.metadata {
		path := i.engine.dir.metadata(i.spec.ID)
		errs = append(errs, remove(path, path+".new"))
	}
	i.engine.forget(i)
	return errors.Join(errs...)
}
