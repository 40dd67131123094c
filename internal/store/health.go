package store

import (
	"context"
	"errors"
	"time"

	"github.com/remuda-run/remuda/internal/remuda"
)

// touchHealth writes something, to learn whether writing works.
func (tx *Tx) touchHealth(ctx context.Context) error {
	_, err := tx.exec(ctx, "checking the database", "UPDATE health SET checked_at = $1 WHERE id = 1", micros(time.Now()))
	return err
}

func (tx *Tx) readHealth(ctx context.Context) error {
	missing := remuda.Internal("checking the database", errors.New("the health row is missing"))
	_, err := one(ctx, tx, "checking the database", missing, scanInt, "SELECT id FROM health WHERE id = 1")
	return err
}

// Check verifies the integrity of the whole database. It takes as long as
// reading all of it.
func (s *Store) Check(ctx context.Context) error {
	c, err := s.reader(ctx)
	if err != nil {
		return err
	}
	err = s.backend.check(ctx, c)
	s.putReader(c, err == nil)
	if err != nil {
		return &remuda.Error{
			Code: remuda.CodeUnavailable, Message: "the database is damaged", Cause: "its integrity check found errors",
			Remedy: "restore " + s.backend.describe() + " from a backup", Err: err,
		}
	}
	return nil
}
