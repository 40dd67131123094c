// Package guestinit is the program remuda-init: the first process of a sandbox
// and its keeper. It builds the sandbox that a Setup frame describes, gives up
// every privilege that it no longer needs, starts one interpreter with our
// driver in it, and from then on carries scripts in and output, results and
// files out, reaps orphans and enforces time, output and flow limits.
//
// It is one event loop on one thread (keeper.go), so there are no locks; the
// only other goroutine waits for dead children (reap.go). Reading order:
// main.go, keeper.go, conn.go (the server's side), setup.go with root.go and
// fence.go (building), driver.go (the interpreter's side), execution.go with
// output.go and end.go (running), files.go.
//
// The protocol to the server is package protocol, the one to the driver package
// channel; both are described in ../PROTOCOL.md. What the server says is
// trusted. What a driver says is not: a script shares its process.
package guestinit
