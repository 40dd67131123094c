package oci

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
	"github.com/remuda-run/remuda/internal/engine/local"
	"github.com/remuda-run/remuda/internal/engine/local/cgroup"
	"github.com/remuda-run/remuda/internal/guest/protocol"
	"github.com/remuda-run/remuda/internal/remuda"
)

// setupTime is how long a sandbox may take to become ready. runsc and an
// interpreter in it start slowly on a busy machine with a small share of the
// processor.
const setupTime = 90 * time.Second

// Overhead is what a sandbox may use of the machine's memory beside what its
// runtime's limit gives the script: runsc's own processes. The limit that the
// machine's kernel enforces is the sum.
const Overhead = 48 << 20

// hostTasks bounds the threads on the machine of a sandbox with so many
// processes. gVisor enforces the limit itself; this is the fence behind it, for
// runsc's own threads and those that stand for the processes inside.
func hostTasks(pids int) int { return 256 + 8*pids }

// limitsOf are the limits of a sandbox of ours: those of the machine's kernel that
// gVisor lets be set, and the number of the user's processes, which no cgroup
// counts here. The others (such as message queues) are gVisor's own and smaller.
func limitsOf(all []protocol.Rlimit, r remuda.Resources) []protocol.Rlimit {
	limits := []protocol.Rlimit{{Resource: unix.RLIMIT_NPROC, Value: uint64(r.Pids)}}
	for _, l := range all {
		switch l.Resource {
		case unix.RLIMIT_CORE, unix.RLIMIT_NOFILE, unix.RLIMIT_FSIZE, unix.RLIMIT_STACK:
			limits = append(limits, l)
		}
	}
	return limits
}

// masked is covered in the sandbox: gVisor's own, but nobody's business.
var masked = []string{"/sys", "/proc/cmdline", "/proc/filesystems"}

// Create implements engine.Engine.
func (e *Engine) Create(ctx context.Context, spec engine.Spec) (engine.Instance, error) {
	begun := time.Now()
	if err := checkSpec(spec); err != nil {
		return nil, err
	}
	if spec.Workspace != nil {
		return nil, &remuda.Error{
			Code: remuda.CodeUnsupported, Message: "a sandbox of the class gvisor cannot take over a workspace",
			Cause: "its files are inside of its own kernel", Remedy: "create another runspace, and write the files that it needs",
		}
	}
	in, err := e.host.Interpreter(ctx, spec.Language, spec.Version)
	if err != nil {
		return nil, err
	}
	spec.Version = in.Version
	driver, err := e.host.Driver(ctx, spec.Language, in)
	if err != nil {
		return nil, err
	}
	o, err := e.site()
	if err != nil {
		return nil, err
	}
	if err := o.root.place(driver); err != nil {
		return nil, remuda.Internal("preparing a sandbox", err)
	}
	setup, err := local.SetupOf(spec, driver)
	if err != nil {
		return nil, err
	}
	setup.Prepared, setup.Mask = true, masked
	setup.Limits = limitsOf(setup.Limits, spec.Resources)
	if !e.opts.Ephemeral {
		setup.LingerMS = spec.Linger.Milliseconds()
	}
	if err := e.reserve(spec.ID); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, setupTime, fmt.Errorf("the sandbox was not ready after %s", setupTime))
	defer cancel()
	inst, err := e.build(ctx, o, spec, &setup, begun)
	if err != nil {
		e.forget(spec.ID)
		if ctx.Err() != nil {
			return nil, remuda.Errorf(engine.ContextCode(ctx), "create a sandbox: %w", errors.Join(context.Cause(ctx), err))
		}
		if _, ok := errors.AsType[*remuda.Error](err); ok {
			return nil, err
		}
		return nil, remuda.Internal("creating a sandbox", err)
	}
	if !e.keep(inst) {
		return nil, errors.Join(remuda.Errorf(remuda.CodeUnavailable, "the engine is closed"), inst.Destroy(context.WithoutCancel(ctx)))
	}
	return inst, nil
}

// checkSpec refuses what this engine cannot enforce.
func checkSpec(spec engine.Spec) error {
	if err := local.CheckSpec(spec); err != nil {
		return err
	}
	if !spec.Egress.None() {
		return &remuda.Error{
			Code: remuda.CodeUnsupported, Message: "a sandbox of the class gvisor reaches no network", Cause: "egress rules are enforced for isolation \"process\" only",
			Remedy: "remove the runtime's egress, or use isolation \"process\"",
		}
	}
	_, err := layerMounts(spec.Layers)
	return err
}

// building is a sandbox on its way; what it has so far is removed when it does
// not become an instance.
type building struct {
	bundle string
	group  *cgroup.Group
	run    *container
	inst   *keeper.Instance // has the rest to remove, once it is there
}

// build makes the sandbox. On error nothing is left of it.
func (e *Engine) build(ctx context.Context, o *site, spec engine.Spec, setup *protocol.Setup, begun time.Time) (_ *keeper.Instance, err error) {
	b := &building{bundle: o.dir.bundle(spec.ID)}
	defer func() {
		if err != nil {
			err = errors.Join(err, b.destroy(ctx))
		}
	}()
	layers, err := layerMounts(spec.Layers)
	if err != nil {
		return nil, err
	}
	bundle := bundleOf(o.root, setup.Hostname)
	bundle.Mounts = append(bundle.Mounts, layers...)
	if err := writeBundle(b.bundle, bundle); err != nil {
		return nil, err
	}
	if b.group, err = o.herd.Create(string(spec.ID)); err != nil {
		return nil, err
	}
	r := spec.Resources
	err = b.group.Limit(cgroup.Limits{CPU: r.CPU, Memory: int64(r.MemoryMB)<<20 + Overhead, Pids: hostTasks(r.Pids)})
	if err != nil {
		return nil, err
	}
	if err := b.group.Yield(spec.Background); err != nil {
		return nil, err
	}
	if spec.Last {
		if err := b.group.Last(true); err != nil {
			return nil, err
		}
	}
	opts := keeper.Options{
		ID: spec.ID, Language: spec.Language, Resources: r, Timings: remuda.Timings{"create": time.Since(begun)},
		Log: e.log, SpoolDir: o.dir.spool, DiskInodes: setup.DiskInodes, Group: b.group, Yields: spec.Background, Last: spec.Last, Ephemeral: e.opts.Ephemeral,
		Clear: func(ctx context.Context) error {
			defer e.forget(spec.ID)
			return b.clear(ctx)
		},
	}
	if err := b.boot(ctx, o.runsc, setup, opts); err != nil {
		return nil, b.explain(err, spec)
	}
	b.inst.Begin()
	return b.inst, nil
}

// boot starts runsc and has the keeper set up the sandbox.
func (b *building) boot(ctx context.Context, runsc string, setup *protocol.Setup, opts keeper.Options) error {
	begun := time.Now()
	run, c, err := start(runsc, b.bundle, string(opts.ID), b.group)
	b.run = run
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = run.Kill() }) // ends the waits below
	defer stop()
	if opts.Conn, err = keeper.NewConn(ctx, c); err != nil {
		return b.lastWords(err)
	}
	opts.Timings["boot"] = time.Since(begun)
	opts.Process = run
	b.inst = keeper.New(opts)
	if err := b.inst.WatchMemory(); err != nil {
		return err
	}
	ready, err := opts.Conn.SetUp(ctx, setup)
	if err != nil {
		return b.lastWords(err)
	}
	for stage, us := range ready.TimingsUS {
		opts.Timings[stage] = time.Duration(us) * time.Microsecond
	}
	return nil
}

// lastWords adds what runsc said before it ended to the error of a sandbox that
// did not start.
func (b *building) lastWords(err error) error {
	_ = b.run.Kill() // the caller's error is the one to tell
	_ = b.run.Wait()
	if said := strings.TrimSpace(b.run.said.String()); said != "" {
		return fmt.Errorf("%w; runsc said: %s", err, said)
	}
	return err
}

// explain adds what the cgroup knows: most often the memory does not hold the
// interpreter.
func (b *building) explain(err error, spec engine.Spec) error {
	usage, usageErr := b.group.Usage()
	switch {
	case usageErr != nil:
		return errors.Join(err, usageErr)
	case usage.OOMKills > 0:
		return &remuda.Error{Code: remuda.CodeInvalid, Message: fmt.Sprintf("the %s interpreter does not start in %d MiB of memory", spec.Language, spec.Resources.MemoryMB), Remedy: "give the runtime more memory_mb", Err: err}
	default:
		return err
	}
}

// destroy removes a sandbox that has become no instance.
func (b *building) destroy(ctx context.Context) error {
	if b.inst != nil {
		return b.inst.Abandon(ctx)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), keeper.CleanupTime)
	defer cancel()
	var errs []error
	if b.run != nil {
		errs = append(errs, b.run.Kill(), b.run.Wait())
	}
	return errors.Join(append(errs, b.clear(ctx))...)
}

// clear removes what is left when no process is.
func (b *building) clear(ctx context.Context) error {
	var errs []error
	if b.group != nil {
		errs = append(errs, b.group.Clear(ctx))
	}
	return errors.Join(append(errs, os.RemoveAll(b.bundle))...)
}
