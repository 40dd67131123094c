package guestinit

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// onlyChild checks that an instance has two processes. Whatever a hostile first
// process starts beside the interpreter becomes its child sooner or later.
func onlyChild(first, interpreter int) error {
	for pid, want := range map[int]string{first: itoa(interpreter), interpreter: ""} {
		children, err := readProc(fullProc + "/" + itoa(pid) + "/task/" + itoa(pid) + "/children")
		if err != nil {
			return err
		}
		if got := strings.TrimSpace(children); got != want {
			return fmt.Errorf("process %d has the children %q instead of %q", pid, got, want)
		}
	}
	return nil
}

// inspectFirst checks that a first process, whose memory may be the interpreter's,
// leads nowhere but to the keeper: that it has its connection and no other
// descriptor, and no memory that somebody else has too.
func (f *forked) inspectFirst(interpreter int, exec bool) error {
	dir := fullProc + "/" + itoa(f.first)
	if err := inspectDescriptors(dir+"/fd/", inspection{fds: []int{fdDoor}}); err != nil {
		return fmt.Errorf("the first process: %w", err)
	}
	ours, err := identify(f.door)
	if err != nil {
		return err
	}
	door, err := os.Readlink(dir + "/fd/" + itoa(fdDoor))
	if err != nil {
		return err
	}
	sockets, err := readProc(dir + "/net/unix")
	if err != nil {
		return err
	}
	if !onlyDoor(door, ours.ino, sockets) {
		return fmt.Errorf("descriptor %d of the first process (%s) is not its connection to the keeper alone: a package has put it there", fdDoor, door)
	}
	if exec { // of a template that runs nothing foreign
		return nil
	}
	const kcmpMemory = 1
	if n, _, errno := unix.Syscall6(unix.SYS_KCMP, uintptr(f.first), uintptr(interpreter), kcmpMemory, 0, 0, 0); errno == 0 && n == 0 {
		return nil // it is looked at with the interpreter
	}
	return inspectMemory(f.first)
}

// onlyDoor reports whether link and ours are the two ends of the only connection of
// a network namespace, by the table that the kernel has of its Unix sockets: what
// has taken a call belongs to the namespace of what has called.
func onlyDoor(link string, ours uint64, table string) bool {
	left := map[string]bool{link: true, "socket:[" + strconv.FormatUint(ours, 10) + "]": true}
	lines := strings.Split(strings.TrimSpace(table), "\n")
	for _, line := range lines[1:] {
		f := strings.Fields(line) // Num RefCount Protocol Flags Type St Inode Path
		if len(f) < 7 || !left["socket:["+f[6]+"]"] {
			return false
		}
		delete(left, "socket:["+f[6]+"]")
	}
	return len(lines) == 3 && len(left) == 0
}
