package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/remuda-run/remuda/internal/remuda"
)

// Tx is what a write or a read works with. It is valid only while the function
// that received it runs, on that goroutine.
type Tx struct {
	c        *conn
	s        *Store
	writable bool
	whole    bool // a read on the writer's connection, which does not hear the caller's context
	// failed is the first database error of a write. The transaction's state is
	// unknown after it, so nothing more is done in this savepoint; in
	// PostgreSQL nothing more could be.
	failed  error
	changes int64  // of the whole group, for the checkpoints
	applied uint64 // the last record of the journal that the group has written
}

// statement prepares query and picks the context to run it with. A write does
// not hear the caller's: interrupting it would undo other callers' writes too.
func (tx *Tx) statement(ctx context.Context, query string) (context.Context, *sql.Stmt, error) {
	if tx.failed != nil {
		return nil, nil, tx.failed
	}
	st, err := tx.c.prepared(query)
	if err != nil {
		return nil, nil, tx.fail("preparing a statement", err)
	}
	if tx.writable || tx.whole {
		ctx = context.Background()
	}
	return ctx, st, nil
}

// exec runs a change and returns how many rows it touched. Failures of kind
// unique and reference come back as they are, for the caller to explain with
// conflict or notThere.
func (tx *Tx) exec(ctx context.Context, doing, query string, args ...any) (int64, error) {
	if !tx.writable {
		return 0, remuda.Internal(doing, errors.New("a read must not write"))
	}
	ctx, st, err := tx.statement(ctx, query)
	if err != nil {
		return 0, err
	}
	res, err := st.ExecContext(ctx, args...)
	if err != nil {
		return 0, tx.fail(doing, err)
	}
	n, err := res.RowsAffected()
	if err != nil {
		return 0, tx.fail(doing, err)
	}
	tx.changes += n + bulk(args)
	return n, nil
}

// bulk counts large values as so many changes more, for the checkpoints.
func bulk(args []any) int64 {
	const perChange = 8192 // bytes of journal that a small change takes, about
	size := 0
	for _, a := range args {
		switch v := a.(type) {
		case string:
			size += len(v)
		case []byte:
			size += len(v)
		}
	}
	return int64(size / perChange)
}

// scanner is a row.
type scanner interface{ Scan(dest ...any) error }

// one returns the row of a query, or notFound when there is none.
func one[T any](ctx context.Context, tx *Tx, doing string, notFound error, scan func(scanner) (T, error), query string, args ...any) (T, error) {
	var zero T
	ctx, st, err := tx.statement(ctx, query)
	if err != nil {
		return zero, err
	}
	v, err := scan(st.QueryRowContext(ctx, args...))
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return zero, notFound
	case err != nil:
		return zero, tx.fail(doing, err)
	}
	return v, nil
}

// all returns every row of a query.
func all[T any](ctx context.Context, tx *Tx, doing string, scan func(scanner) (T, error), query string, args ...any) ([]T, error) {
	ctx, st, err := tx.statement(ctx, query)
	if err != nil {
		return nil, err
	}
	rows, err := st.QueryContext(ctx, args...)
	if err != nil {
		return nil, tx.fail(doing, err)
	}
	defer func() { _ = rows.Close() }() // Err reports what matters
	var out []T
	for rows.Next() {
		v, err := scan(rows)
		if err != nil {
			return nil, tx.fail(doing, err)
		}
		out = append(out, v)
	}
	if err := rows.Err(); err != nil {
		return nil, tx.fail(doing, err)
	}
	return out, nil
}

// fail explains a database error and, in a write, remembers it.
func (tx *Tx) fail(doing string, err error) error {
	err = tx.s.explain(doing, err)
	if tx.writable && tx.failed == nil {
		tx.failed = err
	}
	return err
}

// conflictError replaces a unique violation by what it means to a user.
func (tx *Tx) conflictError(err error, format string, args ...any) error {
	if !isFailure(err, tx.s.backend, failureUnique) {
		return err
	}
	e := &remuda.Error{
		Code:    remuda.CodeConflict,
		Message: fmt.Sprintf(format, args...),
		Remedy:  "choose another name, or change or remove the one that exists",
		Err:     err,
	}
	tx.failed = e
	return e
}

// referenceError replaces a reference violation by what it means to a user.
func (tx *Tx) referenceError(err error, meaning *remuda.Error) error {
	if !isFailure(err, tx.s.backend, failureReference) {
		return err
	}
	meaning.Err = err
	tx.failed = meaning
	return meaning
}

func isFailure(err error, b backend, f failure) bool {
	return err != nil && b.classify(err) == f
}

// explain turns a database error into the product's error: what happened, why,
// and what to do.
func (s *Store) explain(doing string, err error) error {
	if e, ok := errors.AsType[*remuda.Error](err); ok {
		return e
	}
	e := &remuda.Error{
		Code:    remuda.CodeUnavailable,
		Message: "the database could not finish " + doing + "; nothing was changed",
		Err:     err,
	}
	where := s.backend.describe()
	switch s.backend.classify(err) {
	case failureFull:
		e.Cause = "the disk of the database is full"
		e.Remedy = "free space on the disk that holds " + where + "; writing goes on by itself"
		e.RetryAfterSeconds = 10
	case failureReadOnly:
		e.Cause = "the database is read-only"
		e.Remedy = "make " + where + " and its directory writable for the server's user (is the disk mounted read-only?)"
	case failureBusy:
		e.Cause = "another process holds the lock of the database"
		e.Remedy = "find the other process that has " + where + " open and end it, then try again"
		e.RetryAfterSeconds = 1
	case failureIO:
		e.Cause = "the operating system reported an input or output error"
		e.Remedy = "look for disk errors and free space where " + where + " is; the private cause is in the server's log"
		e.RetryAfterSeconds = 10
	case failureAccess:
		e.Cause = "the database file cannot be opened"
		e.Remedy = "check that " + where + " and its directory exist and are writable for the server's user"
	case failureCorrupt:
		e.Cause = "the database file is damaged or is no database"
		e.Remedy = "restore " + where + " from a backup"
	case failureCanceled:
		e.Code, e.Message = remuda.CodeCanceled, "the request ended before the database answered"
		if errors.Is(err, context.DeadlineExceeded) {
			e.Code = remuda.CodeDeadline
		}
		e.Remedy = "send the request again, with more time"
	default:
		return remuda.Internal(doing, err)
	}
	return e
}

// contextError says why a context ended.
func contextError(ctx context.Context) error {
	e := &remuda.Error{Code: remuda.CodeCanceled, Message: "the request ended before the database could take it; nothing was changed", Remedy: "send the request again", Err: ctx.Err()}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		e.Code = remuda.CodeDeadline
	}
	return e
}

func errClosed() error {
	return &remuda.Error{
		Code:              remuda.CodeUnavailable,
		Message:           "the database is closed; nothing was changed",
		Cause:             "the server is stopping",
		Remedy:            "send the request again once the server is up",
		RetryAfterSeconds: 1,
	}
}

// micros is how a time is stored.
func micros(t time.Time) int64 { return t.UnixMicro() }

// timeOf is the time that is stored as us.
func timeOf(us int64) time.Time { return time.UnixMicro(us).UTC() }

func nullMicros(t *time.Time) sql.NullInt64 {
	if t == nil {
		return sql.NullInt64{}
	}
	return sql.NullInt64{Int64: micros(*t), Valid: true}
}

func nullTime(us sql.NullInt64) *time.Time {
	if !us.Valid {
		return nil
	}
	t := timeOf(us.Int64)
	return &t
}
