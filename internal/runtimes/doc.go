// Package runtimes is the service of runtime definitions: who may read and change
// them, what a valid one is, which name means which, and that a change has
// taken effect when it is acknowledged.
//
// Every change of a definition but that of its description makes the next
// generation. The order of a change is: recorded (with its audit entry), known
// to the catalog, known to the pool; only then it is answered. The pool hands
// out under the lock under which it learns of the new generation, so that no
// request that begins after the answer gets an instance of the old one.
//
// Definitions are kept in memory beside the store (catalog.go), because every
// execution asks for one. Start with service.go; defaults.go and check.go say
// what a definition may be. Instances are the pool's business.
package runtimes
