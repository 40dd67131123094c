package organizations

import (
	"context"
	"slices"
	"time"

	"github.com/remuda-run/remuda/internal/authn"
	"github.com/remuda-run/remuda/internal/remuda"
	"github.com/remuda-run/remuda/internal/secret"
	"github.com/remuda-run/remuda/internal/store"
)

// AuthenticateBasic checks a password and returns who acts, in which
// organization. organization is a name or an id; "" is the user's oldest one. A
// site administrator who is a member of none acts in the global organization,
// with no role there. Every failure looks the same and takes the same work.
func (s *Service) AuthenticateBasic(ctx context.Context, user, password, organization string) (remuda.Principal, error) {
	address := authn.Address(ctx)
	// The guess is cut so that the limiter's memory stays small; no user has a
	// name that long.
	guessed := user[:min(len(user), 65)]
	allow := func() error { return s.limiter.Allow(guessed, address) }
	if err := allow(); err != nil {
		return remuda.Principal{}, err
	}
	found, roles, err := s.lookUp(ctx, user)
	if err != nil {
		return remuda.Principal{}, err
	}
	hash := found.PasswordHash
	if len(password) > authn.MaxPasswordBytes {
		hash, password = "", ""
	}
	ok, err := s.hasher.Verify(ctx, hash, secret.String(password), allow)
	if err != nil {
		return remuda.Principal{}, err
	}
	if !ok || found.Disabled {
		s.limiter.Failed(guessed, address)
		s.logger.InfoContext(ctx, "login refused", "user", guessed, "address", address)
		return remuda.Principal{}, refusedLogin()
	}
	membership, err := s.choose(ctx, found, roles, organization)
	if err != nil {
		return remuda.Principal{}, err
	}
	s.limiter.Succeeded(guessed, address)
	s.rehash(ctx, found, password)
	return remuda.Principal{
		User: found.ID, UserName: found.Name, Organization: membership.Organization, Role: membership.Role,
		SiteAdmin: found.SiteAdmin, Scope: remuda.ScopeWrite,
	}, nil
}

// lookUp returns a user and its roles, or the zero user if there is none.
func (s *Service) lookUp(ctx context.Context, name string) (u remuda.User, roles []remuda.Membership, err error) {
	err = s.store.ReadOf(ctx, store.Ended{}, func(tx *store.Tx) error {
		u, err = tx.UserByName(ctx, name)
		if err != nil {
			return err
		}
		roles, err = tx.Memberships(ctx, u.ID)
		return err
	})
	if remuda.CodeOf(err) == remuda.CodeNotFound {
		return remuda.User{}, nil, nil
	}
	return u, roles, err
}

// choose picks the organization in which the user acts.
func (s *Service) choose(ctx context.Context, u remuda.User, roles []remuda.Membership, wanted string) (remuda.Membership, error) {
	refused := refusedLogin()
	if wanted == "" {
		switch {
		case len(roles) > 0:
			return roles[0], nil
		case u.SiteAdmin:
			return remuda.Membership{Organization: remuda.GlobalOrganization, User: u.ID}, nil
		}
		return remuda.Membership{}, refused
	}
	var org remuda.Organization
	err := s.store.ReadOf(ctx, store.Ended{}, func(tx *store.Tx) (err error) {
		org, err = organizationByRef(ctx, tx, wanted)
		return err
	})
	if remuda.CodeOf(err) == remuda.CodeNotFound {
		return remuda.Membership{}, refused
	}
	if err != nil {
		return remuda.Membership{}, err
	}
	for _, m := range roles {
		if m.Organization == org.ID {
			return m, nil
		}
	}
	return remuda.Membership{}, refused
}

// rehash replaces a hash of an older cost, now that the password is known. The
// login does not depend on it.
func (s *Service) rehash(ctx context.Context, u remuda.User, password string) {
	if !s.hasher.NeedsRehash(u.PasswordHash) {
		return
	}
	hash, err := s.hasher.Hash(ctx, secret.String(password))
	if err == nil {
		err = s.store.Write(ctx, func(tx *store.Tx) error {
			now, err := tx.User(ctx, u.ID)
			if err != nil || now.PasswordHash != u.PasswordHash {
				return err // changed meanwhile
			}
			now.PasswordHash = hash
			return tx.UpdateUser(ctx, now)
		})
	}
	if err != nil {
		s.logger.WarnContext(ctx, "a password hash could not be renewed", "user", u.ID, "error", err)
	}
}

// AuthenticateToken returns who acts with a token. The user must be enabled and
// still a member of the token's organization.
func (s *Service) AuthenticateToken(ctx context.Context, text string) (remuda.Principal, error) {
	return s.authenticate(ctx, text, remuda.TokenBearer, remuda.TokenSession, remuda.TokenDelegated)
}

// authenticate returns for whom a token of one of the purposes stands.
func (s *Service) authenticate(ctx context.Context, text string, purposes ...remuda.TokenPurpose) (remuda.Principal, error) {
	refused := unauthenticated("the token is wrong, expired or revoked, or its user may no longer use it")
	if !authn.LooksLikeToken(text) {
		return remuda.Principal{}, refused
	}
	hash := authn.HashToken(text)
	k, version, hit := s.tokens.get(hash)
	if !hit {
		var err error
		k, err = s.loadToken(ctx, hash)
		if remuda.CodeOf(err) == remuda.CodeNotFound {
			return remuda.Principal{}, refused
		}
		if err != nil {
			return remuda.Principal{}, err
		}
		s.tokens.put(hash, version, k)
	}
	if k.expired(s.clock()) || !slices.Contains(purposes, k.purpose) {
		return remuda.Principal{}, refused
	}
	return k.principal, nil
}

// loadToken reads what a token stands for; not_found when it stands for nothing.
func (s *Service) loadToken(ctx context.Context, hash string) (k knownToken, err error) {
	err = s.store.ReadOf(ctx, store.Ended{}, func(tx *store.Tx) error {
		t, err := tx.TokenByHash(ctx, hash)
		if err != nil {
			return err
		}
		k, err = known(ctx, tx, t)
		return err
	})
	return k, err
}

// known is what a token stands for; not_found when its user is disabled or no member
// any more, or what it ends with is gone.
func known(ctx context.Context, tx *store.Tx, t remuda.Token) (knownToken, error) {
	u, err := tx.User(ctx, t.User)
	if err != nil {
		return knownToken{}, err
	}
	if u.Disabled {
		return knownToken{}, remuda.NotFound("token", string(t.ID))
	}
	role, err := roleIn(ctx, tx, t.Organization, u)
	if err != nil {
		return knownToken{}, err
	}
	ends, err := endOfParents(ctx, tx, t)
	if err != nil {
		return knownToken{}, err
	}
	return knownToken{expires: t.ExpiresAt, ends: ends, idle: t.Idle, purpose: t.Purpose, principal: remuda.Principal{
		User: u.ID, UserName: u.Name, Organization: t.Organization, Role: role,
		SiteAdmin: u.SiteAdmin, Scope: t.Scope, Token: t.ID,
	}}, nil
}

// maxParents bounds the line of tokens that one was made from: a delegated one of a
// session of a bearer token.
const maxParents = 3

// endOfParents is when the first of the tokens that t ends with expires; nil is
// never, not_found when one is gone.
func endOfParents(ctx context.Context, tx *store.Tx, t remuda.Token) (ends *time.Time, err error) {
	for n := 0; t.Parent != ""; n++ {
		if n == maxParents {
			return nil, remuda.NotFound("token", string(t.Parent))
		}
		if t, err = tx.Token(ctx, t.Organization, t.Parent); err != nil {
			return nil, err
		}
		if t.ExpiresAt != nil && (ends == nil || t.ExpiresAt.Before(*ends)) {
			ends = t.ExpiresAt
		}
	}
	return ends, nil
}

// roleIn returns a user's role in an organization; a site administrator acts in
// the global one without a role.
func roleIn(ctx context.Context, tx *store.Tx, org remuda.OrganizationID, u remuda.User) (remuda.Role, error) {
	if org == remuda.GlobalOrganization && u.SiteAdmin {
		return "", nil
	}
	m, err := tx.Membership(ctx, org, u.ID)
	return m.Role, err
}

// organizationByRef finds an organization by id or name.
func organizationByRef(ctx context.Context, tx *store.Tx, ref string) (remuda.Organization, error) {
	if remuda.IsID(remuda.PrefixOrganization, ref) {
		org, err := tx.Organization(ctx, remuda.OrganizationID(ref))
		if remuda.CodeOf(err) != remuda.CodeNotFound {
			return org, err
		}
	}
	org, err := tx.OrganizationByName(ctx, ref)
	if err == nil && org.ID == remuda.GlobalOrganization {
		return remuda.Organization{}, remuda.NotFound("organization", ref) // not a tenant
	}
	return org, err
}

func refusedLogin() error {
	return unauthenticated("the user name, the password or the organization is wrong, or the account is disabled")
}

func unauthenticated(cause string) error {
	return &remuda.Error{
		Code: remuda.CodeUnauthenticated, Message: "the credentials are not valid", Cause: cause,
		Remedy: "check them, or ask an administrator for new ones",
	}
}

// knownToken is what a token stands for.
type knownToken struct {
	principal remuda.Principal
	purpose   remuda.TokenPurpose
	idle      time.Duration // of a session
	expires   *time.Time
	ends      *time.Time // when its parent expires
	loaded    time.Time
}

func (k knownToken) expired(now time.Time) bool {
	return k.expires != nil && !now.Before(*k.expires) || k.ends != nil && !now.Before(*k.ends)
}
