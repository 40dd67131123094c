package store

import (
	"context"

	"github.com/remuda-run/remuda/internal/remuda"
)

const userColumns = "id, name, site_admin, password_hash, disabled, created_at"

func scanUser(r scanner) (u remuda.User, err error) {
	var created int64
	err = r.Scan(&u.ID, &u.Name, &u.SiteAdmin, &u.PasswordHash, &u.Disabled, &created)
	u.CreatedAt = timeOf(created)
	return u, err
}

// InsertUser adds an account; a taken name is a conflict.
func (tx *Tx) InsertUser(ctx context.Context, u remuda.User) error {
	_, err := tx.exec(ctx, "adding a user",
		"INSERT INTO users (id, name, site_admin, password_hash, disabled, created_at) VALUES ($1, $2, $3, $4, $5, $6)",
		string(u.ID), u.Name, u.SiteAdmin, u.PasswordHash, u.Disabled, micros(u.CreatedAt))
	return tx.conflictError(err, "a user named %q exists already", u.Name)
}

// UpdateUser changes everything of an account but its id and age.
func (tx *Tx) UpdateUser(ctx context.Context, u remuda.User) error {
	n, err := tx.exec(ctx, "changing a user",
		"UPDATE users SET name = $2, site_admin = $3, password_hash = $4, disabled = $5 WHERE id = $1",
		string(u.ID), u.Name, u.SiteAdmin, u.PasswordHash, u.Disabled)
	if err == nil && n == 0 {
		return remuda.NotFound("user", string(u.ID))
	}
	return tx.conflictError(err, "a user named %q exists already", u.Name)
}

// User returns the account with the id.
func (tx *Tx) User(ctx context.Context, id remuda.UserID) (remuda.User, error) {
	return one(ctx, tx, "reading a user", remuda.NotFound("user", string(id)), scanUser,
		"SELECT "+userColumns+" FROM users WHERE id = $1", string(id))
}

// UserByName returns the account with the name.
func (tx *Tx) UserByName(ctx context.Context, name string) (remuda.User, error) {
	return one(ctx, tx, "reading a user", remuda.NotFound("user", name), scanUser,
		"SELECT "+userColumns+" FROM users WHERE name = $1", name)
}

// Users lists the accounts of the site, newest first.
func (tx *Tx) Users(ctx context.Context, page remuda.Page) ([]remuda.User, string, error) {
	before, limit, err := pageOf(page, remuda.PrefixUser)
	if err != nil {
		return nil, "", err
	}
	return list(ctx, tx, "listing users", scanUser, limit, func(u remuda.User) string { return string(u.ID) },
		"SELECT "+userColumns+" FROM users WHERE id < $1 ORDER BY id DESC LIMIT $2", before, limit+1)
}

// CountUsers counts the accounts of the site.
func (tx *Tx) CountUsers(ctx context.Context) (int, error) {
	return one(ctx, tx, "counting users", nil, scanInt, "SELECT count(*) FROM users")
}

// CountSiteAdmins counts the enabled site administrators other than the given
// user.
func (tx *Tx) CountSiteAdmins(ctx context.Context, except remuda.UserID) (int, error) {
	return one(ctx, tx, "counting site administrators", nil, scanInt,
		"SELECT count(*) FROM users WHERE site_admin AND NOT disabled AND id <> $1", string(except))
}
