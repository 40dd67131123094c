package organizations

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"regexp"
	"time"
	"unicode/utf8"

	"github.com/remuda-run/remuda/internal/audit"
	"github.com/remuda-run/remuda/internal/authn"
	"github.com/remuda-run/remuda/internal/authz"
	"github.com/remuda-run/remuda/internal/remuda"
	"github.com/remuda-run/remuda/internal/secret"
	"github.com/remuda-run/remuda/internal/store"
)

// Names of what Bootstrap makes.
const (
	DefaultOrganization = "default"
	AdminUser           = "admin"
)

// Service manages organizations, users, roles and tokens. Its methods may be
// called from any goroutine.
type Service struct {
	store   *store.Store
	logger  *slog.Logger
	clock   func() time.Time
	hasher  *authn.Hasher
	limiter *authn.Limiter
	tokens  *tokenCache

	maxSessions int
	policies    policies
	limits      limits
}

// New returns a service on s. clock tells the time for expiry and rate limits;
// nil is the system's.
func New(s *store.Store, logger *slog.Logger, clock func() time.Time) *Service {
	return NewWithCost(s, logger, clock, authn.DefaultCost)
}

// NewWithCost is New with another cost of password hashes, for tests that check
// many of them.
func NewWithCost(s *store.Store, logger *slog.Logger, clock func() time.Time, cost authn.Cost) *Service {
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	if clock == nil {
		clock = time.Now
	}
	return &Service{
		store: s, logger: logger, clock: clock,
		hasher: authn.NewHasher(cost), limiter: authn.NewLimiter(clock), tokens: newTokenCache(clock), maxSessions: maxSessions,
		policies: policies{all: map[remuda.OrganizationID]remuda.Policy{}},
		limits:   limits{all: map[remuda.OrganizationID]remuda.Limits{}},
	}
}

// Bootstrap makes the organization "default" and its administrator "admin", who
// is also site administrator, if there is no user yet. With adminPassword "" it
// makes a password and returns it, to be shown once. When there are users it
// changes nothing and returns "".
func (s *Service) Bootstrap(ctx context.Context, adminPassword string) (generated string, err error) {
	users := 0
	err = s.store.Read(ctx, func(tx *store.Tx) error {
		users, err = tx.CountUsers(ctx)
		return err
	})
	if err != nil || users > 0 {
		return "", err
	}
	password := adminPassword
	if password == "" {
		generated = rand.Text()
		password = generated
	}
	if fields := checkPassword("admin_password", password); len(fields) > 0 {
		return "", remuda.Invalid(fields...)
	}
	hash, err := s.hasher.Hash(ctx, secret.String(password))
	if err != nil {
		return "", err
	}
	now := s.clock()
	org := remuda.Organization{ID: remuda.NewOrganizationID(), Name: DefaultOrganization, CreatedAt: now}
	admin := remuda.User{ID: remuda.NewUserID(), Name: AdminUser, SiteAdmin: true, PasswordHash: hash, CreatedAt: now}
	made := false
	err = s.store.Write(ctx, func(tx *store.Tx) error {
		if n, err := tx.CountUsers(ctx); err != nil || n > 0 {
			return err // another server was faster
		}
		made = true
		return s.insertFirst(ctx, tx, org, admin)
	})
	if err != nil || !made {
		return "", err
	}
	s.logger.InfoContext(ctx, "first start: organization and administrator created", "organization", org.Name, "user", admin.Name)
	return generated, nil
}

func (s *Service) insertFirst(ctx context.Context, tx *store.Tx, org remuda.Organization, admin remuda.User) error {
	if err := tx.InsertOrganization(ctx, org); err != nil {
		return err
	}
	if err := tx.InsertUser(ctx, admin); err != nil {
		return err
	}
	if err := tx.PutMembership(ctx, remuda.Membership{Organization: org.ID, User: admin.ID, Role: remuda.RoleAdministrator}); err != nil {
		return err
	}
	system := remuda.Principal{Organization: remuda.GlobalOrganization}
	if err := tx.AppendAudit(ctx, audit.Entry(system, authz.OrganizationWrite, string(org.ID), nil, org.CreatedAt, "name", org.Name, "change", "create")); err != nil {
		return err
	}
	if err := tx.AppendAudit(ctx, audit.Entry(system, authz.UserWrite, string(admin.ID), nil, admin.CreatedAt, "name", admin.Name, "change", "create", "site_admin", true)); err != nil {
		return err
	}
	system.Organization = org.ID
	return tx.AppendAudit(ctx, audit.Entry(system, authz.MemberWrite, string(admin.ID), nil, org.CreatedAt, "role", remuda.RoleAdministrator, "change", "put"))
}

var namePattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)

// checkName says what is wrong with the name of an organization, user or token.
func checkName(name string) []remuda.FieldError {
	if namePattern.MatchString(name) {
		return nil
	}
	return []remuda.FieldError{{Field: "name", Message: "must have 1 to 63 letters, digits, dots, dashes or underscores and begin with a letter or digit"}}
}

func checkPassword(field, password string) []remuda.FieldError {
	if utf8.RuneCountInString(password) < authn.MinPasswordLength {
		return []remuda.FieldError{{Field: field, Message: fmt.Sprintf("must have at least %d characters", authn.MinPasswordLength)}}
	}
	if len(password) > authn.MaxPasswordBytes {
		return []remuda.FieldError{{Field: field, Message: fmt.Sprintf("must have at most %d bytes", authn.MaxPasswordBytes)}}
	}
	return nil
}
