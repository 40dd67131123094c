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

// newRoot is where the new root is put together: a directory that every Linux
// system has and from which nothing is ever bound.
const newRoot = "/sys"

// staging is where the one writable file system is attached until its parts are
// bound at their places: over a directory of the old root that is not needed any
// more by then, with which it goes away.
const staging = "/dev"

// emptyDir covers masked directories.
const emptyDir = "/run/remuda/empty"

// writable lists the directories of the one writable file system, where they
// are bound, and their mode.
var writable = []struct {
	name, target string
	mode         uint32
	own          bool // belongs to the interpreter's user
}{
	{"workspace", protocol.Workspace, 0o755, true},
	{"tmp", "/tmp", 0o1777, false},
	{"vartmp", "/var/tmp", 0o1777, false},
	{"shm", "/dev/shm", 0o1777, false},
}

// rootBuilder makes the root that the interpreter sees and moves into it.
type rootBuilder struct {
	setup *protocol.Setup
	disk  int // descriptor of a detached mount, or -1
}

func (r *rootBuilder) build() error {
	defer unix.Umask(unix.Umask(0))
	for _, step := range []func() error{
		r.begin, r.bindSources, r.fillRoot, r.devices, r.attachDisk, r.proc, r.enter,
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// begin cuts every tie to the mounts of the host and mounts the new root.
func (r *rootBuilder) begin() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return wrap(err, "make private", "/")
	}
	return wrap(unix.Mount("tmpfs", newRoot, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "size=4m,nr_inodes=1024,mode=755"), "mount tmpfs on", newRoot)
}

// in is the path of p while the new root is being made.
func in(p string) string { return newRoot + path.Clean("/"+p) }

func (r *rootBuilder) bindSources() error {
	for _, b := range r.setup.Binds {
		var st unix.Stat_t
		if err := unix.Stat(b.Source, &st); err != nil {
			if b.Optional && errors.Is(err, unix.ENOENT) {
				continue
			}
			return wrap(err, "bind", b.Source)
		}
		if err := makeTarget(in(b.Target), st.Mode&unix.S_IFMT == unix.S_IFDIR); err != nil {
			return err
		}
		if err := bind(b.Source, in(b.Target), unix.MOUNT_ATTR_RDONLY|unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV); err != nil {
			return err
		}
	}
	return nil
}

// makeTarget makes what a mount needs to be put on.
func makeTarget(target string, dir bool) error {
	if dir {
		return os.MkdirAll(target, 0o755)
	}
	if err := os.MkdirAll(path.Dir(target), 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(target, os.O_CREATE|os.O_RDONLY, 0o444)
	if err != nil {
		return err
	}
	return f.Close()
}

// bind binds source at target and below, and sets attributes on all of it.
func bind(source, target string, attr uint64) error {
	if err := unix.Mount(source, target, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return wrap(err, "bind "+source+" at", target)
	}
	return setAttr(target, attr, unix.AT_RECURSIVE)
}

// setAttr adds attributes to a mount. Kernels before 5.12 cannot do it for a
// whole tree; there the mount itself is remounted and a tree is refused.
func setAttr(target string, attr uint64, flags uint) error {
	if attr == 0 {
		return nil
	}
	err := unix.MountSetattr(unix.AT_FDCWD, target, flags, &unix.MountAttr{Attr_set: attr})
	return wrap(err, "set attributes of the mount at", target)
}

func (r *rootBuilder) fillRoot() error {
	for _, dir := range []string{"/proc", "/sys", emptyDir, "/dev/pts", "/root", "/home"} {
		if err := os.MkdirAll(in(dir), 0o755); err != nil {
			return err
		}
	}
	for _, l := range r.setup.Links {
		if err := os.MkdirAll(path.Dir(in(l.Path)), 0o755); err != nil {
			return err
		}
		if err := os.Symlink(l.Target, in(l.Path)); err != nil {
			return err
		}
	}
	for _, t := range r.setup.Files {
		if err := writeText(newRoot, t); err != nil {
			return err
		}
	}
	return writeText(newRoot, protocol.Text{Path: r.setup.DriverPath, Content: string(r.setup.Driver), Mode: 0o444})
}

func (r *rootBuilder) devices() error {
	for _, name := range r.setup.Devices {
		if name == "" || strings.ContainsAny(name, "/\x00") {
			return fmt.Errorf("%q is not the name of a device", name)
		}
		if err := makeTarget(in("/dev/"+name), false); err != nil {
			return err
		}
		if err := unix.Mount("/dev/"+name, in("/dev/"+name), "", unix.MS_BIND, ""); err != nil {
			return wrap(err, "bind device", name)
		}
	}
	if err := unix.Mount("devpts", in("/dev/pts"), "devpts", unix.MS_NOSUID|unix.MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620"); err != nil {
		return wrap(err, "mount", "/dev/pts")
	}
	for _, l := range [][2]string{
		{"pts/ptmx", "/dev/ptmx"}, {"/proc/self/fd", "/dev/fd"}, {"/proc/self/fd/0", "/dev/stdin"},
		{"/proc/self/fd/1", "/dev/stdout"}, {"/proc/self/fd/2", "/dev/stderr"},
	} {
		if err := os.Symlink(l[0], in(l[1])); err != nil {
			return err
		}
	}
	return nil
}

// attachDisk mounts the one writable file system and binds its directories.
func (r *rootBuilder) attachDisk() error {
	if err := r.mountDisk(); err != nil {
		return err
	}
	for _, w := range writable {
		dir := staging + "/" + w.name
		if err := unix.Mkdir(dir, w.mode); err != nil {
			return wrap(err, "make on the disk", w.name)
		}
		if w.own {
			if err := unix.Chown(dir, r.setup.UID, r.setup.GID); err != nil {
				return wrap(err, "give to the interpreter's user", w.name)
			}
		}
		if err := os.MkdirAll(in(w.target), 0o755); err != nil {
			return err
		}
		if err := unix.Mount(dir, in(w.target), "", unix.MS_BIND, ""); err != nil {
			return wrap(err, "bind the disk at", w.target)
		}
	}
	return nil
}

// mountDisk mounts the file system; the binds inherit its attributes.
func (r *rootBuilder) mountDisk() error {
	if r.disk < 0 {
		options := fmt.Sprintf("size=%d,nr_inodes=%d,mode=755", r.setup.DiskBytes, r.setup.DiskInodes)
		return wrap(unix.Mount("tmpfs", staging, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, options), "mount the disk at", staging)
	}
	err := unix.MoveMount(r.disk, "", unix.AT_FDCWD, staging, unix.MOVE_MOUNT_F_EMPTY_PATH)
	_ = unix.Close(r.disk)
	if err != nil {
		return wrap(err, "attach the disk at", staging)
	}
	return setAttr(staging, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV, 0)
}

// proc mounts a new proc and covers parts of it. It has to come while the
// host's proc is still in sight: the kernel asks for that.
func (r *rootBuilder) proc() error {
	if err := unix.Mount("proc", in("/proc"), "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "hidepid=2"); err != nil {
		return wrap(err, "mount", "/proc")
	}
	for _, p := range r.setup.ReadOnly {
		if err := bind(in(p), in(p), unix.MOUNT_ATTR_RDONLY); err != nil && !errors.Is(err, unix.ENOENT) {
			return err
		}
	}
	for _, p := range r.setup.Mask {
		var st unix.Stat_t
		if err := unix.Lstat(in(p), &st); errors.Is(err, unix.ENOENT) {
			continue
		} else if err != nil {
			return wrap(err, "mask", p)
		}
		cover := in("/dev/null")
		if st.Mode&unix.S_IFMT == unix.S_IFDIR {
			cover = in(emptyDir)
		}
		if err := unix.Mount(cover, in(p), "", unix.MS_BIND, ""); err != nil {
			return wrap(err, "mask", p)
		}
		if cover == in(emptyDir) {
			if err := setAttr(in(p), unix.MOUNT_ATTR_RDONLY, 0); err != nil {
				return err
			}
		}
	}
	return nil
}

// enter makes the new root the root and lets go of the old one.
func (r *rootBuilder) enter() error {
	if err := unix.Chdir(newRoot); err != nil {
		return wrap(err, "enter", newRoot)
	}
	if err := unix.PivotRoot(".", "."); err != nil {
		return wrap(err, "pivot to", newRoot)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return wrap(err, "detach", "the old root")
	}
	if err := unix.Chdir("/"); err != nil {
		return wrap(err, "enter", "/")
	}
	return setAttr("/", unix.MOUNT_ATTR_RDONLY|unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV, 0)
}
