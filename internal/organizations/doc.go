// Package organizations is the service for who may act at all: organizations,
// users, their roles, tokens, and authentication.
//
// A session is a login here: a token that lives while it is used (sessions.go). Streams
// of tasks, which are sessions too, are not this package's. A delegated token acts for
// a script while it runs (delegate.go). What an organization may do is the site's to
// say (policy.go), what it bounds itself is its administrators' (limits.go).
//
// It decides, records and audits; how credentials are computed is in authn, what
// a role may do in authz. Its Service implements Authenticator, Tokens,
// Organizations and Users of internal/native. Start with service.go, then
// authenticate.go.
package organizations
