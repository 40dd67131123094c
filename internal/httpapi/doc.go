// Package httpapi holds what every HTTP edge of Remuda shares: the server with
// its timeouts, the middleware (request ids, access log, panic recovery, size
// limits, security headers), problem+json with the one table from error code to
// status, JSON bodies checked against an OpenAPI document, paging, waiting,
// server-sent events and WebSockets.
//
// It knows no routes, no services and no wire shapes of any API. Start with
// server.go for what wraps a handler and problem.go for how an error leaves.
package httpapi
