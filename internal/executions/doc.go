// Package executions is the service of script runs: it decides whether a request
// may run and is valid, records it, finds it an instance (a fresh one, or that
// of a runspace), runs it, keeps its output and records its one end.
//
// A run belongs to the server, not to the request that started it: a caller that
// hangs up changes nothing. The path that a waiting caller sees is short. The row
// and its audit entry are made durable while the instance is started and the
// script runs (birth.go, due.go); the end, the remaining output and the second audit
// entry are one transaction. A run whose script ends within 2 ms, and of which nobody was
// told before, is one transaction in all; so is one that has waited for its
// instance for up to 250 ms before. In a crowd ends share commits, for which the
// first of them waits at most 5 ms. Only after its commit anybody is told.
// "record" and "total" in the timings reach up to the last commit, but leave it
// out.
//
// Output is stored in batches (64 KiB, 20 ms or the end) and published to readers
// when a batch is durable, never before; so memory per run is bounded, and a
// reader can always go on from a number it has seen.
//
// A stream (stream.go) runs one script after the other on its caller's goroutine
// and leaves the ends to commits that they share; nobody is told of an end before.
//
// What runs in a runspace outlives the server (recover.go): the sandbox's keeper holds
// output until it is acknowledged, which is when it is durable, and an end until the
// next script begins there. So an end is committed before the runspace is given to the
// next one, unless nobody was ever told of the execution. The next server goes on from
// the last record that is stored; what it finds without a row it throws away.
//
// Messages, objects and text of a script are read from its stored output, so they are
// the same while it runs and after (streams.go, objects.go). Scripts that compute
// parameters run before it, in its interpreter and its time (arguments.go).
//
// What organizations do not keep any longer is deleted, in small transactions
// (history.go).
//
// Start with service.go, then run.go (the life of one run), finish.go and
// output.go. Instances are the pool's and runspaces' business, sandboxes the
// engine's.
package executions
