package native

import (
	"net/http"

	"github.com/remuda-run/remuda/api"
	"github.com/remuda-run/remuda/internal/httpapi"
	"github.com/remuda-run/remuda/internal/remuda"
)

func (e *edge) createToken(c *call) error {
	var body api.TokenCreate
	if err := c.read(bodyLimit, &body); err != nil {
		return err
	}
	scope := remuda.ScopeWrite
	if body.Scope != nil {
		scope = remuda.Scope(*body.Scope)
	}
	token, secret, err := e.Tokens.CreateToken(c.ctx(), c.p, body.Name, scope, body.ExpiresAt)
	if err != nil {
		return err
	}
	return c.reply(http.StatusCreated, tokenCreatedWire(token, secret))
}

func (e *edge) listTokens(c *call) error {
	items, next, err := e.Tokens.ListTokens(c.ctx(), c.p, httpapi.Page(c.query))
	if err != nil {
		return err
	}
	return c.reply(http.StatusOK, api.TokenList{Items: each(items, tokenWire), Next: optional(next)})
}

func (e *edge) revokeToken(c *call) error {
	if err := e.Tokens.RevokeToken(c.ctx(), c.p, remuda.TokenID(c.r.PathValue("token"))); err != nil {
		return err
	}
	return c.noContent()
}

func (e *edge) whoami(c *call) error { return c.reply(http.StatusOK, whoamiWire(c.p)) }

func (e *edge) createOrganization(c *call) error {
	var body api.OrganizationCreate
	if err := c.read(bodyLimit, &body); err != nil {
		return err
	}
	o, err := e.Organizations.CreateOrganization(c.ctx(), c.p, body.Name)
	if err != nil {
		return err
	}
	return c.created(http.StatusCreated, "/v1/organizations/"+string(o.ID), organizationWire(o))
}

func (e *edge) listOrganizations(c *call) error {
	items, next, err := e.Organizations.ListOrganizations(c.ctx(), c.p, httpapi.Page(c.query))
	if err != nil {
		return err
	}
	return c.reply(http.StatusOK, api.OrganizationList{Items: each(items, organizationWire), Next: optional(next)})
}

func (e *edge) getOrganization(c *call) error {
	o, err := e.Organizations.GetOrganization(c.ctx(), c.p, c.r.PathValue("organization"))
	if err != nil {
		return err
	}
	return c.reply(http.StatusOK, organizationWire(o))
}

func (e *edge) updateOrganization(c *call) error {
	var body api.OrganizationUpdate
	if err := c.read(bodyLimit, &body); err != nil {
		return err
	}
	patch, err := policyPatch(body.Policy)
	if err != nil {
		return err
	}
	o, err := e.Organizations.UpdateOrganization(c.ctx(), c.p, c.r.PathValue("organization"), patch)
	if err != nil {
		return err
	}
	return c.reply(http.StatusOK, organizationWire(o))
}

func (e *edge) getLimits(c *call) error {
	own, inForce, err := e.Organizations.GetLimits(c.ctx(), c.p, c.r.PathValue("organization"))
	if err != nil {
		return err
	}
	return c.reply(http.StatusOK, limitsWire(own, inForce))
}

func (e *edge) updateLimits(c *call) error {
	var body api.LimitsUpdate
	if err := c.read(bodyLimit, &body); err != nil {
		return err
	}
	own, inForce, err := e.Organizations.UpdateLimits(c.ctx(), c.p, c.r.PathValue("organization"), limitsPatch(body))
	if err != nil {
		return err
	}
	return c.reply(http.StatusOK, limitsWire(own, inForce))
}

func (e *edge) listMembers(c *call) error {
	items, err := e.Organizations.ListMembers(c.ctx(), c.p, c.r.PathValue("organization"))
	if err != nil {
		return err
	}
	return c.reply(http.StatusOK, api.MemberList{Items: each(items, memberWire)})
}

func (e *edge) putMember(c *call) error {
	var body api.MemberPut
	if err := c.read(bodyLimit, &body); err != nil {
		return err
	}
	m, err := e.Organizations.PutMember(c.ctx(), c.p, c.r.PathValue("organization"), c.r.PathValue("user"), remuda.Role(body.Role))
	if err != nil {
		return err
	}
	return c.reply(http.StatusOK, memberWire(m))
}

func (e *edge) removeMember(c *call) error {
	if err := e.Organizations.RemoveMember(c.ctx(), c.p, c.r.PathValue("organization"), c.r.PathValue("user")); err != nil {
		return err
	}
	return c.noContent()
}

func (e *edge) createUser(c *call) error {
	var body api.UserCreate
	if err := c.read(bodyLimit, &body); err != nil {
		return err
	}
	u, err := e.Users.CreateUser(c.ctx(), c.p, body.Name, body.Password, value(body.SiteAdmin))
	if err != nil {
		return err
	}
	return c.created(http.StatusCreated, "/v1/users/"+string(u.ID), userWire(u))
}

func (e *edge) listUsers(c *call) error {
	items, next, err := e.Users.ListUsers(c.ctx(), c.p, httpapi.Page(c.query))
	if err != nil {
		return err
	}
	return c.reply(http.StatusOK, api.UserList{Items: each(items, userWire), Next: optional(next)})
}

func (e *edge) getUser(c *call) error {
	u, err := e.Users.GetUser(c.ctx(), c.p, c.r.PathValue("user"))
	if err != nil {
		return err
	}
	return c.reply(http.StatusOK, userWire(u))
}

func (e *edge) updateUser(c *call) error {
	var body api.UserUpdate
	if err := c.read(bodyLimit, &body); err != nil {
		return err
	}
	u, err := e.Users.UpdateUser(c.ctx(), c.p, c.r.PathValue("user"), body.Password, body.Disabled)
	if err != nil {
		return err
	}
	return c.reply(http.StatusOK, userWire(u))
}
