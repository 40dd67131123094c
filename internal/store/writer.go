package store

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/remuda-run/remuda/internal/remuda"
)

// queueLength bounds the writes that wait; a caller beyond it waits to queue.
const queueLength = 1024

// maxGroup bounds the writes of one transaction, so that the first of them does
// not wait for ever for its commit when more keep coming.
const maxGroup = 256

// The life of a Pending. A write that was given up before it started never runs;
// one that started is always waited for, so its outcome is always known.
const (
	pendingQueued int32 = iota
	pendingStarted
	pendingAbandoned
)

// Pending is a write that was queued by Begin.
type Pending struct {
	fn func(*Tx) error
	// company is how many writes are to share a commit with this one, and patience
	// how long it waits for them; 0 is not at all.
	company  int
	patience time.Duration
	state    atomic.Int32
	err      error         // valid once done is closed
	done     chan struct{} // closed when the write is durable or has failed
}

// Write runs fn in a transaction and returns once what it wrote is durable, or
// with the error that undid it. Writes of other callers may share the
// transaction; an error of fn undoes fn's own changes only. fn runs on this or
// another goroutine, one at a time: it must not block, and must not call the store,
// not to read either. A database error inside fn (a duplicate key among them) undoes fn's
// changes even if fn ignores it.
//
// When ctx ends before fn has started, fn never runs. Once it has started, Write
// waits for the outcome whatever ctx says.
func (s *Store) Write(ctx context.Context, fn func(*Tx) error) error {
	p := newPending(fn)
	if done, err := s.writeNow(ctx, p); done || err != nil {
		return err
	}
	if err := s.enqueue(ctx, p); err != nil {
		return err
	}
	select {
	case <-p.done:
		return p.err
	case <-ctx.Done():
		if p.state.CompareAndSwap(pendingQueued, pendingAbandoned) {
			return contextError(ctx)
		}
		<-p.done
		return p.err
	}
}

// Begin queues fn as Write does, without waiting for its outcome. Writes run in
// the order in which they were queued. It blocks while the queue is full.
func (s *Store) Begin(fn func(*Tx) error) *Pending {
	p := newPending(fn)
	if err := s.enqueue(context.Background(), p); err != nil {
		p.err = err
		close(p.done)
	}
	return p
}

// BeginPatiently is Begin for a caller that knows of more to come: the write may
// wait until so many (company) share its commit, for at most patience and only as
// long as nobody writes who is not patient. What the disk costs for one commit is
// several times what it costs to write one row more.
func (s *Store) BeginPatiently(patience time.Duration, company int, fn func(*Tx) error) *Pending {
	p := newPending(fn)
	p.patience, p.company = patience, min(company, maxGroup)
	if err := s.enqueue(context.Background(), p); err != nil {
		p.err = err
		close(p.done)
	}
	return p
}

// Wait returns the outcome of the write. When ctx ends first the write goes on;
// call Wait again to learn its outcome.
func (p *Pending) Wait(ctx context.Context) error {
	select {
	case <-p.done:
		return p.err
	case <-ctx.Done():
		return contextError(ctx)
	}
}

// Durable says whether the write has succeeded already.
func (p *Pending) Durable() bool {
	select {
	case <-p.done:
		return p.err == nil
	default:
		return false
	}
}

func newPending(fn func(*Tx) error) *Pending {
	return &Pending{fn: fn, done: make(chan struct{})}
}

// writeNow runs p on the caller's goroutine when nobody is writing and nothing
// waits, and reports whether it did: a lone write then costs no switch to another
// goroutine and back.
func (s *Store) writeNow(ctx context.Context, p *Pending) (done bool, err error) {
	s.mu.RLock() // Close waits for us
	defer s.mu.RUnlock()
	if s.closed || ctx.Err() != nil || !s.writing.TryLock() {
		return false, nil
	}
	defer s.writing.Unlock()
	// A write that was queued before this one must run before it.
	if s.waiting.Load() > 0 {
		return false, nil
	}
	// The writer may hold a write that it took from the queue and waits for us with. One
	// that was queued after that must not run before it.
	s.runAlone(p)
	return true, p.err
}

// runAlone runs p in a transaction that it shares with nobody. The caller holds writing.
func (s *Store) runAlone(p *Pending) {
	s.waiting.Add(1)
	s.runGroup(p, nil, func(int) (*Pending, bool) { return nil, false })
}

// enqueue holds mu while it sends, so that Close cannot close the queue under
// it. The writer drains meanwhile, so Close does not wait long.
func (s *Store) enqueue(ctx context.Context, p *Pending) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return errClosed()
	}
	if ctx.Err() != nil {
		return contextError(ctx)
	}
	s.waiting.Add(1)
	select {
	case s.queue <- p:
		return nil
	default:
	}
	select {
	case s.queue <- p:
		return nil
	case <-ctx.Done():
		s.waiting.Add(-1)
		return contextError(ctx)
	}
}

// runWriter is the goroutine that runs what is queued. It ends when the queue is
// closed and empty.
func (s *Store) runWriter() {
	defer close(s.drained)
	group := make([]*Pending, 0, maxGroup)
	var held []*Pending
	for p := range s.queue {
		held = s.gather(append(held[:0], p))
		rest := held[1:]
		s.writing.Lock()
		group = s.runGroup(p, group[:0], func(have int) (*Pending, bool) {
			if len(rest) == 0 {
				return s.next(have)
			}
			next := rest[0]
			rest = rest[1:]
			return next, true
		})
		s.writing.Unlock()
		clear(group) // keep no closures alive while idle
		clear(held)
	}
}

// gather waits with a patient write for others, until one comes that is not. The
// least patient of them says how long, and for how many.
func (s *Store) gather(held []*Pending) []*Pending {
	company, end := held[0].company, time.Now().Add(held[0].patience)
	if company < 2 {
		return held
	}
	enough := time.NewTimer(held[0].patience)
	defer enough.Stop()
	for len(held) < company {
		select {
		case p, open := <-s.queue:
			if !open {
				return held
			}
			held = append(held, p)
			if p.company < 2 {
				return held
			}
			company = min(company, p.company)
			if sooner := time.Now().Add(p.patience); sooner.Before(end) {
				end = sooner
				enough.Reset(p.patience)
			}
		case <-enough.C:
			return held
		}
	}
	return held
}

// runGroup runs first and what next gives in one transaction and answers them
// all. The caller holds writing.
func (s *Store) runGroup(first *Pending, group []*Pending, next func(have int) (*Pending, bool)) []*Pending {
	if err := s.writer.command(context.Background(), s.backend.beginWrite()); err != nil {
		return s.failGroup(append(group, first), "starting to write", err)
	}
	tx := &Tx{c: s.writer, s: s, writable: true}
	run := s.runFirst
	for p, more := first, true; more; p, more = next(len(group)) {
		group = append(group, p)
		if !p.state.CompareAndSwap(pendingQueued, pendingStarted) {
			continue // given up by its caller, who has the answer already
		}
		switch applied, err := tx.applyEnds(context.Background()); {
		case err != nil:
			return s.failGroup(group, "writing", err)
		case applied:
			run = s.runOne
		}
		if err := run(tx, p); err != nil {
			return s.failGroup(group, "writing", err)
		}
		run = s.runOne
	}
	if err := s.writer.command(context.Background(), "COMMIT"); err != nil {
		return s.failGroup(group, "making changes durable", err)
	}
	s.failing.Store(nil)
	s.ends.journal.Forget(tx.applied)
	s.answer(group)
	s.committed(tx.changes)
	return group
}

// next takes another write if one is waiting and the group has room.
func (s *Store) next(n int) (*Pending, bool) {
	if n >= maxGroup {
		return nil, false
	}
	select {
	case p, open := <-s.queue:
		return p, open
	default:
		return nil, false
	}
}

// runFirst runs the first write of a group, which is most often its only one.
// Nothing is in the transaction yet, so the transaction itself is its savepoint.
func (s *Store) runFirst(tx *Tx, p *Pending) error {
	ctx := context.Background()
	tx.failed = nil
	p.err = call(p.fn, tx)
	if p.err == nil {
		p.err = tx.failed
	}
	if p.err == nil {
		return nil
	}
	if err := s.writer.command(ctx, "ROLLBACK"); err != nil {
		if tx.failed != nil {
			return tx.failed // SQLite has rolled back by itself
		}
		return err
	}
	tx.changes = 0
	return s.writer.command(ctx, s.backend.beginWrite())
}

// runOne runs one write inside a savepoint. The returned error says that the
// transaction as a whole is lost; the write's own error goes to p.
func (s *Store) runOne(tx *Tx, p *Pending) error {
	ctx := context.Background()
	if err := s.writer.command(ctx, "SAVEPOINT one"); err != nil {
		return err
	}
	tx.failed = nil
	p.err = call(p.fn, tx)
	if p.err == nil {
		p.err = tx.failed
	}
	if p.err != nil {
		if err := s.writer.command(ctx, "ROLLBACK TO SAVEPOINT one"); err != nil {
			// SQLite ends the whole transaction by itself on a full disk.
			if tx.failed != nil {
				return tx.failed
			}
			return err
		}
	}
	return s.writer.command(ctx, "RELEASE SAVEPOINT one")
}

// call runs fn and turns a panic into an error: the writes of other callers in
// the same group must not go down with it.
func call(fn func(*Tx) error, tx *Tx) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = remuda.Internal("writing to the database", fmt.Errorf("panic: %v\n%s", r, debug.Stack()))
		}
	}()
	return fn(tx)
}

// failGroup undoes the transaction and answers everybody in it: nothing of the
// group was acknowledged, and nothing of it stays.
func (s *Store) failGroup(group []*Pending, doing string, err error) []*Pending {
	public := s.explain(doing, err)
	clear(s.heads) // what was appended is gone
	// After a failed BEGIN, or when SQLite has rolled back by itself, there is
	// nothing to undo and this fails; no transaction is open either way.
	_ = s.writer.command(context.Background(), "ROLLBACK")
	if s.failing.Swap(&public) == nil { // once per trouble, not once per write
		s.logger.Error("a group of writes failed", "writes", len(group), "error", public)
	}
	for _, p := range group {
		if p.err == nil {
			p.err = public
		}
	}
	s.answer(group)
	return group
}

// answer tells the callers of a group that its outcome is known.
func (s *Store) answer(group []*Pending) {
	s.waiting.Add(-int64(len(group)))
	for _, p := range group {
		close(p.done)
	}
}
