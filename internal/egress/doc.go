// Package egress says what an instance may reach: which destinations a runtime
// may list, and what a list comes to.
//
// A destination is reached when it is listed by the runtime, may be listed by
// the organization and by the site, and is not on the never-list. A refusal
// always wins, whatever stands first. An empty list is nothing at all.
//
// Check finds what is wrong with a list when a runtime is made; Compile turns a
// list into a Compiled, which engines enforce. The package is pure: it opens no
// socket and asks no machine. Start with Compile.
package egress
