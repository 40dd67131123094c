// Package strategy is the door for clients of MicroStrategy, now Strategy: its REST
// API as of version 11.5 for sessions, runtimes, scripts and their evaluation, on
// the same objects as every other door. api/compat/strategy.yaml says what it does,
// field by field; docs/strategy.md shows how it is used.
//
// # What its nouns are here
//
// A project is an organization, and a session has one: the user's first, or the one
// in a login as user@organization. A runtime is a runtime for Python; runtimes for
// other languages are not seen here. The default runtime, with its well-known id, is
// the built-in one named python. A script is a stored script, an evaluation an
// execution. Ids are the 32 hex digits of our ids' random part (remuda.ShortID), so
// that they hold over restarts and need no table.
//
// Manage runtime is the role deployer, use script Python the role operator; whoever
// has less gets ERR014. GET /api/sessions/privileges lists these; but for 2, their
// numbers are ours, since the vendor's are not published.
//
// # Where the vendor says nothing, or we differ
//
// Sessions. The token alone says who is asking, not the cookie: a browser sends a
// cookie on behalf of anybody. The cookie holds the token for GET /api/auth/token.
// A session slides: each use prolongs it. It is a token of ours with a lifetime, so
// it outlives a restart of the server and is listed and revoked at /v1 like others. Its
// end ends it everywhere. It has the scope of the API token it was opened with, and
// ends with that. Identity tokens live five minutes and can do nothing but open
// sessions; API tokens live a year. Login modes other than 1 (name and password),
// 4096 (API token) and -1 (identity token) are ERR010.
//
// Projects. X-MSTR-ProjectID is required where the vendor requires it and must have
// the form of an id. Any such id stands for the session's one project: old clients
// have the id of another installation's project in their settings, and rights come
// from the session. On runtimes the header is ignored.
//
// Errors. A broken body is ERR006, one in which only required fields are missing
// ERR007. A taken name is 409 ERR015; what the present state does not allow is 409
// ERR001. Unknown paths are ERR004 and methods that a path has not 405 ERR001, in
// the very words by which clients know that a version lacks something; a missing object
// never has these words. The message says what is wrong with every field, in the
// client's names. The ticket id is in the server's log beside the private cause. An
// expired or missing session is 401 ERR009, also for GET /api/sessions.
//
// Runtimes. The answer to a creation is the id alone, or with fields what they name. A
// taken name is refused. Absent fields have our defaults: 1 core, 512 MiB, 60 s, 0 and
// 2 cached instances, no destination. An execTimeout of 0 is the default, cpu is taken
// as a text and as a number, more cores than the machine has are refused as everywhere.
// minCachedInstances above maxCachedInstances is refused. A whitelist entry must be a
// range in its canonical form, or as our extension a host name with a dot. A
// runtimeVersion that the machine does not have stands for the nearest interpreter of
// the same major version at or above the asked minor one, and stays what was asked;
// the setting compat_strategy_versions makes it exact, and then it is refused. One for
// which there is none is refused in any case. Packages that cannot be installed do not
// fail the creation: status and message say so, and the last generation that could be
// built goes on serving; until there is one, an evaluation is ERR016. Dates have
// whole seconds, as the vendor's; a modification is rounded up. The owner is the
// organization. The default runtime cannot be renamed or deleted (ERR017); its first
// package is the interpreter with its standard library, since the vendor's own package
// is not ours to ship. Deleting a runtime that scripts name is allowed; evaluating them
// is ERR004 from then on. One that open runspaces use is 409.
//
// Scripts. Content is base64 of UTF-8. Names are unique in their folder. PUT changes
// what it names. $name outside of strings and comments is a variable, also in the
// fields of formatted strings; assigning to one is refused when the script is stored
// and when it is run. What a script reads and has no variable for is refused. Numbers
// are numbers, everything else is a text, with multiple a list; an empty value is None
// where it may be, and missing where it is required. Secrets are never returned.
// They are for the stored code alone: a PUT that gives a secret of the same name without
// a value keeps it, but one that changes content or runtime drops every secret that it
// does not give again; and an evaluation with a scriptId and other content, or another
// runtime, is refused (ERR006) if it reads a secret without bringing variables of its
// own. Notebooks are kept, and evaluating one is ERR010.
// A list by ids leaves out those that are not there; above 8 MiB together it is refused.
//
// Evaluations. The output is the value of return or of the last expression, as JSON;
// of a value that JSON has no form for, its text. stderr ends with the traceback, in
// the script's own lines and names. A timeout is status 5, memory, processes and disk
// are 4 with the reason in message; 2 is never said. Deleting an evaluation answers
// when it has ended, and leaves alone one that has. A result stays after its script is
// gone. The history names the last run that has ended. Evaluations cut off by a crash
// of the machine end with 4 and say so.
//
// The vendor shows any package failure as a return code; here the message says why. It
// has no limit on who may fetch packages; here the site has (packages.*). It lets a
// delete or a patch of the default runtime break everybody's scripts; here it does not.
//
// Start with routes.go.
package strategy
