package app

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/remuda-run/remuda/internal/remuda"
)

// dataLock keeps a second server away from a data directory. The kernel drops
// it with the process, however that ends.
type dataLock struct{ file *os.File }

// lockData makes the data directory if need be and takes its lock.
func lockData(dir string) (*dataLock, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, dataError(dir, err)
	}
	name := filepath.Join(dir, "lock")
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, dataError(dir, err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		defer func() { _ = f.Close() }() // only read from here on
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, dataError(dir, err)
		}
		holder := "another server"
		if raw, err := io.ReadAll(io.LimitReader(f, 32)); err == nil && len(raw) > 0 {
			holder = "the server with process id " + strings.TrimSpace(string(raw))
		}
		return nil, &remuda.Error{
			Code: remuda.CodeConflict, Message: "the data directory " + dir + " is in use", Cause: holder + " has it open",
			Remedy: "stop that server first, or give this one a directory of its own with --data",
		}
	}
	l := &dataLock{file: f}
	if err := l.sign(); err != nil {
		return nil, errors.Join(dataError(dir, err), l.release())
	}
	return l, nil
}

// sign writes who holds the lock, for the message to the next one.
func (l *dataLock) sign() error {
	if err := l.file.Truncate(0); err != nil {
		return err
	}
	_, err := l.file.WriteAt(fmt.Appendf(nil, "%d\n", os.Getpid()), 0)
	return err
}

// release gives the directory free. The file stays: removing it would let two
// servers lock two files of the same name.
func (l *dataLock) release() error { return l.file.Close() }

func dataError(dir string, err error) error {
	return &remuda.Error{
		Code: remuda.CodeUnavailable, Message: "cannot use the data directory " + dir, Cause: err.Error(),
		Remedy: "run as root, or give a directory that may be written with --data",
	}
}
