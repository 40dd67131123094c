package join

import (
	"errors"
	"fmt"
	"path"
	"runtime"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// namespaces are those of the sandbox that the guest enters.
const namespaces = unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWNET |
	unix.CLONE_NEWIPC | unix.CLONE_NEWUTS | unix.CLONE_NEWCGROUP

// The guest's descriptors from the moment it is in the sandbox. The kernel gives
// the lowest that is free.
const (
	fdMaster  = iota + SocketFD + 1 // while it is handed over
	fdSlave                         //
	fdProgram = SocketFD + 1        // pidfd of the program's process
)

// listing is a list of system calls while it is written. Memory that the calls
// use stays where it is.
type listing struct {
	pin   *runtime.Pinner
	steps []step
	names []string
}

func (l *listing) add(what string, number uintptr, args ...uintptr) *step {
	s := step{number: number, want: anyResult}
	copy(s.args[:], args)
	l.steps, l.names = append(l.steps, s), append(l.names, what)
	return &l.steps[len(l.steps)-1]
}

// bytes returns the address of b.
func (l *listing) bytes(b []byte) uintptr {
	p := unsafe.SliceData(b)
	l.pin.Pin(p)
	return uintptr(unsafe.Pointer(p))
}

// text returns the address of s with a zero at its end.
func (l *listing) text(s string) uintptr { return l.bytes(append([]byte(s), 0)) }

// texts returns the address of an argument vector.
func (l *listing) texts(list []string) uintptr {
	vector := make([]uintptr, len(list)+1)
	for i, s := range list {
		vector[i] = l.text(s)
	}
	l.pin.Pin(&vector[0])
	return uintptr(unsafe.Pointer(&vector[0]))
}

// newProgram writes down what the guest does. What it uses stays in its place
// until pin lets go of it.
func newProgram(plan *Plan, pin *runtime.Pinner) (*program, []string, error) {
	if err := plan.check(); err != nil {
		return nil, nil, err
	}
	first := listing{pin: pin}
	first.alone(plan)
	first.enter()
	first.lower(plan)
	first.terminal(plan)
	first.filter(plan.Filter)
	first.split()
	second := listing{pin: pin}
	second.program(plan)
	p := &program{
		first: &first.steps[0], nFirst: uintptr(len(first.steps)),
		second: &second.steps[0], nSecond: uintptr(len(second.steps)),
		report: &[1 + failureSize]byte{SaysFailed},
	}
	last := listing{pin: pin}
	last.add("report", unix.SYS_SENDTO, SocketFD, last.bytes(p.report[:]), uintptr(len(p.report)), unix.MSG_NOSIGNAL)
	last.add("exit", unix.SYS_EXIT_GROUP)
	p.failure, p.exit = &last.steps[0], &last.steps[1]
	for _, v := range []any{p, p.first, p.second, p.failure} {
		pin.Pin(v)
	}
	return p, append(first.names, second.names...), nil
}

func (p *Plan) check() error {
	switch {
	case p.UID <= 0 || p.GID <= 0:
		return errors.New("the plan names no user of the sandbox's")
	case len(p.Argv) == 0 || p.Argv[0] == "":
		return errors.New("the plan names no program")
	case len(p.Filter) == 0 || len(p.Filter)%int(unsafe.Sizeof(unix.SockFilter{})) != 0 || len(p.Filter)/int(unsafe.Sizeof(unix.SockFilter{})) > 4096:
		return fmt.Errorf("a system call filter of %d bytes is no program", len(p.Filter))
	case p.Rows <= 0 || p.Rows > 0xffff || p.Cols <= 0 || p.Cols > 0xffff:
		return fmt.Errorf("%d rows of %d columns are no terminal", p.Rows, p.Cols)
	}
	for _, s := range append(append([]string{p.Dir}, p.Argv...), p.Env...) {
		if strings.IndexByte(s, 0) >= 0 {
			return errors.New("a word of the plan holds a zero byte")
		}
	}
	return nil
}

// signalSetSize is of the kernel's set of signals.
const signalSetSize = 8

// alone lets go of all that the guest has from the machine's side and needs no
// privilege of the sandbox for.
func (l *listing) alone(plan *Plan) {
	l.add("close what is not needed", unix.SYS_CLOSE_RANGE, TargetFD+1, 0x7fffffff, 0)
	// What was ignored stays ignored over an execve, and a handler of this
	// program's must not run in the guest.
	byDefault := l.bytes(make([]byte, 32)) // struct kernel_sigaction
	for n := uintptr(1); n <= 64; n++ {
		if n != uintptr(unix.SIGKILL) && n != uintptr(unix.SIGSTOP) {
			l.add("reset a signal", unix.SYS_RT_SIGACTION, n, byDefault, 0, signalSetSize)
		}
	}
	for _, limit := range plan.Limits {
		both := make([]byte, unsafe.Sizeof(unix.Rlimit{}))
		*(*unix.Rlimit)(unsafe.Pointer(&both[0])) = unix.Rlimit{Cur: limit.Value, Max: limit.Value}
		l.add("set a limit", unix.SYS_PRLIMIT64, 0, uintptr(limit.Resource), l.bytes(both), 0)
	}
	l.add("leave all groups", unix.SYS_SETGROUPS, 0, 0)
	l.hear("wait to be admitted")
}

// hear waits for one byte from the server. Nothing comes when it has gone.
func (l *listing) hear(what string) {
	l.add(what, unix.SYS_RECVFROM, SocketFD, l.bytes(make([]byte, 1)), 1, 0).want = 1
}

// enter is the way into the sandbox: all namespaces in one call, so that there is
// no state in between.
func (l *listing) enter() {
	l.add("enter the sandbox", unix.SYS_SETNS, TargetFD, namespaces)
	l.add("let go of the sandbox's first process", unix.SYS_CLOSE, TargetFD)
}

// lower makes the guest one of the sandbox's user's processes. Entering has given
// it every capability there, and a full bounding set.
func (l *listing) lower(plan *Plan) {
	for c := range lastCapability() + 1 {
		l.add("drop a capability", unix.SYS_PRCTL, unix.PR_CAPBSET_DROP, uintptr(c))
	}
	uid, gid := uintptr(plan.UID), uintptr(plan.GID)
	l.add("umask", unix.SYS_UMASK, 0o022)
	l.add("become the user's group", unix.SYS_SETRESGID, gid, gid, gid)
	l.add("become the user", unix.SYS_SETRESUID, uid, uid, uid)
	// The machine's root is nobody here, so that the change of user takes nothing
	// away by itself.
	header := make([]byte, unsafe.Sizeof(unix.CapUserHeader{}))
	(*unix.CapUserHeader)(unsafe.Pointer(&header[0])).Version = unix.LINUX_CAPABILITY_VERSION_3
	l.add("give up all capabilities", unix.SYS_CAPSET, l.bytes(header), l.bytes(make([]byte, 2*unsafe.Sizeof(unix.CapUserData{}))))
	l.add("no new privileges", unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1)
	l.add("enter the workspace", unix.SYS_CHDIR, l.text(plan.Dir))
}

// terminal makes a pseudo-terminal of the sandbox's, as its user, to whom it then
// belongs. The program's end is asked of the terminal itself: no path is looked
// for, and nothing can be put in between.
func (l *listing) terminal(plan *Plan) {
	const flags = unix.O_RDWR | unix.O_NOCTTY | unix.O_CLOEXEC
	at := unix.AT_FDCWD
	l.add("make a terminal", unix.SYS_OPENAT, uintptr(at), l.text("/dev/pts/ptmx"), flags).want = fdMaster
	l.add("unlock the terminal", unix.SYS_IOCTL, fdMaster, unix.TIOCSPTLCK, l.bytes(make([]byte, 4)))
	size := make([]byte, unsafe.Sizeof(unix.Winsize{}))
	*(*unix.Winsize)(unsafe.Pointer(&size[0])) = unix.Winsize{Row: uint16(plan.Rows), Col: uint16(plan.Cols)}
	l.add("set the terminal's size", unix.SYS_IOCTL, fdMaster, unix.TIOCSWINSZ, l.bytes(size))
	l.add("open the terminal", unix.SYS_IOCTL, fdMaster, unix.TIOCGPTPEER, flags).want = fdSlave
	l.hand("hand over the terminal", SaysTerminal, fdMaster)
	for fd := range uintptr(3) {
		l.add("take the terminal", unix.SYS_DUP3, fdSlave, fd, 0)
	}
	l.add("close the rest", unix.SYS_CLOSE_RANGE, SocketFD+1, 0x7fffffff, 0)
	l.add("close the socket at execve", unix.SYS_FCNTL, SocketFD, unix.F_SETFD, unix.FD_CLOEXEC)
}

// hand sends the server a word and a descriptor, and returns where in memory the
// descriptor's number is.
func (l *listing) hand(what string, word byte, fd int) (number uintptr) {
	rights := unix.UnixRights(fd)
	vector := &unix.Iovec{}
	text := []byte{word}
	l.pin.Pin(&text[0])
	vector.Base, vector.Len = &text[0], 1
	l.pin.Pin(vector)
	message := &unix.Msghdr{Iov: vector, Iovlen: 1, Control: &rights[0]}
	message.SetControllen(len(rights))
	control := l.bytes(rights)
	l.pin.Pin(message)
	l.add(what, unix.SYS_SENDMSG, SocketFD, uintptr(unsafe.Pointer(message)), unix.MSG_NOSIGNAL)
	return control + uintptr(unix.CmsgLen(0))
}

func (l *listing) filter(program []byte) {
	filter := make([]byte, unsafe.Sizeof(unix.SockFprog{}))
	*(*unix.SockFprog)(unsafe.Pointer(&filter[0])) = unix.SockFprog{
		Len:    uint16(len(program) / int(unsafe.Sizeof(unix.SockFilter{}))),
		Filter: (*unix.SockFilter)(unsafe.Pointer(unsafe.SliceData(program))),
	}
	l.bytes(program)
	l.add("install the system call filter", unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, l.bytes(filter))
	// The last change of credentials is behind us: from here on nobody but the
	// machine's root may look into this process.
	l.add("close to inspection", unix.SYS_PRCTL, unix.PR_SET_DUMPABLE, 0)
}

// split forks into the sandbox's pid namespace. The other side is told by a pidfd;
// this process has nothing left to do.
func (l *listing) split() {
	at := len(l.steps)
	l.add("fork", unix.SYS_CLONE)
	number := l.hand("hand over the program's process", SaysProgram, fdProgram)
	l.steps[at].args = [6]uintptr{unix.CLONE_PARENT | unix.CLONE_PIDFD, 0, number}
	l.steps[at].kind = split
	l.add("end", unix.SYS_EXIT_GROUP)
}

// program is the rest of the second process's life as one of ours.
func (l *listing) program(plan *Plan) {
	l.hear("wait for the word to go")
	l.add("begin a session", unix.SYS_SETSID)
	l.add("take control of the terminal", unix.SYS_IOCTL, 0, unix.TIOCSCTTY, 0)
	l.add("let signals in", unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, l.bytes(make([]byte, signalSetSize)), 0, signalSetSize)
	argv, env := l.texts(plan.Argv), l.texts(plan.Env)
	for _, file := range places(plan) {
		l.add("execute "+plan.Argv[0], unix.SYS_EXECVE, l.text(file), argv, env).kind = attempt
	}
}

// places are the files that the program may be.
func places(plan *Plan) []string {
	name := plan.Argv[0]
	if strings.Contains(name, "/") || len(plan.Path) == 0 {
		return []string{name}
	}
	var files []string
	for _, dir := range plan.Path {
		files = append(files, path.Join("/", dir, name))
	}
	return files
}

// lastCapability is the highest that the kernel knows.
func lastCapability() int {
	c := 0
	for unix.Prctl(unix.PR_CAPBSET_READ, uintptr(c+1), 0, 0, 0) == nil {
		c++
	}
	return c
}
