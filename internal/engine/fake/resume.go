package fake

import (
	"context"
	"io"
	"math"

	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/remuda"
)

// Pending implements engine.Resumer.
func (i *Instance) Pending() (id remuda.ExecutionID, first int64, ok bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.pending == nil {
		return "", 0, false
	}
	return i.pending.id, i.pending.acked + 1, true
}

// Resume implements engine.Resumer.
func (i *Instance) Resume(ctx context.Context, req engine.Request, after int64, sink engine.Sink) (engine.Result, error) {
	r, err := i.claim(req.ID, after)
	if err != nil {
		return engine.Result{}, err
	}
	i.acknowledge(r.id, min(after, i.lastOf(r)))
	return i.follow(ctx, r, after, req.HoldOutput, sink)
}

// claim makes the pending run somebody's.
func (i *Instance) claim(id remuda.ExecutionID, after int64) (*run, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	r := i.pending
	switch {
	case i.detached:
		return nil, errDetached()
	case r == nil:
		return nil, remuda.Errorf(remuda.CodeConflict, "no execution of an earlier server waits in the instance")
	case r.id != id:
		return nil, remuda.Errorf(remuda.CodeConflict, "the execution %s waits in the instance, not %s", r.id, id)
	case after < r.acked:
		return nil, remuda.Errorf(remuda.CodeConflict, "the records %d to %d of %s are gone", after+1, r.acked, id)
	}
	i.pending, i.busy = nil, true
	return r, nil
}

func (i *Instance) lastOf(r *run) int64 {
	i.mu.Lock()
	defer i.mu.Unlock()
	return r.seq
}

// Drop implements engine.Resumer.
func (i *Instance) Drop(ctx context.Context) error {
	id, _, ok := i.Pending()
	if !ok {
		return nil
	}
	if err := i.Interrupt(ctx, remuda.KilledByCancel, 0); err != nil {
		return err
	}
	res, err := i.Resume(ctx, engine.Request{ID: id}, math.MaxInt64-1, nil)
	if err != nil {
		return err
	}
	i.acknowledge(id, res.LastSeq+1)
	return nil
}

// Acknowledge implements engine.Acknowledger.
func (i *Instance) Acknowledge(id remuda.ExecutionID, seq int64) {
	if !i.gone() {
		i.acknowledge(id, seq)
	}
}

// Detach implements engine.Detacher.
func (i *Instance) Detach(context.Context) error {
	i.mu.Lock()
	switch {
	case i.detached:
		i.mu.Unlock()
		return nil
	case i.ended:
		i.mu.Unlock()
		return &remuda.Error{Code: remuda.CodeUnavailable, Message: "the instance has ended", Cause: i.exit.Reason}
	case i.linger <= 0:
		i.mu.Unlock()
		return remuda.Errorf(remuda.CodeConflict, "the instance has no time to outlive its server")
	}
	i.mu.Unlock()
	i.letGo()
	return nil
}

// letGo is Detach, or the end of the server.
func (i *Instance) letGo() {
	i.mu.Lock()
	i.detached = true
	close(i.left)
	i.mu.Unlock()
	i.engine.forget(i)
	i.abandon()
}

// gone reports whether the instance was detached.
func (i *Instance) gone() bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.detached
}

func errDetached() error {
	return &remuda.Error{Code: remuda.CodeUnavailable, Message: "the instance was left to the next server", Err: engine.ErrDetached}
}

// noFiles are those of a detached instance.
type noFiles struct{}

func (noFiles) Read(context.Context, string, int64) (remuda.FileInfo, io.ReadCloser, error) {
	return remuda.FileInfo{}, nil, errDetached()
}

func (noFiles) Write(context.Context, string, io.Reader, int64) (remuda.FileInfo, error) {
	return remuda.FileInfo{}, errDetached()
}

func (noFiles) List(context.Context, string, int) ([]remuda.FileInfo, error) {
	return nil, errDetached()
}

func (noFiles) Remove(context.Context, string) error { return errDetached() }
