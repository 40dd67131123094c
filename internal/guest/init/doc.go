// Package guestinit is the program remuda-init: the first process of a sandbox
// and its keeper. It builds the sandbox that a Setup frame describes, gives up
// every privilege that it no longer needs, starts one interpreter with our
// driver in it, and from then on carries scripts in and output, results and
// files out, reaps orphans and enforces time, output and flow limits.
//
// Of a template it is also the keeper of every instance that is forked from it:
// one keeper value for each, in one process and one loop. There are sandboxes,
// then, in which it is not a process: the first process of a forked instance is a
// fork of the template, and what that does is made here as lists of system calls.
// In a container of an OCI runtime it finds most of the sandbox made.
//
// It is one event loop on one thread (keeper.go), so there are no locks; the
// only other goroutine waits for dead children (reap.go). Reading order:
// main.go, keeper.go, conn.go (the server's side), setup.go with root.go and
// fence.go (building), driver.go (the interpreter's side), execution.go with
// output.go and end.go (running), files.go; then template.go (the template and
// what is expected of it), fork.go (a forked instance), program.go (what its
// first process does) and child_amd64.go (in machine code), attach.go (another server comes for it), budget.go (what they
// hold together); contained.go (in a container); prepare.go with base.go
// (the root that the launcher makes once).
//
// The protocol to the server is package protocol, the one to the driver package
// channel; both are described in ../PROTOCOL.md. What the server says is
// trusted. What a driver says is not: a script shares its process, and so do a
// template's packages.
package guestinit
