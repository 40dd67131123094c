package local

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/engine/keeper"
	"github.com/remuda-run/remuda/internal/guest/protocol"
	"github.com/remuda-run/remuda/internal/remuda"
)

// Instance is the engine.Instance of this package: what a keeper makes of a
// sandbox, and what of the machine belongs to it.
type Instance struct {
	*keeper.Instance // nil, like blank, only until it has a blank

	engine *Engine
	spec   engine.Spec
	blank  *blank
	disk   *diskImage // nil when memory backs the disk
	net    connection

	// A forked instance's: whose keeper is also its own. One of them, or none.
	template *template
	orphan   *orphan

	narrowing sync.Mutex // held while the limits change

	describing sync.Mutex // held while metadata is written
	metadata   bool       // a file was begun
	linger     time.Duration
}

var _ engine.Instance = (*Instance)(nil)

func (e *Engine) newInstance(spec engine.Spec) (*Instance, error) {
	i := &Instance{engine: e, spec: spec, linger: spec.Linger}
	return i, e.add(i)
}

// take makes a blank the instance's.
func (i *Instance) take(b *blank, inodes int64, timings remuda.Timings) {
	i.blank = b
	i.Instance = keeper.New(keeper.Options{
		ID: i.spec.ID, Language: i.spec.Language, Resources: i.spec.Resources, Timings: timings, Log: i.engine.log,
		SpoolDir: i.engine.dir.disk, DiskInodes: inodes, Group: b.group, Process: b.proc, Conn: b.conn,
		Yields: i.spec.Background, Last: i.spec.Last, Shared: b.forked, Ephemeral: i.engine.opts.Ephemeral, Linger: i.spec.Linger,
		Clear: i.clear, Release: i.release,
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
	i.Instance, i.blank, i.disk, i.template, i.metadata = nil, nil, nil, nil, false
	i.net = connection{} // nobody else knows of it yet
	return errors.Join(err, i.engine.add(i))
}

// SetLinger implements engine.Instance.
func (i *Instance) SetLinger(ctx context.Context, d time.Duration) error {
	if d > 0 && !i.engine.opts.Ephemeral { // it may outlive us: say what it is
		if err := i.describe(d); err != nil {
			return remuda.Internal("describing a sandbox", err)
		}
	}
	return i.Instance.SetLinger(ctx, d)
}

// describe writes the instance's metadata, unless that says so already.
func (i *Instance) describe(linger time.Duration) error {
	i.describing.Lock()
	defer i.describing.Unlock()
	if i.metadata && i.linger == linger {
		return nil
	}
	i.linger = linger
	return i.write()
}

// redescribe writes it anew, if there is one.
func (i *Instance) redescribe() error {
	i.describing.Lock()
	defer i.describing.Unlock()
	if !i.metadata {
		return nil
	}
	return i.write()
}

// write is called with describing.
func (i *Instance) write() error {
	b := i.blank
	start, err := StartTime(b.proc.pid)
	if err != nil {
		return fmt.Errorf("look at the keeper: %w", err)
	}
	m := metadata{
		ID: i.spec.ID, Generation: i.spec.Generation, Language: i.spec.Language, Version: i.spec.Version,
		Protocol: protocol.Version, Pid: b.proc.pid, StartTime: start, Cgroup: b.name, Owner: b.owner,
		Resources: i.Resources(), Linger: i.linger, Shared: b.shared,
	}
	if s := b.shared; s != nil && s.StartTime == 0 {
		if s.StartTime, err = StartTime(s.Pid); err != nil {
			return fmt.Errorf("look at the keeper: %w", err)
		}
	}
	if i.disk != nil {
		m.Disk = &imageName{Loop: i.disk.loop, Name: i.disk.name}
	}
	i.metadata = true
	return i.engine.dir.writeMetadata(m)
}

// clear removes what is left when the sandbox's first process is gone.
func (i *Instance) clear(ctx context.Context) error {
	errs := []error{i.disconnect(ctx)}
	if i.metadata { // it names the cgroup, which may be another's from its end on
		path := i.engine.dir.metadata(i.spec.ID)
		errs = append(errs, remove(path, path+".new"))
	}
	errs = append(errs, i.blank.clear(ctx))
	if i.disk != nil {
		errs = append(errs, i.disk.drop(ctx))
	}
	if i.orphan != nil {
		errs = append(errs, i.orphan.lose(ctx))
	}
	i.engine.forget(i)
	return errors.Join(errs...)
}

// release lets go of all that this process holds of an instance which lives on.
func (i *Instance) release() {
	i.letGo()
	i.blank.leave()
	i.disk.leave()
	switch {
	case i.template != nil:
		i.template.keep()
	case i.orphan != nil:
		i.orphan.keep()
	}
	i.engine.leave(i)
}
