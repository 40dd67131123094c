package join

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Main clones the guest and returns the joiner's exit code. The caller has locked
// the goroutine to its thread.
func Main() int {
	if err := start(); err != nil {
		_ = unix.Sendmsg(SocketFD, append([]byte{SaysFailed}, err.Error()...), nil, nil, unix.MSG_NOSIGNAL) // the exit code says it too
		return 1
	}
	return 0
}

func start() error {
	plan, err := readPlan()
	if err != nil {
		return err
	}
	var pin runtime.Pinner
	defer pin.Unpin()
	p, _, err := newProgram(plan, &pin)
	if err != nil {
		return err
	}
	all := ^uint64(0)
	_, _, errno := unix.RawSyscall6(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, uintptr(unsafe.Pointer(&all)), 0, signalSetSize, 0, 0)
	if errno != 0 {
		return fmt.Errorf("block signals: %w", errno)
	}
	pidfd := new(int32)
	pid, errno := clone(p, &step{number: unix.SYS_CLONE, args: [6]uintptr{unix.CLONE_PARENT | unix.CLONE_PIDFD, 0, uintptr(unsafe.Pointer(pidfd))}})
	if errno != 0 {
		return fmt.Errorf("clone: %w", errno)
	}
	if err := unix.Sendmsg(SocketFD, []byte{SaysGuest}, unix.UnixRights(int(*pidfd)), nil, unix.MSG_NOSIGNAL); err != nil {
		// Nobody will ever let it go on.
		_ = unix.Kill(int(pid), unix.SIGKILL)
		return fmt.Errorf("tell of process %d: %w", pid, err)
	}
	return nil
}

// maxPlan bounds a plan; the environment and the filter are most of it.
const maxPlan = 4 << 20

func readPlan() (*Plan, error) {
	f := os.NewFile(PlanFD, "plan")
	if f == nil {
		return nil, errors.New("there is no plan: this program is started by remuda only")
	}
	defer func() { _ = f.Close() }()
	b, err := io.ReadAll(io.LimitReader(f, maxPlan))
	if err != nil {
		return nil, fmt.Errorf("read the plan: %w", err)
	}
	plan := &Plan{}
	if err := json.Unmarshal(b, plan); err != nil {
		return nil, fmt.Errorf("read the plan: %w", err)
	}
	return plan, nil
}

// Step names a step of a plan's program by its number, for the words of an error.
func Step(plan *Plan, n int) string {
	var pin runtime.Pinner
	defer pin.Unpin()
	_, names, err := newProgram(plan, &pin)
	if err != nil || n < 0 || n >= len(names) {
		return fmt.Sprintf("step %d", n)
	}
	return names[n]
}
