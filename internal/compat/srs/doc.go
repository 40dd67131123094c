// Package srs is the door for clients of VMware Script Runtime Service for vSphere
// (SRS) 1.0: runspaces, script executions, argument scripts and web consoles, and the
// administrator's service, on the same objects as every other door. api/compat/srs.yaml
// says what it does, field by field; docs/srs.md shows how it is used.
//
// # What its nouns are here
//
// A runspace is a runspace of the runtime that a setting names, which an organization
// may define for itself; a script execution is an execution in it. Scripts are in that
// runtime's language. A vc connection script is a connection script, its execution is
// called powerclivclogin, and that of the disconnect script disconnectallservers. A web
// console is a terminal in a runspace of its own. Ids are the UUIDs that our ids begin
// with (remuda.UUID), so that they hold over restarts and need no table.
//
// What there is belongs to its user: to every session of the user's, and to nobody else
// (remuda.Principal.OwnOnly). The vendor knows no roles; here creating and running needs
// the role operator, and whoever has less gets 403.
//
// # Where the vendor's documents and code differ, or say nothing, or we differ
//
// Sessions. Login takes HTTP Basic, as user or user@organization. SIGN needs a single
// sign-on and is not there; the challenge does not name it. A session is a token of ours
// whose secret is a UUID: it outlives a restart, is listed and revoked at /v1, and is a
// bearer token there. 401 has a body, as documented; the vendor's server sends none.
//
// Headers. X-SRS-API-KEY is written in these letters on HTTP/1.1 and taken in any. On
// HTTP/2 names are lower case, which the vendor's shell client does not find: it has to
// be told --http1.1. A carriage return at the end of the key, which clients send that cut
// it out of an answer with grep, is forgiven in the first request of a connection without
// TLS (httpapi.TolerateReturns says why not elsewhere); otherwise it is 400, as at every
// other door. Location is documented and never sent by the vendor's server; we send it.
//
// Runspaces. A state is active while a script runs, as documented; the vendor's server
// says ready. One that asks for a connection script becomes ready where neither the site
// nor the runtime has one, unless it brings credentials, which somebody must get. What a
// connection script needs is in the member credentials of the request, an extension: we
// have no single sign-on to get a token from. One in error is shown with its reason until
// it is deleted, for ten minutes at most; the vendor's server removes those that have run
// too long. A deleted or closed one is not there any more. Deleting what is not there is
// 500 with code 2040, as documented.
//
// Executions. The first answer says running, also when the script has ended already. The
// record has runspace_id beside the vendor's members, and not the script, which is not
// kept. What was lost or ran too long is error; reason says so. A runspace runs one script
// at a time and none waits for its turn here. While it runs, output is what there is so
// far (the vendor's server answers [null], or 204); what a script has written before it
// failed is there too. Its streams have the 50 newest messages; /v1 has all. A list has
// the 1,000 newest. Cancelling an unknown one has code 1040 in its body, not 500. Executions
// that the same user ran at /v1 in a runspace are listed too, one-shot ones are not.
//
// Argument scripts. The answer has the template's id, where the vendor's has its text.
// Values are quoted whatever is in them; each placeholder needs one.
//
// Errors. A request that cannot be right is 400 with problem details and ErrorDetails at
// once. What the vendor has no status for is its 500 with the operation's code, and
// Retry-After where waiting helps; a server that is stopping is 503. details say why and
// what to do; the private cause is in the log beside the request's id. Booleans are taken
// as texts and numbers, numbers of limits as texts, null is an absent member, unknown and
// read-only members are ignored, a member that is given twice is refused. A GET may have a
// body.
//
// Limits. The vendor has one number for the whole service, here each organization has its
// own, and its administrators set it: the administrator's account is whoever has that role.
// What was never set is the site's, and 0 is no bound. Minutes are rounded up.
//
// Administration. Each type of log is the organization's audit log: the server's own logs
// are the site's. A vCenter is not registered: we keep no credentials of other systems.
//
// Consoles. The terminal is opened when somebody looks at a console whose runspace is
// ready: also the next one after its program has ended or the server was restarted. Its
// page asks for a token, for which the key of a session does.
//
// # Holes of the vendor's that are not here
//
// Values of argument scripts that are code. Stack traces in errors. A read right after a
// write that finds nothing. Running scripts that a restart loses. Credentials as a plain
// parameter that later scripts can read.
//
// Start with routes.go.
package srs
