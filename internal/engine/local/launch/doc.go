// Package launch makes the first process of a sandbox from a process that is
// small. A clone with CLONE_NEWUSER copies its parent's page tables (Go cannot
// share them, since the child waits for its id maps), and every page that the
// parent touches afterwards faults: 10 ms and more for a server of 60 MB.
//
// It is also what makes sandboxes cheap to build: in a mount namespace of its own
// it prepares, once, all of the root that every sandbox has, and sees nothing
// else of the machine, so that a clone copies few mounts.
//
// The launcher is a child of the server, runs the same binary as the keeper
// (remuda-init with protocol.LaunchArg), obeys one socketpair and ends when it
// closes. What it starts becomes a child of the server (CLONE_PARENT), so that
// the server reaps it.
//
// Main is the launcher's side, Client the server's. Linked into remuda-init, so
// it imports next to nothing.
package launch
