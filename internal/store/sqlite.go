package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"github.com/pressly/goose/v3"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/remuda-run/remuda/internal/remuda"
)

// sqliteBackend is a SQLite file in WAL mode.
type sqliteBackend struct {
	path     string
	sync     string // "FULL" or "NORMAL"
	writable *sql.DB
	readable *sql.DB
}

// Settings of every connection, besides synchronous: FULL makes each commit wait
// for the disk, NORMAL only checkpoints. journal_size_limit gives the space of a burst back. wal_autocheckpoint is far
// beyond what checkpoint.go lets the journal grow to.
var sqlitePragmas = []string{
	"journal_mode(WAL)", "foreign_keys(1)", "temp_store(MEMORY)",
	"journal_size_limit(33554432)", "trusted_schema(0)", "wal_autocheckpoint(20000)",
}

// Page caches in KiB, as SQLite wants them. Readers are several, and an idle
// server is to stay small; the operating system caches the file anyway.
const (
	writerCache = "cache_size(-8192)"
	readerCache = "cache_size(-2048)"
)

// busyTimeoutMS is how long a connection waits for another process' lock.
const busyTimeoutMS = "5000"

func openSQLite(_ context.Context, path string, durability Durability) (*sqliteBackend, error) {
	if path == "" {
		return nil, remuda.Errorf(remuda.CodeInvalid, "no database file was named")
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, remuda.Internal("finding the database file", err)
	}
	b := &sqliteBackend{path: path, sync: "FULL"}
	if durability == DurabilityProcess {
		b.sync = "NORMAL"
	}
	// SQLite would make the file readable by everybody, and gives its journal
	// the mode of the file. It holds password hashes.
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, openError(path, err)
	}
	if err := f.Close(); err != nil {
		return nil, openError(path, err)
	}
	if b.writable, err = sql.Open("sqlite", b.dsn(true)); err != nil {
		return nil, openError(path, err)
	}
	if b.readable, err = sql.Open("sqlite", b.dsn(false)); err != nil {
		return nil, errors.Join(openError(path, err), b.writable.Close())
	}
	b.writable.SetMaxOpenConns(2) // the writer and the checkpointer
	b.readable.SetMaxOpenConns(maxReaders)
	return b, nil
}

// openError explains why the file cannot be opened before SQLite sees it.
func openError(path string, err error) error {
	e := &remuda.Error{
		Code:    remuda.CodeUnavailable,
		Message: fmt.Sprintf("the database %s cannot be opened", path),
		Cause:   "the operating system refused it",
		Remedy:  "check that the directory exists, belongs to the server's user and is on a writable disk with space left",
		Err:     err,
	}
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		e.Cause = errno.Error()
	}
	return e
}

func (b *sqliteBackend) dsn(writable bool) string {
	q := url.Values{"_busy_timeout": {busyTimeoutMS}, "_pragma": append(slices.Clone(sqlitePragmas), "synchronous("+b.sync+")")}
	if writable {
		q.Add("_pragma", writerCache)
	} else {
		q.Add("_pragma", readerCache)
		q.Set("_query_only", "1")
	}
	u := url.URL{Scheme: "file", Path: b.path, RawQuery: q.Encode()}
	return u.String()
}

func (b *sqliteBackend) connect(ctx context.Context, writable bool) (*conn, error) {
	db := b.readable
	if writable {
		db = b.writable
	}
	c, err := db.Conn(ctx)
	if err != nil {
		return nil, err
	}
	return newConn(c), nil
}

func (b *sqliteBackend) database() *sql.DB      { return b.writable }
func (b *sqliteBackend) dialect() goose.Dialect { return goose.DialectSQLite3 }
func (b *sqliteBackend) name() string           { return "sqlite" }
func (b *sqliteBackend) beginWrite() string     { return "BEGIN IMMEDIATE" }
func (b *sqliteBackend) beginRead() string      { return "BEGIN DEFERRED" }
func (b *sqliteBackend) describe() string       { return b.path }

func (b *sqliteBackend) check(ctx context.Context, c *conn) error {
	rows, err := c.sql.QueryContext(ctx, "PRAGMA integrity_check(10)")
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	var found []error
	for rows.Next() {
		var line string
		if err := rows.Scan(&line); err != nil {
			return err
		}
		if line != "ok" {
			found = append(found, errors.New(line))
		}
	}
	return errors.Join(append(found, rows.Err())...)
}

func (b *sqliteBackend) checkpoint(ctx context.Context, c *conn) (left int, err error) {
	var busy, frames, moved int
	st, err := c.prepared("PRAGMA wal_checkpoint(PASSIVE)")
	if err != nil {
		return 0, err
	}
	if err := st.QueryRowContext(ctx).Scan(&busy, &frames, &moved); err != nil {
		return 0, err
	}
	return frames - moved, nil
}

func (b *sqliteBackend) close() error {
	return errors.Join(b.readable.Close(), b.writable.Close())
}

func (b *sqliteBackend) classify(err error) failure {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return failureCanceled
	}
	e, ok := errors.AsType[*sqlite.Error](err)
	if !ok {
		return failureOther
	}
	switch e.Code() {
	case sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY:
		return failureUnique
	case sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY:
		return failureReference
	}
	switch e.Code() & 0xff { // the primary code is the low byte
	case sqlite3.SQLITE_FULL:
		return failureFull
	case sqlite3.SQLITE_READONLY:
		return failureReadOnly
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
		return failureBusy
	case sqlite3.SQLITE_IOERR:
		return failureIO
	case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
		return failureCorrupt
	case sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM:
		return failureAccess
	case sqlite3.SQLITE_INTERRUPT:
		return failureCanceled
	}
	return failureOther
}
