package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/engine/keeper"
	"github.com/remuda-run/remuda/internal/engine/local/cgroup"
	"github.com/remuda-run/remuda/internal/guest"
	"github.com/remuda-run/remuda/internal/guest/protocol"
	"github.com/remuda-run/remuda/internal/remuda"
)

// keeperThreads is what the keeper needs of the limit of processes for itself.
const keeperThreads = 14

// firstProcess is what of a forked instance is in its cgroup beside the script's:
// the keeper is its template's.
const firstProcess = 1

// Create implements engine.Engine.
func (e *Engine) Create(ctx context.Context, spec engine.Spec) (engine.Instance, error) {
	begun := time.Now()
	if err := checkSpec(spec); err != nil {
		return nil, err
	}
	if spec.Isolation != "" && spec.Isolation != remuda.IsolationProcess {
		return nil, unsupported("this engine has no sandboxes of the class "+string(spec.Isolation), "it makes those of the class process", "ask the engine of that class", nil)
	}
	e.stock.fill()
	t := e.templates.of(ctx, spec)
	var driver guest.Program
	if t != nil {
		spec.Version = t.version
	} else {
		in, err := e.versions.interpreter(ctx, spec.Language, spec.Version)
		if err != nil {
			return nil, err
		}
		if driver, err = e.driver(ctx, spec.Language, in); err != nil {
			return nil, err
		}
		if asked := spec; spec.Background {
			e.templates.want(asked, in.Version, driver)
			t = e.templates.await(ctx, asked)
		} else {
			defer e.templates.wantAgain(asked, in.Version, driver) // once this one is there
		}
		spec.Version = in.Version
	}
	ctx, cancel := context.WithTimeoutCause(ctx, setupTime, fmt.Errorf("the sandbox was not ready after %s", setupTime))
	defer cancel()
	done, err := e.begin(spec.ID, cancel)
	if err != nil {
		return nil, err
	}
	defer done()
	inst, err := e.newInstance(spec)
	if err != nil {
		return nil, err
	}
	if err := inst.build(ctx, t, driver, begun); err != nil {
		err = errors.Join(err, inst.abandon(ctx))
		if ctx.Err() != nil {
			return nil, remuda.Errorf(engine.ContextCode(ctx), "create a sandbox: %w", errors.Join(context.Cause(ctx), err))
		}
		if _, ok := errors.AsType[*remuda.Error](err); ok {
			return nil, err
		}
		return nil, remuda.Internal("creating a sandbox", err)
	}
	return inst, nil
}

// checkSpec refuses what would otherwise be a sandbox without a limit.
func checkSpec(spec engine.Spec) error {
	var wrong []remuda.FieldError
	if !remuda.IsID(remuda.PrefixInstance, string(spec.ID)) {
		wrong = append(wrong, remuda.FieldError{Field: "id", Message: "is no instance id"})
	}
	if spec.Environment != "" && spec.Environment != remuda.EnvironmentHost {
		wrong = append(wrong, remuda.FieldError{Field: "environment", Message: "must be \"" + remuda.EnvironmentHost + "\" on this engine"})
	}
	wrong = append(wrong, checkLayers(spec.Layers)...)
	r := spec.Resources
	for _, limit := range []struct {
		field string
		set   bool
	}{
		{"resources.cpu", r.CPU > 0},
		{"resources.memory_mb", r.MemoryMB > 0},
		{"resources.disk_mb", r.DiskMB > 0},
		{"resources.pids", r.Pids > 0},
	} {
		if !limit.set {
			wrong = append(wrong, remuda.FieldError{Field: limit.field, Message: "must be more than 0"})
		}
	}
	if len(wrong) > 0 {
		return remuda.Invalid(wrong...)
	}
	return nil
}

// build turns a blank into the instance.
func (i *Instance) build(ctx context.Context, t *template, driver guest.Program, begun time.Time) error {
	e := i.engine
	if t != nil {
		err := i.fork(ctx, t, begun)
		if err == nil || ctx.Err() != nil || remuda.CodeOf(err) == remuda.CodeExhausted {
			return err
		}
		e.log.Warn("a template could not be forked from; it is given up", "runtime", t.key.Runtime, "generation", t.key.Number, "error", err)
		e.templates.giveUp(t)
		if err := i.undo(ctx); err != nil {
			return err
		}
		driver = t.driver
	}
	b, err := e.stock.take(ctx)
	if err != nil {
		return err
	}
	return i.become(ctx, b, driver, begun)
}

// forkTime is how long a forked process may take to become the instance. It has
// run foreign code, and may never do so.
const forkTime = keeper.HelloTime

// fork does it with a fork of a template. What that has begun remains on error.
func (i *Instance) fork(ctx context.Context, t *template, begun time.Time) error {
	var b *blank
	var err error
	if i.spec.Background {
		b, err = t.fork(ctx, true)
	} else {
		t.stock.fill()
		b, err = t.stock.take(ctx)
	}
	if err != nil {
		return err
	}
	i.template = t
	ctx, cancel := context.WithTimeoutCause(ctx, forkTime, fmt.Errorf("the fork was not ready after %s", forkTime))
	defer cancel()
	return i.become(ctx, b, t.driver, begun)
}

// become does it with a given blank, which is the instance's from here on.
func (i *Instance) become(ctx context.Context, b *blank, driver guest.Program, begun time.Time) error {
	defer b.replace()
	var err error
	e := i.engine
	quota := quotaOf(i.spec.Resources)
	timings := remuda.Timings{}
	i.take(b, quota.inodes, timings)
	if quota.image {
		if i.disk, err = e.disks.make(ctx, quota, b.owner); err != nil {
			return err
		}
	}
	if err := b.group.Limit(b.limitsOf(i.spec.Resources)); err != nil {
		return err
	}
	switch {
	case i.spec.Last:
		err = b.group.Last(true)
	case !i.spec.Background && !b.forked:
		err = b.group.Yield(false)
	}
	if err != nil {
		return err
	}
	if err := i.connect(ctx); err != nil {
		return err
	}
	created := time.Since(begun)
	if err := i.sendSetup(driver, quota); err != nil {
		if errors.Is(err, unix.EPIPE) { // whoever has gone has said why
			_, said := b.conn.WaitReady(ctx)
			err = errors.Join(said, err)
		}
		return i.explain(err)
	}
	// While the interpreter starts.
	if err := i.name(); err != nil {
		return err
	}
	if err := i.WatchMemory(); err != nil {
		return err
	}
	ready, err := b.conn.WaitReady(ctx)
	if err != nil {
		return i.explain(err)
	}
	if !strings.Contains(ready.Version, i.spec.Version) {
		return unsupported(fmt.Sprintf("the %s interpreter of version %s runs as %s", i.spec.Language, i.spec.Version, ready.Version),
			"inside the sandbox it finds another one's libraries", "build it so that it finds its own (a static one, or one with an rpath), or take its prefix off the setting interpreters", nil)
	}
	if err := i.inherit(ctx); err != nil {
		return err
	}
	timings["create"] = created
	for stage, us := range ready.TimingsUS {
		timings[stage] = time.Duration(us) * time.Microsecond
	}
	i.Begin()
	return nil
}

// sendSetup tells the blank what to become.
func (i *Instance) sendSetup(driver guest.Program, quota diskQuota) error {
	b := i.blank
	setup := i.engine.setup(i.spec, driver, quota)
	if b.forked {
		// All else is the template's.
		setup = protocol.Setup{DiskFD: true, LingerMS: setup.LingerMS}
	}
	layers, err := i.layers(&setup)
	if err != nil {
		return err
	}
	defer layers.close()
	switch {
	case i.disk != nil:
		defer i.disk.passed()
		return b.conn.SendSetup(&setup, i.disk.mount, layers.fds...)
	case b.forked:
		mount, err := memoryDisk(quota, b.owner)
		if err != nil {
			return err
		}
		defer func() { _ = unix.Close(mount) }()
		return b.conn.SendSetup(&setup, mount)
	default:
		return b.conn.SendSetup(&setup, -1, layers.fds...)
	}
}

// limitsOf are the cgroup's limits. The keeper's own memory is charged to the
// instance too; it is small and a part of its price.
func (b *blank) limitsOf(r remuda.Resources) cgroup.Limits {
	ours := keeperThreads
	if b.forked {
		ours = firstProcess
	}
	return cgroup.Limits{CPU: r.CPU, Memory: int64(r.MemoryMB) << 20, Pids: r.Pids + ours}
}

// name gives the blank's socket the instance's name and writes its metadata. A
// forked instance has no socket of its own, and is described when it is to
// outlive its server: until then its cgroup is enough to find it.
func (i *Instance) name() error {
	e, b := i.engine, i.blank
	if b.forked {
		if i.spec.Linger > 0 {
			return i.describe(i.spec.Linger)
		}
		return nil
	}
	if err := i.describe(i.spec.Linger); err != nil {
		return err
	}
	socket := e.dir.socket(string(i.spec.ID))
	if err := os.Rename(b.socket, socket); err != nil {
		return fmt.Errorf("name the keeper's socket: %w", err)
	}
	b.socket = socket
	return nil
}

// explain adds what the cgroup knows to the error of a sandbox that did not
// become ready: most often its memory does not hold the interpreter.
func (i *Instance) explain(err error) error {
	usage, usageErr := i.blank.group.Usage()
	if usageErr != nil {
		return errors.Join(err, usageErr)
	}
	r := i.spec.Resources
	switch {
	case usage.OOMKills > 0:
		return &remuda.Error{Code: remuda.CodeInvalid, Message: fmt.Sprintf("the %s interpreter does not start in %d MiB of memory", i.spec.Language, r.MemoryMB), Remedy: "give the runtime more memory_mb", Err: err}
	case usage.PidsMax > 0:
		return &remuda.Error{Code: remuda.CodeInvalid, Message: fmt.Sprintf("the %s interpreter does not start with %d processes and threads", i.spec.Language, r.Pids), Remedy: "give the runtime more pids", Err: err}
	default:
		return err
	}
}
