package guestinit

import (
	"encoding/binary"
	"math"

	"golang.org/x/sys/unix"

	"github.com/remuda-run/remuda/internal/guest/channel"
	"github.com/remuda-run/remuda/internal/guest/protocol"
)

// What a template's child does to become an instance is written here, as lists
// of system calls that the template's driver holds ready: between the fork and
// the interpreter's first word the child runs as little of anything else as
// possible. Every page that it touches is one that has to be copied.
//
// The lists, in order: the clone; the first process until it waits, to be looked at
// and admitted; how it connects to the keeper, and what of the root and the fence needs
// nothing of the instance's; its waiting for that; the rest of both; then, after a
// second fork, what the interpreter's process does and what the first process does.

// Descriptors of a child's first process. They come in this order because the
// kernel gives the lowest that is free.
const (
	fdDoor    = iota // connection to the keeper
	fdDisk           // detached mount; until it has come, any socket
	fdStdin          // of the interpreter, as are the next three
	fdStdout         //
	fdStderr         //
	fdChannel        //
	fdJob            // of Bash; of others it is another one of stdin
)

// fdKept is where the Python driver keeps its channel.
const fdKept = 1000

// Places of a template's sandbox that its keeper needs and no one else may use.
const (
	keeperDir = "/run/remuda/keeper" // a small file system of the keeper's
	doorPath  = keeperDir + "/door"
	fullProc  = keeperDir + "/own/proc" // without covers, for the kernel to see; behind a closed directory
	childDisk = "/run/remuda/disk"
)

// childPlan is what of a Setup the children repeat.
type childPlan struct {
	masks    []mask
	readOnly []string
	filter   []byte
	exec     []string          // of an interpreter that is executed
	lines    bool              // and speaks the line variant
	limits   []protocol.Rlimit // that the template has not
}

// mask is a path and what covers it.
type mask struct{ path, by string }

// parts are the lists.
func (p *childPlan) parts() [][]channel.Call {
	return [][]channel.Call{
		{call("clone", unix.SYS_CLONE, num(protocol.ForkFlags), num(0), num(0), num(0), num(0))},
		{
			call("close", unix.SYS_CLOSE_RANGE, num(0), num(math.MaxInt32), num(0)), // what is the template's
			call("wait to be admitted", unix.SYS_RT_SIGTIMEDWAIT, channel.Bytes([]byte{1 << (admission - 1), 0, 0, 0, 0, 0, 0, 0}), num(0), num(0), num(8)),
		},
		append(knock(), p.ahead()...),
		{call("wait for the keeper", unix.SYS_RECVMSG, num(fdDoor), channel.Message(), num(unix.MSG_CMSG_CLOEXEC))},
		p.fence(),
		p.interpreterProcess(),
		firstProcess(),
	}
}

// admission is the signal for which a first process waits, with no descriptor open. It
// is the first of all signals, as the least result of a call that waits is 1.
const admission = unix.SIGHUP

// knock connects to the keeper, which knows its child by the number that the
// kernel tells: what it hands over never passes through the template.
func knock() []channel.Call {
	address := append([]byte{unix.AF_UNIX, 0}, doorPath...)
	return []channel.Call{
		call("make a socket", unix.SYS_SOCKET, num(unix.AF_UNIX), num(unix.SOCK_STREAM|unix.SOCK_CLOEXEC), num(0)),
		call("find the keeper", unix.SYS_CONNECT, num(fdDoor), channel.Bytes(address), num(int64(len(address)+1))),
	}
}

// ahead is what of the root and the fence of the first process is the same for
// all instances. It is done while the process waits for one, in its own cgroup.
func (p *childPlan) ahead() []channel.Call {
	calls := []channel.Call{
		call("become group 0", unix.SYS_SETRESGID, num(0), num(0), num(0)),
		call("become user 0", unix.SYS_SETRESUID, num(0), num(0), num(0)),
		call("umask", unix.SYS_UMASK, num(0)),
		call("namespaces of its own", unix.SYS_UNSHARE, num(protocol.OwnFlags)),
		mountCall("devpts", "/dev/pts", unix.MS_NOSUID|unix.MS_NOEXEC, ptsOptions),
		mountCall("proc", "/proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, procOptions),
	}
	for _, r := range p.readOnly {
		calls = append(calls, bindCall(r, r), setAttrCall(r, unix.MOUNT_ATTR_RDONLY, unix.AT_RECURSIVE))
	}
	for _, m := range p.masks {
		calls = append(calls, bindCall(m.by, m.path))
	}
	calls = append(calls, bindCall(emptyDir, keeperDir))
	calls = append(calls, loopbackCalls()...)
	for c := range lastCapability() + 1 {
		calls = append(calls, call("drop a capability", unix.SYS_PRCTL, num(unix.PR_CAPBSET_DROP), num(int64(c)), num(0), num(0), num(0)))
	}
	for _, l := range p.limits { // the interpreter's, which is forked from here
		calls = append(calls, limitCall(l))
	}
	return calls
}

// fence is the instance's disk and the end of what the first process may do.
func (p *childPlan) fence() []channel.Call {
	calls := []channel.Call{
		call("attach the disk", unix.SYS_MOVE_MOUNT, num(fdDisk), text(""), num(unix.AT_FDCWD), text(childDisk), num(unix.MOVE_MOUNT_F_EMPTY_PATH)),
		setAttrCall(childDisk, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV, 0),
	}
	for _, w := range writable {
		dir := childDisk + "/" + w.name
		calls = append(calls, call("make on the disk "+w.name, unix.SYS_MKDIRAT, num(unix.AT_FDCWD), text(dir), num(int64(w.mode))))
		if w.own {
			calls = append(calls, call("give to the interpreter "+w.name, unix.SYS_FCHOWNAT, num(unix.AT_FDCWD), text(dir), num(sandboxUser), num(sandboxUser), num(0)))
		}
		calls = append(calls, bindCall(dir, w.target))
	}
	return append(calls,
		call("let go of the disk", unix.SYS_UMOUNT2, text(childDisk), num(unix.MNT_DETACH)),
		call("umask", unix.SYS_UMASK, num(0o022)),
		call("install the system call filter", unix.SYS_SECCOMP, num(unix.SECCOMP_SET_MODE_FILTER), num(0), channel.Filter(p.filter)),
	)
}

// sandboxUser is the interpreter's user and group in an instance's own user
// namespace.
const sandboxUser = 1000

// nobody is the user and group of a forked instance's first process. The script's
// cannot signal it, and no file is its own.
const nobody = 65534

func (p *childPlan) interpreterProcess() []channel.Call {
	calls := []channel.Call{
		call("setsid", unix.SYS_SETSID),
		call("take stdin", unix.SYS_DUP3, num(fdStdin), num(0), num(0)),
		call("take stdout", unix.SYS_DUP3, num(fdStdout), num(1), num(0)),
		call("take stderr", unix.SYS_DUP3, num(fdStderr), num(2), num(0)),
	}
	// Each of these has taken the place of one that it has no more use for.
	switch {
	case len(p.exec) == 0:
		calls = append(calls,
			call("take the channel", unix.SYS_DUP3, num(fdChannel), num(fdKept), num(unix.O_CLOEXEC)),
			call("close the rest", unix.SYS_CLOSE_RANGE, num(3), num(fdKept-1), num(0)))
	case p.lines:
		calls = append(calls,
			call("take the channel", unix.SYS_DUP3, num(fdChannel), num(3), num(0)),
			call("take the script", unix.SYS_DUP3, num(fdJob), num(4), num(0)),
			call("close the rest", unix.SYS_CLOSE_RANGE, num(5), num(math.MaxInt32), num(0)))
	default:
		calls = append(calls,
			call("take the channel", unix.SYS_DUP3, num(fdChannel), num(3), num(0)),
			call("close the rest", unix.SYS_CLOSE_RANGE, num(4), num(math.MaxInt32), num(0)))
	}
	return append(calls,
		call("become the user's group", unix.SYS_SETRESGID, num(sandboxUser), num(sandboxUser), num(sandboxUser)),
		call("become the user", unix.SYS_SETRESUID, num(sandboxUser), num(sandboxUser), num(sandboxUser)),
		call("enter the workspace", unix.SYS_CHDIR, text(protocol.Workspace)),
	)
}

// firstProcess gives up what the first process has no more use for: it only
// waits for children. It is looked at once it is nobody and has no capability,
// which is why these come last.
func firstProcess() []channel.Call {
	header := binary.NativeEndian.AppendUint32(nil, unix.LINUX_CAPABILITY_VERSION_3)
	header = append(header, 0, 0, 0, 0)
	var calls []channel.Call
	for _, l := range firstLimits() {
		calls = append(calls, limitCall(l))
	}
	return append(calls,
		call("close", unix.SYS_CLOSE_RANGE, num(fdDoor+1), num(math.MaxInt32), num(0)),
		call("become nobody's group", unix.SYS_SETRESGID, num(nobody), num(nobody), num(nobody)),
		call("become nobody", unix.SYS_SETRESUID, num(nobody), num(nobody), num(nobody)),
		call("drop privileges", unix.SYS_CAPSET, channel.Bytes(header), channel.Bytes(make([]byte, 24))),
	)
}

// firstLimits leave the first process nothing that the limits of a script could
// be doubled with: its memory is the interpreter's, so what it does is, in the
// end, the script's.
func firstLimits() []protocol.Rlimit {
	var limits []protocol.Rlimit
	for _, r := range []int{
		unix.RLIMIT_AS, unix.RLIMIT_FSIZE, unix.RLIMIT_NOFILE, unix.RLIMIT_NPROC,
		unix.RLIMIT_MEMLOCK, unix.RLIMIT_MSGQUEUE, unix.RLIMIT_SIGPENDING,
	} {
		limits = append(limits, protocol.Rlimit{Resource: r})
	}
	return limits
}

// loopbackCalls bring up the only network interface.
func loopbackCalls() []channel.Call {
	request := make([]byte, 40) // struct ifreq
	copy(request, "lo")
	binary.NativeEndian.PutUint16(request[unix.IFNAMSIZ:], unix.IFF_UP)
	return []channel.Call{
		call("make a socket", unix.SYS_SOCKET, num(unix.AF_INET), num(unix.SOCK_DGRAM|unix.SOCK_CLOEXEC), num(0)),
		call("loopback", unix.SYS_IOCTL, num(fdDisk), num(unix.SIOCSIFFLAGS), channel.Bytes(request)),
		call("close", unix.SYS_CLOSE, num(fdDisk)),
	}
}

func call(what string, number int64, args ...channel.Arg) channel.Call {
	return channel.Call{What: what, Args: append([]channel.Arg{num(number)}, args...)}
}

func num(n int64) channel.Arg   { return channel.Int(n) }
func text(s string) channel.Arg { return channel.Bytes([]byte(s)) }

func bindCall(source, target string) channel.Call {
	return call("bind at "+target, unix.SYS_MOUNT, text(source), text(target), num(0), num(unix.MS_BIND), num(0))
}

func mountCall(kind, target string, flags int64, options string) channel.Call {
	return call("mount "+target, unix.SYS_MOUNT, text(kind), text(target), text(kind), num(flags), text(options))
}

func setAttrCall(target string, attr uint64, flags int64) channel.Call {
	b := make([]byte, 32) // struct mount_attr
	binary.NativeEndian.PutUint64(b, attr)
	return call("set attributes of "+target, unix.SYS_MOUNT_SETATTR, num(unix.AT_FDCWD), text(target), num(flags), channel.Bytes(b), num(int64(len(b))))
}

func limitCall(l protocol.Rlimit) channel.Call {
	b := binary.NativeEndian.AppendUint64(nil, l.Value) // struct rlimit64: soft, hard
	b = binary.NativeEndian.AppendUint64(b, l.Value)
	return call("set limit "+itoa(l.Resource), unix.SYS_PRLIMIT64, num(0), num(int64(l.Resource)), channel.Bytes(b), num(0))
}

// lastCapability is the highest that the kernel knows.
func lastCapability() int {
	c := 0
	for unix.Prctl(unix.PR_CAPBSET_READ, uintptr(c+1), 0, 0, 0) == nil {
		c++
	}
	return c
}
