package oci

import (
	"crypto/rand"
	"encoding/hex"
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
//	engine.lock  held while an engine uses the directory
//	herd         name of the herd: what the engine's cgroup is called
//	run/<id>/    bundle of an instance and runsc's state of it
//	root-*/      the read-only root that sandboxes share
//	spool/       files on their way in or out, which have no names
type dataDir struct {
	path, run, spool string
	herd             string
	lock             *os.File
}

func openDataDir(path string) (*dataDir, error) {
	if path == "" {
		return nil, remuda.Errorf(remuda.CodeInvalid, "the engine needs a data directory")
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("open data directory: %w", err)
	}
	d := &dataDir{path: path, run: filepath.Join(path, "run"), spool: filepath.Join(path, "spool")}
	for _, dir := range []string{path, d.run, d.spool} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("make data directory: %w", err)
		}
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

func (d *dataDir) close() { _ = d.lock.Close() } // releases the lock

// herdID reads the herd's name or gives it one. It never changes: cgroups are
// found by it.
func herdID(path string) (string, error) {
	b, err := os.ReadFile(path)
	if id := strings.TrimSpace(string(b)); err == nil && id != "" {
		return id, nil
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("read herd: %w", err)
	}
	id := randomHex(6)
	tmp := path + ".new"
	f, err := os.OpenFile(tmp, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return "", fmt.Errorf("write herd: %w", err)
	}
	_, err = f.WriteString(id + "\n")
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(tmp, path)
	}
	if err != nil {
		return "", fmt.Errorf("write herd: %w", err)
	}
	return id, nil
}

func randomHex(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return hex.EncodeToString(b)
}

func (d *dataDir) bundle(id remuda.InstanceID) string { return filepath.Join(d.run, string(id)) }

// leftovers lists the instances whose bundles are there.
func (d *dataDir) leftovers() ([]remuda.InstanceID, error) {
	entries, err := os.ReadDir(d.run)
	if err != nil {
		return nil, fmt.Errorf("list bundles: %w", err)
	}
	var ids []remuda.InstanceID
	for _, entry := range entries {
		if remuda.IsID(remuda.PrefixInstance, entry.Name()) {
			ids = append(ids, remuda.InstanceID(entry.Name()))
		}
	}
	return ids, nil
}

// sweep removes the files of sandboxes, all of which have ended, and the roots of
// earlier servers.
func (d *dataDir) sweep(root string) error {
	var errs []error
	for _, dir := range []string{d.run, d.spool} {
		entries, err := os.ReadDir(dir)
		errs = append(errs, err)
		for _, entry := range entries {
			errs = append(errs, os.RemoveAll(filepath.Join(dir, entry.Name())))
		}
	}
	old, err := filepath.Glob(filepath.Join(d.path, rootPrefix+"*"))
	errs = append(errs, err)
	for _, p := range old {
		if p != root {
			errs = append(errs, os.RemoveAll(p))
		}
	}
	return errors.Join(errs...)
}
