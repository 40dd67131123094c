package executions_test

import (
	"bytes"
	"context"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/engine/fake"
	"github.com/remuda-run/remuda/internal/remuda"
)

// machine is what sandboxes belong to. It outlives servers: each has a view of it.
// Its sandboxes are those of the fake engine, with a keeper that holds what was not
// acknowledged.
type machine struct {
	eng   *fake.Engine
	mu    sync.Mutex
	boxes map[remuda.InstanceID]*box
}

func newMachine() *machine {
	return &machine{eng: fake.New(), boxes: map[remuda.InstanceID]*box{}}
}

// box is a sandbox with its keeper.
type box struct {
	inst *fake.Instance
	mu   sync.Mutex
	run  *held // what runs, or has ended and was not followed by another
}

// held is what a keeper has of one execution.
type held struct {
	id      remuda.ExecutionID
	mu      sync.Mutex
	records []remuda.OutputRecord // that are not acknowledged
	first   int64                 // number of the first of them, or of the next
	end     *engine.Result
	changed chan struct{}
}

const maxHeld = 1 << 20

func (h *held) change(f func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f()
	close(h.changed)
	h.changed = make(chan struct{})
}

// add is the sink of the script. It waits while too much is held.
func (h *held) add(rec remuda.OutputRecord, gone <-chan struct{}) error {
	for {
		h.mu.Lock()
		size, changed := 0, h.changed
		for _, r := range h.records {
			size += len(r.Data)
		}
		h.mu.Unlock()
		if size < maxHeld {
			break
		}
		select {
		case <-changed:
		case <-gone:
			return nil
		}
	}
	h.change(func() { h.records = append(h.records, rec) })
	return nil
}

func (h *held) acknowledge(seq int64) {
	h.change(func() {
		for len(h.records) > 0 && h.records[0].Seq <= seq {
			h.first = h.records[0].Seq + 1
			h.records = h.records[1:]
		}
	})
}

// view is the engine of one server.
type view struct {
	*fake.Engine
	m    *machine
	fuse *fuse

	mu    sync.Mutex
	links []*link
	dead  bool
}

func (m *machine) view(f *fuse) *view { return &view{Engine: m.eng, m: m, fuse: f} }

func (v *view) link(b *box, pending bool) *link {
	l := &link{Instance: b.inst, v: v, b: b, pending: pending, cut: make(chan struct{})}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.links = append(v.links, l)
	if v.dead {
		l.sever(false)
	}
	return l
}

func (v *view) Create(ctx context.Context, spec engine.Spec) (engine.Instance, error) {
	v.fuse.pass()
	if v.gone() {
		return nil, errGone()
	}
	inst, err := v.Engine.Create(ctx, spec)
	if err != nil {
		return nil, err
	}
	if w, ok := spec.Workspace.(workspace); ok {
		for name, content := range w {
			if _, err := inst.Files().Write(ctx, name, bytes.NewReader(content), 1<<30); err != nil {
				return nil, err
			}
		}
	}
	b := &box{inst: inst.(*fake.Instance)}
	v.m.mu.Lock()
	v.m.boxes[spec.ID] = b
	v.m.mu.Unlock()
	return v.link(b, false), nil
}

func (v *view) Recover(ctx context.Context, keep []engine.Spec) (engine.Recovered, error) {
	found := engine.Recovered{Lost: map[remuda.InstanceID]string{}}
	v.m.mu.Lock()
	boxes := v.m.boxes
	v.m.boxes = map[remuda.InstanceID]*box{}
	v.m.mu.Unlock()
	for _, spec := range keep {
		b := boxes[spec.ID]
		delete(boxes, spec.ID)
		if b == nil || !b.inst.Alive() {
			found.Lost[spec.ID] = "the sandbox had ended"
			continue
		}
		v.m.mu.Lock()
		v.m.boxes[spec.ID] = b
		v.m.mu.Unlock()
		found.Attached = append(found.Attached, v.link(b, b.run != nil))
	}
	for id, b := range boxes {
		if b.inst.Alive() {
			found.Ended = append(found.Ended, id)
			_ = b.inst.Destroy(ctx) // cannot fail
		}
	}
	return found, nil
}

func (v *view) Close(ctx context.Context) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, l := range v.links {
		_ = l.Destroy(ctx) // cannot fail
	}
	return nil
}

// kill is the end of the server: its sandboxes have lost their connection.
func (v *view) kill() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.dead = true
	for _, l := range v.links {
		l.sever(false)
	}
}

func (v *view) gone() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.dead
}

// link is a server's connection to a sandbox.
type link struct {
	*fake.Instance
	v *view
	b *box

	once     sync.Once
	cut      chan struct{} // closed when there is no connection any more
	mu       sync.Mutex
	pending  bool
	detached bool
}

var (
	_ engine.Resumer      = (*link)(nil)
	_ engine.Detacher     = (*link)(nil)
	_ engine.Acknowledger = (*link)(nil)
	_ engine.Workspacer   = (*link)(nil)
)

func errGone() error {
	return &remuda.Error{Code: remuda.CodeUnavailable, Message: "there is no connection to the sandbox", Err: engine.ErrDetached}
}

// sever ends the connection. A sandbox without a linger time ends with it.
func (l *link) sever(detached bool) {
	l.once.Do(func() {
		l.mu.Lock()
		l.detached = detached
		l.mu.Unlock()
		close(l.cut)
		if l.b.inst.Linger() <= 0 {
			_ = l.b.inst.Destroy(context.Background()) // cannot fail
		}
	})
}

func (l *link) severed() bool {
	select {
	case <-l.cut:
		return true
	default:
		return false
	}
}

func (l *link) Alive() bool { return !l.severed() && l.Instance.Alive() }

func (l *link) Execute(ctx context.Context, req engine.Request, sink engine.Sink) (engine.Result, error) {
	l.v.fuse.pass()
	l.mu.Lock()
	pending := l.pending
	l.mu.Unlock()
	switch {
	case l.severed():
		return engine.Result{Unstarted: true}, errGone()
	case pending:
		return engine.Result{}, remuda.Errorf(remuda.CodeConflict, "an execution of an earlier server waits")
	case !l.Instance.Alive():
		return engine.Result{Unstarted: true}, remuda.Errorf(remuda.CodeUnavailable, "the sandbox has ended")
	}
	h := &held{id: req.ID, first: 1, changed: make(chan struct{})}
	l.b.mu.Lock()
	l.b.run = h
	l.b.mu.Unlock()
	inst := l.b.inst
	go func() { // the keeper
		res, err := inst.Execute(context.Background(), req, func(rec remuda.OutputRecord) error { return h.add(rec, inst.Done()) })
		if err != nil {
			res = engine.Result{State: remuda.ExecutionLost, Reason: err.Error(), Dead: !inst.Alive()}
		}
		h.change(func() { h.end = &res })
	}()
	return l.follow(ctx, h, req, 0, sink)
}

// follow gives records after a number to the sink until the end.
func (l *link) follow(ctx context.Context, h *held, req engine.Request, after int64, sink engine.Sink) (engine.Result, error) {
	for {
		h.mu.Lock()
		var next []remuda.OutputRecord
		for _, rec := range h.records {
			if rec.Seq > after {
				next = append(next, rec)
			}
		}
		end, changed := h.end, h.changed
		h.mu.Unlock()
		for _, rec := range next {
			l.v.fuse.pass()
			if l.severed() {
				return engine.Result{}, errGone()
			}
			if sink != nil {
				if err := sink(rec); err != nil {
					return engine.Result{}, err
				}
			}
			after = rec.Seq
			if !req.HoldOutput {
				h.acknowledge(after)
			}
		}
		if len(next) > 0 {
			continue
		}
		if end != nil {
			l.v.fuse.pass()
			if l.severed() {
				return engine.Result{}, errGone()
			}
			return *end, nil
		}
		select {
		case <-changed:
		case <-l.cut:
			return engine.Result{}, errGone()
		case <-ctx.Done():
			l.b.inst.Kill(remuda.KilledByCancel, "the caller went away")
			ctx = context.WithoutCancel(ctx)
		}
	}
}

func (l *link) Pending() (remuda.ExecutionID, int64, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.pending {
		return "", 0, false
	}
	l.b.run.mu.Lock()
	defer l.b.run.mu.Unlock()
	return l.b.run.id, l.b.run.first, true
}

func (l *link) Resume(ctx context.Context, req engine.Request, after int64, sink engine.Sink) (engine.Result, error) {
	l.mu.Lock()
	pending := l.pending
	l.pending = false
	l.mu.Unlock()
	h := l.b.run
	h.mu.Lock()
	first := h.first
	h.mu.Unlock()
	if !pending || h.id != req.ID || after < first-1 {
		return engine.Result{}, remuda.Errorf(remuda.CodeConflict, "cannot resume %s after %d: %s waits, from %d", req.ID, after, h.id, first)
	}
	return l.follow(ctx, h, req, after, sink)
}

func (l *link) Drop(ctx context.Context) error {
	id, _, ok := l.Pending()
	if !ok {
		return nil
	}
	if err := l.Interrupt(ctx, remuda.KilledByCancel, 0); err != nil {
		return err
	}
	_, err := l.Resume(ctx, engine.Request{ID: id}, 1<<60, nil)
	l.b.mu.Lock()
	l.b.run = nil
	l.b.mu.Unlock()
	return err
}

func (l *link) Acknowledge(id remuda.ExecutionID, seq int64) {
	l.v.fuse.pass()
	l.b.mu.Lock()
	h := l.b.run
	l.b.mu.Unlock()
	if h != nil && h.id == id && !l.severed() {
		h.acknowledge(seq)
	}
}

func (l *link) Detach(context.Context) error {
	if l.b.inst.Linger() <= 0 {
		return remuda.Errorf(remuda.CodeConflict, "the sandbox has no time to outlive its server")
	}
	l.sever(true)
	return nil
}

func (l *link) SetLinger(ctx context.Context, d time.Duration) error {
	l.v.fuse.pass()
	if l.severed() {
		return errGone()
	}
	return l.Instance.SetLinger(ctx, d)
}

func (l *link) Interrupt(ctx context.Context, by remuda.KilledBy, grace time.Duration) error {
	if l.severed() {
		return errGone()
	}
	return l.Instance.Interrupt(ctx, by, grace)
}

func (l *link) Destroy(ctx context.Context) error {
	l.v.fuse.pass()
	if l.severed() {
		return nil
	}
	return l.Instance.Destroy(ctx)
}

// workspace is a copy of the files of an instance.
type workspace map[string][]byte

func (workspace) Close() error { return nil }

func (l *link) Workspace(ctx context.Context) (engine.Workspace, error) {
	if l.severed() {
		return nil, errGone()
	}
	list, err := l.Files().List(ctx, ".", 1000)
	if err != nil {
		return nil, err
	}
	w := workspace{}
	for _, f := range list {
		_, content, err := l.Files().Read(ctx, f.Path, 1<<30)
		if err != nil {
			return nil, err
		}
		if w[f.Path], err = io.ReadAll(content); err != nil {
			return nil, err
		}
	}
	return w, nil
}

// living are the sandboxes of the machine.
func (m *machine) living() []remuda.InstanceID {
	var ids []remuda.InstanceID
	for _, inst := range m.eng.Living() {
		ids = append(ids, inst.ID())
	}
	slices.Sort(ids)
	return ids
}
