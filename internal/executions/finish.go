package executions

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"time"

	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/remuda"
	"github.com/remuda-run/remuda/internal/runspaces"
	"github.com/remuda-run/remuda/internal/store"
)

// broken makes a result of what went wrong around a script.
func (s *Service) broken(ctx context.Context, r *run, inst engine.Instance, unstarted bool, err error) engine.Result {
	res := engine.Result{State: remuda.ExecutionLost, Dead: !inst.Alive(), Unstarted: unstarted}
	exit := exitOf(inst)
	res.Usage = exit.Usage
	switch {
	case r.cancelReason() != "":
		res.State, res.KilledBy, res.Reason = remuda.ExecutionCanceled, remuda.KilledByCancel, r.cancelReason()
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		res.State, res.KilledBy, res.Reason = remuda.ExecutionTimeout, remuda.KilledByTime, "it did not end at its time limit and was killed"
	case exit.KilledBy != remuda.KilledByNothing:
		res.State, res.KilledBy, res.Reason = remuda.ExecutionError, exit.KilledBy, exit.Reason
	case unstarted && res.Dead:
		res.Reason = "the sandbox had ended before the script began: " + exit.Reason
	case res.Dead:
		res.Reason = "the sandbox ended while it ran: " + exit.Reason
	default:
		res.Reason = "the sandbox could not run it: " + remuda.Public(err)
	}
	s.log.Warn("an execution was cut off", "execution", r.id, "instance", inst.ID(), "state", res.State, "killed_by", res.KilledBy, "request", r.p.RequestID, "error", err)
	return res
}

// exitOf is why the sandbox ended, empty while it has not.
func exitOf(inst engine.Instance) engine.Exit {
	select {
	case <-inst.Done():
		return inst.Exit()
	default:
		return engine.Exit{}
	}
}

// judge gives the result its final state and reason.
func (s *Service) judge(r *run, res engine.Result) engine.Result {
	if !remuda.ExecutionRunning.CanBecome(res.State) {
		s.log.Error("engine gave a state that no execution can end in", "execution", r.id, "state", res.State)
		res.State, res.Reason = remuda.ExecutionLost, "the engine did not say how it ended"
	}
	// Whoever ended the place, or asked for the end, is the reason for what it cut off.
	cutOff := res.State == remuda.ExecutionCanceled || res.State == remuda.ExecutionLost
	if cut := r.place.cut(); cut != nil && cutOff {
		res.State, res.KilledBy, res.Reason = remuda.ExecutionCanceled, remuda.KilledByCancel, cut.Reason
		if cut.Limit {
			res.State, res.KilledBy = remuda.ExecutionError, remuda.KilledByTime
		}
	} else if why := r.cancelReason(); why != "" && cutOff {
		res.State, res.KilledBy, res.Reason = remuda.ExecutionCanceled, remuda.KilledByCancel, why
	}
	if res.Reason == "" && res.State != remuda.ExecutionSuccess {
		res.Reason = reasonOf(res)
	}
	return res
}

// reasonOf is one sentence for a result whose engine gave none.
func reasonOf(res engine.Result) string {
	switch {
	case res.Error != nil && res.Error.Message != "":
		return shortened(res.Error.Type + ": " + res.Error.Message)
	case res.Error != nil:
		return shortened(res.Error.Type)
	case res.KilledBy != remuda.KilledByNothing:
		return "it was killed by its limit of " + string(res.KilledBy)
	case res.ExitCode != nil:
		return "it ended with exit code " + strconv.Itoa(*res.ExitCode)
	default:
		return "it ended in state " + string(res.State)
	}
}

func shortened(s string) string {
	const limit = 500
	if len(s) > limit {
		return s[:limit] + "..."
	}
	return s
}

// end is how a run ended, on its way to the store.
type end struct {
	was     remuda.ExecutionState // before it
	row     remuda.Execution
	rest    []remuda.OutputRecord // that is not stored yet
	at      time.Time
	outcome runspaces.Outcome
}

// conclude takes what is left of the output and makes the row of the end.
func (s *Service) conclude(r *run, res engine.Result) *end {
	e := &end{at: time.Now(), was: r.row.State}
	rest, bytes, err := r.out.take()
	e.rest, e.row = rest, r.final(res, bytes)
	if err != nil {
		e.row.State, e.row.Reason = remuda.ExecutionError, "its output could not be stored: "+remuda.Public(err)
	}
	e.outcome = runspaces.Outcome{Ran: r.got != nil, Dead: res.Dead}
	if res.Dead {
		e.outcome.Reason = deathReason(e.row)
	}
	return e
}

// finish records the one end of a run and tells everybody.
func (s *Service) finish(r *run, res engine.Result) {
	e := s.conclude(r, res)
	err := s.record(r, e)
	if e.row.Runspace != "" {
		r.place.release(e.outcome) // first, so that whoever is told of the end can run the next one
	}
	s.settle(r, e, err)
	if e.row.Runspace == "" && r.got != nil {
		r.place.release(e.outcome) // last: nobody waits for the clean-up
	}
}

// record makes an end durable, and with it a birth that is not.
func (s *Service) record(r *run, e *end) error {
	folded := r.birth.fold()
	if r.certain(folded) && s.store.RecordEnd(context.Background(), r.stored(&e.row, e.rest, e.at, folded)) == nil {
		return nil
	}
	return store.Insist(s.store, func(tx *store.Tx) error { return r.recordEnd(tx, &e.row, e.rest, e.at, folded) })
}

// certain says whether the store has nothing to refuse in the end of r: neither a key
// that may be used already nor the end of what may not have been born.
func (r *run) certain(folded bool) bool {
	return folded && r.fingerprint == "" || r.birth.durable()
}

// settle tells everybody of an end that is recorded, or could not be.
func (s *Service) settle(r *run, e *end, err error) {
	if err != nil {
		s.unrecorded(r, e.row, e.rest, err)
	} else {
		r.ended(e.row)
		s.drop(r)
	}
	s.metrics.ExecutionMoved(e.was, e.row.State, r.def.Language)
	s.metrics.Stages(e.row.Timings)
	close(r.done)
	r.out.end(e.rest)
}

// recordEnd writes the end, and with folded also the birth.
func (r *run) recordEnd(tx *store.Tx, row *remuda.Execution, rest []remuda.OutputRecord, at time.Time, folded bool) error {
	ctx := context.Background()
	if err := tx.RecordEnd(ctx, r.stored(row, rest, at, folded)); err != nil || !folded {
		return err
	}
	return r.insertKey(ctx, tx, *row)
}

// stored is the end as the store takes it, and with folded also the birth.
func (r *run) stored(row *remuda.Execution, rest []remuda.OutputRecord, at time.Time, folded bool) *store.End {
	row.Timings["record"] = time.Since(at)
	row.Timings["total"] = time.Since(r.accepted)
	micros(row.Timings)
	details := map[string]string{"change": "end", "state": string(row.State)}
	if row.KilledBy != remuda.KilledByNothing {
		details["killed_by"] = string(row.KilledBy)
	}
	e := &store.End{Execution: *row, Born: !folded, Output: rest, Audit: []remuda.AuditEntry{entry(r.p, row.ID, details)}}
	if folded {
		e.Audit = append([]remuda.AuditEntry{r.submitted}, e.Audit...)
	}
	return e
}

// final is the row of the end, with times as the store keeps them.
func (r *run) final(res engine.Result, bytes int64) remuda.Execution {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.killer != nil {
		r.killer.Stop()
	}
	row, now := r.row, remuda.Now()
	row.State, row.ExitCode, row.Value, row.Error = res.State, res.ExitCode, readable(res.Value), res.Error
	row.KilledBy, row.Reason = res.KilledBy, res.Reason
	row.Usage = remuda.Usage{
		CPU: res.Usage.CPU.Truncate(time.Microsecond), Wall: res.Usage.Wall.Truncate(time.Microsecond), PeakMemory: res.Usage.PeakMemory,
	}
	row.OutputBytes, row.OutputCut = bytes, res.OutputCut
	row.Timings, row.EndedAt = r.timings, &now
	return row
}

// ended makes the recorded end visible.
func (r *run) ended(row remuda.Execution) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.row = row
}

func (s *Service) drop(r *run) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.live, r.id)
	s.dropKey(r)
}

// deathReason is why a runspace is dead after this execution.
func deathReason(row remuda.Execution) string {
	text := "execution " + string(row.ID) + " ended its sandbox"
	if row.Reason != "" {
		text += ": " + row.Reason
	}
	return text
}

// unrecorded keeps an end that the store does not take for the sweeper, which
// goes on trying; until then the execution shows as it was. If not even its row
// was recorded there is nothing to keep: nobody was told that it exists.
func (s *Service) unrecorded(r *run, row remuda.Execution, rest []remuda.OutputRecord, err error) {
	born, failed := r.birth.await(context.Background())
	known := born && failed == nil
	s.log.Error("the end of an execution could not be recorded", "execution", r.id, "state", row.State, "recorded_before", known, "request", r.p.RequestID, "error", err)
	r.mu.Lock()
	r.err = &remuda.Error{
		Code: remuda.CodeUnavailable, Message: fmt.Sprintf("execution %s could not be recorded", r.id), Cause: remuda.Public(err),
		Remedy: "it may have run; look for it when the server can write again, and submit it once more if it is not there", RetryAfterSeconds: 5, Err: err,
	}
	if known {
		row.Timings = maps.Clone(row.Timings) // the sweeper will write to its own
		r.unsaved = &unsaved{row: row, rest: rest, at: time.Now()}
	}
	r.mu.Unlock()
	if !known {
		s.drop(r)
	}
}

// unsaved is an end that is not recorded yet.
type unsaved struct {
	row  remuda.Execution
	rest []remuda.OutputRecord
	at   time.Time // of the end
}

// end tells readers that all there will be is stored.
func (o *output) end(rest []remuda.OutputRecord) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if n := len(rest); n > 0 {
		o.publish(rest[n-1].Seq)
	}
}
