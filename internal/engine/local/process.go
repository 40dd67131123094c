package local

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// process is the first process of a sandbox, our child, known by a pidfd.
type process struct {
	pid     int      // 0 of one that had ended before we came
	file    *os.File // the pidfd, in Go's poller; nil likewise
	foreign bool     // perhaps not our child: then somebody else reaps it
}

// leftProcess takes a process of an earlier server, if it is still the same and has
// not ended.
func leftProcess(pid int, start uint64) (*process, error) {
	if pid <= 1 {
		return nil, errEnded
	}
	pidfd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return nil, errEnded
	}
	// Looked at after the pidfd was opened: the number cannot change hands now.
	if now, err := StartTime(pid); err != nil || now != start || readable(pidfd) {
		return nil, errors.Join(errEnded, unix.Close(pidfd))
	}
	p, err := newProcess(pid, pidfd)
	if p != nil {
		p.foreign = true
	}
	return p, err
}

// errEnded says that a process of an earlier server has ended.
var errEnded = errors.New("the sandbox had ended")

// foreignProcess takes a process that is known by a pidfd only.
func foreignProcess(pidfd int) (*process, error) {
	info, err := os.ReadFile(fmt.Sprintf("/proc/self/fdinfo/%d", pidfd))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("look at a pidfd: %w", err), unix.Close(pidfd))
	}
	_, rest, found := bytes.Cut(info, []byte("\nPid:"))
	number, _, _ := bytes.Cut(rest, []byte("\n"))
	pid, err := strconv.Atoi(string(bytes.TrimSpace(number)))
	if !found || err != nil || pid <= 1 {
		return nil, errors.Join(errors.New("a keeper passed a descriptor that is no pidfd of a living process"), unix.Close(pidfd))
	}
	p, err := newProcess(pid, pidfd)
	if p != nil {
		p.foreign = true
	}
	return p, err
}

func newProcess(pid, pidfd int) (*process, error) {
	// Only a non-blocking descriptor is taken into the poller.
	if err := unix.SetNonblock(pidfd, true); err != nil {
		return nil, errors.Join(os.NewSyscallError("fcntl", err), unix.Close(pidfd))
	}
	return &process{pid: pid, file: os.NewFile(uintptr(pidfd), "pidfd")}, nil
}

// Kill kills the process and with it its pid namespace.
func (p *process) Kill() error {
	if p.file == nil {
		return nil
	}
	raw, err := p.file.SyscallConn()
	if err != nil {
		return err
	}
	var killErr error
	// The error of Control itself says that the descriptor is closed: the
	// process was reaped.
	_ = raw.Control(func(fd uintptr) { killErr = unix.PidfdSendSignal(int(fd), unix.SIGKILL, nil, 0) })
	if killErr != nil && !errors.Is(killErr, unix.ESRCH) {
		return fmt.Errorf("kill process %d: %w", p.pid, killErr)
	}
	return nil
}

// Exited asks the kernel, without waiting.
func (p *process) Exited() bool {
	if p.file == nil {
		return true
	}
	raw, err := p.file.SyscallConn()
	if err != nil {
		return true
	}
	gone := true
	_ = raw.Control(func(fd uintptr) { gone = readable(int(fd)) }) // closed: it was reaped
	return gone
}

// gone reports whether it has ended, or does so soon.
func (p *process) gone(soon time.Duration) bool {
	for deadline := time.Now().Add(soon); !p.Exited(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			return false
		}
	}
	return true
}

// Wait returns when the process has ended and is reaped.
func (p *process) Wait() error {
	if p.file == nil {
		return nil
	}
	raw, err := p.file.SyscallConn()
	if err != nil {
		return err
	}
	if err := raw.Read(func(fd uintptr) bool { return readable(int(fd)) }); err != nil {
		return fmt.Errorf("wait for process %d: %w", p.pid, err)
	}
	var reapErr error
	err = raw.Control(func(fd uintptr) {
		for {
			reapErr = unix.Waitid(unix.P_PIDFD, int(fd), nil, unix.WEXITED, nil)
			if !errors.Is(reapErr, unix.EINTR) {
				return
			}
		}
	})
	if p.foreign && errors.Is(reapErr, unix.ECHILD) {
		return nil
	}
	if err = errors.Join(err, reapErr); err != nil {
		return fmt.Errorf("reap process %d: %w", p.pid, err)
	}
	return nil
}

func (p *process) close() {
	if p.file != nil {
		_ = p.file.Close()
	}
}

// readable polls one descriptor without waiting.
func readable(fd int) bool {
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
		if !errors.Is(err, unix.EINTR) {
			return err != nil || n > 0
		}
	}
}

// StartTime reads when a process was started, in clock ticks since boot; with
// the pid it names the process for good.
func StartTime(pid int) (uint64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	return parseStartTime(b)
}

// parseStartTime finds field 22. The second field, the name, may hold anything,
// also blanks and parentheses.
func parseStartTime(stat []byte) (uint64, error) {
	end := bytes.LastIndexByte(stat, ')')
	if end < 0 {
		return 0, errors.New("stat has no name")
	}
	fields := bytes.Fields(stat[end+1:]) // from field 3 on
	if len(fields) < 20 {
		return 0, errors.New("stat is too short")
	}
	return strconv.ParseUint(string(fields[19]), 10, 64)
}
