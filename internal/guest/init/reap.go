package guestinit

import (
	"errors"
	"os"
	"sync"

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
	driver, all := k.driver.pid, k.template != nil
	go func() {
		for {
			var status unix.WaitStatus
			pid, err := unix.Wait4(-1, &status, unix.WALL, nil)
			if err != nil && !errors.Is(err, unix.EINTR) {
				return
			}
			if pid == driver || all && pid > 0 {
				k.exits.add(exit{pid, status})
				_, _ = unix.Write(wake, []byte{1, 0, 0, 0, 0, 0, 0, 0})
			}
		}
	}()
	return nil
}

// exit is the end of a child: the interpreter's, and of a template's keeper also
// each instance's first process.
type exit struct {
	pid    int
	status unix.WaitStatus
}

// exits is the one thing that the reaper and the loop share.
type exits struct {
	mu   sync.Mutex
	list []exit
}

func (e *exits) add(x exit) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.list = append(e.list, x)
}

func (e *exits) take() []exit {
	e.mu.Lock()
	defer e.mu.Unlock()
	list := e.list
	e.list = nil
	return list
}

// reaped takes the reaper's notices.
func (k *keeper) reaped() {
	var b [8]byte
	_, _ = unix.Read(k.wake, b[:])
	for _, x := range k.exits.take() {
		switch {
		case x.pid != k.driver.pid:
			k.childReaped(x.pid, x.status)
		case !k.driver.dead:
			k.driver.dead, k.driver.status = true, x.status
			k.driverDied()
		}
	}
}
