package native

import (
	"context"
	"io"
	"time"

	"github.com/remuda-run/remuda/internal/remuda"
)

func (s *stage) AuthenticateBasic(_ context.Context, user, password, organization string) (remuda.Principal, error) {
	if user != "ada" || password != "pass:word" || (organization != "" && organization != "acme") {
		return remuda.Principal{}, unauthenticated()
	}
	p := tester
	p.Token = ""
	return p, nil
}

func (s *stage) AuthenticateToken(_ context.Context, secret string) (remuda.Principal, error) {
	switch secret {
	case "good":
		return tester, nil
	case "weak":
		p := tester
		p.SiteAdmin, p.Role = false, remuda.RoleMonitor
		return p, nil
	case "broken":
		return remuda.Principal{}, io.ErrUnexpectedEOF
	}
	return remuda.Principal{}, unauthenticated()
}

func (s *stage) CreateToken(_ context.Context, p remuda.Principal, name string, scope remuda.Scope, expires *time.Time) (remuda.Token, string, error) {
	return remuda.Token{ID: "tok_2", Name: name, Scope: scope, User: p.User, Organization: p.Organization, ExpiresAt: expires, CreatedAt: day, Hash: "hash-of-it"}, "the-secret", s.note(name, scope, expires)
}

func (s *stage) ListTokens(_ context.Context, _ remuda.Principal, page remuda.Page) ([]remuda.Token, string, error) {
	return []remuda.Token{{ID: "tok_2", Name: "laptop", Scope: remuda.ScopeRead, CreatedAt: day, Hash: "hash-of-it"}}, "more", s.note(page)
}

func (s *stage) RevokeToken(_ context.Context, _ remuda.Principal, id remuda.TokenID) error {
	return s.note(id)
}

func acme() remuda.Organization {
	return remuda.Organization{ID: "org_1", Name: "acme", CreatedAt: day}
}

func (s *stage) CreateOrganization(_ context.Context, _ remuda.Principal, name string) (remuda.Organization, error) {
	return acme(), s.note(name)
}

func (s *stage) ListOrganizations(_ context.Context, _ remuda.Principal, page remuda.Page) ([]remuda.Organization, string, error) {
	return []remuda.Organization{acme()}, "", s.note(page)
}

func (s *stage) UpdateOrganization(_ context.Context, _ remuda.Principal, ref string, patch remuda.PolicyPatch) (remuda.Organization, error) {
	return acme(), s.note(ref, patch)
}

func (s *stage) GetOrganization(_ context.Context, _ remuda.Principal, ref string) (remuda.Organization, error) {
	return acme(), s.note(ref)
}

func (s *stage) GetLimits(_ context.Context, _ remuda.Principal, ref string) (own, inForce remuda.Limits, err error) {
	return remuda.Limits{MaxRunspaces: 20, KeepFor: time.Hour}, remuda.Limits{MaxRunspaces: 20, IdleTimeout: 90 * time.Second, KeepFor: time.Hour}, s.note(ref)
}

func (s *stage) UpdateLimits(_ context.Context, _ remuda.Principal, ref string, patch remuda.LimitsPatch) (own, inForce remuda.Limits, err error) {
	return patch.Apply(remuda.Limits{}), remuda.Limits{}, s.note(ref, patch)
}

func (s *stage) ListMembers(_ context.Context, _ remuda.Principal, org string) ([]Member, error) {
	return []Member{{User: "usr_1", UserName: "ada", Role: remuda.RoleDeployer}}, s.note(org)
}

func (s *stage) PutMember(_ context.Context, _ remuda.Principal, org, user string, role remuda.Role) (Member, error) {
	return Member{User: "usr_1", UserName: "ada", Role: role}, s.note(org, user, role)
}

func (s *stage) RemoveMember(_ context.Context, _ remuda.Principal, org, user string) error {
	return s.note(org, user)
}

func ada() remuda.User {
	return remuda.User{ID: "usr_1", Name: "ada", SiteAdmin: true, PasswordHash: "argon-hash", CreatedAt: day}
}

func (s *stage) CreateUser(_ context.Context, _ remuda.Principal, name, password string, siteAdmin bool) (remuda.User, error) {
	return ada(), s.note(name, password, siteAdmin)
}

func (s *stage) ListUsers(_ context.Context, _ remuda.Principal, page remuda.Page) ([]remuda.User, string, error) {
	return []remuda.User{ada()}, "", s.note(page)
}

func (s *stage) GetUser(_ context.Context, _ remuda.Principal, ref string) (remuda.User, error) {
	return ada(), s.note(ref)
}

func (s *stage) UpdateUser(_ context.Context, _ remuda.Principal, ref string, password *string, disabled *bool) (remuda.User, error) {
	return ada(), s.note(ref, value(password), value(disabled))
}
