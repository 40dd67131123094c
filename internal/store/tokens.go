package store

import (
	"context"
	"database/sql"
	"time"

	"github.com/remuda-run/remuda/internal/remuda"
)

const tokenColumns = "organization, id, user_id, name, scope, hash, expires_at, created_at, purpose, idle_us, parent"

func scanToken(r scanner) (t remuda.Token, err error) {
	var created, idle int64
	var expires sql.NullInt64
	err = r.Scan(&t.Organization, &t.ID, &t.User, &t.Name, &t.Scope, &t.Hash, &expires, &created, &t.Purpose, &idle, &t.Parent)
	t.ExpiresAt, t.CreatedAt, t.Idle = nullTime(expires), timeOf(created), time.Duration(idle)*time.Microsecond
	return t, err
}

// InsertToken adds a token.
func (tx *Tx) InsertToken(ctx context.Context, t remuda.Token) error {
	_, err := tx.exec(ctx, "adding a token",
		"INSERT INTO tokens ("+tokenColumns+") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
		string(t.Organization), string(t.ID), string(t.User), t.Name, string(t.Scope), t.Hash, nullMicros(t.ExpiresAt), micros(t.CreatedAt),
		string(t.Purpose), t.Idle.Microseconds(), string(t.Parent))
	return tx.conflictError(err, "the token exists already")
}

// Token returns a token of an organization.
func (tx *Tx) Token(ctx context.Context, org remuda.OrganizationID, id remuda.TokenID) (remuda.Token, error) {
	return one(ctx, tx, "reading a token", remuda.NotFound("token", string(id)), scanToken,
		"SELECT "+tokenColumns+" FROM tokens WHERE organization = $1 AND id = $2", string(org), string(id))
}

// TokenByHash returns the token with the hex SHA-256 of a secret, of whichever
// organization: authentication begins with it.
func (tx *Tx) TokenByHash(ctx context.Context, hash string) (remuda.Token, error) {
	return one(ctx, tx, "reading a token", remuda.NotFound("token", "with this secret"), scanToken,
		"SELECT "+tokenColumns+" FROM tokens WHERE hash = $1", hash)
}

// Tokens lists tokens of an organization, newest first: those of one user, or
// all when user is "".
func (tx *Tx) Tokens(ctx context.Context, org remuda.OrganizationID, user remuda.UserID, page remuda.Page) ([]remuda.Token, string, error) {
	before, limit, err := pageOf(page, remuda.PrefixToken)
	if err != nil {
		return nil, "", err
	}
	query := "SELECT " + tokenColumns + " FROM tokens WHERE organization = $1 AND id < $2 ORDER BY id DESC LIMIT $3"
	args := []any{string(org), before, limit + 1}
	if user != "" {
		query = "SELECT " + tokenColumns + " FROM tokens WHERE organization = $1 AND id < $2 AND user_id = $4 ORDER BY id DESC LIMIT $3"
		args = append(args, string(user))
	}
	return list(ctx, tx, "listing tokens", scanToken, limit, func(t remuda.Token) string { return string(t.ID) }, query, args...)
}

// DeleteToken removes a token of an organization.
func (tx *Tx) DeleteToken(ctx context.Context, org remuda.OrganizationID, id remuda.TokenID) error {
	n, err := tx.exec(ctx, "removing a token", "DELETE FROM tokens WHERE organization = $1 AND id = $2", string(org), string(id))
	if err == nil && n == 0 {
		return remuda.NotFound("token", string(id))
	}
	return err
}

// TokenByID returns a token of whichever organization, for the server's own
// questions: it is no answer to a request.
func (tx *Tx) TokenByID(ctx context.Context, id remuda.TokenID) (remuda.Token, error) {
	return one(ctx, tx, "reading a token", remuda.NotFound("token", string(id)), scanToken,
		"SELECT "+tokenColumns+" FROM tokens WHERE id = $1", string(id))
}

// ProlongToken moves the expiry of a token.
func (tx *Tx) ProlongToken(ctx context.Context, org remuda.OrganizationID, id remuda.TokenID, until time.Time) error {
	n, err := tx.exec(ctx, "prolonging a token", "UPDATE tokens SET expires_at = $3 WHERE organization = $1 AND id = $2", string(org), string(id), micros(until))
	if err == nil && n == 0 {
		return remuda.NotFound("token", string(id))
	}
	return err
}

// DeleteExpiredTokens removes a user's tokens of a purpose that have expired by
// now, and returns how many are left.
func (tx *Tx) DeleteExpiredTokens(ctx context.Context, org remuda.OrganizationID, user remuda.UserID, purpose remuda.TokenPurpose, now time.Time) (int, error) {
	_, err := tx.exec(ctx, "removing expired tokens",
		"DELETE FROM tokens WHERE organization = $1 AND user_id = $2 AND purpose = $3 AND expires_at <= $4", string(org), string(user), string(purpose), micros(now))
	if err != nil {
		return 0, err
	}
	return one(ctx, tx, "counting tokens", nil, scanInt,
		"SELECT count(*) FROM tokens WHERE organization = $1 AND user_id = $2 AND purpose = $3", string(org), string(user), string(purpose))
}

// DeleteTokenThatExpiresFirst removes that one of a user's tokens of a purpose, and
// returns which it was; not found when there is none.
func (tx *Tx) DeleteTokenThatExpiresFirst(ctx context.Context, org remuda.OrganizationID, user remuda.UserID, purpose remuda.TokenPurpose) (remuda.Token, error) {
	t, err := one(ctx, tx, "reading a token", remuda.NotFound("token", "of this user"), scanToken,
		"SELECT "+tokenColumns+" FROM tokens WHERE organization = $1 AND user_id = $2 AND purpose = $3 AND expires_at IS NOT NULL ORDER BY expires_at, id LIMIT 1",
		string(org), string(user), string(purpose))
	if err != nil {
		return remuda.Token{}, err
	}
	return t, tx.DeleteToken(ctx, org, t.ID)
}
