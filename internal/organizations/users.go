package organizations

import (
	"context"

	"github.com/remuda-run/remuda/internal/audit"
	"github.com/remuda-run/remuda/internal/authz"
	"github.com/remuda-run/remuda/internal/remuda"
	"github.com/remuda-run/remuda/internal/secret"
	"github.com/remuda-run/remuda/internal/store"
)

// CreateUser adds an account. It can do nothing until PutMember gives it a role,
// unless it is a site administrator.
func (s *Service) CreateUser(ctx context.Context, p remuda.Principal, name, password string, siteAdmin bool) (remuda.User, error) {
	if err := authz.Check(p, authz.UserWrite, p.Organization); err != nil {
		return remuda.User{}, err
	}
	fields := append(checkName(name), checkPassword("password", password)...)
	if remuda.IsID(remuda.PrefixUser, name) {
		fields = append(fields, remuda.FieldError{Field: "name", Message: "must not have the form of an id"})
	}
	if len(fields) > 0 {
		return remuda.User{}, remuda.Invalid(fields...)
	}
	hash, err := s.hasher.Hash(ctx, secret.String(password))
	if err != nil {
		return remuda.User{}, err
	}
	u := remuda.User{ID: remuda.NewUserID(), Name: name, SiteAdmin: siteAdmin, PasswordHash: hash, CreatedAt: s.clock()}
	err = s.store.Write(ctx, func(tx *store.Tx) error {
		if err := tx.InsertUser(ctx, u); err != nil {
			return err
		}
		return tx.AppendAudit(ctx, ofSite(audit.Entry(p, authz.UserWrite, string(u.ID), nil, u.CreatedAt, "change", "create", "name", name, "site_admin", siteAdmin)))
	})
	if err != nil {
		return remuda.User{}, err
	}
	return public(u), nil
}

// public leaves the password hash out: it never leaves this service.
func public(u remuda.User) remuda.User {
	u.PasswordHash = ""
	return u
}

// ListUsers returns the accounts of the site, newest first.
func (s *Service) ListUsers(ctx context.Context, p remuda.Principal, page remuda.Page) (users []remuda.User, next string, err error) {
	if err := authz.Check(p, authz.UserRead, p.Organization); err != nil {
		return nil, "", err
	}
	err = s.store.Read(ctx, func(tx *store.Tx) error {
		users, next, err = tx.Users(ctx, page)
		return err
	})
	for i, u := range users {
		users[i] = public(u)
	}
	return users, next, err
}

// GetUser returns an account by id or name: the own one, or any for a site
// administrator.
func (s *Service) GetUser(ctx context.Context, p remuda.Principal, ref string) (u remuda.User, err error) {
	action := authz.UserRead
	if isSelf(p, ref) {
		action = authz.UserSelf
	}
	if err := authz.Check(p, action, p.Organization); err != nil {
		return remuda.User{}, err
	}
	err = s.store.Read(ctx, func(tx *store.Tx) error {
		u, err = userByRef(ctx, tx, ref)
		return err
	})
	return public(u), err
}

// UpdateUser changes what is not nil: a user its own password, a site
// administrator everything. Whoever changes the own password must have logged in
// with it: a token must not be a way to a longer life than its own.
func (s *Service) UpdateUser(ctx context.Context, p remuda.Principal, ref string, password *string, disabled *bool) (remuda.User, error) {
	self := isSelf(p, ref)
	action := authz.UserWrite
	if self && disabled == nil {
		action = authz.UserPass
	}
	if err := authz.Check(p, action, p.Organization); err != nil {
		return remuda.User{}, err
	}
	if self && password != nil && p.Token != "" {
		return remuda.User{}, &remuda.Error{
			Code: remuda.CodeForbidden, Message: "a token cannot change its own user's password",
			Remedy: "send the request with the user name and the present password (HTTP Basic); `remuda user password` does",
		}
	}
	hash := ""
	if password != nil {
		if fields := checkPassword("password", *password); len(fields) > 0 {
			return remuda.User{}, remuda.Invalid(fields...)
		}
		var err error
		if hash, err = s.hasher.Hash(ctx, secret.String(*password)); err != nil {
			return remuda.User{}, err
		}
	}
	var u remuda.User
	err := s.store.Write(ctx, func(tx *store.Tx) (err error) {
		u, err = s.updateUser(ctx, tx, p, action, ref, hash, disabled)
		return err
	})
	s.tokens.forget()
	if err != nil {
		return remuda.User{}, err
	}
	return public(u), nil
}

func (s *Service) updateUser(ctx context.Context, tx *store.Tx, p remuda.Principal, action authz.Action, ref, hash string, disabled *bool) (remuda.User, error) {
	u, err := userByRef(ctx, tx, ref)
	if err != nil {
		return remuda.User{}, err
	}
	details := []any{"change", "update"}
	if hash != "" {
		u.PasswordHash = hash
		details = append(details, "changed", "password")
	}
	if disabled != nil && *disabled != u.Disabled {
		if *disabled {
			if err := mayDisable(ctx, tx, u); err != nil {
				return remuda.User{}, err
			}
		}
		u.Disabled = *disabled
		details = append(details, "disabled", u.Disabled)
	}
	if err := tx.UpdateUser(ctx, u); err != nil {
		return remuda.User{}, err
	}
	return u, tx.AppendAudit(ctx, ofSite(audit.Entry(p, action, string(u.ID), nil, s.clock(), details...)))
}

// mayDisable refuses when nobody could administer the site, or an organization,
// without u.
func mayDisable(ctx context.Context, tx *store.Tx, u remuda.User) error {
	if u.SiteAdmin {
		others, err := tx.CountSiteAdmins(ctx, u.ID)
		if err != nil {
			return err
		}
		if others == 0 {
			return &remuda.Error{
				Code: remuda.CodeConflict, Message: u.Name + " is the last site administrator",
				Cause: "nobody could manage users and organizations any more", Remedy: "create another site administrator first",
			}
		}
	}
	roles, err := tx.Memberships(ctx, u.ID)
	if err != nil {
		return err
	}
	for _, m := range roles {
		org, err := tx.Organization(ctx, m.Organization)
		if err != nil {
			return err
		}
		if err := keepsAdministrator(ctx, tx, org, u); err != nil {
			return err
		}
	}
	return nil
}

func isSelf(p remuda.Principal, ref string) bool {
	return ref == string(p.User) || ref == p.UserName
}

// userByRef finds a user by id or name.
func userByRef(ctx context.Context, tx *store.Tx, ref string) (remuda.User, error) {
	if remuda.IsID(remuda.PrefixUser, ref) {
		return tx.User(ctx, remuda.UserID(ref))
	}
	return tx.UserByName(ctx, ref)
}
