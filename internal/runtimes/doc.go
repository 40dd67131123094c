// Package runtimes is the service of runtime definitions: who may read and change
// them, what a valid one is, which name means which, which generation serves, and
// that a change has taken effect when it is acknowledged.
//
// Every change of a definition but that of its description and others makes the
// next generation (generation.go). One whose packages have to be installed is built
// first (build.go), in the background and over restarts of the server; the newest
// ready one serves meanwhile, with the new policy. The order of a change is:
// recorded (with its audit entry), known to the pool, known to the catalog; only
// then it is answered. The pool hands out under the lock under which it learns of
// the new generation, so that no request that begins after the answer gets an
// instance of the old one.
//
// Definitions are kept in memory beside the store (catalog.go), because every
// execution asks for one. Start with service.go; defaults.go and check.go say what a
// definition may be, states.go of internal/remuda how builds move. Instances are
// the pool's business, and how packages are installed that of internal/layer.
package runtimes
