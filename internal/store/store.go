package store

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/remuda-run/remuda/internal/remuda"
)

// Options say which database to open.
type Options struct {
	Path string // SQLite file; made, with mode 0600, when it does not exist. Required.
	// Durability says what an acknowledged write survives; "" is DurabilityMachine.
	Durability Durability
	Logger     *slog.Logger // nil discards
}

// Durability says what an acknowledged write survives, besides the end of this
// process by whatever signal, and a full disk.
type Durability string

const (
	// DurabilityMachine waits for the disk at each commit: what was acknowledged
	// survives a loss of power.
	DurabilityMachine Durability = "machine"
	// DurabilityProcess leaves the journal to the kernel: a crash of the machine or
	// a loss of power may take back the last commits, whole and from the end, and any
	// of the last ends of executions (RecordEnd).
	DurabilityProcess Durability = "process"
)

// Store is an open database. Its methods may be called from any goroutine.
type Store struct {
	backend backend
	logger  *slog.Logger

	queue   chan *Pending
	mu      sync.RWMutex // held for reading while a write is being queued
	closed  bool
	drained chan struct{} // closed when the writer has answered everything
	waiting atomic.Int64  // writes that were queued and are not answered yet

	writing sync.Mutex // held while a group runs; guards writer, heads and what a group touches
	writer  *conn
	readers chan *conn                     // a slot per reader; nil slots are opened when first used
	heads   map[remuda.OrganizationID]head // ends of the audit chains

	checkpoints checkpoints
	ends        *ends // nil where nothing is written

	// failing is the error of the last commit if that failed, so that Ping
	// tries a real write instead of trusting an empty one.
	failing atomic.Pointer[error]
}

// maxReaders bounds the reader connections. Reads are short and mostly cached;
// more connections only cost memory.
const maxReaders = 4

// Open opens the database, brings its schema up to date and starts the writer.
// Close it when done.
func Open(ctx context.Context, o Options) (*Store, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	b, err := openSQLite(ctx, o.Path, o.Durability)
	if err != nil {
		return nil, err
	}
	s := &Store{
		backend: b,
		logger:  o.Logger,
		queue:   make(chan *Pending, queueLength),
		drained: make(chan struct{}),
		readers: make(chan *conn, maxReaders),
		heads:   make(map[remuda.OrganizationID]head),
	}
	for range maxReaders {
		s.readers <- nil
	}
	if err := s.start(ctx, o); err != nil {
		return nil, errors.Join(err, b.close())
	}
	return s, nil
}

// start brings the database up to date, with what an earlier process has left in the
// journal, and starts the goroutines.
func (s *Store) start(ctx context.Context, o Options) error {
	if err := migrate(ctx, s.backend, s.logger); err != nil {
		return s.explain("preparing the schema of the database", err)
	}
	w, err := s.backend.connect(ctx, true)
	if err != nil {
		return s.explain("opening the database for writing", err)
	}
	s.writer = w
	if err := s.openEnds(ctx, o.Path+"-ends", o.Durability != DurabilityProcess); err != nil {
		return errors.Join(err, w.close())
	}
	if err := s.startCheckpoints(ctx); err != nil {
		return errors.Join(s.explain("opening the database for checkpoints", err), s.ends.journal.Close(), w.close())
	}
	go s.runWriter()
	go s.runEnds()
	if s.ends.journal.Len() == 0 {
		return nil
	}
	if err := s.applyNow(ctx); err != nil {
		return errors.Join(err, s.Close())
	}
	return nil
}

// Close lets every write that was queued before finish and be answered, refuses
// later ones with CodeUnavailable, and closes the database. Reads that are under
// way finish first. It may be called twice.
func (s *Store) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		<-s.drained
		return nil
	}
	s.closed = true
	close(s.queue)
	s.mu.Unlock()
	<-s.drained
	errs := []error{s.closeEnds(), s.checkpoints.stop(), s.writer.close()}
	for range maxReaders {
		if c := <-s.readers; c != nil {
			errs = append(errs, c.close())
		}
	}
	close(s.readers)
	errs = append(errs, s.backend.close())
	return errors.Join(errs...)
}

// Read runs fn on one snapshot of the database: everything that was
// acknowledged before the call is in it. fn must not write, must not call the store,
// and must not keep tx.
func (s *Store) Read(ctx context.Context, fn func(*Tx) error) error {
	return s.read(ctx, func(*End) bool { return true }, fn)
}

// ReadOf is Read for whoever looks at executions, their output and the audit log only
// as far as they are named, so that he need not wait for the ends of others.
func (s *Store) ReadOf(ctx context.Context, of Ended, fn func(*Tx) error) error {
	return s.read(ctx, of.has, fn)
}

func (s *Store) read(ctx context.Context, matters func(*End) bool, fn func(*Tx) error) error {
	if err := s.settleEnds(ctx, matters); err != nil {
		if done, err := s.readOver(ctx, fn); done {
			return err
		}
	}
	c, err := s.reader(ctx)
	if err != nil {
		return err
	}
	healthy := false
	defer func() { s.putReader(c, healthy) }()
	// Not under ctx: one that ends in the middle would leave open whether a
	// transaction has begun. The snapshot must be given up after that for the same
	// reason, whatever ctx says.
	whole := context.WithoutCancel(ctx)
	if err := c.command(whole, s.backend.beginRead()); err != nil {
		return s.explain("starting to read", err)
	}
	tx := &Tx{c: c, s: s}
	err = fn(tx)
	if end := c.command(whole, "ROLLBACK"); end == nil {
		healthy = true
	}
	return err
}

// reader takes a reader connection, waiting for one if all are in use.
func (s *Store) reader(ctx context.Context) (*conn, error) {
	if ctx.Err() != nil {
		return nil, contextError(ctx)
	}
	select {
	case c, open := <-s.readers:
		if !open {
			return nil, errClosed()
		}
		if c != nil {
			return c, nil
		}
		c, err := s.backend.connect(context.WithoutCancel(ctx), false)
		if err != nil {
			s.readers <- nil
			return nil, s.explain("opening the database for reading", err)
		}
		return c, nil
	case <-ctx.Done():
		return nil, contextError(ctx)
	}
}

// putReader gives a connection back; one in an unknown state is closed instead.
func (s *Store) putReader(c *conn, healthy bool) {
	if !healthy {
		if err := c.discard(); err != nil {
			s.logger.Warn("closing a reader connection failed", "error", err)
		}
		c = nil
	}
	s.readers <- c
}

// Ping reports whether the store can read and write now. After a failed commit
// it makes a small real write, so that a full disk stays visible until it is
// mended.
func (s *Store) Ping(ctx context.Context) error {
	err := s.Write(ctx, func(tx *Tx) error {
		if s.failing.Load() == nil {
			return nil
		}
		return tx.touchHealth(ctx)
	})
	if err != nil {
		return err
	}
	return s.Read(ctx, func(tx *Tx) error { return tx.readHealth(ctx) })
}
