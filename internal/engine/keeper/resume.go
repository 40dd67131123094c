package keeper

import (
	"context"
	"math"
	"time"

	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/engine/local/cgroup"
	"github.com/remuda-run/remuda/internal/guest/protocol"
	"github.com/remuda-run/remuda/internal/remuda"
)

var (
	_ engine.Resumer      = (*Instance)(nil)
	_ engine.Detacher     = (*Instance)(nil)
	_ engine.Acknowledger = (*Instance)(nil)
)

// takeOver takes what the keeper has greeted with: the execution of an earlier
// server, if there is one. Its records and its end are on their way.
func (i *Instance) takeOver(s protocol.State) {
	if !s.Ready {
		return // it is being made
	}
	i.linger = time.Duration(s.LingerMS) * time.Millisecond
	i.weight.shares = 0 // who knows
	if s.Execution == "" {
		return
	}
	i.pending = true
	i.run = newRun(engine.Request{ID: remuda.ExecutionID(s.Execution)})
	i.run.lastSeq = s.NextSeq - 1
	i.run.first = s.NextSeq
	i.run.begun = time.Now().Add(-time.Duration(s.ElapsedUS) * time.Microsecond)
	i.run.before = cgroup.Usage{CPU: time.Duration(s.Mark.CPUNS), OOMKills: s.Mark.OOMKills, PidsMax: s.Mark.PidsMax}
	i.run.frame = math.MaxInt64 // its Execute was read
}

// Pending implements engine.Resumer.
func (i *Instance) Pending() (id remuda.ExecutionID, first int64, ok bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if !i.pending {
		return "", 0, false
	}
	return remuda.ExecutionID(i.run.id), i.run.first, true
}

// Resume implements engine.Resumer. It also tells the end of an execution whose
// sandbox has ended since.
func (i *Instance) Resume(ctx context.Context, req engine.Request, after int64, sink engine.Sink) (engine.Result, error) {
	r, err := i.claim(req.ID, after)
	if err != nil {
		return engine.Result{}, err
	}
	defer i.finish(r)
	r.hold, r.skip = req.HoldOutput, after
	if after >= r.first {
		i.acknowledge(r.id, after)
	}
	return i.follow(ctx, r, req, sink)
}

// claim makes the pending execution somebody's.
func (i *Instance) claim(id remuda.ExecutionID, after int64) (*run, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	r := i.run
	switch {
	case i.detached:
		return nil, errDetached()
	case !i.pending:
		return nil, remuda.Errorf(remuda.CodeConflict, "no execution of an earlier server waits in the sandbox")
	case r.id != string(id):
		return nil, remuda.Errorf(remuda.CodeConflict, "the execution %s waits in the sandbox, not %s", r.id, id)
	case after < r.first-1:
		return nil, remuda.Errorf(remuda.CodeConflict, "the records %d to %d of %s are gone: they were acknowledged to the earlier server", after+1, r.first-1, id)
	}
	i.pending = false
	return r, nil
}

// dropGrace is how long a script that nobody wants may take to end.
const dropGrace = 2 * time.Second

// Drop implements engine.Resumer. A script that does not end when it is interrupted
// ends with its sandbox.
func (i *Instance) Drop(ctx context.Context) error {
	id, _, ok := i.Pending()
	if !ok {
		return nil
	}
	if err := i.Interrupt(ctx, remuda.KilledByCancel, dropGrace); err != nil {
		return err
	}
	res, err := i.Resume(ctx, engine.Request{ID: id}, math.MaxInt64-1, nil)
	if err != nil {
		return err
	}
	i.acknowledge(string(id), res.LastSeq+1) // the end too
	return nil
}

// Detach implements engine.Detacher. What runs goes on; its Execute or Resume
// returns engine.ErrDetached. Done is not closed.
func (i *Instance) Detach(context.Context) error {
	if already, err := i.letGo(); already || err != nil {
		return err
	}
	i.conn.Close() // ends the reader; the keeper counts from here
	i.opts.Release()
	if i.oom != nil {
		_ = i.oom.Close()
	}
	if r := i.current(); r != nil {
		r.dead()
	}
	i.files.fail()
	<-i.watched
	return nil
}

// letGo decides that the instance is not ours any more.
func (i *Instance) letGo() (already bool, err error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	switch {
	case i.detached:
		return true, nil
	case i.opts.Release == nil:
		return false, &remuda.Error{Code: remuda.CodeUnsupported, Message: "the sandbox cannot outlive its server", Cause: "sandboxes of this class end with their server", Remedy: "destroy it"}
	case i.ended || i.cause != (cause{}) || i.opts.Process.Exited():
		return false, &remuda.Error{Code: remuda.CodeUnavailable, Message: "the sandbox has ended", Cause: i.cause.reason, Remedy: "destroy it"}
	case i.linger <= 0:
		return false, &remuda.Error{Code: remuda.CodeConflict, Message: "the sandbox has no time to outlive its server", Cause: "its linger time is 0", Remedy: "give it one first, or destroy it"}
	}
	i.detached = true
	return false, nil
}

// leftBehind is the error of everything after Detach; nil before.
func (i *Instance) leftBehind() error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.detached {
		return errDetached()
	}
	return nil
}

func errDetached() error {
	return &remuda.Error{Code: remuda.CodeUnavailable, Message: "the sandbox was left to the next server", Err: engine.ErrDetached}
}
