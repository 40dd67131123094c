package guestinit

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/remuda-run/remuda/internal/guest/channel"
	"github.com/remuda-run/remuda/internal/guest/protocol"
)

// interpreterOOMScore makes the kernel prefer the interpreter to the keeper and
// to everything else on the machine when memory is short.
const interpreterOOMScore = "500"

// driver is the interpreter, with our driver in it, seen from here.
type driver struct {
	pid     int
	channel int  // our end; -1 once it is closed
	lines   bool // it speaks the line variant
	pipes   [2]pipe
	stdin   feed // descriptor 0 of the interpreter
	job     feed // descriptor 4, line variant only: the fields of the run

	in       []byte
	out      []byte
	sent     int
	writable bool
	waiting  bool

	dead     bool
	status   unix.WaitStatus
	hadStdin bool // the last run had input
	hadInt   bool // SIGINT was sent since the last run began
	unread   bool // it closed its end of the channel with something unread
	deaf     bool // its records wait until the server has taken output
}

// close lets go of all of it.
func (d *driver) close() {
	for _, fd := range []int{d.channel, d.pipes[0].fd, d.pipes[1].fd} {
		if fd >= 0 {
			_ = unix.Close(fd)
		}
	}
	d.channel = -1
	d.stdin.close()
	d.job.close()
}

// startDriver forks the interpreter from this thread, whose capability bounding
// set is empty and whose system calls are filtered by now.
func (k *keeper) startDriver(s *protocol.Setup) error {
	if len(s.Argv) == 0 {
		return errors.New("the setup names no program to run")
	}
	d := &driver{channel: -1, lines: s.Language == languageBash, writable: true}
	var child [5]int
	files, err := d.plumb(s.UID, s.GID, &child)
	if err != nil {
		return err
	}
	// Also ours: ForkExec returns before the kernel is done with the execve, at
	// whose end it sets the limit of the stack to what it was at its begin.
	for _, l := range s.Limits {
		if l.Resource == unix.RLIMIT_STACK {
			if err := unix.Setrlimit(l.Resource, &unix.Rlimit{Cur: l.Value, Max: l.Value}); err != nil {
				return wrap(err, "set limit", itoa(l.Resource))
			}
		}
	}
	d.pid, err = syscall.ForkExec(s.Argv[0], s.Argv, &syscall.ProcAttr{
		Dir: s.Cwd, Env: environment(s.Env), Files: files,
		Sys: &syscall.SysProcAttr{Setsid: true, Credential: &syscall.Credential{Uid: uint32(s.UID), Gid: uint32(s.GID)}},
	})
	for _, fd := range child[1:4] { // the feeds stay ours too
		_ = unix.Close(fd)
	}
	if err != nil {
		return wrap(err, "start", s.Argv[0])
	}
	k.driver = d
	k.setup.forked = time.Now()
	// The interpreter reads its driver first and waits: no foreign code runs
	// before these limits are on.
	for _, l := range s.Limits {
		v := unix.Rlimit{Cur: l.Value, Max: l.Value}
		if err := unix.Prlimit(d.pid, l.Resource, &v, nil); err != nil {
			return wrap(err, "set limit", itoa(l.Resource))
		}
	}
	if err := offer(d.pid); err != nil {
		return err
	}
	for _, fd := range []int{d.channel, d.pipes[0].fd, d.pipes[1].fd} {
		if err := k.watch(fd); err != nil {
			return err
		}
	}
	return nil
}

// offer makes a child the OOM killer's choice. One that is just ending refuses it,
// before it can be seen to have ended; that is told by the reaper.
func offer(pid int) error {
	const patience = time.Second
	for deadline := time.Now().Add(patience); ; time.Sleep(100 * time.Microsecond) {
		err := os.WriteFile("/proc/"+itoa(pid)+"/oom_score_adj", []byte(interpreterOOMScore), 0)
		if err == nil || hasEnded(pid) {
			return nil
		}
		if time.Now().After(deadline) {
			return err
		}
	}
}

// hasEnded reports whether a child has ended, which the reaper will tell of.
func hasEnded(pid int) bool {
	var info unix.Siginfo
	err := unix.Waitid(unix.P_PID, pid, &info, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil)
	return err == nil && info.Signo != 0
}

// plumb makes every descriptor that the interpreter and the keeper share.
func (d *driver) plumb(uid, gid int, child *[5]int) ([]uintptr, error) {
	var err error
	if d.stdin, err = newFeed("stdin"); err != nil {
		return nil, err
	}
	child[0] = d.stdin.read
	for i, stream := range []byte{1, 2} {
		var p [2]int
		if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
			return nil, os.NewSyscallError("pipe2", err)
		}
		// Owned by the interpreter's user, so that /dev/stdout can be opened.
		if err := errors.Join(unix.Fchown(p[1], uid, gid), unix.SetNonblock(p[0], true)); err != nil {
			return nil, wrap(err, "prepare pipe", itoa(i))
		}
		d.pipes[i] = pipe{fd: p[0], stream: stream, watched: true}
		child[1+i] = p[1]
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socketpair", err)
	}
	if err := unix.SetNonblock(pair[0], true); err != nil {
		return nil, wrap(err, "prepare", "channel")
	}
	d.channel, child[3] = pair[0], pair[1]
	files := []uintptr{uintptr(child[0]), uintptr(child[1]), uintptr(child[2]), uintptr(child[3])}
	if d.lines {
		if d.job, err = newFeed("script"); err != nil {
			return nil, err
		}
		// The driver writes notes of its own there, by opening it again.
		// The mode first: a template's keeper has no power over files of others.
		if err := unix.Fchmod(d.job.write, 0o600); err != nil {
			return nil, wrap(err, "prepare", "script")
		}
		if err := unix.Fchown(d.job.write, uid, gid); err != nil {
			return nil, wrap(err, "prepare", "script")
		}
		child[4] = d.job.read
		files = append(files, uintptr(child[4]))
	}
	return files, nil
}

func environment(env map[string]string) []string {
	out := make([]string, 0, len(env))
	for k, v := range env {
		out = append(out, k+"="+v)
	}
	slices.Sort(out)
	return out
}

// say queues a run for the driver.
func (d *driver) say(r *channel.Run, stdin []byte) error {
	if r.Stdin = len(stdin) > 0 || d.hadStdin; r.Stdin {
		if err := d.stdin.fill(stdin); err != nil {
			return fmt.Errorf("hand over %d bytes of standard input: %w", len(stdin), err)
		}
	}
	d.hadStdin = len(stdin) > 0
	r.DropInterrupts, d.hadInt = d.hadInt, false
	if !d.lines {
		d.out = r.Append(d.out)
		return nil
	}
	if err := forShell(r); err != nil {
		return err
	}
	fields, err := r.AppendZ(nil)
	if err != nil {
		return err
	}
	if err := d.job.fill(fields); err != nil {
		return fmt.Errorf("hand over the script: %w", err)
	}
	d.out = append(d.out, '\n')
	return nil
}

// flushDriver writes as much of the queue as the channel takes.
func (k *keeper) flushDriver() {
	d := k.driver
	if d.channel < 0 {
		return
	}
	if d.sent < len(d.out) && (d.writable || !d.waiting) {
		n, _ := unix.Write(d.channel, d.out[d.sent:]) // an error shows as the driver's end
		d.sent += max(n, 0)
		d.writable = false
	}
	if d.sent == len(d.out) && d.sent > 0 {
		d.sent, d.out = 0, d.out[:0]
		if cap(d.out) > readSize {
			d.out = nil
		}
	}
	if wait := len(d.out) > 0; wait != d.waiting {
		d.waiting = wait
		k.rewatchDriver()
	}
}

// rewatchDriver has the loop react to what the channel is waited for.
func (k *keeper) rewatchDriver() {
	var events uint32
	if !k.driver.deaf {
		events |= unix.EPOLLIN
	}
	if k.driver.waiting {
		events |= unix.EPOLLOUT
	}
	k.rewatch(k.driver.channel, events)
}

// untaken reports whether an interpreter that has ended left a part of its last run
// on this side of the channel or, as the kernel tells us, unread on its own: then
// nothing of the script has run.
func (d *driver) untaken() bool { return d.unread || len(d.out) > 0 }

// hear reads the channel and handles every whole frame or line. It reports
// whether there may be more to read.
func (k *keeper) hear() bool {
	d := k.driver
	if d.channel < 0 {
		return false
	}
	into := d.room(k.scratch())
	n, err := d.receive(into)
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) {
		return false
	}
	if err != nil || n == 0 {
		d.unread = errors.Is(err, unix.ECONNRESET)
		k.unwatch(d.channel)
		_ = unix.Close(d.channel)
		d.channel, d.deaf = -1, false
		k.channelClosed()
		return false
	}
	if len(d.in) > 0 {
		d.in = d.in[:len(d.in)+n]
	} else {
		d.in = append(d.in, into[:n]...)
		clear(into[:n])
	}
	k.outputFirst()
	if err := k.understand(); err != nil {
		k.violation(err)
		return false
	}
	if len(d.in) == 0 && cap(d.in) > readSize {
		d.in = nil
	}
	return true
}

// room is what the channel is read to: scratch, unless what has come before is to be
// continued.
func (d *driver) room(scratch []byte) []byte {
	if len(d.in) == 0 {
		return scratch
	}
	if cap(d.in)-len(d.in) < 4<<10 {
		d.in = append(make([]byte, 0, 2*cap(d.in)+16<<10), d.in...)
	}
	return d.in[len(d.in):cap(d.in)]
}

// receive reads from the channel. Of an interpreter that was forked the kernel
// tells the number with its first bytes.
func (d *driver) receive(into []byte) (int, error) {
	if d.pid != 0 {
		return unix.Read(d.channel, into)
	}
	oob := make([]byte, unix.CmsgSpace(unix.SizeofUcred))
	n, oobn, _, _, err := unix.Recvmsg(d.channel, into, oob, unix.MSG_CMSG_CLOEXEC)
	if err != nil || n == 0 {
		return n, err
	}
	messages, err := unix.ParseSocketControlMessage(oob[:oobn])
	if err != nil || len(messages) != 1 {
		return 0, fmt.Errorf("%w: nobody knows who has sent it", channel.ErrGarbage)
	}
	who, err := unix.ParseUnixCredentials(&messages[0])
	if err != nil || who.Pid <= 1 {
		return 0, fmt.Errorf("%w: nobody knows who has sent it", channel.ErrGarbage)
	}
	d.pid = int(who.Pid)
	return n, unix.SetsockoptInt(d.channel, unix.SOL_SOCKET, unix.SO_PASSCRED, 0)
}

// understand handles what the driver has sent so far.
func (k *keeper) understand() error {
	d := k.driver
	rest := d.in
	for {
		var t byte
		var version string
		var done *channel.Done
		var ok bool
		var err error
		if d.lines {
			var line string
			if line, rest, ok, err = channel.NextLine(rest); ok {
				t, version, done, err = channel.ParseLine(line)
			}
		} else {
			var p []byte
			if t, p, rest, ok, err = channel.Next(rest); ok {
				var handled bool
				if version, done, handled, err = k.takeFrame(t, p); handled {
					continue
				}
			}
		}
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		if err := k.heard(t, version, done); err != nil {
			return err
		}
	}
	d.in = d.in[:copy(d.in, rest)]
	return nil
}

// takeFrame reads what a Ready or a Done says, and handles every other frame.
func (k *keeper) takeFrame(t byte, p []byte) (version string, done *channel.Done, handled bool, err error) {
	switch {
	case t == channel.TypeReady:
		version, err = channel.ParseReady(p)
	case t == channel.TypeDone:
		done, err = channel.ParseDone(p)
	case t == channel.TypeRecord:
		err = k.recordHeard(p)
		handled = err == nil
	case k.template != nil:
		err = k.templateHeard(t, p)
		handled = err == nil
	default:
		err = fmt.Errorf("%w: type %d", channel.ErrGarbage, t)
	}
	return version, done, handled, err
}

// heard reacts to one word of the driver.
func (k *keeper) heard(t byte, version string, done *channel.Done) error {
	switch {
	case t == channel.TypeReady && !k.setup.spoke:
		k.driverReady(version)
	case t == channel.TypeDone && k.run != nil && k.run.phase == running:
		k.runDone(done)
	default:
		return fmt.Errorf("%w: type %s out of turn", channel.ErrGarbage, strconv.Itoa(int(t)))
	}
	return nil
}

// interrupt sends SIGINT to the interpreter's process group.
func (d *driver) interrupt() {
	d.hadInt = true
	_ = unix.Kill(-d.pid, unix.SIGINT)
}

// interruptChildren sends SIGINT to the other members of that group. Processes
// of the script are hidden from us in /proc, so it asks for every number that
// the sandbox has given out.
func (d *driver) interruptChildren() {
	last := lastPID()
	for pid := 2; pid <= last; pid++ {
		if pid == d.pid {
			continue
		}
		if group, err := unix.Getpgid(pid); err == nil && group == d.pid {
			_ = unix.Kill(pid, unix.SIGINT)
		}
	}
}

// lastPID is the newest process number of the sandbox.
func lastPID() int {
	data, err := os.ReadFile(procDir + "/loadavg")
	if err != nil {
		return 0
	}
	_, number, _ := strings.Cut(strings.TrimSpace(string(data)), "/")
	_, number, _ = strings.Cut(number, " ")
	if n, _ := strconv.Atoi(number); n > 0 {
		return n
	}
	return lastListedPID() // a kernel that does not say it, such as gVisor's
}
