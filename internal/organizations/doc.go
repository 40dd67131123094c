// Package organizations is the service for who may act at all: organizations,
// users, their roles, tokens, and authentication.
//
// It decides, records and audits; how credentials are computed is in authn, what
// a role may do in authz. Its Service implements Authenticator, Tokens,
// Organizations and Users of internal/native. Start with service.go, then
// authenticate.go.
package organizations
