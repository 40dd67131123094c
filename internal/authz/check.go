package authz

import (
	"fmt"

	"github.com/remuda-run/remuda/internal/remuda"
)

// Check reports whether p may do a to an object that owner owns: nil, an error
// with CodeNotFound for an object that p may not know of, or CodeForbidden. For
// actions of the site (users, new organizations, metrics) owner is the
// principal's own organization or the global one.
//
// Nothing is allowed that no rule allows: an unknown action, role or scope, or a
// principal without an organization, is refused.
func Check(p remuda.Principal, a Action, owner remuda.OrganizationID) error {
	rule, ok := ruleOf(a)
	if !ok || p.User == "" || p.Organization == "" || owner == "" {
		return forbidden(a, "nobody may do this", "report this as an error of the server")
	}
	visible, permitted := reach(p, rule, owner)
	if !visible {
		return &remuda.Error{
			Code: remuda.CodeNotFound, Message: "no such object",
			Remedy: "check the id or name, and which organization the token belongs to",
		}
	}
	if !permitted {
		return forbidden(a, need(rule), "ask an administrator of the organization or of the site")
	}
	if p.Scope != remuda.ScopeWrite && (rule.Writes || p.Scope != remuda.ScopeRead) {
		return forbidden(a, fmt.Sprintf("the token has scope %q", p.Scope), "use a token of scope write")
	}
	return nil
}

// reach reports whether p may know of objects of owner, and whether its role
// permits the action there.
func reach(p remuda.Principal, r Rule, owner remuda.OrganizationID) (visible, permitted bool) {
	own := owner == p.Organization
	switch r.Reach {
	case ReachSite:
		return true, p.SiteAdmin
	case ReachAny:
		return own || p.SiteAdmin, p.SiteAdmin || atLeast(p.Role, r.Role)
	case ReachShared:
		if owner == remuda.GlobalOrganization {
			return true, p.SiteAdmin || (!r.Writes && atLeast(p.Role, r.Role))
		}
		return own, atLeast(p.Role, r.Role)
	case ReachOwn:
		return own, atLeast(p.Role, r.Role)
	}
	return false, false
}

// strength orders the roles; what is not a role has none.
var strength = map[remuda.Role]int{
	remuda.RoleMonitor: 1, remuda.RoleOperator: 2, remuda.RoleDeployer: 3, remuda.RoleAdministrator: 4,
}

func atLeast(has, needs remuda.Role) bool { return strength[has] >= strength[needs] }

// ValidRole reports whether r is one of the four roles.
func ValidRole(r remuda.Role) bool { return strength[r] > 0 }

func need(r Rule) string {
	switch {
	case r.Reach == ReachSite:
		return "only a site administrator may"
	case r.Reach == ReachShared && r.Writes:
		return fmt.Sprintf("it needs role %s or a stronger one; what is built in, only a site administrator may change", r.Role)
	}
	return fmt.Sprintf("it needs role %s or a stronger one", r.Role)
}

func forbidden(a Action, cause, remedy string) error {
	return &remuda.Error{Code: remuda.CodeForbidden, Message: fmt.Sprintf("not allowed: %s", a), Cause: cause, Remedy: remedy}
}
