package runspaces

import (
	"context"
	"sync"
	"time"

	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/remuda"
)

// Hold is the right to run one execution in a runspace. Release it exactly when
// the execution is recorded.
type Hold struct {
	Runspace   remuda.Runspace   // as it was when it was acquired
	Definition remuda.Definition // of its generation
	Instance   engine.Instance
	Execution  remuda.ExecutionID
	Fresh      bool // nothing has run in the instance before

	r    *runspace
	once sync.Once
}

// Outcome says how an execution left the runspace.
type Outcome struct {
	Ran    bool   // the script was started
	Dead   bool   // the instance cannot run anything more
	Reason string // why it is dead
}

// Acquire gives the instance of a runspace to one execution. The caller has
// checked the principal's right to run. Errors: not_found, and conflict when the
// runspace is not ready (remuda.ReasonRunspaceNotReady) or runs something else,
// which is named (remuda.ReasonRunspaceBusy).
func (s *Service) Acquire(ctx context.Context, p remuda.Principal, id remuda.RunspaceID, execution remuda.ExecutionID) (*Hold, error) {
	r, err := s.openOrWhy(ctx, p, id)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.usable(); err != nil {
		return nil, err
	}
	if r.running != "" {
		return nil, r.errBusy()
	}
	return r.holdLocked(execution), nil
}

// AcquireSystem is Acquire for a script of the server's own, while the runspace is
// being prepared or has begun to end.
func (s *Service) AcquireSystem(ctx context.Context, p remuda.Principal, id remuda.RunspaceID, execution remuda.ExecutionID) (*Hold, error) {
	r, err := s.openOrWhy(ctx, p, id)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.inst == nil || r.row.State.Final():
		return nil, &remuda.Error{
			Code: remuda.CodeConflict, Message: "runspace " + string(id) + " has no sandbox to run a script in", Cause: "its state is " + string(r.row.State),
			Reason: remuda.ReasonRunspaceNotReady, Object: string(r.row.State),
		}
	case r.running != "":
		return nil, r.errBusy()
	}
	return r.holdLocked(execution), nil
}

// openOrWhy is the open runspace, or why there is none.
func (s *Service) openOrWhy(ctx context.Context, p remuda.Principal, id remuda.RunspaceID) (*runspace, error) {
	if r := s.find(p, id); r != nil {
		return r, nil
	}
	row, err := s.get(ctx, p, id)
	if err != nil {
		return nil, err
	}
	return nil, errEnded(row)
}

// errBusy names what runs. Needs mu.
func (r *runspace) errBusy() error {
	return &remuda.Error{
		Code: remuda.CodeConflict, Message: "runspace " + string(r.id) + " is busy",
		Cause:  "execution " + string(r.running) + " is running in it, and a runspace runs one at a time",
		Remedy: "wait for that execution or cancel it, then send the request again; or ask for a place in the queue", RetryAfterSeconds: 1,
		Reason: remuda.ReasonRunspaceBusy, Object: string(r.running),
	}
}

// holdLocked makes execution what runs.
func (r *runspace) holdLocked(execution remuda.ExecutionID) *Hold {
	r.running, r.late, r.since, r.released = execution, r.ending != nil, time.Now(), make(chan struct{})
	r.lease.Share()
	return &Hold{Runspace: r.row, Definition: r.lease.Definition(), Instance: r.inst, Execution: execution, Fresh: !r.begun, r: r}
}

// Definition is that of the generation which the open runspace is an instance of.
func (s *Service) Definition(p remuda.Principal, id remuda.RunspaceID) (remuda.Definition, bool) {
	r := s.find(p, id)
	if r == nil {
		return remuda.Definition{}, false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.lease == nil { // not yet recorded: nobody can know its id
		return remuda.Definition{}, false
	}
	return r.lease.Definition(), true
}

// Cut says why an execution in a runspace is cut off.
type Cut struct {
	Reason string
	Limit  bool // it reached a limit of the runspace: it is an error, not canceled
}

// Cut says why the execution is cut off by its runspace, which ends or is reset;
// nil while it is not. A script that belongs to the end is not.
func (h *Hold) Cut() *Cut {
	h.r.mu.Lock()
	defer h.r.mu.Unlock()
	switch e := h.r.ending; {
	case h.r.cut.execution == h.Execution && h.Execution != "":
		return &Cut{Reason: h.r.cut.reason}
	case e == nil || e.leave || h.r.late:
		return nil
	default:
		return &Cut{Reason: "its runspace was ended: " + e.reason, Limit: e.limit}
	}
}

// Left says that the server lets go of the runspace: what runs in it goes on
// without us, and its end is another server's to record.
func (h *Hold) Left() bool {
	h.r.mu.Lock()
	defer h.r.mu.Unlock()
	return h.r.detached
}

// Since says when the execution began, where that was before it was acquired.
func (h *Hold) Since(began time.Time) {
	h.r.mu.Lock()
	defer h.r.mu.Unlock()
	if h.r.running == h.Execution {
		h.r.since = began
	}
}

// Release gives the runspace back, to the next in line if somebody waits. A dead
// instance ends it with an error.
func (h *Hold) Release(o Outcome) { h.release(o, remuda.Now()) }

// Drop is Release for an execution of an earlier server that is not gone on with. It
// is no use of the runspace.
func (h *Hold) Drop() {
	h.release(Outcome{Ran: true, Dead: !h.Instance.Alive(), Reason: "its sandbox has ended"}, time.Time{})
}

func (h *Hold) release(o Outcome, used time.Time) {
	h.once.Do(func() {
		r := h.r
		r.mu.Lock()
		defer r.mu.Unlock()
		r.begun = r.begun || o.Ran
		r.running = ""
		if used.After(r.row.LastUsedAt) {
			r.row.LastUsedAt = used
		}
		if o.Dead && !r.resettingLocked() {
			r.endLocked(ending{state: remuda.RunspaceError, code: remuda.CodeUnavailable, reason: o.Reason})
		}
		close(r.released)
		r.nextLocked()
	})
}

// Use returns the instance for something other than an execution, such as a
// terminal. Until release is called the runspace is not idle.
func (s *Service) Use(ctx context.Context, p remuda.Principal, id remuda.RunspaceID) (release func(), inst engine.Instance, err error) {
	r, err := s.openOrWhy(ctx, p, id)
	if err != nil {
		return nil, nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.usable(); err != nil {
		return nil, nil, err
	}
	r.users++
	r.begun = true
	return sync.OnceFunc(func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.users--
		r.row.LastUsedAt = remuda.Now()
	}), r.inst, nil
}
