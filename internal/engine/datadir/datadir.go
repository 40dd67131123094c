package datadir

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/remuda-run/remuda/internal/remuda"
)

// The files that every engine has in its directory.
const (
	lockName = "engine.lock" // held while an engine uses the directory
	herdName = "herd"        // name of the herd: what the engine's cgroup is called
)

// lockPatience is how long the directory's lock is tried for.
const lockPatience = time.Second

// herdBytes is how much chance a herd's name holds.
const herdBytes = 6

// Dir is a directory that this engine has to itself until Close.
type Dir struct {
	Path string // absolute
	// Herd never changes: cgroups are found by it.
	Herd string

	lock *os.File
}

// Open makes the directory and the folders below it where they are absent, closes
// them to everybody else and takes the directory's lock.
func Open(path string, below ...string) (*Dir, error) {
	if path == "" {
		return nil, remuda.Errorf(remuda.CodeInvalid, "the engine needs a data directory")
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("open data directory: %w", err)
	}
	d := &Dir{Path: path}
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("make data directory: %w", err)
	}
	for _, name := range below {
		if err := os.MkdirAll(d.Sub(name), 0o700); err != nil {
			return nil, fmt.Errorf("make data directory: %w", err)
		}
		// It may have been there, open to more.
		if err := os.Chmod(d.Sub(name), 0o700); err != nil {
			return nil, fmt.Errorf("protect data directory: %w", err)
		}
	}
	if d.lock, err = takeLock(path); err != nil {
		return nil, err
	}
	if d.Herd, err = herd(d.Sub(herdName)); err != nil {
		d.Close()
		return nil, err
	}
	return d, nil
}

// Sub is the path of something directly below the directory.
func (d *Dir) Sub(name string) string { return filepath.Join(d.Path, name) }

// Close lets another engine have the directory.
func (d *Dir) Close() { _ = d.lock.Close() } // releases the lock

// takeLock waits a moment for a lock that is held: a process that another one of the
// same server begins has a copy of its locks until it executes its program, so that
// the lock of one that has just ended may still be held.
func takeLock(path string) (*os.File, error) {
	lock, err := os.OpenFile(filepath.Join(path, lockName), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock data directory: %w", err)
	}
	for end := time.Now().Add(lockPatience); ; time.Sleep(lockPatience / 100) {
		err = unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if !errors.Is(err, unix.EWOULDBLOCK) || time.Now().After(end) {
			break
		}
	}
	if err == nil {
		return lock, nil
	}
	_ = lock.Close()
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil, &remuda.Error{Code: remuda.CodeConflict, Message: "the data directory " + path + " is in use", Cause: "another server holds its lock", Remedy: "stop that server or give this one another directory (--data)"}
	}
	return nil, fmt.Errorf("lock data directory: %w", err)
}

// herd reads the herd's name or gives it one.
func herd(path string) (string, error) {
	b, err := os.ReadFile(path)
	if err == nil {
		id := strings.TrimSpace(string(b))
		if raw, err := hex.DecodeString(id); err != nil || len(raw) != herdBytes {
			return "", fmt.Errorf("the file %s does not hold a herd's name: put back the one that it had, or stop what runs in cgroups named remuda-* and remove the file", path)
		}
		return id, nil
	}
	if !errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("read herd: %w", err)
	}
	id := RandomHex(herdBytes)
	// Whole or not at all, also when the machine stops now.
	tmp := path + ".new"
	if err := writeSynced(tmp, []byte(id+"\n")); err != nil {
		return "", fmt.Errorf("write herd: %w", err)
	}
	if err := os.Rename(tmp, path); err != nil {
		return "", fmt.Errorf("write herd: %w", err)
	}
	return id, nil
}

func writeSynced(path string, content []byte) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// RandomHex makes a name of n random bytes for something that an engine makes.
func RandomHex(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return hex.EncodeToString(b)
}
