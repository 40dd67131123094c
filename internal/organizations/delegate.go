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

// maxDelegation bounds the life of a delegated token.
const maxDelegation = 5 * time.Minute

// Delegate makes a token with which a script acts for p while it runs, and returns its
// secret. It can do what p can do and makes no tokens; it ends with EndDelegation, with
// the session or token that p acts with, and after five minutes.
func (s *Service) Delegate(ctx context.Context, p remuda.Principal, name string) (remuda.TokenID, string, error) {
	t, text, err := s.open(ctx, p, name, remuda.TokenDelegated, maxDelegation, authn.NewTokenSecret)
	return t.ID, text, err
}

// EndDelegation removes a token of Delegate. It stops working before EndDelegation
// returns; one that is gone already is fine.
func (s *Service) EndDelegation(ctx context.Context, p remuda.Principal, id remuda.TokenID) error {
	defer s.tokens.forget()
	return s.store.Write(ctx, func(tx *store.Tx) error {
		t, err := tx.Token(ctx, p.Organization, id)
		if remuda.CodeOf(err) == remuda.CodeNotFound || err == nil && (t.Purpose != remuda.TokenDelegated || t.User != p.User) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := tx.DeleteToken(ctx, p.Organization, id); err != nil {
			return err
		}
		return tx.AppendAudit(ctx, audit.Entry(p, authz.SessionOpen, string(id), nil, s.clock(), "change", "close", "name", t.Name))
	})
}

func errDelegated() error {
	return &remuda.Error{
		Code: remuda.CodeForbidden, Message: "a delegated token makes no tokens and opens no sessions",
		Cause: "it ends with the script that it was made for", Remedy: "log in as the user, or use a token of the user's own",
	}
}

// Living says of tokens whether somebody could act with them now. What is not in the
// answer is not there any more.
func (s *Service) Living(ctx context.Context, ids []remuda.TokenID) (map[remuda.TokenID]bool, error) {
	principals, err := s.Principals(ctx, ids)
	if err != nil {
		return nil, err
	}
	living := make(map[remuda.TokenID]bool, len(principals))
	for id := range principals {
		living[id] = true
	}
	return living, nil
}

// Principals says of tokens who would act with them now, with the role of now. With what
// is not in the answer nobody can act any more.
func (s *Service) Principals(ctx context.Context, ids []remuda.TokenID) (map[remuda.TokenID]remuda.Principal, error) {
	principals := make(map[remuda.TokenID]remuda.Principal, len(ids))
	err := s.store.ReadOf(ctx, store.Ended{}, func(tx *store.Tx) error {
		for _, id := range ids {
			k, err := loadByID(ctx, tx, id)
			switch {
			case remuda.CodeOf(err) == remuda.CodeNotFound:
			case err != nil:
				return err
			case !k.expired(s.clock()):
				principals[id] = k.principal
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return principals, nil
}

// loadByID is what is known of a token, by the rules of loadToken.
func loadByID(ctx context.Context, tx *store.Tx, id remuda.TokenID) (knownToken, error) {
	t, err := tx.TokenByID(ctx, id)
	if err != nil {
		return knownToken{}, err
	}
	return known(ctx, tx, t)
}
