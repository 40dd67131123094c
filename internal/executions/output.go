package executions

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/remuda-run/remuda/internal/remuda"
	"github.com/remuda-run/remuda/internal/store"
)

const (
	flushBytes = 64 << 10  // stored at once when so much waits
	maxWaiting = 256 << 10 // a writer beyond it is held up
)

// What writes more than a flood's size waits so long for others with each commit,
// so that it does not keep the store busy alone.
const (
	flood         = 1 << 20
	floodPatience = 20 * time.Millisecond
	floodCompany  = 16
)

// output is the output of one run on its way to the store. Records wait here
// until enough have come or FlushEvery has passed; readers learn of them once
// they are durable.
type output struct {
	store Store
	org   remuda.OrganizationID
	id    remuda.ExecutionID
	every time.Duration
	first func() // queues the row that output refers to
	// acknowledge says that records are durable up to a number; nil tells nobody.
	acknowledge func(seq int64)

	mu        sync.Mutex
	room      *sync.Cond // signaled when a flush has ended
	waiting   []remuda.OutputRecord
	size      int // bytes that wait
	timer     *time.Timer
	flushing  bool
	closed    bool
	bytes     int64 // of all records
	last      int64 // number of the last record that came
	published int64 // number of the last durable record
	changed   chan struct{}
	err       error // why output could not be stored
}

func newOutput(st Store, org remuda.OrganizationID, id remuda.ExecutionID, every time.Duration, first func()) *output {
	o := &output{store: st, org: org, id: id, every: every, first: first, changed: make(chan struct{})}
	o.room = sync.NewCond(&o.mu)
	return o
}

// resume goes on with what is stored already.
func (o *output) resume(last, bytes int64) {
	o.last, o.published, o.bytes = last, last, bytes
}

// add is the engine's sink. It blocks while too much waits to be stored.
func (o *output) add(rec remuda.OutputRecord) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	for o.err == nil && !o.closed && o.size > 0 && o.size+len(rec.Data) > maxWaiting {
		o.room.Wait()
	}
	if o.err != nil {
		return o.err
	}
	if o.closed {
		return remuda.Errorf(remuda.CodeConflict, "output after the end of execution %s", o.id)
	}
	if rec.Seq != o.last+1 {
		return remuda.Internal("taking output", fmt.Errorf("record %d of execution %s came after record %d", rec.Seq, o.id, o.last))
	}
	o.last = rec.Seq
	if rec.At.IsZero() {
		rec.At = remuda.Now()
	}
	rec.Data = slices.Clone(rec.Data) // the engine may use its buffer again
	o.waiting = append(o.waiting, rec)
	o.size += len(rec.Data)
	o.bytes += int64(len(rec.Data))
	o.schedule()
	return nil
}

// schedule sees to it that what waits will be stored. Needs mu.
func (o *output) schedule() {
	switch {
	case o.closed || o.flushing || o.err != nil || len(o.waiting) == 0:
	case o.size >= flushBytes:
		o.begin()
	case o.timer == nil:
		o.timer = time.AfterFunc(o.every, func() {
			o.mu.Lock()
			defer o.mu.Unlock()
			o.timer = nil
			if !o.closed && !o.flushing && len(o.waiting) > 0 {
				o.begin()
			}
		})
	}
}

// begin takes what waits and stores it in the background. Needs mu. take waits
// for it.
func (o *output) begin() {
	if o.timer != nil {
		o.timer.Stop()
		o.timer = nil
	}
	batch := o.waiting
	o.waiting, o.size, o.flushing = nil, 0, true
	go o.flush(batch, o.bytes > flood)
}

func (o *output) flush(batch []remuda.OutputRecord, patient bool) {
	o.first()
	write := func(tx *store.Tx) error { return tx.AppendOutput(context.Background(), o.org, o.id, batch) }
	var err error
	if !patient || o.store.BeginPatiently(floodPatience, floodCompany, write).Wait(context.Background()) != nil {
		err = store.Insist(o.store, write)
	}
	last := batch[len(batch)-1].Seq
	if err == nil && o.acknowledge != nil {
		o.acknowledge(last)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.flushing = false
	if err != nil {
		o.err = err
	} else {
		o.publish(last)
	}
	o.room.Broadcast()
	o.schedule()
}

// publish tells readers. Needs mu.
func (o *output) publish(last int64) {
	o.published = max(o.published, last)
	close(o.changed)
	o.changed = make(chan struct{})
}

// take ends the output: it returns what is not stored yet, which is the caller's
// to store, and how many bytes there were in all.
func (o *output) take() (rest []remuda.OutputRecord, bytes int64, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed = true
	if o.timer != nil {
		o.timer.Stop()
		o.timer = nil
	}
	for o.flushing {
		o.room.Wait()
	}
	if o.err != nil { // a record after the ones that are missing would be a gap
		return nil, o.bytes, o.err
	}
	rest, o.waiting = o.waiting, nil
	return rest, o.bytes, nil
}

// await returns when there is a durable record after the given one, when ended
// is closed, or after d.
func (o *output) await(ctx context.Context, after int64, d time.Duration, ended <-chan struct{}) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	for {
		o.mu.Lock()
		published, changed := o.published, o.changed
		o.mu.Unlock()
		if published > after {
			return nil
		}
		select {
		case <-changed:
		case <-ended:
			return nil
		case <-timer.C:
			return nil
		case <-ctx.Done():
			return remuda.Errorf(remuda.CodeCanceled, "wait for output: %w", ctx.Err())
		}
	}
}
