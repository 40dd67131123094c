package keeper

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/engine/local/cgroup"
	"github.com/remuda-run/remuda/internal/guest/protocol"
	"github.com/remuda-run/remuda/internal/remuda"
)

// Process is the sandbox as processes of the machine.
type Process interface {
	// Kill ends every one of them, soon.
	Kill() error
	// Wait returns when none is left.
	Wait() error
	// Exited asks without waiting.
	Exited() bool
}

// Options are what an instance is made from. All but the switches are required.
type Options struct {
	ID        remuda.InstanceID
	Language  remuda.Language
	Resources remuda.Resources
	Timings   remuda.Timings // of its creation; filled by whoever makes it until Begin
	Log       *slog.Logger
	// SpoolDir is where files are kept, without a name, on their way.
	SpoolDir   string
	DiskInodes int64 // quota of files, for messages
	Group      *cgroup.Group
	Process    Process
	Conn       *Conn
	// Yields says that the group gives way to others until the first execution.
	Yields bool
	// Last says that the group comes last.
	Last bool
	// Shared says that the keeper is a template's: it has other instances too and
	// lives on when this one has ended.
	Shared bool
	// Linger is how long the sandbox outlives the connection, as its Setup says it.
	Linger time.Duration
	// Ephemeral ends the sandbox with the connection, whatever SetLinger says.
	Ephemeral bool
	// Release lets go of all that this process holds of the sandbox, which lives on,
	// and has Process.Wait return. Nil where it cannot live on.
	Release func()
	// Clear removes what is left on the machine when no process is left. The
	// connection is closed by then.
	Clear func(context.Context) error
}

// Instance is an engine.Instance whose sandbox has a keeper.
//
// Two goroutines belong to it from Begin to its end: one reads the keeper's
// frames, one waits for the end of the sandbox's processes.
type Instance struct {
	opts      Options
	conn      *Conn
	oom       *os.File // memory events (v1), or nil
	weight    weight
	resources atomic.Pointer[remuda.Resources]

	done    chan struct{}
	watched chan struct{}  // closed when watch has returned
	readers sync.WaitGroup // the goroutine that reads frames, and the memory watcher

	mu    sync.Mutex
	ended bool
	cause cause // first reason to end it
	exit  engine.Exit
	final cgroup.Usage // once it has ended
	run   *run         // what runs now
	reset bool         // the keeper has ended and left something of ours unread
	// pending says that run is of an earlier server, and nobody has resumed it.
	pending  bool
	linger   time.Duration
	detached bool
	files    fileCalls

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

// New makes an instance of a sandbox that is on its way: Begin or Abandon has to
// follow, and nothing else but WatchMemory may come before.
func New(opts Options) *Instance {
	i := &Instance{
		opts: opts, conn: opts.Conn, weight: weight{yields: opts.Yields, last: opts.Last, shares: 1, share: 1},
		done: make(chan struct{}), destroyed: make(chan struct{}), watched: make(chan struct{}), linger: opts.Linger,
	}
	i.resources.Store(&i.opts.Resources)
	i.takeOver(opts.Conn.State())
	return i
}

// Begin starts the goroutines of a sandbox that is ready.
func (i *Instance) Begin() {
	if kills, err := i.opts.Group.OOMKills(); i.opts.Conn.State().Ready && (err != nil || kills > 0) {
		// While nobody was there to end it: what it has left is not whole.
		i.end(remuda.KilledByMemory, i.memoryReason())
	}
	i.readers.Go(i.read)
	go i.watch()
}

// Abandon removes a sandbox that was not begun.
func (i *Instance) Abandon(ctx context.Context) error {
	// What is begun is finished, also when the caller has no more time.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), CleanupTime)
	defer cancel()
	if i.opts.Shared {
		i.conn.Dismiss()
	}
	err := errors.Join(i.opts.Process.Kill(), i.opts.Process.Wait())
	if i.oom != nil {
		_ = i.oom.Close()
		i.readers.Wait()
	}
	return errors.Join(err, i.clear(ctx))
}

// ID implements engine.Instance.
func (i *Instance) ID() remuda.InstanceID { return i.opts.ID }

// Timings implements engine.Instance.
func (i *Instance) Timings() remuda.Timings { return i.opts.Timings }

// Resources are the limits that the sandbox has now.
func (i *Instance) Resources() remuda.Resources { return *i.resources.Load() }

// SetResources says that the limits were changed, so that what is told of them is
// true. It changes none.
func (i *Instance) SetResources(r remuda.Resources) { i.resources.Store(&r) }

// Alive implements engine.Instance.
func (i *Instance) Alive() bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return !i.ended && !i.detached && i.cause == (cause{}) && !i.opts.Process.Exited() && !i.conn.Gone()
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
	if i.opts.Ephemeral {
		d = 0
	}
	if err := i.conn.send(protocol.TypeLinger, &protocol.Linger{LingerMS: d.Milliseconds()}); err != nil {
		return i.Lost(err)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.linger = d
	return nil
}

// Lost is the error for what a sandbox that has ended can no longer do.
func (i *Instance) Lost(err error) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.detached {
		return errDetached()
	}
	e := &remuda.Error{Code: remuda.CodeUnavailable, Message: "the sandbox has ended", Cause: i.exit.Reason, Remedy: "use a new one", Err: err}
	if e.Cause == "" {
		e.Cause = i.cause.reason
	}
	return e
}

// end kills the whole sandbox. The first cause stays.
func (i *Instance) end(by remuda.KilledBy, reason string) {
	i.mu.Lock()
	if i.detached {
		i.mu.Unlock()
		return
	}
	if i.cause == (cause{}) {
		i.cause = cause{by: by, reason: reason}
	}
	i.mu.Unlock()
	i.kill()
	if i.opts.Shared {
		i.conn.Dismiss()
		// Its keeper lives on and may wait for somebody to take the output.
		time.AfterFunc(lastWordsTime, i.conn.Close)
	}
}

// lastWordsTime is how long the keeper of a forked instance may still send what
// it had of an instance that we have ended.
const lastWordsTime = 2 * time.Second

// read handles the keeper's frames until the connection ends.
func (i *Instance) read() {
	for {
		t, payload, err := i.conn.read()
		if err == nil {
			err = i.handle(t, payload)
		}
		switch {
		case err == nil:
			continue
		case i.leftBehind() != nil:
		case errors.Is(err, errProtocol) || errors.Is(err, protocol.ErrFrameTooLarge) || errors.Is(err, io.ErrUnexpectedEOF) && !i.opts.Process.Exited():
			i.opts.Log.Warn("a keeper broke the protocol; its sandbox is ended", "instance", i.opts.ID, "error", err)
			i.end(remuda.KilledByPolicy, "the sandbox sent what it may not send")
		default:
			// The keeper closes the connection when it ends. It must not live
			// on without one that we still use.
			i.mu.Lock()
			i.reset = errors.Is(err, unix.ECONNRESET)
			i.mu.Unlock()
			i.kill()
		}
		return
	}
}

// kill ends the sandbox for no reason of our own.
func (i *Instance) kill() {
	if i.leftBehind() != nil {
		return
	}
	if err := i.opts.Process.Kill(); err != nil {
		i.opts.Log.Error("a sandbox could not be killed", "instance", i.opts.ID, "error", err)
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

// watch waits for the end of the sandbox's processes and settles what it was.
func (i *Instance) watch() {
	defer close(i.watched)
	if err := i.opts.Process.Wait(); err != nil && i.leftBehind() == nil {
		i.opts.Log.Error("a sandbox's end could not be awaited", "instance", i.opts.ID, "error", err)
	}
	if i.oom != nil {
		_ = i.oom.Close() // ends its watcher
	}
	i.readers.Wait() // all that it said is heard
	if i.leftBehind() != nil {
		return
	}
	usage, err := i.opts.Group.Usage()
	if err != nil {
		i.opts.Log.Error("a dead sandbox's usage could not be read", "instance", i.opts.ID, "error", err)
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

// Destroy implements engine.Instance.
func (i *Instance) Destroy(ctx context.Context) error {
	if err := i.leftBehind(); err != nil {
		return err
	}
	i.destroying.Do(func() {
		i.end(remuda.KilledByCancel, "the sandbox was destroyed")
		if i.opts.Shared { // its keeper lives on, and would wait for us
			i.conn.Close()
		}
		go func() {
			defer close(i.destroyed)
			<-i.watched // rather than done: it may have been left behind in this moment
			if i.destroyErr = i.leftBehind(); i.destroyErr != nil {
				return
			}
			clearing, cancel := context.WithTimeout(context.WithoutCancel(ctx), CleanupTime)
			defer cancel()
			i.destroyErr = i.clear(clearing)
		}()
	})
	select {
	case <-i.destroyed:
		return i.destroyErr
	case <-ctx.Done():
		return remuda.Errorf(engine.ContextCode(ctx), "wait for the end of a sandbox: %w", ctx.Err())
	}
}

// clear removes what is left when no process is.
func (i *Instance) clear(ctx context.Context) error {
	i.conn.Close()
	if err := i.opts.Clear(ctx); err != nil {
		i.opts.Log.Error("a sandbox was not removed entirely", "instance", i.opts.ID, "error", err)
		return remuda.Internal("removing a sandbox", err)
	}
	return nil
}

// CleanupTime bounds the removal of one sandbox. Emptying a cgroup whose
// processes write to a slow disk takes longest.
const CleanupTime = 30 * time.Second
