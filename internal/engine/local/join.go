package local

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/remuda-run/remuda/internal/engine/local/join"
	"github.com/remuda-run/remuda/internal/guest/protocol"
)

// joinTime is how long it may take to enter a sandbox, on a machine that may be
// busy and with a small share of it.
const joinTime = 20 * time.Second

// joining is the entering of a sandbox while it is under way; package join says
// how it is done.
type joining struct {
	engine  *Engine
	conn    *net.UnixConn
	joiner  int      // its pid; 0 once it is reaped
	guest   *process // enters and forks
	program *process // is the program
	master  *os.File // of its terminal
	plan    *join.Plan
}

// join starts a program in the sandbox of a first process and in its cgroup. What
// it returns is the caller's; on error nothing is left.
func (e *Engine) join(ctx context.Context, b *blank, plan *join.Plan) (_ *process, _ *os.File, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, joinTime, fmt.Errorf("it took more than %s", joinTime))
	defer cancel()
	j := &joining{engine: e, plan: plan}
	defer func() { err = errors.Join(err, j.end(err != nil)) }()
	if err := j.start(b.proc); err != nil {
		return nil, nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = j.conn.SetDeadline(time.Now()) }) // what waits says so
	defer stop()
	if err := j.enter(b); err != nil {
		if ctx.Err() != nil {
			err = errors.Join(context.Cause(ctx), err)
		}
		return nil, nil, err
	}
	return j.program, j.master, nil
}

// start executes the joiner, which has nothing of ours but what it is given.
func (j *joining) start(target *process) error {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("make the joiner's socket: %w", err)
	}
	ours, theirs := os.NewFile(uintptr(pair[0]), "joiner"), os.NewFile(uintptr(pair[1]), "joiner")
	defer func() { _, _ = ours.Close(), theirs.Close() }() // the connection has a copy
	conn, err := net.FileConn(ours)
	if err != nil {
		return fmt.Errorf("make the joiner's socket: %w", err)
	}
	j.conn = conn.(*net.UnixConn)
	plan, err := writePlan(j.plan)
	if err != nil {
		return err
	}
	defer func() { _ = plan.Close() }()
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer func() { _ = null.Close() }()
	raw, err := target.file.SyscallConn()
	if err != nil {
		return err
	}
	var forkErr error
	err = raw.Control(func(pidfd uintptr) {
		j.joiner, forkErr = syscall.ForkExec(j.engine.launcher.Path(), []string{protocol.KeeperArg0, join.Arg}, &syscall.ProcAttr{
			Dir: "/", Env: []string{"GOMAXPROCS=1", "GOGC=off"},
			Files: []uintptr{null.Fd(), null.Fd(), uintptr(j.engine.words.fd()), theirs.Fd(), pidfd, plan.Fd()},
			Sys:   &syscall.SysProcAttr{Setsid: true},
		})
	})
	if err = errors.Join(err, forkErr); err != nil {
		j.joiner = 0
		return fmt.Errorf("start the joiner: %w", err)
	}
	return nil
}

func writePlan(plan *join.Plan) (*os.File, error) {
	b, err := json.Marshal(plan)
	if err != nil {
		return nil, fmt.Errorf("write the joiner's plan: %w", err)
	}
	fd, err := unix.MemfdCreate("plan", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make a memfd for the joiner: %w", err)
	}
	f := os.NewFile(uintptr(fd), "plan")
	if _, err = f.Write(b); err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("write the joiner's plan: %w", err), f.Close())
	}
	return f, nil
}

// enter is the conversation with the joiner and with what it has cloned.
func (j *joining) enter(b *blank) error {
	fd, err := j.expect(join.SaysGuest)
	if err != nil {
		return err
	}
	if j.guest, err = ourProcess(fd); err != nil {
		return err
	}
	if err := b.group.Admit(j.guest.pid); err != nil {
		return err
	}
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/oom_score_adj", j.guest.pid), []byte(scriptOOMScore), 0); err != nil {
		return fmt.Errorf("offer the terminal to the OOM killer: %w", err)
	}
	if err := j.tell(join.TellAdmitted); err != nil {
		return err
	}
	if fd, err = j.expect(join.SaysTerminal); err != nil {
		return err
	}
	if j.master, err = openTerminal(fd); err != nil {
		return err
	}
	if fd, err = j.expect(join.SaysProgram); err != nil {
		return err
	}
	if j.program, err = ourProcess(fd); err != nil {
		return err
	}
	if err := j.tell(join.TellGo); err != nil {
		return err
	}
	_, err = j.expect(0)
	return err
}

// scriptOOMScore is that of every interpreter.
const scriptOOMScore = "500"

// ourProcess takes a child that was cloned for us.
func ourProcess(pidfd int) (*process, error) {
	p, err := foreignProcess(pidfd)
	if p != nil {
		p.foreign = false
	}
	return p, err
}

// openTerminal takes the server's end of a terminal.
func openTerminal(fd int) (*os.File, error) {
	err := unix.SetNonblock(fd, true)
	var t *unix.Termios
	if err == nil {
		t, err = unix.IoctlGetTermios(fd, unix.TCGETS)
	}
	if err == nil {
		t.Iflag |= unix.IUTF8 // so that a character is erased whole
		err = unix.IoctlSetTermios(fd, unix.TCSETS, t)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("prepare the terminal: %w", err), unix.Close(fd))
	}
	return os.NewFile(uintptr(fd), "terminal"), nil
}

func (j *joining) tell(word byte) error {
	if _, err := j.conn.Write([]byte{word}); err != nil {
		return fmt.Errorf("speak to the joiner: %w", err)
	}
	return nil
}

// maxWord is more than a joiner says at once.
const maxWord = 1024

// expect hears one word and returns the descriptor that belongs to it. The word 0
// is the end.
func (j *joining) expect(word byte) (int, error) {
	text, oob := make([]byte, maxWord), make([]byte, unix.CmsgSpace(4))
	n, oobn, _, _, err := j.conn.ReadMsgUnix(text, oob)
	if errors.Is(err, io.EOF) && word == 0 {
		return -1, nil
	}
	if err != nil {
		return -1, fmt.Errorf("listen to the joiner: %w", err)
	}
	fd := -1
	messages, err := unix.ParseSocketControlMessage(oob[:oobn])
	if err == nil && len(messages) == 1 {
		var fds []int
		if fds, err = unix.ParseUnixRights(&messages[0]); err == nil && len(fds) == 1 {
			fd = fds[0]
		}
	}
	if err == nil && word != 0 && text[0] == word && fd >= 0 {
		return fd, nil
	}
	if fd >= 0 {
		_ = unix.Close(fd)
	}
	if err == nil && text[0] == join.SaysFailed {
		return -1, j.failure(text[1:n])
	}
	return -1, errors.Join(fmt.Errorf("the joiner said %q", text[:n]), err)
}

// stepError is a step of a joiner's program that failed.
type stepError struct {
	what  string
	errno syscall.Errno
}

func (e *stepError) Error() string { return e.what + ": " + e.errno.Error() }
func (e *stepError) Unwrap() error { return e.errno }

func (j *joining) failure(text []byte) error {
	step, errno, ok := join.Failure(text)
	if !ok {
		return fmt.Errorf("joiner: %s", text)
	}
	return &stepError{what: join.Step(j.plan, step), errno: syscall.Errno(errno)}
}

// end lets go of what was needed on the way, and with failed of all the rest.
func (j *joining) end(failed bool) error {
	var errs []error
	if j.conn != nil {
		errs = append(errs, j.conn.Close()) // those who wait for a word end
	}
	over := []*process{j.guest}
	if failed {
		over = append(over, j.program)
		if j.master != nil {
			errs = append(errs, j.master.Close())
		}
	}
	for _, p := range over {
		if p != nil {
			errs = append(errs, p.Kill(), p.Wait())
			p.close()
		}
	}
	if j.joiner > 0 { // not reaped, so it is still its number
		// With it goes what was cloned and not told of: that is our child as well, and in
		// its process group. A program that was let go has a session of its own by now.
		_ = syscall.Kill(-j.joiner, syscall.SIGKILL)
		errs = append(errs, reapGroup(j.joiner))
	}
	return errors.Join(errs...)
}

// reapGroup waits for all children of ours in a process group, which have ended or
// are about to.
func reapGroup(number int) error {
	for {
		_, err := syscall.Wait4(-number, nil, unix.WALL, nil)
		switch {
		case errors.Is(err, syscall.ECHILD):
			return nil
		case err != nil && !errors.Is(err, syscall.EINTR):
			return os.NewSyscallError("wait4", err)
		}
	}
}
