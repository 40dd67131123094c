package executions_test

import (
	"context"
	"errors"
	"time"

	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/engine/fake"
	"github.com/remuda-run/remuda/internal/remuda"
)

// view is the fake engine as one server sees it: it passes the points of that server's
// fuse, and does nothing more once the server is dead.
type view struct {
	*fake.Engine
	fuse *fuse
}

func (v *view) Create(ctx context.Context, spec engine.Spec) (engine.Instance, error) {
	v.fuse.pass()
	inst, err := v.Engine.Create(ctx, spec)
	if err != nil {
		return nil, err
	}
	return &link{Instance: inst.(*fake.Instance), fuse: v.fuse}, nil
}

func (v *view) Recover(ctx context.Context, keep []engine.Spec) (engine.Recovered, error) {
	found, err := v.Engine.Recover(ctx, keep)
	for i, inst := range found.Attached {
		found.Attached[i] = &link{Instance: inst.(*fake.Instance), fuse: v.fuse}
	}
	return found, err
}

// link is an instance with the points at which its server may die.
type link struct {
	*fake.Instance
	fuse *fuse
}

func (l *link) sink(sink engine.Sink) engine.Sink {
	return func(rec remuda.OutputRecord) error {
		l.fuse.pass()
		if sink == nil {
			return nil
		}
		return sink(rec)
	}
}

func (l *link) Execute(ctx context.Context, req engine.Request, sink engine.Sink) (engine.Result, error) {
	l.fuse.pass()
	return l.ended(l.Instance.Execute(ctx, req, l.sink(sink)))
}

func (l *link) Resume(ctx context.Context, req engine.Request, after int64, sink engine.Sink) (engine.Result, error) {
	l.fuse.pass()
	return l.ended(l.Instance.Resume(ctx, req, after, l.sink(sink)))
}

// ended is what a server that is not dead learns of an end.
func (l *link) ended(res engine.Result, err error) (engine.Result, error) {
	l.fuse.pass()
	if l.fuse.blown.Load() {
		return engine.Result{}, &remuda.Error{Code: remuda.CodeUnavailable, Message: "the server is dead", Err: engine.ErrDetached}
	}
	return res, err
}

func (l *link) Acknowledge(id remuda.ExecutionID, seq int64) {
	l.fuse.pass()
	l.Instance.Acknowledge(id, seq)
}

func (l *link) SetLinger(ctx context.Context, d time.Duration) error {
	l.fuse.pass()
	return l.Instance.SetLinger(ctx, d)
}

// Destroy does nothing for a server that is dead, or has let go.
func (l *link) Destroy(ctx context.Context) error {
	l.fuse.pass()
	if err := l.Instance.Destroy(ctx); !errors.Is(err, engine.ErrDetached) {
		return err
	}
	return nil
}
