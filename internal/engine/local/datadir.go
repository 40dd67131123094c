package local

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/remuda-run/remuda/internal/remuda"
)

// dataDir is the engine's part of the data directory:
//
//	engine.lock       held while an engine uses the directory
//	herd              name of the herd: what the engine's cgroup is called
//	run/<id>.sock     where the keeper of an instance listens
//	run/<id>.json     what the instance is (metadata)
//	run/blank-*.sock  where a blank listens
//	disk/             file system of the disk images, which have no names
type dataDir struct {
	run, disk string
	herd      string
	lock      *os.File
}

func openDataDir(path string) (*dataDir, error) {
	if path == "" {
		return nil, remuda.Errorf(remuda.CodeInvalid, "the engine needs a data directory")
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("open data directory: %w", err)
	}
	d := &dataDir{run: filepath.Join(path, "run"), disk: filepath.Join(path, "disk")}
	for _, dir := range []string{path, d.run, d.disk} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("make data directory: %w", err)
		}
	}
	if err := os.Chmod(d.run, 0o700); err != nil {
		return nil, fmt.Errorf("protect data directory: %w", err)
	}
	if d.lock, err = os.OpenFile(filepath.Join(path, "engine.lock"), os.O_CREATE|os.O_RDWR, 0o600); err != nil {
		return nil, fmt.Errorf("lock data directory: %w", err)
	}
	if err := unix.Flock(int(d.lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		d.close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, &remuda.Error{Code: remuda.CodeConflict, Message: "the data directory " + path + " is in use", Cause: "another server holds its lock", Remedy: "stop that server or give this one another directory (--data)"}
		}
		return nil, fmt.Errorf("lock data directory: %w", err)
	}
	if d.herd, err = herdID(filepath.Join(path, "herd")); err != nil {
		d.close()
		return nil, err
	}
	return d, nil
}

func (d *dataDir) close() {
	_ = d.lock.Close() // releases the lock
}

// herdID reads the herd's name or gives it one. It never changes: cgroups are
// found by it.
func herdID(path string) (string, error) {
	b, err := os.ReadFile(path)
	if err == nil {
		id := strings.TrimSpace(string(b))
		if raw, err := hex.DecodeString(id); err != nil || len(raw) != 6 {
			return "", fmt.Errorf("the file %s does not hold a herd's name: put back the one that it had, or stop what runs in cgroups named remuda-* and remove the file", path)
		}
		return id, nil
	}
	if !errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("read herd: %w", err)
	}
	id := randomHex(6)
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

func randomHex(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return hex.EncodeToString(b)
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

// metadata says what an instance is, for a server that comes later.
type metadata struct {
	ID         remuda.InstanceID    `json:"id"`
	Generation remuda.GenerationKey `json:"generation"`
	Language   remuda.Language      `json:"language"`
	Version    string               `json:"version"`
	Pid        int                  `json:"pid"`
	StartTime  uint64               `json:"start_time"` // of the process, in clock ticks since boot
	Cgroup     string               `json:"cgroup"`     // name in the herd
	UIDSlot    int                  `json:"uid_slot"`
}

func (d *dataDir) socket(name string) string { return filepath.Join(d.run, name+".sock") }

func (d *dataDir) metadata(id remuda.InstanceID) string {
	return filepath.Join(d.run, string(id)+".json")
}

// writeMetadata need not survive a crash of the machine: the sandbox does not.
func (d *dataDir) writeMetadata(m metadata) error {
	b, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("write metadata of %s: %w", m.ID, err)
	}
	tmp := d.metadata(m.ID) + ".new"
	if err := os.WriteFile(tmp, b, 0o600); err != nil {
		return fmt.Errorf("write metadata of %s: %w", m.ID, err)
	}
	if err := os.Rename(tmp, d.metadata(m.ID)); err != nil {
		return fmt.Errorf("write metadata of %s: %w", m.ID, err)
	}
	return nil
}

// remove removes files that may be absent already.
func remove(paths ...string) error {
	var errs []error
	for _, p := range paths {
		if err := os.Remove(p); err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
