package fake

import (
	"context"
	"sync"
	"time"

	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/remuda"
)

// machine is what servers leave to each other.
type machine struct {
	mu        sync.Mutex
	sandboxes map[remuda.InstanceID]*sandbox // living, or with an end that nobody has taken
}

// sandbox is the part of an instance that outlives its server.
type sandbox struct {
	machine *machine
	spec    engine.Spec
	files   *files
	done    chan struct{}

	mu        sync.Mutex
	owner     *Instance // the server's handle; nil while there is no server
	lonely    *time.Timer
	state     map[string]string // of the scripts, between executions
	run       *run              // what runs, or has ended and is not acknowledged
	exit      engine.Exit
	ended     bool
	over      bool // it waits for no server any more
	destroyed int
	executed  int
	linger    time.Duration
	limits    remuda.Resources
	egress    remuda.Egress
}

// heldMax is how much output is held for a server before the script waits.
const heldMax = 1 << 20

// run is one execution, with the output that nobody has acknowledged.
type run struct {
	id     remuda.ExecutionID
	cancel context.CancelCauseFunc
	change chan struct{} // closed and made anew when there is something new; belongs to the sandbox's mu, like all below

	held  []remuda.OutputRecord
	bytes int
	acked int64
	seq   int64
	over  bool
	res   engine.Result
	err   error
}

// stopped is the cause with which a run is ended from outside.
type stopped struct {
	by   remuda.KilledBy
	dead bool
}

func (s stopped) Error() string { return "stopped by " + string(s.by) }

func newSandbox(m *machine, spec engine.Spec) *sandbox {
	b := &sandbox{
		machine: m, spec: spec, files: newFiles(spec.Resources.DiskMB),
		done: make(chan struct{}), state: map[string]string{}, linger: spec.Linger,
		limits: spec.Resources, egress: spec.Egress.Clone(),
	}
	b.files.inherit(spec.Workspace)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.sandboxes[spec.ID] = b
	return b
}

// start begins to run a script, which goes on whoever waits for it. Needs mu.
func (b *sandbox) start(req engine.Request) *run {
	ctx, cancel := context.WithCancelCause(context.Background())
	r := &run{id: req.ID, cancel: cancel, change: make(chan struct{})}
	b.run = r
	b.executed++
	go func() {
		defer cancel(nil)
		if req.Timeout > 0 {
			t := time.AfterFunc(req.Timeout, func() {
				b.mu.Lock()
				defer b.mu.Unlock()
				cancel(stopped{by: remuda.KilledByTime, dead: req.KillOnTimeout || b.state["stubborn"] != ""})
			})
			defer t.Stop()
		}
		s := &script{box: b, run: r, req: req, started: time.Now()}
		res, err := s.play(ctx)
		b.mu.Lock()
		r.over, r.res, r.err = true, res, err
		r.changed()
		b.mu.Unlock()
		if res.Dead {
			b.end(engine.Exit{KilledBy: res.KilledBy, Reason: res.Reason, Usage: res.Usage})
		}
	}()
	return r
}

// changed wakes whoever waits. Needs mu.
func (r *run) changed() {
	close(r.change)
	r.change = make(chan struct{})
}

// write adds a record and waits while too much is held.
func (b *sandbox) write(ctx context.Context, r *run, stream remuda.Stream, data []byte) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for r.bytes >= heldMax && ctx.Err() == nil {
		change := r.change
		b.mu.Unlock()
		select {
		case <-change:
		case <-ctx.Done():
		}
		b.mu.Lock()
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	r.seq++
	r.held = append(r.held, remuda.OutputRecord{Seq: r.seq, Stream: stream, Data: data, At: time.Now().UTC()})
	r.bytes += len(data)
	r.changed()
	return nil
}

// acknowledge releases what is safe; more than the last record's number releases
// the end too.
func (b *sandbox) acknowledge(id remuda.ExecutionID, seq int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	r := b.run
	if r == nil || r.id != id {
		return
	}
	for len(r.held) > 0 && r.held[0].Seq <= seq {
		r.bytes -= len(r.held[0].Data)
		r.held = r.held[1:]
	}
	r.acked = max(r.acked, min(seq, r.seq))
	r.changed()
	if r.over && seq > r.seq {
		b.run = nil
	}
}

// abandon is the loss of the server: the sandbox lives on for its linger time.
func (b *sandbox) abandon() {
	b.mu.Lock()
	linger := b.linger
	b.owner = nil
	if linger > 0 && !b.ended {
		b.lonely = time.AfterFunc(linger, func() { b.giveUp("its server did not come back") })
	}
	b.mu.Unlock()
	if linger <= 0 {
		b.giveUp("its server has ended")
	}
}

// giveUp ends a sandbox that is alone, unless a server has come.
func (b *sandbox) giveUp(reason string) {
	b.mu.Lock()
	b.over = b.owner == nil
	over := b.over
	b.mu.Unlock()
	if over {
		b.kill(stopped{dead: true}, reason)
	}
}

// adopt gives the sandbox to a server, unless it has ended and left nothing.
func (b *sandbox) adopt(i *Instance) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.over || b.ended && b.run == nil || b.owner != nil {
		return false
	}
	if b.lonely != nil {
		b.lonely.Stop()
	}
	b.owner = i
	i.pending = b.run
	return true
}

// kill ends what runs, and the sandbox.
func (b *sandbox) kill(why stopped, reason string) {
	b.mu.Lock()
	if b.run != nil {
		b.run.cancel(why)
	}
	b.mu.Unlock()
	b.end(engine.Exit{KilledBy: why.by, Reason: reason})
}

// end marks the sandbox as ended; the first reason stays.
func (b *sandbox) end(exit engine.Exit) {
	b.mu.Lock()
	first := !b.ended
	owner := b.owner
	if first {
		b.ended, b.exit = true, exit
	}
	b.mu.Unlock()
	if !first {
		return
	}
	if owner != nil {
		owner.engine.forget(owner)
	}
	close(b.done)
}

// remove takes it off the machine.
func (b *sandbox) remove() {
	b.machine.mu.Lock()
	defer b.machine.mu.Unlock()
	if b.machine.sandboxes[b.spec.ID] == b {
		delete(b.machine.sandboxes, b.spec.ID)
	}
}
