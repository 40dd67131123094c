package guestinit

import (
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/remuda-run/remuda/internal/guest/protocol"
)

// diskStaging is where a contained keeper attaches the one writable file system
// until its parts are bound at their places. The engine makes the directory.
const diskStaging = protocol.ContainedDisk

// newContainedKeeper has the server's connection as fd.
func newContainedKeeper(fd int) (*keeper, error) {
	if kind, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE); err != nil || kind != unix.SOCK_STREAM {
		return nil, fmt.Errorf("descriptor %d is not the connection that an engine leaves: this program is started by remuda only", fd)
	}
	k := &keeper{listen: -1, wake: -1, contained: true, conn: &conn{fd: fd, writable: true}}
	var err error
	if k.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		return nil, wrap(err, "prepare", "the connection")
	}
	return k, k.watch(fd)
}

// completeRoot adds the writable file system to a root that is there, covers
// what is to be covered, and notes the limit of processes.
func (k *keeper) completeRoot(s *protocol.Setup) error {
	defer unix.Umask(unix.Umask(0))
	options := fmt.Sprintf("size=%d,nr_inodes=%d,mode=755", s.DiskBytes, s.DiskInodes)
	if err := unix.Mount("tmpfs", diskStaging, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, options); err != nil {
		return wrap(err, "mount the disk at", diskStaging)
	}
	for _, w := range writable {
		dir := diskStaging + "/" + w.name
		if err := unix.Mkdir(dir, w.mode); err != nil {
			return wrap(err, "make on the disk", w.name)
		}
		if w.own {
			if err := unix.Chown(dir, s.UID, s.GID); err != nil {
				return wrap(err, "give to the interpreter's user", w.name)
			}
		}
		if err := unix.Mount(dir, w.target, "", unix.MS_BIND, ""); err != nil {
			return wrap(err, "bind the disk at", w.target)
		}
	}
	if err := unix.Unmount(diskStaging, unix.MNT_DETACH); err != nil {
		return wrap(err, "detach", diskStaging)
	}
	for _, p := range s.Mask {
		if err := cover(p); err != nil {
			return err
		}
	}
	if err := removeDevices(); err != nil {
		return err
	}
	for _, l := range s.Limits {
		if l.Resource == unix.RLIMIT_NPROC {
			k.setup.processes = l.Value
		}
	}
	var err error
	k.files.root, err = openBeneath(protocol.Workspace)
	return err
}

// keptDevices is what every sandbox has in /dev.
var keptDevices = []string{
	"fd", "full", "null", "ptmx", "pts", "random", "shm", "stderr", "stdin", "stdout", "tty", "urandom", "zero",
}

// removeDevices leaves of /dev what is no way to more than a sandbox has.
func removeDevices() error {
	entries, err := os.ReadDir("/dev")
	if err != nil {
		return err
	}
	for _, e := range entries {
		if slices.Contains(keptDevices, e.Name()) {
			continue
		}
		if err := os.RemoveAll("/dev/" + e.Name()); err != nil {
			return err
		}
	}
	return nil
}

// cover hides a file or directory, if it is there.
func cover(p string) error {
	var st unix.Stat_t
	if err := unix.Lstat(p, &st); errors.Is(err, unix.ENOENT) {
		return nil
	} else if err != nil {
		return wrap(err, "mask", p)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return wrap(unix.Mount("/dev/null", p, "", unix.MS_BIND, ""), "mask", p)
	}
	return wrap(unix.Mount("tmpfs", p, "tmpfs", unix.MS_RDONLY|unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "size=4096,mode=555"), "mask", p)
}

// blameProcesses names the limit of processes for a script that failed while it
// had as many as it may have. In a container of an OCI runtime the limit is the
// user's and nothing counts refusals; what is there at the end has to do.
func (k *keeper) blameProcesses(e *protocol.End) {
	limit := k.setup.processes
	if limit == 0 || tasksOf(k.setup.uid) < limit {
		return
	}
	e.KilledBy = killedByPids
	e.Reason = fmt.Sprintf("it needed more than its %d processes and threads", limit)
}

// tasksOf counts the threads of a user's processes.
func tasksOf(uid int) uint64 {
	var n uint64
	for _, pid := range listedPIDs() {
		if st, err := os.Stat("/proc/" + itoa(pid)); err != nil || !ownedBy(st, uid) {
			continue // it has gone, or is another's
		}
		if tasks, err := os.ReadDir(path.Join("/proc", itoa(pid), "task")); err == nil {
			n += uint64(len(tasks))
		}
	}
	return n
}

func ownedBy(st os.FileInfo, uid int) bool {
	sys, ok := st.Sys().(*syscall.Stat_t)
	return ok && int(sys.Uid) == uid
}

// listedPIDs are the processes that /proc shows us.
func listedPIDs() []int {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var pids []int
	for _, e := range entries {
		if !strings.ContainsFunc(e.Name(), func(r rune) bool { return r < '0' || r > '9' }) {
			if pid, err := strconv.Atoi(e.Name()); err == nil {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

// lastListedPID is the largest of them, 0 when there is none.
func lastListedPID() int {
	last := 0
	for _, pid := range listedPIDs() {
		last = max(last, pid)
	}
	return last
}
