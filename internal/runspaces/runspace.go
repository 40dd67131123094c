package runspaces

import (
	"sync"
	"time"

	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/pool"
	"github.com/remuda-run/remuda/internal/remuda"
)

// runspace is one open runspace. Its keeper owns it; the others look at it and
// borrow its instance under mu.
type runspace struct {
	id       remuda.RunspaceID
	org      remuda.OrganizationID
	prepared chan struct{} // closed when it has left creating, and that is recorded
	stop     chan struct{} // closed when it is to end
	gone     chan struct{} // closed when the sandbox is gone and the end recorded
	recorded error         // why the end could not be recorded; valid once gone

	mu       sync.Mutex
	row      remuda.Runspace
	lease    *pool.Lease        // set before the row exists, and never changed
	inst     engine.Instance    // nil until ready
	running  remuda.ExecutionID // "" when nothing runs
	released chan struct{}      // closed when what runs has been released
	used     bool               // the instance has run something
	transfer int                // file operations that go on
	ending   *ending            // why it is to end; nil while it is not
}

// ending says how and why a runspace ends. The first one counts.
type ending struct {
	state  remuda.RunspaceState
	reason string
	by     remuda.Principal // zero for the server itself
}

func newRunspace(row remuda.Runspace) *runspace {
	return &runspace{
		id: row.ID, org: row.Organization, row: row,
		prepared: make(chan struct{}), stop: make(chan struct{}), gone: make(chan struct{}),
	}
}

// leased notes the lease and its generation and returns the row.
func (r *runspace) leased(lease *pool.Lease) remuda.Runspace {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lease = lease
	r.row.Generation = r.lease.Generation().Number
	return r.row
}

// snapshot is the runspace as it is to be shown.
func (r *runspace) snapshot() remuda.Runspace {
	r.mu.Lock()
	defer r.mu.Unlock()
	row := r.row
	if row.State == remuda.RunspaceReady && r.running != "" {
		row.State = remuda.RunspaceActive
	}
	return row
}

// end asks the keeper to end the runspace. Only the first reason counts.
func (r *runspace) end(e ending) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.endLocked(e)
}

func (r *runspace) endLocked(e ending) {
	if r.ending == nil {
		r.ending = &e
		close(r.stop)
	}
}

// endIfIdle ends the runspace when nothing has run in it, or moved a file, for
// its idle timeout.
func (r *runspace) endIfIdle(now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.row.State != remuda.RunspaceReady || r.running != "" || r.transfer > 0 || r.row.IdleTimeout == 0 {
		return
	}
	if now.Sub(r.row.LastUsedAt) >= r.row.IdleTimeout {
		r.endLocked(ending{state: remuda.RunspaceClosed, reason: "it was idle for " + r.row.IdleTimeout.String()})
	}
}

// usable is nil when the instance can be used now, else a conflict. Needs mu.
func (r *runspace) usable() error {
	e := &remuda.Error{Code: remuda.CodeConflict, Message: "runspace " + string(r.id) + " cannot be used now", Remedy: "create another runspace"}
	switch {
	case r.ending != nil:
		e.Cause = "it is ending: " + r.ending.reason
	case r.row.State == remuda.RunspaceCreating:
		e.Cause, e.Remedy = "it is still being created", "wait until its state is ready"
		e.RetryAfterSeconds = 1
	case r.row.State.Final():
		return errEnded(r.row)
	default:
		return nil
	}
	return e
}

// errEnded says that a runspace has ended and why.
func errEnded(row remuda.Runspace) error {
	e := &remuda.Error{Code: remuda.CodeConflict, Message: "runspace " + string(row.ID) + " has ended", Cause: "it is " + string(row.State), Remedy: "create another runspace"}
	if row.Error != "" {
		e.Cause += ": " + row.Error
	}
	return e
}
