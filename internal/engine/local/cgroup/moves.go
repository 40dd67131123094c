package cgroup

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// movesName is the named hierarchy, one for all servers of a machine: the kernel
// counts who has it.
const movesName = "favordynmods"

// FavorMoves makes a move between cgroups cheap for as long as the file is open.
//
// To move a process the kernel stops all forks and exits of the machine, and it
// waits for them with a grace period of RCU unless it moved one a moment ago: 7
// to 15 ms for a lone move, 0.3 ms for the next. A hierarchy with favordynmods
// spares the wait and costs each fork some nanoseconds instead. Existing ones
// take the option only when they are made, on v1, or keep it, on v2; so this is
// one of our own without controllers, mounted nowhere, which ends with the file.
// Errors: a kernel before Linux 6.0, or one without named hierarchies; moves work
// all the same.
func FavorMoves() (*os.File, error) {
	fs, err := unix.Fsopen("cgroup", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("fsopen", err)
	}
	defer func() { _ = unix.Close(fs) }()
	if err := unix.FsconfigSetString(fs, "name", movesName); err != nil {
		return nil, fmt.Errorf("name a cgroup hierarchy: %w", err)
	}
	for _, flag := range []string{"none", "favordynmods"} {
		if err := unix.FsconfigSetFlag(fs, flag); err != nil {
			return nil, fmt.Errorf("make a cgroup hierarchy with %s: %w", flag, err)
		}
	}
	for err = unix.EINTR; err == unix.EINTR; { // while an earlier one of the name ends
		err = unix.FsconfigCreate(fs)
	}
	if err != nil {
		return nil, fmt.Errorf("make a cgroup hierarchy: %w", err)
	}
	fd, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOEXEC|unix.MOUNT_ATTR_RDONLY)
	if err != nil {
		return nil, os.NewSyscallError("fsmount", err)
	}
	return os.NewFile(uintptr(fd), movesName), nil
}
