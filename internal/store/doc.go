// Package store keeps what Remuda acknowledged: organizations, users, tokens,
// runtimes and their generations, runspaces, executions, output and the audit
// log.
//
// All writes go through one writer that groups them into common transactions
// (Write, Begin); reads run on a pool of connections, each in one snapshot
// (Read). A write that returned nil survives kill -9 and power loss.
//
// The ends of executions, which somebody waits for and nothing can refuse any more,
// take a shorter way (RecordEnd): into a journal, and from there many at once into the
// tables, before anybody writes or reads of them. See ends.go and package journal.
//
// The SQL of the queries is the same for every database: $1 parameters,
// RETURNING, ON CONFLICT, keyset paging, times as integer microseconds of UTC,
// JSON as TEXT. What differs between databases is behind the backend interface
// in backend.go; sqlite.go is the one that exists.
//
// Every table of a tenant has its organization as the first column of its
// primary key, and every query of such a table takes the organization. The
// exceptions are named: TokenByHash (a secret says whose it is), TokenByID (whether
// tokens that the server has noted live), ForgetIdempotencyKeys (by age alone), and
// AllRuntimes, UnfinishedRunspaces and UnfinishedExecutions, which are for start-up.
//
// A transaction that writes runs on the one writer, for which everybody else waits. So
// what runs inside takes no lock that is held while somebody waits for the store, or for
// anything that can wait for it (a sandbox, a peer, a channel): the two would wait for
// each other, and all who write with them. Take such a lock before, as internal/runtimes
// does with the log of a build. internal/archtest lists the locks that are taken inside.
//
// The package decides nothing about rights; that is the services' part. Start
// with store.go, then writer.go, then one file per noun. storetest holds the
// suite that every backend must pass.
package store
