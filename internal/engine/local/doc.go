// Package local makes sandboxes out of the Linux kernel: namespaces, a uid range
// of its own, cgroups v1 or v2, a read-only root from the machine's /usr, a disk
// with a quota, and a system call filter. It needs root and nothing installed.
//
// A sandbox is one process, remuda-init (package guest/init), that builds the
// rest around itself when it is told to and keeps the interpreter. Before that
// it is a blank: cloned, fenced in a cgroup and waiting. Blanks are kept in stock,
// because the way there costs more than the way on (blank.go); Create turns one
// into an instance (create.go), which can be given less than it has (narrow.go).
// What it says and is told goes through its keeper's connection, in the same way
// for other engines (package engine/keeper); instance.go adds what of the machine
// belongs to it.
//
// A generation soon has a template (template.go): a sandbox with a Python that
// has imported what the runtime preloads and runs no script. A blank is then
// forked from it instead, with the interpreter in it already, or executing it if
// it is another language's; the template's keeper is the keeper of all of them.
// What is forked gets its cgroup, disk (disk_memory.go) and network (network.go,
// package netslot) from here, never from the template. Where there is no
// template, or not yet, or it will not fork, Create starts the interpreter, and
// the caller sees no difference but the time.
//
// Everything on the machine is found again after a crash: the cgroups under the
// herd's are the authority (recover.go); disks are unlinked files behind loop
// devices and mounts that vanish with their last user (disk_image.go); uid
// ranges are locks that sandboxes hold themselves (uidrange.go). What is to live on
// is taken over by its metadata (adopt.go); the keeper of an earlier server's
// template stays for the instances that it keeps (orphan.go).
//
// Reading order: engine.go, blank.go, create.go, setup.go, template.go,
// instance.go, package keeper. Decisions about who may run what belong to the
// services.
package local
