package client

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
)

// CreateToken makes a token with the client's own.
func (c *Client) CreateToken(ctx context.Context, in TokenCreate) (TokenCreated, error) {
	return call[TokenCreated](ctx, c, http.MethodPost, "/v1/tokens", nil, in)
}

// CreateTokenBasic makes a token with a name and password. organization (id or
// name) may be empty: the user's first.
func (c *Client) CreateTokenBasic(ctx context.Context, user, password, organization string, in TokenCreate) (TokenCreated, error) {
	return callBasic[TokenCreated](ctx, c, http.MethodPost, "/v1/tokens", in, user, password, organization)
}

// callBasic does a JSON exchange with a name and password instead of the token.
func callBasic[Out any](ctx context.Context, c *Client, method, path string, in any, user, password, organization string) (Out, error) {
	var none Out
	body, err := json.Marshal(in)
	if err != nil {
		return none, fmt.Errorf("encode the request: %w", err)
	}
	r, err := c.request(ctx, method, path, nil, bytes.NewReader(body))
	if err != nil {
		return none, err
	}
	r.Header.Set("Content-Type", "application/json")
	r.SetBasicAuth(user, password)
	if organization != "" {
		r.Header.Set("Remuda-Organization", organization)
	}
	resp, err := c.send(r)
	if err != nil {
		return none, err
	}
	return decode[Out](resp)
}

// ListTokens returns a page of tokens, without their secrets.
func (c *Client) ListTokens(ctx context.Context, p Page) (TokenList, error) {
	return call[TokenList](ctx, c, http.MethodGet, "/v1/tokens", p.query(), nil)
}

// RevokeToken makes a token worthless.
func (c *Client) RevokeToken(ctx context.Context, id string) error {
	return c.remove(ctx, at("tokens", id))
}

// Whoami says what the client's token stands for.
func (c *Client) Whoami(ctx context.Context) (Whoami, error) {
	return call[Whoami](ctx, c, http.MethodGet, "/v1/whoami", nil, nil)
}

// CreateOrganization makes an organization.
func (c *Client) CreateOrganization(ctx context.Context, name string) (Organization, error) {
	return call[Organization](ctx, c, http.MethodPost, "/v1/organizations", nil, OrganizationCreate{Name: name})
}

// ListOrganizations returns a page of the organizations that the user may see.
func (c *Client) ListOrganizations(ctx context.Context, p Page) (OrganizationList, error) {
	return call[OrganizationList](ctx, c, http.MethodGet, "/v1/organizations", p.query(), nil)
}

// GetOrganization returns an organization by id or name.
func (c *Client) GetOrganization(ctx context.Context, ref string) (Organization, error) {
	return call[Organization](ctx, c, http.MethodGet, at("organizations", ref), nil, nil)
}

// UpdateOrganization changes what an organization may do. For site
// administrators.
func (c *Client) UpdateOrganization(ctx context.Context, ref string, in OrganizationUpdate) (Organization, error) {
	return call[Organization](ctx, c, http.MethodPatch, at("organizations", ref), nil, in)
}

// GetLimits returns what an organization has set itself, and what is in force.
func (c *Client) GetLimits(ctx context.Context, organization string) (Limits, error) {
	return call[Limits](ctx, c, http.MethodGet, at("organizations", organization, "limits"), nil, nil)
}

// UpdateLimits changes the limits that are given, for the organization's
// administrators; a pointer to 0 goes back to the site's default.
func (c *Client) UpdateLimits(ctx context.Context, organization string, in LimitsUpdate) (Limits, error) {
	return call[Limits](ctx, c, http.MethodPatch, at("organizations", organization, "limits"), nil, in)
}

// ListMembers lists who has which role in an organization.
func (c *Client) ListMembers(ctx context.Context, organization string) (MemberList, error) {
	return call[MemberList](ctx, c, http.MethodGet, at("organizations", organization, "members"), nil, nil)
}

// PutMember gives a user a role in an organization.
func (c *Client) PutMember(ctx context.Context, organization, user string, role Role) (Member, error) {
	return call[Member](ctx, c, http.MethodPut, at("organizations", organization, "members", user), nil, map[string]Role{"role": role})
}

// RemoveMember takes a user's role in an organization away.
func (c *Client) RemoveMember(ctx context.Context, organization, user string) error {
	return c.remove(ctx, at("organizations", organization, "members", user))
}

// CreateUser makes a user.
func (c *Client) CreateUser(ctx context.Context, in UserCreate) (User, error) {
	return call[User](ctx, c, http.MethodPost, "/v1/users", nil, in)
}

// ListUsers returns a page of users.
func (c *Client) ListUsers(ctx context.Context, p Page) (UserList, error) {
	return call[UserList](ctx, c, http.MethodGet, "/v1/users", p.query(), nil)
}

// GetUser returns a user by id or name.
func (c *Client) GetUser(ctx context.Context, ref string) (User, error) {
	return call[User](ctx, c, http.MethodGet, at("users", ref), nil, nil)
}

// ChangePassword gives a user another password, with the present one. It is the
// way to change one's own: a token cannot.
func (c *Client) ChangePassword(ctx context.Context, user, present, next string) (User, error) {
	return callBasic[User](ctx, c, http.MethodPatch, at("users", user), UserUpdate{Password: &next}, user, present, "")
}

// UpdateUser changes another user's password, or disables or enables the user.
func (c *Client) UpdateUser(ctx context.Context, ref string, in UserUpdate) (User, error) {
	return call[User](ctx, c, http.MethodPatch, at("users", ref), nil, in)
}

// Health asks whether the server lives; it needs no token.
func (c *Client) Health(ctx context.Context) (Health, error) {
	return call[Health](ctx, c, http.MethodGet, "/healthz", nil, nil)
}

// Ready asks whether the server serves requests; it needs no token.
func (c *Client) Ready(ctx context.Context) (Health, error) {
	return call[Health](ctx, c, http.MethodGet, "/readyz", nil, nil)
}
