package local

import (
	"fmt"
	"strconv"

	"golang.org/x/sys/unix"
)

// memoryDisk makes a file system in memory whose root belongs to owner on the
// host, mounted in no namespace. The descriptor is the caller's; with it and the
// mount of the sandbox that it is passed to, the file system goes.
func memoryDisk(quota diskQuota, owner int) (int, error) {
	fs, err := unix.Fsopen("tmpfs", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return -1, fmt.Errorf("make a disk in memory: %w", err)
	}
	defer func() { _ = unix.Close(fs) }()
	id := strconv.Itoa(owner)
	for _, option := range [][2]string{
		{"size", strconv.FormatInt(quota.bytes, 10)}, {"nr_inodes", strconv.FormatInt(quota.inodes, 10)},
		{"mode", "755"}, {"uid", id}, {"gid", id},
	} {
		if err := unix.FsconfigSetString(fs, option[0], option[1]); err != nil {
			return -1, fmt.Errorf("make a disk in memory with %s %s: %w", option[0], option[1], err)
		}
	}
	if err := unix.FsconfigCreate(fs); err != nil {
		return -1, fmt.Errorf("make a disk in memory: %w", err)
	}
	mount, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV)
	if err != nil {
		return -1, fmt.Errorf("mount a disk in memory: %w", err)
	}
	return mount, nil
}
