package organizations

import (
	"context"
	"time"

	"github.com/remuda-run/remuda/internal/audit"
	"github.com/remuda-run/remuda/internal/authn"
	"github.com/remuda-run/remuda/internal/authz"
	"github.com/remuda-run/remuda/internal/remuda"
	"github.com/remuda-run/remuda/internal/store"
)

// CreateToken makes a token of the principal in its organization and returns its
// secret, which is never shown again. A token of scope read cannot make tokens,
// and a token that expires makes none that live longer.
func (s *Service) CreateToken(ctx context.Context, p remuda.Principal, name string, scope remuda.Scope, expiresAt *time.Time) (remuda.Token, string, error) {
	if err := authz.Check(p, authz.TokenOwn, p.Organization); err != nil {
		return remuda.Token{}, "", err
	}
	now := s.clock()
	if fields := checkToken(name, scope, expiresAt, now); len(fields) > 0 {
		return remuda.Token{}, "", remuda.Invalid(fields...)
	}
	text, hash := authn.NewTokenSecret()
	t := remuda.Token{
		ID: remuda.NewTokenID(), Organization: p.Organization, User: p.User, Name: name, Scope: scope, Hash: hash,
		ExpiresAt: expiresAt, CreatedAt: now,
	}
	err := s.store.Write(ctx, func(tx *store.Tx) error {
		if err := s.mayOutlive(ctx, tx, p, expiresAt); err != nil {
			return err
		}
		if err := tx.InsertToken(ctx, t); err != nil {
			return err
		}
		return tx.AppendAudit(ctx, audit.Entry(p, authz.TokenOwn, string(t.ID), nil, now, "change", "create", "name", name, "scope", scope))
	})
	if err != nil {
		return remuda.Token{}, "", err
	}
	return t, text.Reveal(), nil
}

func checkToken(name string, scope remuda.Scope, expiresAt *time.Time, now time.Time) []remuda.FieldError {
	fields := checkName(name)
	if scope != remuda.ScopeRead && scope != remuda.ScopeWrite {
		fields = append(fields, remuda.FieldError{Field: "scope", Message: "must be read or write"})
	}
	if expiresAt != nil && !expiresAt.After(now) {
		fields = append(fields, remuda.FieldError{Field: "expires_at", Message: "must be in the future"})
	}
	return fields
}

// mayOutlive refuses a token that would outlive the one it is made with:
// otherwise an expiry could be undone by whoever holds the token.
func (s *Service) mayOutlive(ctx context.Context, tx *store.Tx, p remuda.Principal, expiresAt *time.Time) error {
	if p.Token == "" {
		return nil
	}
	with, err := tx.Token(ctx, p.Organization, p.Token)
	if err != nil {
		return err
	}
	if with.Purpose == remuda.TokenDelegated {
		return errDelegated()
	}
	if with.ExpiresAt != nil && (expiresAt == nil || expiresAt.After(*with.ExpiresAt)) {
		return remuda.Invalid(remuda.FieldError{
			Field: "expires_at", Message: "must not be later than " + with.ExpiresAt.UTC().Format(time.RFC3339) + ", when the token that makes it expires",
		})
	}
	return nil
}

// ListTokens returns tokens of the organization, newest first: all of them for
// an administrator, the principal's own otherwise.
func (s *Service) ListTokens(ctx context.Context, p remuda.Principal, page remuda.Page) (tokens []remuda.Token, next string, err error) {
	if err := authz.Check(p, authz.TokenRead, p.Organization); err != nil {
		return nil, "", err
	}
	of := p.User
	if authz.Check(p, authz.TokenAll, p.Organization) == nil {
		of = ""
	}
	err = s.store.Read(ctx, func(tx *store.Tx) error {
		tokens, next, err = tx.Tokens(ctx, p.Organization, of, page)
		return err
	})
	return tokens, next, err
}

// RevokeToken removes a token: an own one, or for an administrator any of the
// organization. It stops working before RevokeToken returns.
func (s *Service) RevokeToken(ctx context.Context, p remuda.Principal, id remuda.TokenID) error {
	if err := authz.Check(p, authz.TokenOwn, p.Organization); err != nil {
		return err
	}
	err := s.store.Write(ctx, func(tx *store.Tx) error {
		t, err := tx.Token(ctx, p.Organization, id)
		if err != nil {
			return err
		}
		action := authz.TokenOwn
		if t.User != p.User {
			action = authz.TokenAll
			if authz.Check(p, action, p.Organization) != nil {
				return remuda.NotFound("token", string(id)) // whose it is, is nobody's business
			}
		}
		if err := tx.DeleteToken(ctx, p.Organization, id); err != nil {
			return err
		}
		return tx.AppendAudit(ctx, audit.Entry(p, action, string(id), nil, s.clock(), "change", "revoke", "name", t.Name, "user", t.User))
	})
	s.tokens.forget()
	return err
}
