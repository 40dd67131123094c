package guestinit

import (
	"os"
	"path"

	"golang.org/x/sys/unix"

	"github.com/remuda-run/remuda/internal/guest/protocol"
)

// Prepare makes the mount namespace of this process, which has to be its own,
// into one to clone sandboxes from: it holds root at protocol.PreparedRoot, the
// machine's proc, and nothing else of the machine. Building a root costs
// milliseconds; a sandbox that finds one copies its mounts.
//
// What is prepared is shared by every sandbox, so nothing of it can be written:
// the file system is read-only and belongs to this process's user namespace, in
// which no sandbox has any power, its mounts are read-only and locked in every
// namespace that is cloned with another user namespace, and its files belong to
// a user that no sandbox has.
func Prepare(root *protocol.Root) error {
	defer unix.Umask(unix.Umask(0))
	if err := makePrivate(); err != nil {
		return err
	}
	if err := mountRoot(newRoot); err != nil {
		return err
	}
	at := in(protocol.PreparedRoot)
	for _, dir := range []string{in("/proc"), in(newRoot), in(staging), at} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			return err
		}
	}
	if err := unix.Mount("/proc", in("/proc"), "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return wrap(err, "bind", "/proc")
	}
	if err := mountRoot(at); err != nil {
		return err
	}
	if err := (&baseBuilder{at: at, root: root}).build(); err != nil {
		return err
	}
	for _, p := range []string{at, newRoot} {
		const flags = unix.MS_REMOUNT | unix.MS_RDONLY | unix.MS_NOSUID | unix.MS_NODEV
		if err := unix.Mount("", p, "", flags, ""); err != nil {
			return wrap(err, "make read-only", path.Base(p))
		}
	}
	return changeRoot()
}
