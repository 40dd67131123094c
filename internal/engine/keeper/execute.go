package keeper

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/engine/local/cgroup"
	"github.com/remuda-run/remuda/internal/guest/protocol"
	"github.com/remuda-run/remuda/internal/remuda"
)

// killSlack is how much later than the keeper we enforce a time limit. The
// keeper shares its sandbox's processor time and may come late.
const killSlack = 500 * time.Millisecond

// maxQueued bounds the output that the keeper may have sent and the sink has not
// taken. The keeper holds itself to about 1 MiB.
const maxQueued = 4 << 20

// run is an execution in flight: what the reader has heard and Execute has not
// handled.
type run struct {
	id     string
	hold   bool          // output is acknowledged by others
	wake   chan struct{} // capacity 1: there is something new
	begun  time.Time
	before cgroup.Usage // of the group, when it began

	mu      sync.Mutex
	records []remuda.OutputRecord
	queued  int // bytes in records
	lastSeq int64
	first   int64 // record that comes, of one that is taken over
	skip    int64 // records up to this one are not given to the sink
	end     *protocol.End
	isDead  bool
	timers  []*time.Timer
	frame   int64 // number of its Execute among what was sent; 0 while it is not, or not whole
}

// Execute implements engine.Instance.
func (i *Instance) Execute(ctx context.Context, req engine.Request, sink engine.Sink) (engine.Result, error) {
	r := newRun(req)
	if err := i.start(r); err != nil {
		return engine.Result{Unstarted: remuda.CodeOf(err) == remuda.CodeUnavailable}, err
	}
	defer i.finish(r)
	if err := i.weigh(); err != nil {
		return engine.Result{Unstarted: true}, remuda.Internal("giving a sandbox its share of the processor", err)
	}
	before, err := i.opts.Group.Usage()
	if err != nil {
		return engine.Result{Unstarted: true}, remuda.Internal("reading what a sandbox used", err)
	}
	r.begun, r.before = time.Now(), before
	frame := frameOf(req)
	frame.Mark = protocol.Mark{CPUNS: int64(before.CPU), OOMKills: before.OOMKills, PidsMax: before.PidsMax}
	r.frame = i.conn.frames.Load() + 1
	if err := i.conn.send(protocol.TypeExecute, &frame); err != nil {
		r.frame = 0
		i.kill() // the loop ends when the sandbox has
	}
	sent := time.Since(r.begun)
	res, err := i.follow(ctx, r, req, sink)
	if err == nil {
		res.Timings["send"] = sent
	}
	return res, err
}

// follow goes along with an execution that the keeper has until it has ended.
func (i *Instance) follow(ctx context.Context, r *run, req engine.Request, sink engine.Sink) (engine.Result, error) {
	if req.Timeout > 0 {
		left := max(0, req.Timeout-time.Since(r.begun))
		r.after(left+killSlack, func() { i.end(remuda.KilledByTime, timeReason(req.Timeout)) })
	}
	// Not in the loop below: the sink may be waiting.
	stop := context.AfterFunc(ctx, func() { i.end(remuda.KilledByCancel, "the caller went away") })
	defer stop()
	err := i.deliver(r, sink)
	if left := i.leftBehind(); left != nil {
		return engine.Result{Unstarted: r.frame == 0}, left
	}
	if err != nil {
		i.end(remuda.KilledByCancel, "its output could not be taken")
		<-i.watched // rather than done: it may be left behind in this moment
		return engine.Result{}, fmt.Errorf("take the output of a script: %w", err)
	}
	res := i.result(r, req, r.before)
	if res.Usage.Wall == 0 {
		res.Usage.Wall = time.Since(r.begun)
	}
	return res, nil
}

func frameOf(req engine.Request) protocol.Execute {
	limit := req.OutputLimit
	if limit <= 0 {
		limit = remuda.DefaultOutputLimit
	}
	return protocol.Execute{
		ID: string(req.ID), Script: req.Script, CodeFile: req.CodeFile, Name: req.Name, Args: req.Args,
		Parameters: req.Parameters, Stdin: req.Stdin, Env: req.Env,
		TimeoutMS: ceilMS(req.Timeout), KillOnTimeout: req.KillOnTimeout, OutputLimit: limit,
		Assign: req.Assign, Scratch: req.Scratch, Streams: req.Streams, Objects: req.Objects,
	}
}

// ceilMS keeps a limit under a millisecond from becoming none.
func ceilMS(d time.Duration) int64 {
	return int64((d + time.Millisecond - 1) / time.Millisecond)
}

func timeReason(limit time.Duration) string { return fmt.Sprintf("it ran longer than %s", limit) }

func newRun(req engine.Request) *run {
	return &run{id: string(req.ID), hold: req.HoldOutput, wake: make(chan struct{}, 1)}
}

// start makes r what runs.
func (i *Instance) start(r *run) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.detached {
		return errDetached()
	}
	if i.pending {
		return remuda.Errorf(remuda.CodeConflict, "the execution %s of an earlier server waits to be resumed or dropped in the sandbox", i.run.id)
	}
	if i.ended || i.cause != (cause{}) {
		return &remuda.Error{Code: remuda.CodeUnavailable, Message: "the sandbox has ended", Cause: i.cause.reason, Remedy: "use a new one"}
	}
	if i.run != nil {
		return remuda.Errorf(remuda.CodeConflict, "an execution already runs in the sandbox")
	}
	i.run = r
	return nil
}

func (i *Instance) finish(r *run) {
	i.mu.Lock()
	i.run = nil
	i.mu.Unlock()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stopTimers()
}

// stopTimers is called with the lock.
func (r *run) stopTimers() {
	for _, t := range r.timers {
		t.Stop()
	}
	r.timers = nil
}

// deliver gives output to the sink until the execution has ended and all of it
// is given. The error is the sink's.
func (i *Instance) deliver(r *run, sink engine.Sink) error {
	for range r.wake {
		for {
			records, over := r.take()
			for _, rec := range records {
				if sink == nil || rec.Seq <= r.skip {
					continue
				}
				if err := sink(rec); err != nil {
					return err
				}
			}
			if n := len(records); n > 0 {
				if !r.hold {
					i.acknowledge(r.id, records[n-1].Seq)
				}
				continue
			}
			if over {
				return nil
			}
			break
		}
	}
	return nil
}

// acknowledge says that records are safe. Nobody misses it when the keeper has
// died.
func (i *Instance) acknowledge(id string, seq int64) {
	_ = i.conn.send(protocol.TypeAck, &protocol.Ack{ID: id, Seq: seq})
}

// Acknowledge implements engine.Acknowledger.
func (i *Instance) Acknowledge(id remuda.ExecutionID, seq int64) { i.acknowledge(string(id), seq) }

// take empties the queue; over says that nothing more will come.
func (r *run) take() (records []remuda.OutputRecord, over bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	records, r.records, r.queued = r.records, nil, 0
	return records, r.end != nil || r.isDead
}

// after runs f later, unless the execution has ended.
func (r *run) after(d time.Duration, f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.end == nil {
		r.timers = append(r.timers, time.AfterFunc(d, f))
	}
}

func (r *run) signal() {
	select {
	case r.wake <- struct{}{}:
	default: // it is told already
	}
}

func (r *run) dead() {
	r.mu.Lock()
	r.isDead = true
	r.mu.Unlock()
	r.signal()
}

// current is what runs, if it is what a frame speaks of.
func (i *Instance) current() *run {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.run
}

// streams are the streams of Output frames.
var streams = map[byte]remuda.Stream{
	protocol.StreamStdout: remuda.StreamStdout, protocol.StreamStderr: remuda.StreamStderr,
	protocol.StreamInformation: remuda.StreamInformation, protocol.StreamWarning: remuda.StreamWarning,
	protocol.StreamError: remuda.StreamError, protocol.StreamDebug: remuda.StreamDebug,
	protocol.StreamVerbose: remuda.StreamVerbose, protocol.StreamObject: remuda.StreamObject,
}

func (i *Instance) handleOutput(payload []byte) error {
	seq, stream, data, err := protocol.ParseOutput(payload)
	if err != nil {
		return fmt.Errorf("%w: %w", errProtocol, err)
	}
	name, ok := streams[stream]
	if !ok {
		return fmt.Errorf("%w: output of stream %d", errProtocol, stream)
	}
	rec := remuda.OutputRecord{Seq: seq, Stream: name, Data: data, At: time.Now().UTC().Truncate(time.Microsecond)}
	r := i.current()
	if r == nil {
		return fmt.Errorf("%w: output while nothing runs", errProtocol)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.end != nil:
		return fmt.Errorf("%w: output after the end", errProtocol)
	case seq != r.lastSeq+1:
		return fmt.Errorf("%w: output %d after %d", errProtocol, seq, r.lastSeq)
	case r.queued+len(data) > maxQueued:
		return fmt.Errorf("%w: more than %d bytes of output were not acknowledged", errProtocol, maxQueued)
	}
	r.lastSeq = seq
	r.queued += len(data)
	r.records = append(r.records, rec)
	r.signal()
	return nil
}

func (i *Instance) handleEnd(payload []byte) error {
	var end protocol.End
	if err := decode(payload, &end); err != nil {
		return err
	}
	r := i.current()
	if r == nil || r.id != end.ID {
		return fmt.Errorf("%w: the end of %q, which does not run", errProtocol, end.ID)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.end != nil || end.LastSeq != r.lastSeq {
		return fmt.Errorf("%w: an end after record %d that names %d", errProtocol, r.lastSeq, end.LastSeq)
	}
	if end.Dead {
		if i.opts.Shared {
			// The keeper stays, and so can tell of a death that we have caused.
			i.acknowledge(r.id, end.LastSeq+1)
			if i.ending() {
				return nil
			}
		}
		i.leaving(end)
	}
	r.end = &end
	r.stopTimers()
	r.signal()
	return nil
}

// ending reports whether the sandbox is being ended by us.
func (i *Instance) ending() bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.cause != (cause{})
}

// leaving notes why the keeper will end now by itself.
func (i *Instance) leaving(end protocol.End) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.cause == (cause{}) {
		i.cause = cause{by: remuda.KilledBy(end.KilledBy), reason: end.Reason}
	}
}

// Interrupt implements engine.Instance.
func (i *Instance) Interrupt(_ context.Context, by remuda.KilledBy, grace time.Duration) error {
	r := i.current()
	if r == nil {
		return nil
	}
	r.after(grace+killSlack, func() { i.end(by, "it did not end when it was interrupted") })
	err := i.conn.send(protocol.TypeInterrupt, &protocol.Interrupt{ID: r.id, By: string(by), GraceMS: grace.Milliseconds()})
	if err != nil {
		i.kill() // it has ended, or it does not listen
	}
	return nil
}

// usage is what was used since before.
func (i *Instance) usage(before cgroup.Usage) (cgroup.Usage, error) {
	var err error
	i.mu.Lock()
	now, over := i.final, i.ended
	i.mu.Unlock()
	if !over {
		if now, err = i.opts.Group.Usage(); err != nil {
			return cgroup.Usage{}, fmt.Errorf("read what a sandbox used: %w", err)
		}
	}
	return cgroup.Usage{
		CPU: max(0, now.CPU-before.CPU), PeakMemory: now.PeakMemory,
		OOMKills: more(now.OOMKills, before.OOMKills), PidsMax: more(now.PidsMax, before.PidsMax),
	}, nil
}

// more is what a counter has grown by. What it was may be a keeper's word.
func more(now, before uint64) uint64 { return now - min(now, before) }
