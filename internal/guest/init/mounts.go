package guestinit

import (
	"errors"
	"fmt"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/remuda-run/remuda/internal/guest/protocol"
)

// attachMounts puts the mounts that came with the Setup at their places. They are
// read-only already; the server has seen to that where nothing in here can undo
// it for the processes of a script.
func (r *rootBuilder) attachMounts() error {
	defer func() {
		for _, fd := range r.mounts {
			_ = unix.Close(fd)
		}
	}()
	targets := r.setup.Mounts
	if len(r.mounts) != len(targets) {
		return fmt.Errorf("the setup names %d mounts and %d came with the frame", len(targets), len(r.mounts))
	}
	if len(targets) == 0 {
		return nil
	}
	if err := makePlaces(targets); err != nil {
		return err
	}
	for n, target := range targets {
		if err := unix.MoveMount(r.mounts[n], "", unix.AT_FDCWD, in(target), unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
			return wrap(err, "attach a mount at", target)
		}
		if err := setAttr(in(target), unix.MOUNT_ATTR_RDONLY|unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV, 0); err != nil {
			return err
		}
	}
	return nil
}

// makePlaces makes the directories below protocol.LayerDir that are mounted on.
// All other places are there.
func makePlaces(targets []string) error {
	dir := in(protocol.LayerDir)
	if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "size=64k,nr_inodes=64,mode=755"); err != nil {
		return wrap(err, "mount tmpfs on", protocol.LayerDir)
	}
	for _, target := range targets {
		if target != path.Clean(target) || !path.IsAbs(target) {
			return fmt.Errorf("%q is no place for a mount", target)
		}
		if !strings.HasPrefix(target, protocol.LayerDir+"/") {
			continue
		}
		if err := os.Mkdir(in(target), 0o755); err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
	}
	return setAttr(dir, unix.MOUNT_ATTR_RDONLY, 0)
}
