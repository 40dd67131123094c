package store

import "context"

// Pragma returns a setting of the connection that tx uses.
func (tx *Tx) Pragma(ctx context.Context, name string) (value string, err error) {
	err = tx.c.sql.QueryRowContext(ctx, "PRAGMA "+name).Scan(&value)
	return value, err
}
