package local

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/engine/keeper"
	"github.com/remuda-run/remuda/internal/guest/protocol"
	"github.com/remuda-run/remuda/internal/remuda"
)

// adoption is an instance of an earlier server on its way to become one of ours.
type adoption struct {
	meta   metadata
	spec   engine.Spec
	proc   *process // first process; of a forked instance it may have ended
	orphan *orphan  // of a forked instance
}

// lost is why an instance that is wanted cannot be had.
type lost struct {
	reason string // for everybody
	err    error  // for the log; may be nil
}

func (l *lost) Error() string {
	if l.err == nil {
		return l.reason
	}
	return l.reason + ": " + l.err.Error()
}

func (l *lost) Unwrap() error { return l.err }

// reasonOf is what everybody may read of it.
func reasonOf(err error) string {
	if l, ok := errors.AsType[*lost](err); ok {
		return l.reason
	}
	if e, ok := errors.AsType[*remuda.Error](err); ok {
		return e.Message
	}
	return "it could not be taken over from the earlier server"
}

// tooLate is the end of an instance while no server was there.
func (e *Engine) tooLate(m metadata) error {
	// With cgroup v2 the kernel ends the keeper too.
	if kills, err := e.herd.Group(m.Cgroup).OOMKills(); err == nil && kills > 0 {
		return &lost{reason: "the sandbox used more memory than it may, and ended before this server came"}
	}
	return &lost{reason: fmt.Sprintf("the sandbox had ended before this server came; it outlives a server by %s at most", m.Linger)}
}

// locate finds the processes of an instance that is wanted.
func (e *Engine) locate(m metadata, spec engine.Spec) (*adoption, error) {
	switch {
	case m.Pid == 0:
		return nil, &lost{reason: "what described it was not whole"}
	case m.Protocol == 0:
		return nil, &lost{reason: "it was made by an older version of remuda, whose sandboxes end with their server"}
	case m.Protocol != protocol.Version:
		return nil, &lost{reason: fmt.Sprintf("its keeper speaks version %d of the protocol and this server version %d", m.Protocol, protocol.Version)}
	}
	a := &adoption{meta: m, spec: spec}
	var err error
	a.proc, err = leftProcess(m.Pid, m.StartTime)
	switch {
	case errors.Is(err, errEnded) && m.Shared != nil:
		a.proc = &process{foreign: true} // its keeper may still hold what it left
	case errors.Is(err, errEnded):
		return nil, e.tooLate(m)
	case err != nil:
		return nil, err
	}
	if m.Shared == nil {
		return a, nil
	}
	if a.orphan, err = e.orphanOf(m.Shared); err != nil {
		a.proc.close()
		if errors.Is(err, errEnded) {
			return nil, e.tooLate(m)
		}
		return nil, err
	}
	return a, nil
}

// adoptTime bounds an adoption: a keeper greets twice at most.
const adoptTime = 3 * keeper.HelloTime

// adopt makes it an instance. On error nothing is left of it; so the end of ctx is
// none: a server that is stopped while it starts leaves what it takes over here.
func (a *adoption) adopt(ctx context.Context, e *Engine) (_ *Instance, err error) {
	begun := time.Now()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), adoptTime)
	defer cancel()
	m, spec := a.meta, a.spec
	spec.ID, spec.Generation, spec.Language, spec.Version = m.ID, m.Generation, m.Language, m.Version
	spec.Resources, spec.Linger, spec.Background, spec.Last = m.Resources, m.Linger, false, false
	i := &Instance{engine: e, spec: spec, linger: m.Linger, metadata: true, orphan: a.orphan}
	i.blank = &blank{name: m.Cgroup, owner: m.Owner, group: e.herd.Group(m.Cgroup), proc: a.proc, forked: m.Shared != nil, shared: m.Shared}
	if m.Shared == nil {
		i.blank.socket = e.dir.socket(string(m.ID))
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, i.discard(ctx))
		}
	}()
	if err := e.add(i); err != nil {
		return nil, err
	}
	if err := i.reopen(ctx, m); err != nil {
		return nil, err
	}
	timings := remuda.Timings{}
	i.take(i.blank, quotaOf(m.Resources).inodes, timings)
	if err := i.WatchMemory(); err != nil {
		return nil, err
	}
	timings["attach"] = time.Since(begun)
	i.Begin()
	return i, nil
}

// discard ends an instance that was not taken over after all.
func (i *Instance) discard(ctx context.Context) error {
	defer func() { _ = i.engine.slots.Abandon(ctx, i.spec.ID) }() // its slot is wiped before it is used again
	if i.Instance != nil {
		return i.Abandon(ctx)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), keeper.CleanupTime)
	defer cancel()
	if i.blank.conn != nil && i.blank.forked {
		i.blank.conn.Dismiss()
	}
	return errors.Join(i.blank.proc.Kill(), i.blank.proc.Wait(), i.clear(ctx))
}

// dismiss has the keeper of an instance that nobody wants hold nothing of it: it
// may be the keeper of others that are. Whatever fails, it is killed otherwise.
func (e *Engine) dismiss(ctx context.Context, m metadata) {
	if m.Shared == nil || m.Protocol != protocol.Version {
		return
	}
	c, err := dial(ctx, e.dir.run, m.Shared.Name+".sock")
	if err != nil {
		return
	}
	k, err := keeper.Attach(ctx, c, m.Shared.User)
	if err != nil {
		return
	}
	k.Dismiss()
	k.Close()
}

// reopen opens again what an instance has on the machine.
func (i *Instance) reopen(ctx context.Context, m metadata) error {
	b := i.blank
	if err := i.redial(ctx, m); err != nil {
		return err
	}
	state, over := b.conn.State(), b.proc.Exited()
	switch {
	case !state.Ready:
		return &lost{reason: "it was not ready yet when its server ended"}
	case over && state.Execution == "":
		return i.engine.tooLate(m)
	}
	kills, err := b.group.OOMKills()
	switch {
	case err != nil:
		return &lost{reason: "its limits are gone", err: err}
	case kills > 0 && state.Execution == "":
		return &lost{reason: fmt.Sprintf("it used more than its %d MiB of memory while no server was there", m.Resources.MemoryMB)}
	}
	if err := b.group.Yield(false); err != nil { // it may have come last
		return err
	}
	if err := b.group.Watch(); err != nil {
		return err
	}
	if m.Disk != nil {
		i.disk = i.engine.disks.adopt(*m.Disk, quotaOf(m.Resources))
	}
	if over {
		return nil
	}
	if err := i.disk.open(i.openWorkspace); err != nil {
		return err
	}
	if err := i.reconnect(ctx, b.proc.pid); err != nil {
		return &lost{reason: "its network could not be taken over", err: err}
	}
	return nil
}

// dying is how long the processes of a sandbox may take to end with its keeper.
const dying = time.Second

// redial connects to the instance's keeper.
func (i *Instance) redial(ctx context.Context, m metadata) error {
	b, name := i.blank, string(m.ID)
	if m.Shared != nil {
		name = m.Shared.Name
	}
	c, err := dial(ctx, i.engine.dir.run, name+".sock")
	switch {
	case err != nil && b.proc.gone(dying): // and its keeper with it, or on its way
		return i.engine.tooLate(m)
	case err != nil:
		return &lost{reason: "its keeper cannot be reached", err: err}
	}
	if m.Shared != nil {
		b.conn, err = keeper.Attach(ctx, c, m.Shared.User)
	} else {
		b.conn, err = keeper.NewConn(ctx, c)
	}
	refusal, refused := errors.AsType[*keeper.Refusal](err)
	switch {
	case refused && refusal.Stage == "attach":
		return i.engine.tooLate(m)
	case refused:
		return &lost{reason: "its keeper refuses this server: " + refusal.Reason, err: err}
	case err != nil && b.proc.Exited(): // and its keeper ends with it
		return i.engine.tooLate(m)
	case err != nil:
		return &lost{reason: "its keeper does not answer", err: err}
	}
	return nil
}
