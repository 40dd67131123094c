package keeper

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/engine/local/cgroup"
	"github.com/remuda-run/remuda/internal/guest/protocol"
	"github.com/remuda-run/remuda/internal/remuda"
)

// result says how an execution ended: from what the keeper said, if it could
// say anything, and from what the kernel counted, which is believed more.
func (i *Instance) result(r *run, req engine.Request, before cgroup.Usage) engine.Result {
	r.mu.Lock()
	end, lastSeq := r.end, r.lastSeq
	r.mu.Unlock()
	if end != nil && end.Dead {
		// The keeper follows its interpreter; what killed it is known then.
		i.kill()
		<-i.watched
	}
	grown, err := i.usage(before)
	if err != nil {
		i.opts.Log.Error("the result of an execution lacks its usage", "instance", i.opts.ID, "error", err)
	}
	if end != nil && grown.OOMKills > 0 {
		// A part of it is gone: what is left cannot be trusted to be whole.
		i.end(remuda.KilledByMemory, i.memoryReason())
		<-i.watched
	}
	res := engine.Result{
		LastSeq: lastSeq, Timings: remuda.Timings{},
		Usage: remuda.Usage{CPU: grown.CPU, PeakMemory: grown.PeakMemory},
	}
	if end == nil {
		i.died(&res, req)
		res.Unstarted = i.unheard(r)
	} else {
		ended(&res, end)
		i.limits(&res, end, grown)
		res.Unstarted = res.State == remuda.ExecutionLost
	}
	// A limit that was reached would be reached elsewhere too.
	res.Unstarted = res.Unstarted && lastSeq == 0 && res.KilledBy == remuda.KilledByNothing
	return res
}

// unheard reports whether the keeper ended before it had read all of an Execute:
// the kernel says that something was left unread, and that was the last sent.
func (i *Instance) unheard(r *run) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return r.frame == 0 || i.reset && i.conn.frames.Load() == r.frame
}

// ended copies what the keeper said.
func ended(res *engine.Result, end *protocol.End) {
	res.State = remuda.ExecutionState(end.State)
	res.ExitCode = end.ExitCode
	res.KilledBy = remuda.KilledBy(end.KilledBy)
	res.Reason = end.Reason
	res.OutputCut = end.OutputCut
	res.Dead = end.Dead
	res.Usage.Wall = time.Duration(end.WallUS) * time.Microsecond
	res.Timings["run"] = res.Usage.Wall
	if end.HasValue {
		res.Value = &remuda.Value{Text: end.ValueText, Rich: end.Rich}
		if json.Valid(end.ValueJSON) { // the keeper has checked it, and could be wrong
			res.Value.JSON = end.ValueJSON
		}
	}
	if end.ErrType != "" || end.ErrText != "" || end.Traceback != "" {
		res.Error = &remuda.ScriptError{Type: end.ErrType, Message: end.ErrText, Traceback: end.Traceback}
	}
	switch res.State {
	case remuda.ExecutionSuccess, remuda.ExecutionError, remuda.ExecutionTimeout, remuda.ExecutionCanceled, remuda.ExecutionLost:
	default:
		res.State, res.Reason = remuda.ExecutionError, fmt.Sprintf("it ended in the unknown state %q", end.State)
	}
}

// limits names the limit that made a script fail. A script that went on without
// the processes it was refused is told as well: what it left undone is not seen.
func (i *Instance) limits(res *engine.Result, end *protocol.End, grown cgroup.Usage) {
	r := i.Resources()
	failed := res.State == remuda.ExecutionError && res.KilledBy == remuda.KilledByNothing
	switch {
	case grown.OOMKills > 0:
		res.State, res.KilledBy, res.Reason, res.Dead = remuda.ExecutionError, remuda.KilledByMemory, i.memoryReason(), true
		res.ExitCode, res.Value = nil, nil
	case failed && grown.PidsMax > 0:
		res.KilledBy, res.Reason = remuda.KilledByPids, fmt.Sprintf("it needed more than its %d processes and threads", r.Pids)
	case res.State == remuda.ExecutionSuccess && grown.PidsMax > 0:
		res.Reason = fmt.Sprintf("it succeeded, but was refused more than its %d processes and threads", r.Pids)
	case failed && end.DiskFull:
		res.KilledBy, res.Reason = remuda.KilledByDisk, diskReason(r, i.opts.DiskInodes)
	}
}

// diskReason names both quotas: the sandbox tells that one is used up, not which.
func diskReason(r remuda.Resources, inodes int64) string {
	return fmt.Sprintf("it filled its disk of %d MiB and %d files", r.DiskMB, inodes)
}

// died says how an execution ended whose sandbox did not live to say it.
func (i *Instance) died(res *engine.Result, req engine.Request) {
	exit := i.Exit()
	res.Dead = true
	res.KilledBy, res.Reason = exit.KilledBy, exit.Reason
	switch exit.KilledBy {
	case remuda.KilledByTime:
		res.State, res.Reason = remuda.ExecutionTimeout, timeReason(req.Timeout)
	case remuda.KilledByCancel:
		res.State = remuda.ExecutionCanceled
	case remuda.KilledByNothing:
		res.State = remuda.ExecutionLost
	default:
		res.State = remuda.ExecutionError
	}
}
