// Package join starts a program in a sandbox that lives already, with a terminal
// of its own: what a debugger would call entering it from outside.
//
// Entering a user namespace needs a process with one thread, which a Go program
// never is. So the server executes remuda-init (with Arg, from a sealed memfd: no
// memory and no descriptor of the server's), which writes down all that is to be
// done as a list of raw system calls (program.go) and clones itself. That clone,
// the guest, has one thread and runs the list, nothing else (raw.go):
//
//  1. it waits until the server has put it into the instance's cgroup;
//  2. it enters the sandbox's namespaces, drops the bounding set, becomes the
//     sandbox's user, gives up every capability, opens a pseudo-terminal of the
//     sandbox's own, hands the server its end, closes all else, and takes the
//     instance's system call filter;
//  3. only then does it fork into the sandbox's pid namespace. What the sandbox's
//     other processes see from the first moment is therefore a process that can do
//     no more than they can. It is not dumpable, and its memory belongs to the
//     machine's user namespace until the execve: it cannot be traced, nor its
//     descriptors or its program be opened through /proc.
//
// Both processes are cloned as children of the server (CLONE_PARENT), which reaps
// them by pidfd.
//
// Main is the joiner's side; the server's is package local's join.go. Linked into
// remuda-init, so it imports next to nothing.
package join
