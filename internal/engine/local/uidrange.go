package local

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"
)

// Every sandbox has a range of host uids and gids that no other one has, on the
// whole machine. A range belongs to who holds the lock on its byte in one file.
// The lock lives in an open file that the sandbox's keeper inherits, so that it
// ends when the sandbox does and not when its server does.
const (
	uidBase     = 1 << 29 // above what systems, users and container tools take
	uidCount    = 1 << 16
	uidSlots    = 50_000 // up to 3.8 thousand million, below 2^32-2
	uidLockFile = "/run/remuda/uids"
)

// uidRanges hands out ranges.
type uidRanges struct {
	path string
	mu   sync.Mutex
	next int
}

// uidRange is a range that is held. Its file is passed to the keeper.
type uidRange struct {
	slot int
	file *os.File
}

// newUIDRanges begins anywhere, so that several servers seldom meet, and goes on
// from there: a range is used again as late as possible.
func newUIDRanges(path string) *uidRanges {
	return &uidRanges{path: path, next: rand.IntN(uidSlots)} //nolint:gosec // nothing depends on its being hard to guess
}

// base is the first uid and gid of the range.
func (r *uidRange) base() int { return uidBase + r.slot*uidCount }

// close lets go of our hold. The range is free when the keeper has gone too.
func (r *uidRange) close() { _ = r.file.Close() }

// acquire takes a range that nobody on the machine has.
func (u *uidRanges) acquire() (*uidRange, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	f, err := u.open()
	if err != nil {
		return nil, err
	}
	for range uidSlots {
		u.next = (u.next + 1) % uidSlots
		err := lockBytes(f, int64(u.next), 1)
		switch {
		case errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES):
			continue
		case err != nil:
			_ = f.Close()
			return nil, fmt.Errorf("lock a uid range in %s: %w", u.path, err)
		case !u.current(f): // removed between open and lock by another server's end
			_ = f.Close()
			if f, err = u.open(); err != nil {
				return nil, err
			}
			continue
		}
		return &uidRange{slot: u.next, file: f}, nil
	}
	_ = f.Close()
	return nil, fmt.Errorf("all %d uid ranges of the machine are in use", uidSlots)
}

// open opens the file anew: locks belong to open files, and every range needs
// one of its own.
func (u *uidRanges) open() (*os.File, error) {
	if err := os.MkdirAll(filepath.Dir(u.path), 0o700); err != nil {
		return nil, fmt.Errorf("make the directory of uid ranges: %w", err)
	}
	f, err := os.OpenFile(u.path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the file of uid ranges: %w", err)
	}
	return f, nil
}

// current reports whether f is still what the path names.
func (u *uidRanges) current(f *os.File) bool {
	a, errA := f.Stat()
	b, errB := os.Stat(u.path)
	return errA == nil && errB == nil && os.SameFile(a, b)
}

// close removes the file when nobody on the machine holds a range.
func (u *uidRanges) close() {
	u.mu.Lock()
	defer u.mu.Unlock()
	f, err := os.OpenFile(u.path, os.O_RDWR, 0)
	if err != nil {
		return
	}
	defer func() { _ = f.Close() }()
	if lockBytes(f, 0, 0) != nil || !u.current(f) {
		return
	}
	_ = os.Remove(u.path)
	_ = os.Remove(filepath.Dir(u.path)) // fails when something else is there
}

// lockBytes locks a part of a file for its open file description; length 0 is
// all of it.
func lockBytes(f *os.File, start, length int64) error {
	return unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK, Start: start, Len: length})
}
