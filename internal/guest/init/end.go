package guestinit

import (
	"encoding/json"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/remuda-run/remuda/internal/guest/protocol"
)

// finish makes the End of the execution and sends it.
func (k *keeper) finish() {
	r := k.run
	r.phase = ended
	if r.wall == 0 {
		r.wall = time.Since(r.started)
	}
	e := &protocol.End{
		ID: r.id, LastSeq: r.seq, OutputCut: r.cut, WallUS: r.wall.Microseconds(),
		KilledBy: r.by, Reason: r.reason, Dead: k.driver.dead || r.killed,
	}
	switch {
	case r.done != nil:
		fillDone(e, r)
	case r.untaken:
		fillUntaken(e, k.driver.status)
	case r.killed:
		e.State = stateError
	default:
		fillDeath(e, k.driver.status)
	}
	switch r.by {
	case killedByTime:
		e.State = stateTimeout
	case killedByCancel:
		e.State = stateCanceled
	case killedByNothing:
	default:
		e.State = stateError
	}
	if e.State == stateError && e.KilledBy == "" {
		k.blameProcesses(e)
	}
	if e.Reason == "" && r.by == killedByCancel {
		e.Reason = "canceled"
	}
	if e.State != stateSuccess {
		e.DiskFull = k.diskFull()
	}
	if k.greeted() {
		r.sentAt = time.Now()
		k.send(protocol.TypeEnd, e)
	}
	k.hold(e)
	r.done = nil
	if e.Dead {
		k.leave()
	}
}

// fillDone tells how the script ended by the driver's word.
func fillDone(e *protocol.End, r *execution) {
	d := r.done
	e.State = stateError
	if d.OK {
		e.State = stateSuccess
	}
	code := d.ExitCode
	e.ExitCode = &code
	e.ErrType, e.ErrText, e.Traceback = d.ErrType, d.ErrText, d.Traceback
	e.HasValue, e.ValueText, e.Rich = d.HasValue, d.Text, d.Rich
	if len(d.JSON) > 0 && json.Valid(d.JSON) {
		e.ValueJSON = d.JSON
	}
}

// fillDeath tells how the interpreter ended when its driver did not speak.
func fillDeath(e *protocol.End, status unix.WaitStatus) {
	e.State = stateError
	var code int
	switch {
	case status.Exited():
		code = status.ExitStatus()
		if code == 0 {
			e.State = stateSuccess
		} else {
			e.Reason = "the script ended its interpreter, which " + describe(status)
		}
	case status.Signaled():
		code = 128 + int(status.Signal())
		e.Reason = "the interpreter " + describe(status)
		if status.Signal() == unix.SIGSYS {
			e.KilledBy = string(killedByPolicy)
		}
	default:
		return
	}
	e.ExitCode = &code
}

// fillUntaken tells of an interpreter that had ended before the script could begin.
func fillUntaken(e *protocol.End, status unix.WaitStatus) {
	e.State = stateLost
	if e.Reason == "" {
		e.Reason = "the interpreter " + describe(status) + " before it had taken the script"
	}
}

// describe says how a process ended: "exited with status 3".
func describe(status unix.WaitStatus) string {
	if status.Signaled() {
		return fmt.Sprintf("was killed by signal %d (%s)", int(status.Signal()), unix.SignalName(status.Signal()))
	}
	return fmt.Sprintf("exited with status %d", status.ExitStatus())
}

// diskFull reports whether the writable file system has no byte or no inode left,
// or so few bytes that a write may have been refused: ext4 keeps some back.
func (k *keeper) diskFull() bool {
	var s unix.Statfs_t
	var err error
	if k.child != nil {
		err = unix.Fstatfs(k.child.disk, &s)
	} else {
		err = unix.Statfs(protocol.Workspace, &s)
	}
	if err != nil {
		return false
	}
	const few = 1 << 20
	full := s.Bavail == 0 || s.Bavail < s.Blocks/64 && int64(s.Bavail)*s.Bsize < few
	return full || s.Files > 0 && s.Ffree == 0
}
