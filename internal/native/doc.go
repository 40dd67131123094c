// Package native is the edge of Remuda's own API, /v1: it decodes requests as
// api/openapi.yaml describes them, calls one service function each and encodes
// the answer.
//
// It knows wire shapes and nothing of stores, pools or engines; every decision
// (may you, is it valid, what happens) is a service's. Start with services.go
// for what it calls and routes.go for the table of operations.
//
// The composition root makes it and serves it so:
//
//	h, err := native.Handler(services, httpapi.Options{...}) // (http.Handler, error)
//	srv := httpapi.NewServer(h, logger)                      // *http.Server with timeouts
package native
