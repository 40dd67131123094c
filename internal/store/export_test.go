package store

import (
	"context"
	"io/fs"
)

// Pragma returns a setting of the connection that tx uses.
func (tx *Tx) Pragma(ctx context.Context, name string) (value string, err error) {
	err = tx.c.sql.QueryRowContext(ctx, "PRAGMA "+name).Scan(&value)
	return value, err
}

// Migrations are the files of the schema, for tests of databases that earlier
// versions made.
func Migrations() (fs.FS, error) { return fs.Sub(migrationFiles, "migrations/sqlite") }

// LoseReader gives a connection back as one in an unknown state: with a transaction
// open, as an interrupted ROLLBACK leaves it.
func (s *Store) LoseReader(ctx context.Context) error {
	c, err := s.reader(ctx)
	if err != nil {
		return err
	}
	err = c.command(ctx, s.backend.beginRead())
	s.putReader(c, false)
	return err
}

// Waiting is how many ends wait in the journal, and how many writes for their answer.
func (s *Store) Waiting() (ends int, writes int64) { return s.ends.journal.Len(), s.waiting.Load() }
