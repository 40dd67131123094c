// Package app is the composition root: it builds the store, the engine, the
// pool, the services and the HTTP handler from the settings, in that order, and
// ends them in the reverse one. Nothing else in the program constructs these.
//
// Server is what `remuda serve` runs (server.go for its life, build.go for the
// wiring). Local is one execution without a server (local.go). Rules, wire
// shapes and sandboxes are not here.
package app
