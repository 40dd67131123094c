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
	owner    remuda.UserID
	stop     chan struct{} // closed when it is to end, or to be let go of
	wake     chan struct{} // capacity 1: a reset was asked for
	gone     chan struct{} // closed when the keeper has nothing more to do
	bytes    *waitingBytes // of all lines
	recorded error         // why the end could not be recorded; valid once gone

	mu        sync.Mutex
	row       remuda.Runspace
	lease     *pool.Lease        // set before the row exists, and never changed
	inst      engine.Instance    // nil while there is none
	prepared  chan struct{}      // closed when it has left creating, and that is recorded
	running   remuda.ExecutionID // "" when nothing runs
	late      bool               // it began when the runspace was ending already
	detached  bool               // the sandbox was let go of
	since     time.Time          // when what runs began
	released  chan struct{}      // closed when what runs has been released
	line      []*Ticket          // who waits for a turn, in order
	cut       cut                // what runs, and why it is cut off though the runspace goes on
	begun     bool               // a script of the user's was started in it
	transfer  int                // file operations that go on
	users     int                // others that use it, such as terminals
	noted     time.Time          // the last use that is stored
	ending    *ending            // why it is to end; nil while it is not
	secret    connection         // of a connection script that has not run yet
	connected bool               // the connection script was started, and no disconnect script since
	asked     bool               // a reset was asked for, and recorded
}

// ending says how and why a runspace ends. The first one counts.
type ending struct {
	state  remuda.RunspaceState
	reason string
	code   remuda.Code      // of an error
	limit  bool             // it is a limit of the runspace that was reached
	by     remuda.Principal // zero for the server itself
	leave  bool             // it does not end: the server lets go of it
}

// cut is why one execution is cut off.
type cut struct {
	execution remuda.ExecutionID
	reason    string
}

func newRunspace(row remuda.Runspace, bytes *waitingBytes) *runspace {
	return &runspace{
		id: row.ID, org: row.Organization, owner: row.Owner, row: row, noted: row.LastUsedAt, bytes: bytes, connected: row.ConnectionExecution != "",
		prepared: make(chan struct{}), stop: make(chan struct{}), wake: make(chan struct{}, 1), gone: make(chan struct{}),
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

// state is the row as it is to be stored.
func (r *runspace) state() remuda.Runspace {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.row
}

// instance is nil while there is none.
func (r *runspace) instance() engine.Instance {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.inst
}

func (r *runspace) setInstance(inst engine.Instance) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.inst = inst
}

// left is closed when the runspace has left creating.
func (r *runspace) left() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.prepared
}

// end asks the keeper to end the runspace. Only the first reason counts.
func (r *runspace) end(e ending) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.endLocked(e)
}

func (r *runspace) endLocked(e ending) {
	if r.ending != nil {
		return
	}
	r.ending = &e
	r.turnAwayLocked(func() error { return r.usable() })
	close(r.stop)
}

// busyLocked says whether something goes on that must not be collected.
func (r *runspace) busyLocked() bool {
	return r.running != "" || r.transfer > 0 || r.users > 0
}

// endIfIdle ends the runspace when nothing has run in it, or moved a file, for
// its idle timeout.
func (r *runspace) endIfIdle(now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.row.State != remuda.RunspaceReady || r.busyLocked() || r.row.IdleTimeout == 0 {
		return
	}
	if now.Sub(r.row.LastUsedAt) >= r.row.IdleTimeout {
		r.endLocked(ending{state: remuda.RunspaceClosed, reason: "it was idle for " + r.row.IdleTimeout.String()})
	}
}

// endIfOvertime ends the runspace when a script has run in it for longer than its
// active timeout.
func (r *runspace) endIfOvertime(now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	limit := r.row.ActiveTimeout
	if r.row.State != remuda.RunspaceReady || r.running == "" || limit == 0 || now.Sub(r.since) < limit {
		return
	}
	r.endLocked(ending{
		state: remuda.RunspaceError, code: remuda.CodeDeadline, limit: true,
		reason: "execution " + string(r.running) + " ran in it longer than its active timeout of " + limit.String(),
	})
}

// usable is nil when the instance can be used now, else a conflict. Needs mu.
func (r *runspace) usable() error {
	e := &remuda.Error{
		Code: remuda.CodeConflict, Message: "runspace " + string(r.id) + " cannot be used now", Remedy: "create another runspace",
		Reason: remuda.ReasonRunspaceNotReady, Object: string(r.row.State),
	}
	switch {
	case r.row.State.Final():
		return errEnded(r.row)
	case r.ending != nil && r.ending.leave:
		return remuda.ShuttingDown()
	case r.ending != nil:
		e.Cause = "it is ending: " + r.ending.reason
	case r.row.State == remuda.RunspaceCreating && r.row.Resets > 0:
		e.Cause, e.Remedy = "it is being reset", "wait until its state is ready"
		e.RetryAfterSeconds = 1
	case r.row.State == remuda.RunspaceCreating:
		e.Cause, e.Remedy = "it is still being created", "wait until its state is ready"
		e.RetryAfterSeconds = 1
	default:
		return nil
	}
	return e
}

// errEnded says that a runspace has ended and why.
func errEnded(row remuda.Runspace) error {
	e := &remuda.Error{
		Code: remuda.CodeConflict, Message: "runspace " + string(row.ID) + " has ended", Cause: "it is " + string(row.State), Remedy: "create another runspace",
		Reason: remuda.ReasonRunspaceNotReady, Object: string(row.State),
	}
	if row.Error != "" {
		e.Cause += ": " + row.Error
	}
	return e
}
