package executions

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/remuda"
	"github.com/remuda-run/remuda/internal/store"
)

// run is one execution that has not ended. The goroutine of Service.run owns it.
type run struct {
	id       remuda.ExecutionID
	p        remuda.Principal
	req      remuda.ExecutionRequest
	accepted time.Time
	place    place
	def      remuda.Definition // of the generation that it runs on
	out      *output
	birth    *birth
	timings  remuda.Timings
	// submitted is the audit entry of the birth.
	submitted remuda.AuditEntry
	got       engine.Instance // what the place gave
	fresh     bool            // it is never used before
	// scratch are parameters that are unbound when the script has ended.
	scratch []string
	left    bool // the server let go of the sandbox while the script ran
	// fingerprint of a request with an idempotency key, else "".
	fingerprint string
	done        chan struct{} // closed when the end is recorded, or never will be

	mu      sync.Mutex
	row     remuda.Execution
	err     error                   // why the end could not be recorded; valid once done
	reason  string                  // why it is to be canceled, "" while it is not
	giveUp  context.CancelCauseFunc // ends a cold start, or kills the sandbox of what runs
	coming  bool                    // giveUp ends a cold start
	inst    engine.Instance         // while the script runs
	killer  *time.Timer             // kills what an interrupt did not end
	unsaved *unsaved                // an end that the store has not taken yet
	sending sync.Mutex              // held while an interrupt is sent, so that it cannot meet the next run
}

// errGivenUp is the cause with which a run's context is ended by cancel.
var errGivenUp = errors.New("the execution was canceled")

func newRun(p remuda.Principal, req remuda.ExecutionRequest, accepted time.Time) *run {
	id := remuda.NewExecutionID()
	return &run{
		id: id, p: p, req: req, accepted: accepted, timings: remuda.Timings{}, done: make(chan struct{}),
		row: remuda.Execution{
			ID: id, Organization: p.Organization, Owner: p.User,
			State: remuda.ExecutionQueued, CreatedAt: accepted.UTC().Truncate(time.Microsecond),
			Name: req.Name, Objects: req.Objects,
		},
	}
}

// begin prepares the record of the run, and starts it at once where its instance
// is there. Then the row begins as running and is written while the script runs. It
// comes before the run is known: from then on others can cancel it.
func (s *Service) begin(r *run) {
	now, fresh := r.place.ready()
	r.fresh = fresh
	if now {
		r.timings["queue"] = time.Since(r.accepted)
		inst, timings, _ := r.place.start(context.Background()) // a ready place has no error
		r.running(inst, timings)
	}
	details := map[string]string{"change": "submit", "runtime": string(r.row.Runtime)}
	if r.row.Runspace != "" {
		details["runspace"] = string(r.row.Runspace)
	}
	if who := r.req.Identity; who != nil && who.Subject != "" {
		details["subject"] = who.Subject
	}
	r.submitted = entry(r.p, r.id, details)
	r.birth = &birth{store: s.store, write: func(tx *store.Tx) error {
		if err := r.insert(context.Background(), tx, r.snapshot()); err != nil {
			return err
		}
		return tx.AppendAudit(context.Background(), r.submitted)
	}}
	s.collect(r)
}

// due makes the birth of a run that is known due.
func (s *Service) due(r *run) {
	s.metrics.ExecutionMoved("", r.row.State, r.def.Language)
	if r.row.State == remuda.ExecutionRunning { // only this goroutine changes it
		r.birth.after(s.soon)
	} else {
		r.birth.after(s.later)
	}
}

// collect prepares for the output of r.
func (s *Service) collect(r *run) {
	r.out = newOutput(s.store, r.p.Organization, r.id, s.set.FlushEvery, func() { r.birth.begin() })
	if r.place.holds() {
		r.out.acknowledge = func(seq int64) {
			if able, ok := r.got.(engine.Acknowledger); ok { // output comes when there is an instance
				able.Acknowledge(r.id, seq)
			}
		}
	}
}

// running notes the instance.
func (r *run) running(inst engine.Instance, timings remuda.Timings) {
	maps.Copy(r.timings, timings)
	now := remuda.Now()
	warm, cold := r.place.warmth()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.row.State, r.row.Instance, r.row.StartedAt, r.row.Fresh = remuda.ExecutionRunning, inst.ID(), &now, r.fresh
	r.row.Warm, r.row.ColdReason = warm, cold
	r.got = inst
}

// run is the life of an execution after its row was queued.
func (s *Service) run(r *run) {
	if r.row.State == remuda.ExecutionQueued { // only this goroutine changes it
		r.timings["queue"] = time.Since(r.accepted)
		if err := s.start(r); err != nil {
			s.finish(r, s.notStarted(r, err))
			return
		}
	}
	res := s.executeSomewhere(r)
	if r.left {
		s.letGo(r)
		return
	}
	s.finish(r, res)
}

// start gets the instance of a cold place and records that the run is running.
func (s *Service) start(r *run) error {
	ctx := context.Background()
	if !r.place.patient() {
		bounded, cancel := context.WithTimeout(ctx, s.set.StartTimeout)
		defer cancel()
		ctx = bounded
	}
	ctx, giveUp := context.WithCancelCause(ctx)
	defer giveUp(nil)
	r.arm(giveUp, true)
	inst, timings, err := r.place.start(ctx)
	r.arm(nil, false)
	if err != nil {
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			err = &remuda.Error{Code: remuda.CodeDeadline, Message: "no instance was started within " + s.set.StartTimeout.String(), Err: err}
		}
		return err
	}
	was := r.row.State
	r.running(inst, timings)
	s.metrics.ExecutionMoved(was, remuda.ExecutionRunning, r.def.Language)
	row := r.snapshot()
	r.birth.again(s.soon, func(tx *store.Tx) error { return tx.UpdateExecution(context.Background(), row) })
	return nil
}

// notStarted is the result of a run that got no instance.
func (s *Service) notStarted(r *run, err error) engine.Result {
	if reason := r.cancelReason(); reason != "" {
		return engine.Result{State: remuda.ExecutionCanceled, KilledBy: remuda.KilledByCancel, Reason: reason + " before it started"}
	}
	if why, ok := errors.AsType[*refused](err); ok {
		s.log.Info("an execution whose turn had come was refused", "execution", r.id, "request", r.p.RequestID, "error", err)
		return engine.Result{State: remuda.ExecutionError, Reason: "it may not run any more: " + remuda.Public(why.error)}
	}
	if r.place.patient() {
		return engine.Result{State: remuda.ExecutionCanceled, KilledBy: remuda.KilledByCancel, Reason: "its turn in the runspace did not come: " + remuda.Public(err)}
	}
	s.log.Error("no instance for an execution", "execution", r.id, "runtime", r.row.Runtime, "generation", r.row.Generation, "request", r.p.RequestID, "error", err)
	return engine.Result{State: remuda.ExecutionError, Reason: "no instance could be started: " + remuda.Public(err)}
}

// execute places the files and runs the script.
func (s *Service) execute(r *run, inst engine.Instance) engine.Result {
	timeout := r.req.Timeout
	if timeout == 0 {
		timeout = r.def.ExecTimeout
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout+s.set.Guard)
	defer cancel()
	ctx, giveUp := context.WithCancelCause(ctx)
	defer giveUp(nil)
	r.arm(giveUp, false)
	defer r.arm(nil, false)
	began := time.Now()
	if err := writeFiles(ctx, inst, r.req.Files); err != nil && r.cancelReason() == "" {
		return notPlaced(inst, err)
	}
	placed := time.Since(began)
	used, failed := s.arguments(ctx, r, inst, timeout)
	if failed != nil {
		return *failed
	}
	if !r.setInstance(inst) {
		return engine.Result{State: remuda.ExecutionCanceled, KilledBy: remuda.KilledByCancel, Reason: r.cancelReason() + " before the script started", Dead: !inst.Alive()}
	}
	res, err := inst.Execute(ctx, s.request(r, max(timeout-used.Wall, time.Millisecond)), r.out.add)
	r.setInstance(nil)
	res.Usage = usedToo(used, res.Usage)
	if errors.Is(err, engine.ErrDetached) {
		if res.Unstarted {
			return engine.Result{State: remuda.ExecutionCanceled, KilledBy: remuda.KilledByCancel, Reason: "the server was shut down before it started"}
		}
		r.left = true
		return res
	}
	if err != nil {
		res = s.broken(ctx, r, inst, res.Unstarted, err)
	}
	maps.Copy(r.timings, res.Timings)
	if len(r.req.Files) > 0 {
		r.timings["send"] += placed
	}
	return s.judge(r, res)
}

func (s *Service) request(r *run, timeout time.Duration) engine.Request {
	return engine.Request{
		ID: r.id, Script: r.req.Script, CodeFile: r.req.CodeFile, Args: r.req.Args, Parameters: r.req.Parameters,
		Stdin: r.req.Stdin, Env: withIdentity(merge(r.place.env(), r.req.Env), r.req.Identity), Timeout: timeout,
		OutputLimit: s.set.OutputLimit, KillOnTimeout: r.place.killOnTimeout(), HoldOutput: r.place.holds(),
		Scratch: r.scratch, Streams: r.req.Streams, Objects: r.req.Objects,
	}
}

func writeFiles(ctx context.Context, inst engine.Instance, files []remuda.File) error {
	for _, f := range files {
		if _, err := inst.Files().Write(ctx, f.Path, bytes.NewReader(f.Content), remuda.MaxFileBytes); err != nil {
			return fmt.Errorf("write %q: %w", f.Path, err)
		}
	}
	return nil
}

// notPlaced is the result of a run whose files could not be written.
func notPlaced(inst engine.Instance, err error) engine.Result {
	res := engine.Result{State: remuda.ExecutionError, Reason: "its files could not be placed in the workspace: " + remuda.Public(err), Dead: !inst.Alive()}
	res.Unstarted = res.Dead && remuda.CodeOf(err) == remuda.CodeUnavailable
	if remuda.CodeOf(err) == remuda.CodeTooLarge {
		res.KilledBy = remuda.KilledByDisk
	}
	return res
}

// arm notes how a cold start (coming) or a run is given up; nil when there is none.
func (r *run) arm(giveUp context.CancelCauseFunc, coming bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.giveUp, r.coming = giveUp, coming
	if coming && r.reason != "" {
		giveUp(errGivenUp)
	}
}

// setInstance notes what an interrupt goes to. It reports false when the run was
// canceled before: then the script must not be started. With nil it waits for an
// interrupt that is just being sent.
func (r *run) setInstance(inst engine.Instance) bool {
	r.mu.Lock()
	if inst != nil && r.reason != "" {
		r.mu.Unlock()
		return false
	}
	r.inst = inst
	r.mu.Unlock()
	if inst == nil {
		r.sending.Lock()
		defer r.sending.Unlock()
	}
	return true
}

// cancel ends the run as soon as it can be: at once while it has no instance,
// else by an interrupt, and by killing the sandbox when that did not help. A run
// that has ended is a conflict; a second cancel does nothing more.
func (r *run) cancel(ctx context.Context, reason string, grace time.Duration) error {
	r.mu.Lock()
	switch {
	case r.row.State.Final():
		defer r.mu.Unlock()
		return errEnded(r.row)
	case r.reason != "":
		r.mu.Unlock()
		return nil
	}
	r.reason = reason
	inst := r.inst
	if inst == nil {
		if r.coming {
			r.giveUp(errGivenUp)
		}
		r.mu.Unlock()
		return nil
	}
	if giveUp := r.giveUp; giveUp != nil {
		r.killer = time.AfterFunc(grace+time.Second, func() { r.insist(inst, grace, giveUp) })
	}
	r.sending.Lock() // before mu is given up: setInstance(nil) waits for us
	r.mu.Unlock()
	defer r.sending.Unlock()
	return inst.Interrupt(ctx, remuda.KilledByCancel, grace)
}

// insist interrupts once more what should have ended by now: the first interrupt may
// have come just before the script began. What does not end then either is killed, and
// what has not even taken the first one at once.
func (r *run) insist(inst engine.Instance, grace time.Duration, giveUp context.CancelCauseFunc) {
	r.mu.Lock()
	if r.inst == nil {
		r.mu.Unlock()
		return
	}
	// Not waited for with mu held, which whoever records the run asks for inside a
	// transaction: a sandbox that does not take the first interrupt would hold up the store.
	if !r.sending.TryLock() {
		r.mu.Unlock()
		giveUp(errGivenUp)
		return
	}
	r.killer = time.AfterFunc(grace+time.Second, func() { giveUp(errGivenUp) })
	r.mu.Unlock()
	defer r.sending.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), grace+time.Second)
	defer cancel()
	if inst.Interrupt(ctx, remuda.KilledByCancel, grace) != nil {
		giveUp(errGivenUp)
	}
}

func (r *run) cancelReason() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.reason
}

// snapshot is the execution as it is to be shown.
func (r *run) snapshot() remuda.Execution {
	r.mu.Lock()
	defer r.mu.Unlock()
	row := r.row
	row.Timings = maps.Clone(row.Timings)
	return row
}

// result is the end of the run, or why there is no record of it.
func (r *run) result() (remuda.Execution, error) {
	r.mu.Lock()
	err := r.err
	r.mu.Unlock()
	if err != nil {
		return remuda.Execution{}, err
	}
	return r.snapshot(), nil
}

// wait returns when the run has ended (true), or after d.
func (r *run) wait(ctx context.Context, d time.Duration) (bool, error) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-r.done:
		return true, nil
	case <-timer.C:
		return false, nil
	case <-ctx.Done():
		return false, remuda.Errorf(remuda.CodeCanceled, "wait for execution %s, which goes on: %w", r.id, ctx.Err())
	}
}
