package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/engine/local/cgroup"
	"github.com/remuda-run/remuda/internal/guest/protocol"
	"github.com/remuda-run/remuda/internal/remuda"
)

// Instance is the engine.Instance of this package.
//
// Two goroutines belong to it from begin to its end: one reads the keeper's
// frames, one waits for the keeper's death. Both end when the keeper does.
type Instance struct {
	engine   *Engine
	spec     engine.Spec
	blank    *blank     // nil only while it is built
	disk     *diskImage // nil when memory backs the disk
	oom      *os.File   // memory events (v1), or nil
	net      connection
	metadata bool // a metadata file was begun
	timings  remuda.Timings
	narrowed atomic.Pointer[remuda.Resources] // nil is spec.Resources
	yields   bool                             // its cgroup gives way to others; changed by the one execution at a time

	done    chan struct{}
	readers sync.WaitGroup // the goroutine that reads frames, and the memory watcher

	narrowing sync.Mutex // held while the limits change

	mu    sync.Mutex
	ended bool
	cause cause // first reason to end it
	exit  engine.Exit
	final cgroup.Usage // once it has ended
	run   *run         // what runs now
	files fileCalls

	destroying sync.Once
	destroyed  chan struct{} // closed when nothing is left
	destroyErr error
}

var _ engine.Instance = (*Instance)(nil)

// cause is why a sandbox was ended by us.
type cause struct {
	by     remuda.KilledBy
	reason string
}

func (e *Engine) newInstance(spec engine.Spec) (*Instance, error) {
	i := &Instance{
		engine: e, spec: spec, timings: remuda.Timings{},
		done: make(chan struct{}), destroyed: make(chan struct{}),
	}
	return i, e.add(i)
}

// begin starts the goroutines of a sandbox that is ready.
func (i *Instance) begin() {
	i.readers.Go(i.read)
	go i.watch()
}

// abandon removes an instance that was not begun.
func (i *Instance) abandon(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTime)
	defer cancel()
	var errs []error
	if i.blank != nil {
		errs = append(errs, i.blank.proc.kill(), i.blank.proc.wait())
	}
	return errors.Join(append(errs, i.clear(ctx))...)
}

// undo lets go of all that a building which has failed has made, so that the
// instance can be built anew.
func (i *Instance) undo(ctx context.Context) error {
	if i.blank == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTime)
	defer cancel()
	err := errors.Join(i.blank.proc.kill(), i.blank.proc.wait(), i.release(ctx))
	i.blank, i.disk, i.oom, i.metadata = nil, nil, nil, false
	i.net.attached, i.net.ended = nil, false // nobody else knows of it yet
	i.cause = cause{}
	return err
}

// ID implements engine.Instance.
func (i *Instance) ID() remuda.InstanceID { return i.spec.ID }

// Timings implements engine.Instance.
func (i *Instance) Timings() remuda.Timings { return i.timings }

// Alive implements engine.Instance.
func (i *Instance) Alive() bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return !i.ended && i.cause == (cause{}) && i.blank.alive()
}

// Done implements engine.Instance.
func (i *Instance) Done() <-chan struct{} { return i.done }

// Exit implements engine.Instance.
func (i *Instance) Exit() engine.Exit {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.exit
}

// SetLinger implements engine.Instance.
func (i *Instance) SetLinger(_ context.Context, d time.Duration) error {
	if i.engine.opts.Ephemeral {
		d = 0
	}
	if d > 0 && !i.metadata { // it may outlive us: say what it is
		if err := i.describe(); err != nil {
			return remuda.Internal("describing a sandbox", err)
		}
	}
	if err := i.blank.conn.send(protocol.TypeLinger, &protocol.Linger{LingerMS: d.Milliseconds()}); err != nil {
		return i.lost(err)
	}
	return nil
}

// lost is the error for what a sandbox that has ended can no longer do.
func (i *Instance) lost(err error) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	e := &remuda.Error{Code: remuda.CodeUnavailable, Message: "the sandbox has ended", Cause: i.exit.Reason, Remedy: "use a new one", Err: err}
	if e.Cause == "" {
		e.Cause = i.cause.reason
	}
	return e
}

// end kills the whole sandbox. The first cause stays.
func (i *Instance) end(by remuda.KilledBy, reason string) {
	i.mu.Lock()
	if i.cause == (cause{}) {
		i.cause = cause{by: by, reason: reason}
	}
	i.mu.Unlock()
	i.kill()
	if i.blank.forked {
		// Its keeper lives on and may wait for somebody to take the output.
		time.AfterFunc(lastWordsTime, i.blank.conn.close)
	}
}

// lastWordsTime is how long the keeper of a forked instance may still send what
// it had of an instance that we have ended.
const lastWordsTime = 2 * time.Second

// read handles the keeper's frames until the connection ends.
func (i *Instance) read() {
	for {
		t, payload, err := i.blank.conn.read()
		if err == nil {
			err = i.handle(t, payload)
		}
		switch {
		case err == nil:
			continue
		case errors.Is(err, errProtocol) || errors.Is(err, protocol.ErrFrameTooLarge) || errors.Is(err, io.ErrUnexpectedEOF) && !i.blank.proc.exited():
			i.engine.log.Warn("a keeper broke the protocol; its sandbox is ended", "instance", i.spec.ID, "error", err)
			i.end(remuda.KilledByPolicy, "the sandbox sent what it may not send")
		default:
			// The keeper closes the connection when it ends. It must not live
			// on without one that we still use.
			i.kill()
		}
		return
	}
}

// kill ends the sandbox for no reason of our own.
func (i *Instance) kill() {
	if err := i.blank.proc.kill(); err != nil {
		i.engine.log.Error("a sandbox could not be killed", "instance", i.spec.ID, "error", err)
	}
}

// handle takes one frame. It must not wait for anyone.
func (i *Instance) handle(t protocol.Type, payload []byte) error {
	switch t {
	case protocol.TypeOutput:
		return i.handleOutput(payload)
	case protocol.TypeEnd:
		return i.handleEnd(payload)
	case protocol.TypeFileReply:
		var reply protocol.FileReply
		if err := decode(payload, &reply); err != nil {
			return err
		}
		return i.files.reply(reply)
	case protocol.TypeFileData:
		req, data, err := protocol.ParseFileData(payload)
		if err != nil {
			return fmt.Errorf("%w: %w", errProtocol, err)
		}
		return i.files.data(req, data)
	default:
		return fmt.Errorf("%w: unexpected frame of type %d", errProtocol, t)
	}
}

// watch waits for the death of the keeper, which is the death of the sandbox,
// and settles what it was.
func (i *Instance) watch() {
	if err := i.blank.proc.wait(); err != nil {
		i.engine.log.Error("a sandbox's end could not be awaited", "instance", i.spec.ID, "error", err)
	}
	if i.oom != nil {
		_ = i.oom.Close() // ends its watcher
	}
	i.readers.Wait() // all that it said is heard
	usage, err := i.blank.group.Usage()
	if err != nil {
		i.engine.log.Error("a dead sandbox's usage could not be read", "instance", i.spec.ID, "error", err)
	}
	i.mu.Lock()
	i.ended, i.final = true, usage
	why := i.cause
	switch {
	case why.by != remuda.KilledByNothing && why.by != remuda.KilledByCancel:
	case usage.OOMKills > 0:
		why = cause{remuda.KilledByMemory, i.memoryReason()}
	case why == cause{}:
		why.reason = "the sandbox's first process ended unexpectedly"
	}
	i.exit = engine.Exit{KilledBy: why.by, Reason: why.reason, Usage: remuda.Usage{CPU: usage.CPU, PeakMemory: usage.PeakMemory}}
	r := i.run
	i.mu.Unlock()
	i.files.fail()
	if r != nil {
		r.dead()
	}
	close(i.done)
}

func (i *Instance) memoryReason() string {
	return fmt.Sprintf("it used more than its %d MiB of memory", i.resources().MemoryMB)
}

// watchMemory ends the whole sandbox when one of its processes was killed for
// memory; with cgroup v2 the kernel does that.
func (i *Instance) watchMemory() error {
	events, err := i.blank.group.OOMEvents()
	if err != nil || events == nil {
		return err
	}
	i.oom = events
	i.readers.Go(func() {
		var count [8]byte
		for {
			if _, err := events.Read(count[:]); err != nil {
				return // closed
			}
			if i.killedForMemory() {
				i.end(remuda.KilledByMemory, i.memoryReason())
				return
			}
		}
	})
	return nil
}

// killedForMemory waits a moment for the kill that follows the event: the kernel
// reports the want of memory first.
func (i *Instance) killedForMemory() bool {
	const patience = 2 * time.Second
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		n, err := i.blank.group.OOMKills()
		if err != nil || i.blank.proc.exited() {
			return false // the end is told by others
		}
		if n > 0 {
			return true
		}
	}
	return false
}

// Destroy implements engine.Instance.
func (i *Instance) Destroy(ctx context.Context) error {
	i.destroying.Do(func() {
		i.end(remuda.KilledByCancel, "the sandbox was destroyed")
		if i.blank.forked { // its keeper lives on, and would wait for us
			i.blank.conn.close()
		}
		go func() {
			defer close(i.destroyed)
			<-i.done
			clearing, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTime)
			defer cancel()
			i.destroyErr = i.clear(clearing)
		}()
	})
	select {
	case <-i.destroyed:
		return i.destroyErr
	case <-ctx.Done():
		return remuda.Errorf(contextCode(ctx), "wait for the end of a sandbox: %w", ctx.Err())
	}
}

// clear removes what is left when the keeper is gone.
func (i *Instance) clear(ctx context.Context) error {
	err := i.release(ctx)
	i.engine.forget(i)
	if err != nil {
		i.engine.log.Error("a sandbox was not removed entirely", "instance", i.spec.ID, "error", err)
		return remuda.Internal("removing a sandbox", err)
	}
	return nil
}

// release removes it, and leaves the engine knowing the instance.
func (i *Instance) release(ctx context.Context) error {
	errs := []error{i.disconnect(ctx)}
	if i.oom != nil {
		_ = i.oom.Close() // may be closed already
		i.readers.Wait()
	}
	if i.blank != nil {
		errs = append(errs, i.blank.clear(ctx))
	}
	if i.disk != nil {
		errs = append(errs, i.disk.release(ctx))
	}
	if i.metadata {
		path := i.engine.dir.metadata(i.spec.ID)
		errs = append(errs, remove(path, path+".new"))
	}
	return errors.Join(errs...)
}
