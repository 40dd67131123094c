// Package runspaces is the service of runspaces: leases on instances that keep
// their state between executions, and the files of their workspaces.
//
// Every open runspace has one keeper, a goroutine that owns its life from
// creating to closed or error (keeper.go): it prepares the instance, watches
// it, ends what runs there, destroys it and records the end. Everybody else only
// asks the keeper to end. That is why a runspace ends exactly once, whoever
// wants it: a DELETE, idleness, a dead sandbox, a shutdown. One for which a warm
// instance is all that it takes is ready before its keeper begins (warm.go).
//
// Executions borrow the instance for one run at a time through Acquire and
// Hold.Release; this package does not import them. That a runspace is active is
// known in memory only: rows say creating, ready, closed or error, and answers
// are completed from memory. Nothing that runs, moves a file or is used by a terminal
// is idle. What a principal does not see is not there: sees (service.go) is the rule.
//
// Open runspaces outlive their server: a sandbox lingers, its row says which instance
// it is, and the next server's Recover opens it again (recover.go); what was running is
// handed to the executions by Resuming. A server that is shut down lets go of its
// runspaces with Leave, or closes them with Drain. Last uses are noted now and then, so
// that idle times go on counting; a use that may not have been noted counts as one.
//
// Executions that may wait stand in line (line.go). A reset puts a fresh instance into
// the same lease (reset.go). Terminals and file transfers are use like a script, but
// that a terminal does not keep a runspace whose session has ended.
//
// A runspace that asks for it is connected by a stored script before anything of its
// user's runs in it, and disconnected by another when it closes (connection.go). What
// bounds it is its organization's limits, while it is open too (limits.go).
//
// Start with service.go, then keeper.go. Which instance is leased is the pool's
// business; what a file path means inside the sandbox is the engine's.
package runspaces
