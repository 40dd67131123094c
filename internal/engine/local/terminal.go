package local

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/engine/local/cgroup"
	"github.com/remuda-run/remuda/internal/engine/local/join"
	"github.com/remuda-run/remuda/internal/guest/protocol"
	"github.com/remuda-run/remuda/internal/remuda"
)

var _ engine.Terminaler = (*Instance)(nil)

// OpenTerminal implements engine.Terminaler.
func (i *Instance) OpenTerminal(ctx context.Context, spec engine.TerminalSpec) (engine.Terminal, error) {
	plan, err := i.plan(ctx, spec)
	if err != nil {
		return nil, err
	}
	if !i.Alive() {
		return nil, remuda.Errorf(remuda.CodeUnavailable, "the sandbox has ended")
	}
	proc, master, err := i.engine.join(ctx, i.blank, plan)
	if err != nil {
		return nil, i.unopened(ctx, plan, err)
	}
	t := &terminal{master: master, proc: proc, group: i.blank.group, done: make(chan struct{})}
	go t.watch()
	return t, nil
}

// plan is what a terminal of this instance runs.
func (i *Instance) plan(ctx context.Context, spec engine.TerminalSpec) (*join.Plan, error) {
	if spec.Rows == 0 && spec.Cols == 0 {
		spec.Rows, spec.Cols = remuda.DefaultTerminalRows, remuda.DefaultTerminalCols
	}
	if wrong := remuda.CheckTerminalSize(spec.Rows, spec.Cols); len(wrong) > 0 {
		return nil, remuda.Invalid(wrong...)
	}
	command := spec.Command
	if len(command) == 0 {
		in, err := i.engine.versions.interpreter(ctx, i.spec.Language, i.spec.Version)
		if err != nil {
			return nil, err
		}
		command = append([]string{in.Path}, interactive[i.spec.Language]...)
	}
	env := environment(i.spec.Env, i.spec.Layers)
	maps.Copy(env, terminalEnv)
	maps.Copy(env, spec.Env)
	vars := make([]string, 0, len(env))
	for k, v := range env {
		vars = append(vars, k+"="+v)
	}
	slices.Sort(vars)
	plan := &join.Plan{
		UID: sandboxUID, GID: sandboxGID, Rows: spec.Rows, Cols: spec.Cols,
		Argv: command, Path: strings.Split(env["PATH"], ":"), Env: vars, Dir: protocol.Workspace,
		Limits: rlimits(i.Resources()), Filter: i.engine.filter,
	}
	for _, words := range [][]string{command, vars} {
		if slices.ContainsFunc(words, func(s string) bool { return strings.ContainsRune(s, 0) }) {
			return nil, remuda.Invalid(remuda.FieldError{Field: "command", Message: "no word of it or of the environment can hold a zero byte"})
		}
	}
	if command[0] == "" {
		return nil, remuda.Invalid(remuda.FieldError{Field: "command", Message: "must begin with a program"})
	}
	return plan, nil
}

// interactive are the arguments of the language's interpreter with which it talks
// to a person.
var interactive = map[remuda.Language][]string{
	remuda.LanguagePython: {"-q"},
	remuda.LanguageNode:   {},
	remuda.LanguageBash:   {"-i"},
}

// terminalEnv is what terminals have beyond scripts. Histories are no part of the
// workspace.
var terminalEnv = map[string]string{
	"TERM":              "xterm-256color",
	"HISTFILE":          "/tmp/.bash_history",
	"PYTHON_HISTORY":    "/tmp/.python_history",
	"NODE_REPL_HISTORY": "/tmp/.node_repl_history",
}

// unopened puts into words why there is no terminal.
func (i *Instance) unopened(ctx context.Context, plan *join.Plan, err error) error {
	if !i.Alive() {
		return remuda.Errorf(remuda.CodeUnavailable, "the sandbox has ended: %w", err)
	}
	if ctx.Err() != nil {
		return remuda.Errorf(engine.ContextCode(ctx), "open a terminal: %w", err)
	}
	step, ok := errors.AsType[*stepError](err)
	switch {
	case ok && step.what == "fork" && errors.Is(err, unix.EAGAIN):
		return &remuda.Error{
			Code: remuda.CodeExhausted, Message: "the sandbox has no process left for a terminal",
			Cause: fmt.Sprintf("it may have %d, and they are all in use", i.Resources().Pids), Remedy: "end some of its processes, or give the runtime more pids", Err: err,
		}
	case ok && errors.Is(err, unix.ENOSPC):
		return &remuda.Error{
			Code: remuda.CodeExhausted, Message: "the sandbox has no pseudo-terminal left",
			Cause: fmt.Sprintf("it has %d, and its processes have all of them open", protocol.MaxPTYs), Remedy: "end what has them open", Err: err,
		}
	case ok && strings.HasPrefix(step.what, "execute "):
		return &remuda.Error{
			Code: remuda.CodeInvalid, Message: fmt.Sprintf("the program %q cannot be started in the sandbox", plan.Argv[0]),
			Cause: step.errno.Error(), Remedy: "name a program that the runtime's environment has", Err: err,
		}
	default:
		return remuda.Internal("opening a terminal", err)
	}
}

// terminal is the engine.Terminal of this package.
type terminal struct {
	master *os.File
	proc   *process // leader of the terminal's session
	group  *cgroup.Group
	done   chan struct{}
	code   int // once done is closed

	closing sync.Once
}

// Read implements io.Reader. The end is the end of the program, once all of its
// output is read.
func (t *terminal) Read(p []byte) (int, error) {
	n, err := t.master.Read(p)
	// EIO is how the kernel says that nobody has the other end.
	if errors.Is(err, syscall.EIO) || errors.Is(err, os.ErrClosed) || errors.Is(err, os.ErrDeadlineExceeded) {
		err = io.EOF
	}
	return n, err
}

// Write implements io.Writer. It waits while the program does not read.
func (t *terminal) Write(p []byte) (int, error) {
	n, err := t.master.Write(p)
	if errors.Is(err, syscall.EIO) || errors.Is(err, os.ErrDeadlineExceeded) {
		err = os.ErrClosed
	}
	return n, err
}

// Resize implements engine.Terminal.
func (t *terminal) Resize(rows, cols int) error {
	if wrong := remuda.CheckTerminalSize(rows, cols); len(wrong) > 0 {
		return remuda.Invalid(wrong...)
	}
	raw, err := t.master.SyscallConn()
	if err != nil {
		return err
	}
	var sizeErr error
	err = raw.Control(func(fd uintptr) {
		sizeErr = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, &unix.Winsize{Row: uint16(rows), Col: uint16(cols)})
	})
	return errors.Join(err, sizeErr)
}

// Done implements engine.Terminal.
func (t *terminal) Done() <-chan struct{} { return t.done }

// ExitCode implements engine.Terminal.
func (t *terminal) ExitCode() int { return t.code }

// hangUpTime is what a program has to end when its terminal is closed.
const hangUpTime = 300 * time.Millisecond

// goneTime is what a program has to be gone once it is killed: one that waits in the
// kernel does not end before the kernel is done with it.
const goneTime = 5 * time.Second

// Close implements io.Closer: it hangs up, and kills what does not end upon that. What
// the kernel does not let go of even then is left to it, and to the end of the sandbox.
func (t *terminal) Close() error {
	var err error
	t.closing.Do(func() {
		err = t.master.Close()
		select {
		case <-t.done:
		case <-time.After(hangUpTime):
			err = errors.Join(err, t.proc.Kill())
		}
	})
	gone := time.NewTimer(goneTime)
	defer gone.Stop()
	select {
	case <-t.done:
		return err
	case <-gone.C:
		return errors.Join(&remuda.Error{
			Code: remuda.CodeDeadline, Message: "the program of the terminal has not ended " + goneTime.String() + " after it was killed",
			Cause: "the kernel has not let go of it", Remedy: "look again later; it ends with its sandbox at the latest",
		}, err)
	}
}

// drainTime is how long output may be read that others write once the program has
// ended: a process of the sandbox can open the terminal again at any time.
const drainTime = time.Second

// watch waits for the program's end and ends what it leaves in its session.
func (t *terminal) watch() {
	defer close(t.done)
	status := syscall.WaitStatus(0)
	if err := t.proc.exit(func() error {
		// As long as the leader is not reaped nothing else can have its number.
		endSession(t.group, t.proc.pid)
		for {
			_, err := syscall.Wait4(t.proc.pid, &status, 0, nil)
			if !errors.Is(err, syscall.EINTR) {
				return err
			}
		}
	}); err != nil {
		t.code = lostCode
	} else if t.code = status.ExitStatus(); status.Signaled() {
		t.code = signalCode + int(status.Signal())
	}
	t.proc.close()
	_ = t.master.SetDeadline(time.Now().Add(drainTime)) // it may be closed already
}

// Exit codes that are none of the program's own.
const (
	lostCode   = 255
	signalCode = 128
)

// exit waits until the process has ended and then, before it is reaped, calls
// over.
func (p *process) exit(over func() error) error {
	raw, err := p.file.SyscallConn()
	if err != nil {
		return err
	}
	if err := raw.Read(func(fd uintptr) bool { return readable(int(fd)) }); err != nil {
		return fmt.Errorf("wait for process %d: %w", p.pid, err)
	}
	return over()
}

// sessionTries bounds how often a session is looked through: what forks faster
// than it is killed is the sandbox's own and ends with it.
const sessionTries = 50

// endSession kills every process of a group that is in a session.
func endSession(group *cgroup.Group, session int) {
	for try := range sessionTries {
		pids, err := group.Pids()
		if err != nil {
			return // the group has gone, and all in it
		}
		found := false
		for _, pid := range pids {
			if pid != session && killIn(session, pid) {
				found = true
			}
		}
		if !found {
			return
		}
		time.Sleep(time.Duration(try) * time.Millisecond)
	}
}

// killIn kills a process if it is in a session and has not ended.
func killIn(session, pid int) bool {
	pidfd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return false
	}
	defer func() { _ = unix.Close(pidfd) }()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil || sessionOf(stat) != session {
		return false
	}
	return unix.PidfdSendSignal(pidfd, unix.SIGKILL, nil, 0) == nil
}

// sessionOf finds field 6 of a stat file, 0 of a process that has ended.
func sessionOf(stat []byte) int {
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:]) // from field 3 on
	if len(fields) < 4 || string(fields[0]) == "Z" || string(fields[0]) == "X" {
		return 0
	}
	session, err := strconv.Atoi(string(fields[3]))
	if err != nil {
		return 0
	}
	return session
}
