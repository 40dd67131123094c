package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/remuda-run/remuda/internal/remuda"
	"github.com/remuda-run/remuda/internal/store/journal"
)

// End is how an execution has ended, with everything that is recorded of it. As JSON
// it is what the journal holds: its names, and those of what is in it, change only
// together with the form of the journal.
type End struct {
	Execution remuda.Execution
	// Born says that the execution is in the store already.
	Born   bool
	Output []remuda.OutputRecord // that is not in the store
	Audit  []remuda.AuditEntry   // of the execution's organization
}

// Ends are written to the tables together, when so many wait or so much time has
// passed, and before anybody writes anything else or reads of them.
const (
	endsTogether = 32
	endsWithin   = 50 * time.Millisecond
	endsAgain    = time.Second // after they could not be written
)

// ends are the executions whose end is durable in the journal, and not in the tables.
type ends struct {
	journal *journal.Journal[*End]
	some    chan struct{} // one place; there is one
	many    chan struct{} // one place; there are endsTogether
	stop    chan struct{}
	stopped chan struct{}
}

// RecordEnd returns once the end of an execution is durable, or with the error for
// which it is not. It costs less than Write: most ends wait in a journal beside the
// database until there are more. Whoever reads or writes through this store finds them
// in the tables.
func (s *Store) RecordEnd(ctx context.Context, e *End) error {
	if s.failing.Load() == nil && e.fits() {
		payload, err := json.Marshal(e)
		if err != nil {
			return remuda.Internal("encoding the end of an execution", err)
		}
		if s.ends.journal.Append(payload, e) == nil {
			s.ends.tell()
			return nil
		}
	}
	// Output of any size is allowed, and of a disk that takes nothing a transaction says
	// what is the matter.
	return s.Write(ctx, func(tx *Tx) error { return tx.RecordEnd(ctx, e) })
}

// fits says whether the journal may take e: what is certain not to fit need not be
// encoded to find that out.
func (e *End) fits() bool {
	size := 0
	for _, r := range e.Output {
		size += len(r.Data)
	}
	return size <= journal.MaxRecord
}

// tell wakes the goroutine that moves ends to the tables.
func (e *ends) tell() {
	signal(e.some)
	if e.journal.Len() >= endsTogether {
		signal(e.many)
	}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default: // somebody has said it already
	}
}

// RecordEnd writes an end to the tables, as a part of a transaction. The row comes
// first: output refers to it.
func (tx *Tx) RecordEnd(ctx context.Context, e *End) error {
	write := tx.InsertExecution
	if e.Born {
		write = tx.UpdateExecution
	}
	if err := write(ctx, e.Execution); err != nil {
		return err
	}
	if err := tx.AppendOutput(ctx, e.Execution.Organization, e.Execution.ID, e.Output); err != nil {
		return err
	}
	return tx.AppendAudit(ctx, e.Audit...)
}

// openEnds opens the journal. What an earlier process has left in it is written to the
// tables with the first transaction.
func (s *Store) openEnds(ctx context.Context, path string, lasting bool) error {
	type place struct {
		owner string
		last  int64
	}
	const doing = "opening the journal of the database"
	at, err := one(ctx, &Tx{c: s.writer, s: s}, doing, errors.New("the table journal is empty"),
		func(r scanner) (p place, err error) { return p, r.Scan(&p.owner, &p.last) },
		"SELECT owner, last FROM journal WHERE id = 1")
	if err != nil {
		return s.explain(doing, err)
	}
	opened, err := journal.Open(journal.Options[*End]{
		Path: path, Owner: at.owner, Forgotten: uint64(at.last), Lasting: lasting,
		Decode: func(payload []byte) (*End, error) {
			e := &End{}
			return e, json.Unmarshal(payload, e)
		},
	})
	if errno := syscall.Errno(0); errors.As(err, &errno) {
		return openError(path, err)
	}
	if err != nil {
		return &remuda.Error{
			Code: remuda.CodeUnavailable, Message: fmt.Sprintf("the journal %s cannot be read; nothing was changed", path), Cause: err.Error(),
			Remedy: "start the newer remuda that has written it, so that what it acknowledged is not lost", Err: err,
		}
	}
	s.ends = &ends{
		journal: opened, some: make(chan struct{}, 1), many: make(chan struct{}, 1), stop: make(chan struct{}), stopped: make(chan struct{}),
	}
	if n := opened.Len(); n > 0 {
		s.logger.InfoContext(ctx, "ends of executions are taken over from the journal", "ends", n)
	}
	return nil
}

// applyEnds writes to the tables what waits in the journal, so that what comes next in
// the transaction finds it there, and reports whether there was any. An error says
// that the transaction is lost.
func (tx *Tx) applyEnds(ctx context.Context) (bool, error) {
	kept := tx.s.ends.journal.Kept()
	for len(kept) > 0 && kept[0].Number <= tx.applied {
		kept = kept[1:]
	}
	if len(kept) == 0 {
		return false, nil
	}
	for _, entry := range kept {
		if err := tx.applyEnd(ctx, entry.Value); err != nil {
			return true, err
		}
	}
	last := kept[len(kept)-1].Number
	tx.failed = nil
	if _, err := tx.exec(ctx, "moving ends from the journal", "UPDATE journal SET last = $1 WHERE id = 1", int64(last)); err != nil {
		return true, err
	}
	tx.applied = last
	return true, nil
}

// applyEnd writes one end. One that the tables can never take is left out, and said
// to be: it must not keep everything else from being written.
func (tx *Tx) applyEnd(ctx context.Context, e *End) error {
	p := newPending(func(tx *Tx) error { return tx.RecordEnd(ctx, e) })
	if err := tx.s.runOne(tx, p); err != nil {
		return err
	}
	switch remuda.CodeOf(p.err) {
	case "":
		return nil
	case remuda.CodeUnavailable, remuda.CodeCanceled, remuda.CodeDeadline:
		return p.err
	default:
		tx.s.logger.Error("the end of an execution does not fit what is stored and was left out",
			"execution", e.Execution.ID, "organization", e.Execution.Organization, "state", e.Execution.State, "error", p.err)
		return nil
	}
}

// Ended names executions; the zero value names none.
type Ended struct {
	Organization remuda.OrganizationID
	Execution    remuda.ExecutionID // "" is all of the organization
}

func (n Ended) has(e *End) bool {
	return e.Execution.Organization == n.Organization && (n.Execution == "" || e.Execution.ID == n.Execution)
}

// settleEnds has what waits in the journal written to the tables, for somebody who
// reads them, if anything of it matters to him.
func (s *Store) settleEnds(ctx context.Context, matters func(*End) bool) error {
	if s.ends == nil {
		return nil
	}
	for _, entry := range s.ends.journal.Kept() {
		if matters(entry.Value) {
			return s.applyNow(ctx)
		}
	}
	return nil
}

// readOver is Read while what waits in the journal cannot be written to the tables,
// for which a full disk is the reason most often: it is written in a transaction that
// is undone, which takes no space. It reports whether fn has run; if it has not, the
// tables are all that can be read.
func (s *Store) readOver(ctx context.Context, fn func(*Tx) error) (done bool, err error) {
	if ctx.Err() != nil {
		return true, contextError(ctx)
	}
	s.mu.RLock() // Close waits for us
	defer s.mu.RUnlock()
	if s.closed {
		return false, nil
	}
	s.writing.Lock()
	defer s.writing.Unlock()
	whole := context.Background()
	if s.writer.command(whole, s.backend.beginWrite()) != nil {
		return false, nil
	}
	defer func() {
		clear(s.heads)                          // what was appended is gone
		_ = s.writer.command(whole, "ROLLBACK") // SQLite may have done it by itself
	}()
	tx := &Tx{c: s.writer, s: s, writable: true}
	if _, err := tx.applyEnds(whole); err != nil {
		return false, nil
	}
	tx.writable, tx.whole = false, true
	return true, fn(tx)
}

// applyNow makes a transaction; each begins with what waits in the journal.
func (s *Store) applyNow(ctx context.Context) error {
	return s.Write(ctx, func(*Tx) error { return nil })
}

// runEnds is the goroutine that writes ends to the tables when nobody else does.
func (s *Store) runEnds() {
	e := s.ends
	defer close(e.stopped)
	pause := time.NewTimer(endsWithin)
	defer pause.Stop()
	for {
		select {
		case <-e.some:
		case <-e.stop:
			return
		}
		pause.Reset(endsWithin)
		for e.journal.Len() > 0 {
			select {
			case <-pause.C:
			case <-e.many:
			case <-e.stop:
				return
			}
			wait := endsWithin                           // of what has come since, and was told to nobody who listened
			if s.applyNow(context.Background()) != nil { // which is logged
				wait = endsAgain
			}
			pause.Reset(wait)
		}
	}
}

// closeEnds ends the goroutine, writes what waits to the tables and closes the journal.
// What cannot be written stays in it for the next process. The writer must have ended
// before.
func (s *Store) closeEnds() error {
	close(s.ends.stop)
	<-s.ends.stopped
	if s.ends.journal.Len() > 0 {
		s.writing.Lock()
		s.runAlone(newPending(func(*Tx) error { return nil })) // failures are logged
		s.writing.Unlock()
	}
	if err := s.ends.journal.Close(); err != nil {
		return fmt.Errorf("close the journal: %w", err)
	}
	return nil
}
