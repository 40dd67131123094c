// Package runspaces is the service of runspaces: leases on instances that keep
// their state between executions, and the files of their workspaces.
//
// Every open runspace has one keeper, a goroutine that owns its life from
// creating to closed or error (keeper.go): it prepares the instance, watches
// it, ends what runs there, destroys it and records the end. Everybody else only
// asks the keeper to end. That is why a runspace ends exactly once, whoever
// wants it: a DELETE, idleness, a dead sandbox, a shutdown.
//
// Executions borrow the instance for one run at a time through Acquire and
// Hold.Release; this package does not import them. That a runspace is active is
// known in memory only: rows say creating, ready, closed or error, and answers
// are completed from memory. Nothing that runs, or that moves a file, is idle.
//
// A runspace that asks for it is connected by a stored script before anything of its
// user's runs in it, and disconnected by another when it closes (connection.go). What
// bounds it is its organization's limits, while it is open too (limits.go).
//
// Start with service.go, then keeper.go. Which instance is leased is the pool's
// business; what a file path means inside the sandbox is the engine's.
package runspaces
