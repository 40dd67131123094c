package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"

	"github.com/pressly/goose/v3"
)

// backend is what differs between databases; the queries do not.
type backend interface {
	// connect opens one connection, fit for the writer or for reading only.
	connect(ctx context.Context, writable bool) (*conn, error)
	// database is used for migrations only.
	database() *sql.DB
	dialect() goose.Dialect
	// name is the folder of its migrations.
	name() string
	// beginWrite starts a transaction that excludes other writers.
	beginWrite() string
	// beginRead starts a transaction that sees one snapshot.
	beginRead() string
	// classify says what kind of failure err is.
	classify(err error) failure
	// describe names the database in messages, without credentials.
	describe() string
	// check verifies the integrity of what is stored.
	check(ctx context.Context, c *conn) error
	// checkpoint moves what was committed from the journal to the main file,
	// without waiting for anybody, and returns how much was left over.
	checkpoint(ctx context.Context, c *conn) (left int, err error)
	close() error
}

// failure is a kind of database error that the layers above can act on.
type failure int

const (
	failureOther     failure = iota
	failureUnique            // a row with that key exists
	failureReference         // a row that is referred to does not exist, or is still referred to
	failureFull              // no space left
	failureReadOnly          // the file or file system cannot be written
	failureBusy              // another process holds the lock
	failureIO                // the operating system reported an error
	failureCorrupt           // the content is damaged or no database
	failureAccess            // the file cannot be opened
	failureCanceled          // the context ended
)

// conn is one database connection with its prepared statements. One goroutine
// uses it at a time.
type conn struct {
	sql        *sql.Conn
	statements map[string]*sql.Stmt
}

// maxStatements bounds the cache; the product has fewer distinct texts, so
// reaching it means that a query is built from values.
const maxStatements = 256

func newConn(c *sql.Conn) *conn {
	return &conn{sql: c, statements: make(map[string]*sql.Stmt)}
}

// prepared returns the cached statement of a query.
func (c *conn) prepared(query string) (*sql.Stmt, error) {
	if st, ok := c.statements[query]; ok {
		return st, nil
	}
	if len(c.statements) >= maxStatements {
		return nil, fmt.Errorf("more than %d distinct statements on one connection", maxStatements)
	}
	// A statement outlives the request that first needs it.
	st, err := c.sql.PrepareContext(context.Background(), query)
	if err != nil {
		return nil, err
	}
	c.statements[query] = st
	return st, nil
}

// command runs a statement without parameters or results.
func (c *conn) command(ctx context.Context, query string) error {
	st, err := c.prepared(query)
	if err != nil {
		return err
	}
	_, err = st.ExecContext(ctx)
	return err
}

// discard ends the connection itself, and its statements with it. close only hands it
// back to the pool of database/sql, which would give it to the next one who connects,
// with the transaction that may still be open on it.
func (c *conn) discard() error {
	c.forget() // with one left, SQLite would keep its files open
	err := c.sql.Raw(func(any) error { return driver.ErrBadConn })
	if errors.Is(err, driver.ErrBadConn) {
		return nil
	}
	return err
}

func (c *conn) close() error {
	c.forget()
	return c.sql.Close()
}

// forget closes the statements.
func (c *conn) forget() {
	for _, st := range c.statements {
		_ = st.Close() // the connection's own close reports what matters
	}
}
