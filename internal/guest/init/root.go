package guestinit

import (
	"errors"
	"fmt"
	"path"
	"slices"
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
	setup  *protocol.Setup
	disk   int        // descriptor of a detached mount, or -1
	mounts []int      // descriptors of those that setup.Mounts places
	plan   *childPlan // of a template: what its children are to repeat
}

func (r *rootBuilder) build() error {
	defer unix.Umask(unix.Umask(0))
	for _, step := range []func() error{r.begin, r.terminals, r.attachDisk, r.attachMounts, r.proc, r.enter} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// begin cuts every tie to the mounts of the host and mounts the new root: the
// prepared one, or one that is made now.
func (r *rootBuilder) begin() error {
	if err := makePrivate(); err != nil {
		return err
	}
	s := r.setup
	if !s.Prepared {
		if err := mountRoot(newRoot); err != nil {
			return err
		}
		files := append(slices.Clip(s.Files), protocol.Text{Path: s.DriverPath, Content: string(s.Driver)})
		base := baseBuilder{at: newRoot, root: &protocol.Root{Binds: s.Binds, Links: s.Links, Files: files, Devices: s.Devices}}
		return base.build()
	}
	if len(s.Binds)+len(s.Links)+len(s.Files)+len(s.Devices)+len(s.Driver) > 0 {
		return errors.New("the setup asks for the prepared root and for another")
	}
	// A copy, because the mount itself came from a more powerful namespace and
	// may not become the root. Its parts stay locked together, and read-only.
	return wrap(unix.Mount(protocol.PreparedRoot, newRoot, "", unix.MS_BIND|unix.MS_REC, ""), "bind the prepared root at", newRoot)
}

func makePrivate() error {
	return wrap(unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""), "make private", "/")
}

// mountRoot mounts a small file system for a root.
func mountRoot(at string) error {
	return wrap(unix.Mount("tmpfs", at, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "size=4m,nr_inodes=1024,mode=755"), "mount tmpfs on", at)
}

// in is the path of p while the new root is being made.
func in(p string) string { return newRoot + path.Clean("/"+p) }

// bind binds source at target and below, and sets attributes on all of it.
func bind(source, target string, attr uint64) error {
	if err := unix.Mount(source, target, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return wrap(err, "bind "+source+" at", target)
	}
	return setAttr(target, attr, unix.AT_RECURSIVE)
}

// setAttr adds attributes to a mount, with AT_RECURSIVE to all below it too.
func setAttr(target string, attr uint64, flags uint) error {
	if attr == 0 {
		return nil
	}
	err := unix.MountSetattr(unix.AT_FDCWD, target, flags, &unix.MountAttr{Attr_set: attr})
	return wrap(err, "set attributes of the mount at", target)
}

// Options of the file systems that every sandbox has of its own. The machine has some
// thousand pseudo-terminals (kernel.pty.max) for all sandboxes together, and no cgroup
// counts them: without a bound a script could leave none to anybody else.
var ptsOptions = "newinstance,ptmxmode=0666,mode=0620,max=" + itoa(protocol.MaxPTYs)

const procOptions = "hidepid=2"

// terminals gives the sandbox pseudo-terminals of its own.
func (r *rootBuilder) terminals() error {
	return wrap(unix.Mount("devpts", in("/dev/pts"), "devpts", unix.MS_NOSUID|unix.MS_NOEXEC, ptsOptions), "mount", "/dev/pts")
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
	if err := unix.Mount("proc", in("/proc"), "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, procOptions); err != nil {
		return wrap(err, "mount", "/proc")
	}
	if r.plan != nil {
		if err := r.keeperPlace(); err != nil {
			return err
		}
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
		if r.plan != nil {
			r.plan.masks = append(r.plan.masks, mask{path: p, by: strings.TrimPrefix(cover, newRoot)})
		}
		if cover == in(emptyDir) {
			if err := setAttr(in(p), unix.MOUNT_ATTR_RDONLY, 0); err != nil {
				return err
			}
		}
	}
	return nil
}

// keeperPlace makes the place of a template's keeper: where children knock, and
// a proc without covers, which the kernel wants to see before it lets a child
// mount its own. No one but the keeper can go to that.
func (r *rootBuilder) keeperPlace() error {
	if err := unix.Mount("tmpfs", in(keeperDir), "tmpfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "size=64k,nr_inodes=16,mode=711"); err != nil {
		return wrap(err, "mount", keeperDir)
	}
	for _, dir := range []string{path.Dir(fullProc), fullProc} {
		if err := unix.Mkdir(in(dir), 0o700); err != nil {
			return wrap(err, "make", dir)
		}
	}
	err := unix.Mount("proc", in(fullProc), "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, procOptions)
	r.plan.readOnly = r.setup.ReadOnly
	procDir = fullProc
	return wrap(err, "mount", fullProc)
}

// procDir is where this process finds proc: a template's keeper takes its own
// sight of it away from the template.
var procDir = "/proc"

// enter makes the new root the root and lets go of the old one.
func (r *rootBuilder) enter() error {
	if err := changeRoot(); err != nil {
		return err
	}
	return setAttr("/", unix.MOUNT_ATTR_RDONLY|unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV, 0)
}

// changeRoot makes newRoot the root of the mount namespace and detaches what was.
func changeRoot() error {
	if err := unix.Chdir(newRoot); err != nil {
		return wrap(err, "enter", newRoot)
	}
	if err := unix.PivotRoot(".", "."); err != nil {
		return wrap(err, "pivot to", newRoot)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return wrap(err, "detach", "the old root")
	}
	return wrap(unix.Chdir("/"), "enter", "/")
}
