package organizations

import (
	"context"
	"fmt"
	"slices"

	"github.com/remuda-run/remuda/internal/audit"
	"github.com/remuda-run/remuda/internal/authz"
	"github.com/remuda-run/remuda/internal/remuda"
	"github.com/remuda-run/remuda/internal/store"
)

// CreateOrganization adds a tenant. It has no members; the site administrator
// adds the first with PutMember.
func (s *Service) CreateOrganization(ctx context.Context, p remuda.Principal, name string) (remuda.Organization, error) {
	if err := authz.Check(p, authz.OrganizationWrite, p.Organization); err != nil {
		return remuda.Organization{}, err
	}
	fields := checkName(name)
	if remuda.IsID(remuda.PrefixOrganization, name) {
		fields = append(fields, remuda.FieldError{Field: "name", Message: "must not have the form of an id"})
	}
	if len(fields) > 0 {
		return remuda.Organization{}, remuda.Invalid(fields...)
	}
	org := remuda.Organization{ID: remuda.NewOrganizationID(), Name: name, CreatedAt: s.clock()}
	err := s.store.Write(ctx, func(tx *store.Tx) error {
		if err := tx.InsertOrganization(ctx, org); err != nil {
			return err
		}
		return tx.AppendAudit(ctx, ofSite(audit.Entry(p, authz.OrganizationWrite, string(org.ID), nil, org.CreatedAt, "change", "create", "name", name)))
	})
	if err != nil {
		return remuda.Organization{}, err
	}
	return org, nil
}

// ofSite puts an entry about the site into the global organization's log.
func ofSite(e remuda.AuditEntry) remuda.AuditEntry {
	e.Organization = remuda.GlobalOrganization
	return e
}

// ListOrganizations returns all organizations to a site administrator and the
// user's own to anybody else: with a token, only the one it was made for.
func (s *Service) ListOrganizations(ctx context.Context, p remuda.Principal, page remuda.Page) (orgs []remuda.Organization, next string, err error) {
	if err := authz.Check(p, authz.OrganizationRead, p.Organization); err != nil {
		return nil, "", err
	}
	err = s.store.Read(ctx, func(tx *store.Tx) error {
		if p.SiteAdmin {
			orgs, next, err = tx.Organizations(ctx, page)
			return err
		}
		orgs, err = visible(ctx, tx, p)
		return err
	})
	return orgs, next, err
}

// visible returns the organizations that somebody who is no site administrator
// may know of, newest first.
func visible(ctx context.Context, tx *store.Tx, p remuda.Principal) ([]remuda.Organization, error) {
	ids := []remuda.OrganizationID{p.Organization}
	if p.Token == "" {
		roles, err := tx.Memberships(ctx, p.User)
		if err != nil {
			return nil, err
		}
		ids = ids[:0]
		for _, m := range roles {
			ids = append(ids, m.Organization)
		}
	}
	slices.Sort(ids)
	slices.Reverse(ids)
	orgs := make([]remuda.Organization, 0, len(ids))
	for _, id := range ids {
		org, err := tx.Organization(ctx, id)
		if err != nil {
			return nil, err
		}
		orgs = append(orgs, org)
	}
	return orgs, nil
}

// GetOrganization returns an organization by id or name, if ListOrganizations
// would show it.
func (s *Service) GetOrganization(ctx context.Context, p remuda.Principal, ref string) (org remuda.Organization, err error) {
	if err := authz.Check(p, authz.OrganizationRead, p.Organization); err != nil {
		return remuda.Organization{}, err
	}
	err = s.store.Read(ctx, func(tx *store.Tx) error {
		org, err = organizationByRef(ctx, tx, ref)
		if err != nil || p.SiteAdmin {
			return err
		}
		seen, err := visible(ctx, tx, p)
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(seen, func(o remuda.Organization) bool { return o.ID == org.ID }) {
			return remuda.NotFound("organization", ref)
		}
		return nil
	})
	if err != nil {
		return remuda.Organization{}, err
	}
	return org, nil
}

// withOrganization finds the organization that ref names and checks that p may
// do the action there. A foreign one is not found, in the words of an absent one.
func withOrganization(ctx context.Context, tx *store.Tx, p remuda.Principal, action authz.Action, ref string) (remuda.Organization, error) {
	org, err := organizationByRef(ctx, tx, ref)
	if err != nil {
		return remuda.Organization{}, err
	}
	err = authz.Check(p, action, org.ID)
	if remuda.CodeOf(err) == remuda.CodeNotFound {
		return remuda.Organization{}, remuda.NotFound("organization", ref)
	}
	return org, err
}

// ListMembers returns who has a role in an organization.
func (s *Service) ListMembers(ctx context.Context, p remuda.Principal, ref string) (members []remuda.Member, err error) {
	err = s.store.Read(ctx, func(tx *store.Tx) error {
		org, err := withOrganization(ctx, tx, p, authz.MemberRead, ref)
		if err != nil {
			return err
		}
		members, err = tx.Members(ctx, org.ID)
		return err
	})
	return members, err
}

// PutMember gives a user (id or name) a role in an organization, or changes it.
// The last administrator keeps that role.
func (s *Service) PutMember(ctx context.Context, p remuda.Principal, ref, user string, role remuda.Role) (remuda.Member, error) {
	var member remuda.Member
	err := s.store.Write(ctx, func(tx *store.Tx) error {
		org, err := withOrganization(ctx, tx, p, authz.MemberWrite, ref)
		if err != nil {
			return err
		}
		if !authz.ValidRole(role) {
			return remuda.Invalid(remuda.FieldError{Field: "role", Message: "must be administrator, deployer, operator or monitor"})
		}
		u, err := userByRef(ctx, tx, user)
		if err != nil {
			return err
		}
		if role != remuda.RoleAdministrator {
			if err := keepsAdministrator(ctx, tx, org, u); err != nil {
				return err
			}
		}
		if err := tx.PutMembership(ctx, remuda.Membership{Organization: org.ID, User: u.ID, Role: role}); err != nil {
			return err
		}
		member = remuda.Member{User: u.ID, UserName: u.Name, Role: role}
		return s.auditMember(ctx, tx, p, org, u, "change", "put", "role", role)
	})
	s.tokens.forget()
	if err != nil {
		return remuda.Member{}, err
	}
	return member, nil
}

// RemoveMember takes a user's role in an organization away; its tokens there
// stop working at once. The last administrator stays.
func (s *Service) RemoveMember(ctx context.Context, p remuda.Principal, ref, user string) error {
	err := s.store.Write(ctx, func(tx *store.Tx) error {
		org, err := withOrganization(ctx, tx, p, authz.MemberWrite, ref)
		if err != nil {
			return err
		}
		u, err := userByRef(ctx, tx, user)
		if err != nil {
			return err
		}
		if err := keepsAdministrator(ctx, tx, org, u); err != nil {
			return err
		}
		if err := tx.DeleteMembership(ctx, org.ID, u.ID); err != nil {
			return err
		}
		return s.auditMember(ctx, tx, p, org, u, "change", "remove")
	})
	s.tokens.forget()
	return err
}

// auditMember records a change of roles in the log of the organization that it
// concerns, which may not be the one of a site administrator who made it.
func (s *Service) auditMember(ctx context.Context, tx *store.Tx, p remuda.Principal, org remuda.Organization, u remuda.User, details ...any) error {
	e := audit.Entry(p, authz.MemberWrite, string(u.ID), nil, s.clock(), append(details, "user", u.Name)...)
	e.Organization = org.ID
	return tx.AppendAudit(ctx, e)
}

// keepsAdministrator refuses when u is the last who can administer org.
func keepsAdministrator(ctx context.Context, tx *store.Tx, org remuda.Organization, u remuda.User) error {
	m, err := tx.Membership(ctx, org.ID, u.ID)
	if remuda.CodeOf(err) == remuda.CodeNotFound {
		return nil
	}
	if err != nil || m.Role != remuda.RoleAdministrator || u.Disabled {
		return err
	}
	others, err := tx.CountAdministrators(ctx, org.ID, u.ID)
	if err != nil || others > 0 {
		return err
	}
	return &remuda.Error{
		Code: remuda.CodeConflict, Message: fmt.Sprintf("%s is the last administrator of organization %s", u.Name, org.Name),
		Cause: "nobody could manage its members any more", Remedy: "make another enabled user administrator first",
	}
}
