package protocol

import (
	"syscall"
	"time"
)

// How an engine starts a keeper. The binary is executed from a sealed memfd in
// fresh user, mount, pid, net, ipc, uts and cgroup namespaces, as uid and gid 0
// of its user namespace with every capability there, with nothing but KeeperEnv in its environment, with
// argv [KeeperArg0], /dev/null as stdin and stdout, and a pipe or /dev/null as
// stderr (for a panic's last words only). It does nothing before Setup, so that
// the engine can admit it to its cgroup and protect it from the OOM killer (its
// own oom_score_adj is -999; it raises its children's to 0 or more).
//
// The first step of Setup is to unshare CLONE_NEWCGROUP on the thread that will
// start the driver: the namespace that clone made is rooted in the cgroup of the
// launcher (also with CLONE_INTO_CGROUP), and /proc/self/cgroup would show paths
// of the host.
//
// With argv [KeeperArg0, LaunchArg] the binary is the engine's launcher instead
// (package engine/local/launch): no namespace, no keeper.
const (
	KeeperArg0 = "remuda-init"
	LaunchArg  = "launch"
	// ContainedArg makes a keeper that is the first process of a container of an
	// OCI runtime. Its namespaces, hostname, network and read-only root are made
	// before it starts: of a Setup it heeds the disk, the masks, and what
	// concerns the interpreter. Descriptor ListenFD is not a listening socket
	// but the server's connection itself; there is no other one after it, and
	// no LockFD.
	ContainedArg = "contained"
)

// Descriptors that a keeper inherits. It makes both close-on-exec.
const (
	// ListenFD is a listening unix stream socket; servers connect to it.
	ListenFD = 3
	// LockFD holds the lock on the sandbox's uid range. The keeper keeps it open
	// as long as it lives and never uses it.
	LockFD = 4
)

// ContainedDisk is an empty directory of the root that a contained keeper uses
// while it distributes the writable file system.
const ContainedDisk = "/run/remuda/disk"

// FirstConnection is how long a keeper waits for its very first connection. Before
// Setup is done it exits when that time passes or a connection ends: a server
// that dies leaves no blank behind.
const FirstConnection = 30 * time.Second

// ForkFlags are the flags of the one clone that a template may make: into
// namespaces of the child's own, as a child of the template's keeper.
const ForkFlags = syscall.CLONE_NEWUSER | syscall.CLONE_NEWPID | syscall.CLONE_NEWNET | syscall.CLONE_NEWUTS |
	syscall.CLONE_PARENT | 0x11 // SIGCHLD

// OwnFlags are the namespaces that the child makes itself, when it has been looked at
// and leads to nobody: it could share what is in these with the template, had it made
// anything there before. The server has put it into its cgroup by then.
const OwnFlags = syscall.CLONE_NEWNS | syscall.CLONE_NEWIPC | syscall.CLONE_NEWCGROUP

// KeeperEnv is the environment of a keeper. One thread of Go code at a time is all
// that it needs. A template's keeper serves many instances: what it has freed is
// overwritten when it is collected, which it does soon after the end of each.
func KeeperEnv() []string {
	return []string{"GOMAXPROCS=1", "GODEBUG=clobberfree=1,gcshrinkstackoff=1"}
}
