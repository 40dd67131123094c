// Package fake is an engine without sandboxes, for tests of the code above the
// engine seam (pool, services, edges). It keeps instances in memory and runs
// scripts of a tiny line language (see script.go) with the semantics that
// engine.Engine promises: one execution at a time, state between executions,
// output in order, interrupts, timeouts, death, and life beyond the server: a sandbox
// is the machine's, an Instance is what one server has of it, and Next is the engine
// of the next server.
//
// Nothing here may be linked into the product; it fences nothing. Start with
// New, and with Engine's methods for making things go wrong on purpose.
package fake
