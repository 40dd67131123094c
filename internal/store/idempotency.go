package store

import (
	"context"
	"fmt"
	"time"

	"github.com/remuda-run/remuda/internal/remuda"
)

// IdempotencyKey is which execution a user's request with a key has started.
type IdempotencyKey struct {
	Organization remuda.OrganizationID
	User         remuda.UserID
	Key          string
	Execution    remuda.ExecutionID
	// Fingerprint is the same for equal requests.
	Fingerprint string
	CreatedAt   time.Time
}

// InsertIdempotencyKey adds the key of an execution, which is there already. A key
// that the user has used is a conflict.
func (tx *Tx) InsertIdempotencyKey(ctx context.Context, k IdempotencyKey) error {
	_, err := tx.exec(ctx, "adding an idempotency key",
		"INSERT INTO idempotency_keys (organization, user_id, key, execution, fingerprint, created_at) VALUES ($1, $2, $3, $4, $5, $6)",
		string(k.Organization), string(k.User), k.Key, string(k.Execution), k.Fingerprint, micros(k.CreatedAt))
	return tx.conflictError(err, "the idempotency key %q is used already", k.Key)
}

// IdempotencyKey finds a user's key.
func (tx *Tx) IdempotencyKey(ctx context.Context, org remuda.OrganizationID, user remuda.UserID, key string) (IdempotencyKey, error) {
	return one(ctx, tx, "reading an idempotency key", remuda.NotFound("idempotency key", key), func(r scanner) (k IdempotencyKey, err error) {
		var created int64
		err = r.Scan(&k.Organization, &k.User, &k.Key, &k.Execution, &k.Fingerprint, &created)
		k.CreatedAt = timeOf(created)
		return k, err
	}, "SELECT organization, user_id, key, execution, fingerprint, created_at FROM idempotency_keys WHERE organization = $1 AND user_id = $2 AND key = $3",
		string(org), string(user), key)
}

// ForgetIdempotencyKeys removes the keys of every organization that are older, and
// returns how many these were.
func (tx *Tx) ForgetIdempotencyKeys(ctx context.Context, before time.Time) (int64, error) {
	n, err := tx.exec(ctx, "forgetting idempotency keys", "DELETE FROM idempotency_keys WHERE created_at < $1", micros(before))
	if err != nil {
		return 0, fmt.Errorf("forget idempotency keys: %w", err)
	}
	return n, nil
}
