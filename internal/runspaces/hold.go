package runspaces

import (
	"context"
	"sync"

	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/remuda"
)

// Hold is the right to run one execution in a runspace. Release it exactly when
// the execution is recorded.
type Hold struct {
	Runspace   remuda.Runspace   // as it was when it was acquired
	Definition remuda.Definition // of its generation
	Instance   engine.Instance
	Fresh      bool // nothing has run in the instance before

	service *Service
	r       *runspace
	once    sync.Once
}

// Outcome says how an execution left the runspace.
type Outcome struct {
	Ran    bool   // the script was started
	Dead   bool   // the instance cannot run anything more
	Reason string // why it is dead
}

// Acquire gives the instance of a runspace to one execution. The caller has
// checked the principal's right to run. Errors: not_found, and conflict when the
// runspace is not ready or runs something else, which is named.
func (s *Service) Acquire(ctx context.Context, p remuda.Principal, id remuda.RunspaceID, execution remuda.ExecutionID) (*Hold, error) {
	r := s.find(p.Organization, id)
	if r == nil {
		row, err := s.get(ctx, p.Organization, id)
		if err != nil {
			return nil, err
		}
		return nil, errEnded(row)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.usable(); err != nil {
		return nil, err
	}
	if r.running != "" {
		return nil, &remuda.Error{
			Code: remuda.CodeConflict, Message: "runspace " + string(id) + " is busy",
			Cause:  "execution " + string(r.running) + " is running in it, and a runspace runs one at a time",
			Remedy: "wait for that execution or cancel it, then send the request again", RetryAfterSeconds: 1,
		}
	}
	r.running, r.released = execution, make(chan struct{})
	r.lease.Share()
	return &Hold{Runspace: r.row, Definition: r.lease.Definition(), Instance: r.inst, Fresh: !r.used, service: s, r: r}, nil
}

// Definition is that of the generation which the open runspace is an instance of.
func (s *Service) Definition(p remuda.Principal, id remuda.RunspaceID) (remuda.Definition, bool) {
	r := s.find(p.Organization, id)
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

// Ended says why the runspace is ending, "" while it is not. An execution that
// was cut off by it is canceled for that reason.
func (h *Hold) Ended() string {
	h.r.mu.Lock()
	defer h.r.mu.Unlock()
	if h.r.ending == nil {
		return ""
	}
	return h.r.ending.reason
}

// Release gives the runspace back. A dead instance ends it with an error.
func (h *Hold) Release(o Outcome) {
	h.once.Do(func() {
		h.r.mu.Lock()
		defer h.r.mu.Unlock()
		h.r.used = h.r.used || o.Ran
		h.r.running = ""
		h.r.row.LastUsedAt = remuda.Now()
		if o.Dead {
			h.r.endLocked(ending{state: remuda.RunspaceError, reason: o.Reason})
		}
		close(h.r.released)
	})
}
