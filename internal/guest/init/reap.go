package guestinit

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// startReaper starts the goroutine that waits for every child, the orphans of
// the sandbox among them. It ends when there is no child left, which can only be
// after the interpreter's end.
func (k *keeper) startReaper() error {
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return os.NewSyscallError("eventfd", err)
	}
	k.wake = wake
	if err := k.watch(wake); err != nil {
		return err
	}
	driver := k.driver.pid
	go func() {
		for {
			var status unix.WaitStatus
			pid, err := unix.Wait4(-1, &status, unix.WALL, nil)
			if err != nil && !errors.Is(err, unix.EINTR) {
				return
			}
			if pid == driver {
				k.notice.Store(int64(status) + 1)
				_, _ = unix.Write(wake, []byte{1, 0, 0, 0, 0, 0, 0, 0})
			}
		}
	}()
	return nil
}

// reaped takes the reaper's notice.
func (k *keeper) reaped() {
	var b [8]byte
	_, _ = unix.Read(k.wake, b[:])
	notice := k.notice.Swap(0)
	if notice == 0 || k.driver.dead {
		return
	}
	k.driver.dead, k.driver.status = true, unix.WaitStatus(notice-1)
	k.driverDied()
}
