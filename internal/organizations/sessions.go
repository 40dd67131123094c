package organizations

import (
	"context"
	"time"

	"github.com/remuda-run/remuda/internal/audit"
	"github.com/remuda-run/remuda/internal/authn"
	"github.com/remuda-run/remuda/internal/authz"
	"github.com/remuda-run/remuda/internal/remuda"
	"github.com/remuda-run/remuda/internal/secret"
	"github.com/remuda-run/remuda/internal/store"
)

// Bounds of sessions.
const (
	// maxSessions are those of one user in one organization at the same time. One
	// more ends the one that would expire first: clients that never log out must not
	// lock their user out.
	maxSessions = 1000
	minIdle     = time.Second
	// idleSlack is the part of its idle time by which a session lives longer than
	// promised, so that not every use of it has to be written down.
	idleSlack = 10
)

// OpenSession makes a token that acts for p until it has not been used for idle,
// and returns its secret. One that p opens with a token ends with that token at
// the latest, and has its scope.
func (s *Service) OpenSession(ctx context.Context, p remuda.Principal, name string, idle time.Duration) (remuda.Token, string, error) {
	return s.open(ctx, p, name, remuda.TokenSession, idle, authn.NewTokenSecret)
}

// OpenUUIDSession is OpenSession for clients whose keys are UUIDs.
func (s *Service) OpenUUIDSession(ctx context.Context, p remuda.Principal, name string, idle time.Duration) (remuda.Token, string, error) {
	return s.open(ctx, p, name, remuda.TokenSession, idle, authn.NewUUIDSecret)
}

// IssueIdentity makes a token that does nothing but open sessions for p, until it
// expires.
func (s *Service) IssueIdentity(ctx context.Context, p remuda.Principal, name string, life time.Duration) (remuda.Token, string, error) {
	return s.open(ctx, p, name, remuda.TokenIdentity, life, authn.NewTokenSecret)
}

// IssueToken makes a bearer token for whoever acts with a session; unlike one of
// CreateToken it outlives the session, for at most life. Of a session that was
// opened with a token it ends with that one.
func (s *Service) IssueToken(ctx context.Context, p remuda.Principal, name string, life time.Duration) (remuda.Token, string, error) {
	return s.open(ctx, p, name, remuda.TokenBearer, life, authn.NewTokenSecret)
}

func (s *Service) open(ctx context.Context, p remuda.Principal, name string, purpose remuda.TokenPurpose, life time.Duration, newSecret func() (secret.String, string)) (remuda.Token, string, error) {
	action := authz.SessionOpen
	if purpose == remuda.TokenBearer {
		action = authz.TokenOwn
	}
	if err := authz.Check(p, action, p.Organization); err != nil {
		return remuda.Token{}, "", err
	}
	fields := checkName(name)
	if life < minIdle {
		fields = append(fields, remuda.FieldError{Field: "timeout", Message: "must be at least one second"})
	}
	if len(fields) > 0 {
		return remuda.Token{}, "", remuda.Invalid(fields...)
	}
	now := s.clock()
	text, hash := newSecret()
	t := remuda.Token{
		ID: remuda.NewTokenID(), Organization: p.Organization, User: p.User, Name: name, Scope: p.Scope, Hash: hash,
		CreatedAt: now, Purpose: purpose, Parent: p.Token,
	}
	expires := now.Add(life)
	if purpose == remuda.TokenSession {
		t.Idle, expires = life, lives(now, life)
	}
	t.ExpiresAt = &expires
	err := s.store.Write(ctx, func(tx *store.Tx) error {
		if err := s.rootOf(ctx, tx, &t); err != nil {
			return err
		}
		if err := s.makeRoom(ctx, tx, p, t); err != nil {
			return err
		}
		if err := tx.InsertToken(ctx, t); err != nil {
			return err
		}
		return tx.AppendAudit(ctx, audit.Entry(p, action, string(t.ID), nil, now, "change", "create", "name", name, "scope", t.Scope, "purpose", t.Purpose))
	})
	if err != nil {
		return remuda.Token{}, "", err
	}
	if purpose != remuda.TokenBearer {
		s.tokens.forget() // one may have been crowded out
	}
	return t, text.Reveal(), nil
}

// makeRoom removes the user's expired sessions, or identities, and one more if there
// are too many.
func (s *Service) makeRoom(ctx context.Context, tx *store.Tx, p remuda.Principal, t remuda.Token) error {
	if t.Purpose == remuda.TokenBearer {
		return nil
	}
	open, err := tx.DeleteExpiredTokens(ctx, t.Organization, t.User, t.Purpose, t.CreatedAt)
	if err != nil || open < s.maxSessions {
		return err
	}
	ended, err := tx.DeleteTokenThatExpiresFirst(ctx, t.Organization, t.User, t.Purpose)
	if err != nil {
		return err
	}
	return tx.AppendAudit(ctx, audit.Entry(p, authz.SessionOpen, string(ended.ID), nil, t.CreatedAt, "change", "crowded out", "name", ended.Name))
}

// rootOf finds what a new token ends with: the bearer token at the beginning of
// the line of sessions and identities that it was made from, if there is one. A
// delegated token ends with the session itself.
func (s *Service) rootOf(ctx context.Context, tx *store.Tx, t *remuda.Token) error {
	if t.Parent == "" {
		return nil
	}
	with, err := tx.Token(ctx, t.Organization, t.Parent)
	switch {
	case err != nil:
		return err
	case with.Purpose == remuda.TokenDelegated:
		return errDelegated()
	case with.Purpose != remuda.TokenBearer && t.Purpose != remuda.TokenDelegated:
		t.Parent = with.Parent
	}
	return nil
}

// lives is when a session that is used now expires.
func lives(now time.Time, idle time.Duration) time.Time {
	return now.Add(idle + idle/idleSlack).UTC().Truncate(time.Microsecond)
}

// AuthenticateSession is AuthenticateToken for edges with sessions: using one
// prolongs it.
func (s *Service) AuthenticateSession(ctx context.Context, text string) (remuda.Principal, error) {
	p, err := s.AuthenticateToken(ctx, text)
	if err != nil {
		return remuda.Principal{}, err
	}
	return p, s.prolong(ctx, authn.HashToken(text))
}

func (s *Service) prolong(ctx context.Context, hash string) error {
	k, _, hit := s.tokens.get(hash)
	now := s.clock()
	if !hit || k.idle == 0 || k.expires.Sub(now) >= k.idle {
		return nil
	}
	until := lives(now, k.idle)
	err := s.store.Write(ctx, func(tx *store.Tx) error {
		return tx.ProlongToken(ctx, k.principal.Organization, k.principal.Token, until)
	})
	if remuda.CodeOf(err) == remuda.CodeNotFound {
		return nil // it was closed meanwhile; this request had begun before
	}
	s.tokens.prolonged(hash, until)
	return err
}

// AuthenticateIdentity returns for whom a token of IssueIdentity opens sessions.
func (s *Service) AuthenticateIdentity(ctx context.Context, text string) (remuda.Principal, error) {
	return s.authenticate(ctx, text, remuda.TokenIdentity)
}

// CloseSession removes the session that p acts with. A token that is no session is
// left alone, and a session that is closed already is fine.
func (s *Service) CloseSession(ctx context.Context, p remuda.Principal) error {
	defer s.tokens.forget()
	return s.store.Write(ctx, func(tx *store.Tx) error {
		t, err := tx.Token(ctx, p.Organization, p.Token)
		if remuda.CodeOf(err) == remuda.CodeNotFound || err == nil && t.Purpose != remuda.TokenSession {
			return nil
		}
		if err != nil {
			return err
		}
		if err := tx.DeleteToken(ctx, p.Organization, t.ID); err != nil {
			return err
		}
		return tx.AppendAudit(ctx, audit.Entry(p, authz.SessionOpen, string(t.ID), nil, s.clock(), "change", "close", "name", t.Name))
	})
}
