package fake

import (
	"context"
	"slices"
	"time"

	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/remuda"
)

// Instance is what a server has of a fake sandbox.
type Instance struct {
	*sandbox

	engine *Engine

	// These belong to the sandbox's mu.
	pending  *run // of an earlier server, and not resumed
	busy     bool // somebody waits for what runs
	detached bool
	left     chan struct{} // closed by Detach
}

var (
	_ engine.Instance     = (*Instance)(nil)
	_ engine.Narrower     = (*Instance)(nil)
	_ engine.Resumer      = (*Instance)(nil)
	_ engine.Detacher     = (*Instance)(nil)
	_ engine.Acknowledger = (*Instance)(nil)
)

func newInstance(e *Engine, b *sandbox) *Instance {
	return &Instance{sandbox: b, engine: e, left: make(chan struct{})}
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
	return !i.ended && !i.detached
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
	i.kill(stopped{by: by, dead: true}, reason)
}

// Execute implements engine.Instance.
func (i *Instance) Execute(ctx context.Context, req engine.Request, sink engine.Sink) (engine.Result, error) {
	r, err := i.begin(req)
	if err != nil {
		return engine.Result{Unstarted: remuda.CodeOf(err) == remuda.CodeUnavailable}, err
	}
	return i.follow(ctx, r, 0, req.HoldOutput, sink)
}

func (i *Instance) begin(req engine.Request) (*run, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	switch {
	case i.detached:
		return nil, errDetached()
	case i.pending != nil:
		return nil, remuda.Errorf(remuda.CodeConflict, "the execution %s of an earlier server waits to be resumed or dropped in the instance", i.pending.id)
	case i.ended:
		return nil, &remuda.Error{Code: remuda.CodeUnavailable, Message: "the instance has ended", Cause: i.exit.Reason}
	case i.busy:
		return nil, remuda.Errorf(remuda.CodeConflict, "an execution already runs in the instance")
	}
	i.busy = true
	return i.start(req), nil
}

// follow gives the output after a number to the sink until the run is over.
func (i *Instance) follow(ctx context.Context, r *run, after int64, hold bool, sink engine.Sink) (engine.Result, error) {
	stop := context.AfterFunc(ctx, func() {
		if !i.gone() {
			r.cancel(stopped{by: remuda.KilledByCancel, dead: true})
		}
	})
	defer stop()
	defer func() {
		i.mu.Lock()
		defer i.mu.Unlock()
		i.busy = false
	}()
	for {
		i.mu.Lock()
		records, over, change := i.after(r, after), r.over, r.change
		i.mu.Unlock()
		for _, rec := range records {
			if i.gone() {
				return engine.Result{}, errDetached()
			}
			if after = rec.Seq; sink == nil {
				continue
			}
			if err := sink(rec); err != nil {
				r.cancel(stopped{by: remuda.KilledByCancel})
				return engine.Result{}, err
			}
		}
		switch {
		case i.gone():
			return engine.Result{}, errDetached()
		case len(records) > 0:
			if !hold {
				i.acknowledge(r.id, after)
			}
			continue
		case over:
			return r.res, r.err
		}
		select {
		case <-change:
		case <-i.left:
		}
	}
}

// after are the records that are held after a number. Needs mu.
func (i *Instance) after(r *run, seq int64) []remuda.OutputRecord {
	for n, rec := range r.held {
		if rec.Seq > seq {
			return slices.Clone(r.held[n:])
		}
	}
	return nil
}

// Interrupt implements engine.Instance. A script that holds out ("stubborn") is
// killed after grace together with the instance.
func (i *Instance) Interrupt(_ context.Context, by remuda.KilledBy, grace time.Duration) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	r := i.run
	if r == nil || r.over || i.detached {
		return nil
	}
	if i.state["stubborn"] == "" {
		r.cancel(stopped{by: by})
		return nil
	}
	time.AfterFunc(grace, func() { r.cancel(stopped{by: by, dead: true}) })
	return nil
}

// SetLinger implements engine.Instance; the engine's FailLinger makes it fail, and
// HoldLinger wait.
func (i *Instance) SetLinger(ctx context.Context, d time.Duration) error {
	if err := i.engine.lingerError(ctx); err != nil {
		return err
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.detached {
		return errDetached()
	}
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
func (i *Instance) Files() engine.Files {
	if i.gone() {
		return noFiles{}
	}
	return i.files
}

// Destroy implements engine.Instance.
func (i *Instance) Destroy(context.Context) error {
	if i.gone() {
		return errDetached()
	}
	i.mu.Lock()
	i.destroyed++
	i.mu.Unlock()
	i.kill(stopped{by: remuda.KilledByCancel, dead: true}, "destroyed")
	i.remove()
	return nil
}
