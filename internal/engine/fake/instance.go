package fake

import (
	"context"
	"sync"
	"time"

	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/remuda"
)

// Instance is one fake sandbox.
type Instance struct {
	engine *Engine
	spec   engine.Spec
	files  *files
	done   chan struct{}

	mu        sync.Mutex
	state     map[string]string // of the scripts, between executions
	current   *run
	exit      engine.Exit
	ended     bool
	destroyed int
	executed  int
	linger    time.Duration
	limits    remuda.Resources
	egress    remuda.Egress
}

var (
	_ engine.Instance = (*Instance)(nil)
	_ engine.Narrower = (*Instance)(nil)
)

// run is the execution in flight.
type run struct {
	cancel context.CancelCauseFunc
}

// stopped is the cause with which a run is ended from outside.
type stopped struct {
	by   remuda.KilledBy
	dead bool
}

func (s stopped) Error() string { return "stopped by " + string(s.by) }

func newInstance(e *Engine, spec engine.Spec) *Instance {
	return &Instance{
		engine: e, spec: spec, files: newFiles(spec.Resources.DiskMB),
		done: make(chan struct{}), state: map[string]string{}, linger: spec.Linger,
		limits: spec.Resources, egress: spec.Egress.Clone(),
	}
}

// ID implements engine.Instance.
func (i *Instance) ID() remuda.InstanceID { return i.spec.ID }

// Spec returns what the instance was made from.
func (i *Instance) Spec() engine.Spec { return i.spec }

// Timings implements engine.Instance.
func (i *Instance) Timings() remuda.Timings {
	return remuda.Timings{"create": time.Microsecond, "fence": time.Microsecond, "interpreter": time.Microsecond}
}

// Alive implements engine.Instance.
func (i *Instance) Alive() bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return !i.ended
}

// Done implements engine.Instance.
func (i *Instance) Done() <-chan struct{} { return i.done }

// Exit implements engine.Instance.
func (i *Instance) Exit() engine.Exit {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.exit
}

// Executed says how many executions the instance has begun.
func (i *Instance) Executed() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.executed
}

// Destroyed says how often Destroy was called.
func (i *Instance) Destroyed() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.destroyed
}

// Linger returns the present linger time.
func (i *Instance) Linger() time.Duration {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.linger
}

// Kill ends the sandbox as if something outside had killed it. What runs in it
// ends as lost, or as an error when by names a limit.
func (i *Instance) Kill(by remuda.KilledBy, reason string) {
	i.mu.Lock()
	if i.current != nil {
		i.current.cancel(stopped{by: by, dead: true})
	}
	i.mu.Unlock()
	i.end(engine.Exit{KilledBy: by, Reason: reason})
}

// Execute implements engine.Instance.
func (i *Instance) Execute(ctx context.Context, req engine.Request, sink engine.Sink) (engine.Result, error) {
	runCtx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	r := &run{cancel: cancel}
	if err := i.begin(r); err != nil {
		return engine.Result{Unstarted: remuda.CodeOf(err) == remuda.CodeUnavailable}, err
	}
	defer i.finish()
	if req.Timeout > 0 {
		t := time.AfterFunc(req.Timeout, func() {
			i.mu.Lock()
			defer i.mu.Unlock()
			cancel(stopped{by: remuda.KilledByTime, dead: req.KillOnTimeout || i.state["stubborn"] != ""})
		})
		defer t.Stop()
	}
	s := &script{inst: i, req: req, sink: sink, started: time.Now()}
	res, err := s.play(runCtx)
	if res.Dead {
		i.end(engine.Exit{KilledBy: res.KilledBy, Reason: res.Reason, Usage: res.Usage})
	}
	return res, err
}

func (i *Instance) begin(r *run) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.ended {
		return &remuda.Error{Code: remuda.CodeUnavailable, Message: "the instance has ended", Cause: i.exit.Reason}
	}
	if i.current != nil {
		return remuda.Errorf(remuda.CodeConflict, "an execution already runs in the instance")
	}
	i.current = r
	i.executed++
	return nil
}

func (i *Instance) finish() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.current = nil
}

// Interrupt implements engine.Instance. A script that holds out ("stubborn") is
// killed after grace together with the instance.
func (i *Instance) Interrupt(_ context.Context, by remuda.KilledBy, grace time.Duration) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	r := i.current
	if r == nil {
		return nil
	}
	if i.state["stubborn"] == "" {
		r.cancel(stopped{by: by})
		return nil
	}
	time.AfterFunc(grace, func() { r.cancel(stopped{by: by, dead: true}) })
	return nil
}

// SetLinger implements engine.Instance.
func (i *Instance) SetLinger(_ context.Context, d time.Duration) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.linger = d
	return nil
}

// Narrow implements engine.Narrower; the engine's FailNarrow makes it fail.
func (i *Instance) Narrow(_ context.Context, limits remuda.Resources) error {
	if err := i.engine.narrowError(); err != nil {
		return err
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if limits.CPU != 0 {
		i.limits.CPU = limits.CPU
	}
	if limits.MemoryMB != 0 {
		i.limits.MemoryMB = limits.MemoryMB
	}
	if limits.DiskMB != 0 {
		i.limits.DiskMB = limits.DiskMB
	}
	if limits.Pids != 0 {
		i.limits.Pids = limits.Pids
	}
	return nil
}

// SetEgress implements engine.Narrower.
func (i *Instance) SetEgress(_ context.Context, egress remuda.Egress) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.egress = egress.Clone()
	return nil
}

// Fence returns the limits and the egress as they are now.
func (i *Instance) Fence() (remuda.Resources, remuda.Egress) {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.limits, i.egress
}

// Files implements engine.Instance.
func (i *Instance) Files() engine.Files { return i.files }

// Destroy implements engine.Instance.
func (i *Instance) Destroy(context.Context) error {
	i.mu.Lock()
	i.destroyed++
	if i.current != nil {
		i.current.cancel(stopped{by: remuda.KilledByCancel, dead: true})
	}
	i.mu.Unlock()
	i.end(engine.Exit{KilledBy: remuda.KilledByCancel, Reason: "destroyed"})
	return nil
}

// end marks the sandbox as ended; the first reason stays.
func (i *Instance) end(exit engine.Exit) {
	i.mu.Lock()
	first := !i.ended
	if first {
		i.ended, i.exit = true, exit
	}
	i.mu.Unlock()
	if first {
		i.engine.forget(i)
		close(i.done)
	}
}
