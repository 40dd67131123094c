package oci

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/remuda-run/remuda/internal/engine/datadir"
	"github.com/remuda-run/remuda/internal/guest"
	"github.com/remuda-run/remuda/internal/guest/initbin"
	"github.com/remuda-run/remuda/internal/guest/protocol"
)

// rootPrefix begins the name of a root's directory.
const rootPrefix = "root-"

// keeperPath is the keeper's program in the sandbox. Its directory is closed to
// the interpreter's user, and its name says no more than it must.
const keeperPath = "/run/remuda/" + protocol.KeeperArg0

// root is the read-only root of all sandboxes: a directory with what is
// small, and the mounts that bring the rest from the machine.
type root struct {
	path   string
	mounts []specs.Mount

	mu     sync.Mutex
	placed map[string]bool // drivers
}

// makeRoot writes a new one. What of the machine is a single file is copied: each
// mount costs every start.
func makeRoot(dir *dataDir, from protocol.Root) (*root, error) {
	r := &root{path: dir.Sub(rootPrefix + datadir.RandomHex(6)), placed: map[string]bool{}}
	if err := r.fill(from); err != nil {
		return nil, errors.Join(err, r.remove())
	}
	return r, nil
}

func (r *root) fill(from protocol.Root) error {
	// The keeper's own mounts and those that every container has need a place.
	places := []string{"/proc", "/sys", "/dev", "/root", "/home", protocol.ContainedDisk, protocol.Workspace, "/tmp", "/var/tmp", protocol.NodeModules}
	for n := range maxLayers {
		places = append(places, layerPlace(n))
	}
	for _, dir := range places {
		if err := r.mkdir(dir); err != nil {
			return err
		}
	}
	for _, b := range from.Binds {
		if err := r.bring(b); err != nil {
			return err
		}
	}
	for _, l := range from.Links {
		if err := r.mkdir(filepath.Dir(l.Path)); err != nil {
			return err
		}
		if err := os.Symlink(l.Target, r.in(l.Path)); err != nil {
			return fmt.Errorf("make a link of the root: %w", err)
		}
	}
	for _, t := range from.Files {
		mode := os.FileMode(t.Mode)
		if mode == 0 {
			mode = 0o444
		}
		if err := r.write(t.Path, []byte(t.Content), mode); err != nil {
			return err
		}
	}
	binary, err := initbin.Binary()
	if err != nil {
		return unsupported("the first process of a sandbox is missing", err.Error(), "build with `make build`", err)
	}
	return r.write(keeperPath, binary, 0o500)
}

func (r *root) in(p string) string { return filepath.Join(r.path, filepath.Clean("/"+p)) }

func (r *root) mkdir(p string) error {
	// Whatever this process's umask is.
	if err := os.MkdirAll(r.in(p), 0o755); err != nil {
		return fmt.Errorf("make a directory of the root: %w", err)
	}
	return nil
}

// bring binds a directory of the machine, or copies a file.
func (r *root) bring(b protocol.Bind) error {
	st, err := os.Stat(b.Source)
	if errors.Is(err, os.ErrNotExist) && b.Optional {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look at a part of the root: %w", err)
	}
	if st.IsDir() {
		r.mounts = append(r.mounts, specs.Mount{
			Destination: b.Target, Type: "bind", Source: b.Source, Options: []string{"ro", "rbind", "nosuid", "nodev"},
		})
		return r.mkdir(b.Target)
	}
	content, err := os.ReadFile(b.Source)
	if err != nil {
		return fmt.Errorf("copy a part of the root: %w", err)
	}
	return r.write(b.Target, content, 0o444)
}

func (r *root) write(p string, content []byte, mode os.FileMode) error {
	if err := r.mkdir(filepath.Dir(p)); err != nil {
		return err
	}
	tmp := r.in(p) + ".new"
	err := os.WriteFile(tmp, content, mode)
	if err == nil {
		err = os.Chmod(tmp, mode) // whatever the umask is
	}
	if err == nil {
		err = os.Rename(tmp, r.in(p))
	}
	if err != nil {
		return fmt.Errorf("write a file of the root: %w", err)
	}
	return nil
}

// place sees that every sandbox that starts from now on finds the driver.
func (r *root) place(driver guest.Program) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.placed[driver.Path] {
		return nil
	}
	if err := r.write(driver.Path, driver.Source, 0o444); err != nil {
		return err
	}
	r.placed[driver.Path] = true
	return nil
}

func (r *root) remove() error { return os.RemoveAll(r.path) }
