package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/guest/protocol"
	"github.com/remuda-run/remuda/internal/remuda"
)

// workspace is an engine.Workspace: the open directory keeps its file system
// alive when the sandbox has gone.
type workspace struct {
	dir  *os.File
	disk *diskImage // whose end waits for us; nil when memory backs the disk
}

var (
	_ engine.Workspacer = (*Instance)(nil)
	_ engine.Workspace  = (*workspace)(nil)
)

// Workspace implements engine.Workspacer.
func (i *Instance) Workspace(context.Context) (engine.Workspace, error) {
	if !i.disk.hold() {
		return nil, i.Lost(nil)
	}
	dir, err := i.openWorkspace()
	if err != nil {
		return nil, errors.Join(remuda.Internal("opening a workspace", err), i.disk.drop(context.Background()))
	}
	if i.blank.proc.Exited() { // its number may have been another process's by then
		return nil, errors.Join(i.Lost(nil), dir.Close(), i.disk.drop(context.Background()))
	}
	return &workspace{dir: dir, disk: i.disk}, nil
}

// Close implements engine.Workspace.
func (w *workspace) Close() error {
	return errors.Join(w.dir.Close(), w.disk.drop(context.Background()))
}

// openWorkspace opens it from outside. What leads there was mounted by us, and
// nothing in a sandbox can mount.
func (i *Instance) openWorkspace() (*os.File, error) {
	root, err := unix.Open(fmt.Sprintf("/proc/%d/root", i.blank.proc.pid), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open the root of a sandbox: %w", err)
	}
	defer func() { _ = unix.Close(root) }()
	fd, err := unix.Openat2(root, strings.TrimPrefix(protocol.Workspace, "/"), &unix.OpenHow{
		Flags: unix.O_RDONLY | unix.O_DIRECTORY | unix.O_CLOEXEC, Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS,
	})
	if err != nil {
		return nil, fmt.Errorf("open the workspace of a sandbox: %w", err)
	}
	return os.NewFile(uintptr(fd), "workspace"), nil
}

// inherit copies the workspace that the spec brings. Nothing of a user has run in
// the instance yet.
func (i *Instance) inherit(ctx context.Context) error {
	if i.spec.Workspace == nil {
		return nil
	}
	from, ok := i.spec.Workspace.(*workspace)
	if !ok {
		return unsupported("the workspace is another engine's", "each engine can hand on only what its own instances left", "use the engine that made it", nil)
	}
	to, err := i.openWorkspace()
	if err != nil {
		return err
	}
	defer func() { _ = to.Close() }()
	err = asUser(i.blank.scriptUser(), func() error { return copyTree(ctx, to, from.dir) })
	if err != nil {
		return &remuda.Error{
			Code: remuda.CodePrecondition, Message: "the workspace could not be handed on", Cause: err.Error(),
			Remedy: "create another runspace", Err: err,
		}
	}
	return nil
}

// scriptUser is the host uid and gid of the sandbox's scripts.
func (b *blank) scriptUser() int {
	if b.forked {
		return b.owner + 1
	}
	return b.owner + sandboxUID
}

// asUser has f make files that belong to id. It cannot make them as root and give
// them away: a file system that was mounted inside a sandbox knows no users of the
// machine's. The thread that has changed ends with f; it keeps the right to pass
// over permissions.
func asUser(id int, f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked
		done <- func() error {
			if err := setFSUser(id); err != nil {
				return err
			}
			header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
			var caps [2]unix.CapUserData
			if err := unix.Capget(&header, &caps[0]); err != nil {
				return os.NewSyscallError("capget", err)
			}
			for n := range caps {
				caps[n].Effective = caps[n].Permitted
			}
			if err := unix.Capset(&header, &caps[0]); err != nil {
				return os.NewSyscallError("capset", err)
			}
			return f()
		}()
	}()
	return <-done
}

// setFSUser changes whose files the thread makes. The calls tell of no error, only
// what was before.
func setFSUser(id int) error {
	const nobody = -1 // changes nothing
	_, _ = unix.SetfsgidRetGid(id)
	_, _ = unix.SetfsuidRetUid(id)
	gid, _ := unix.SetfsgidRetGid(nobody)
	uid, _ := unix.SetfsuidRetUid(nobody)
	if gid != id || uid != id {
		return fmt.Errorf("files cannot be made as user %d", id)
	}
	return nil
}

// maxDepth is how deep the directories of a workspace may be nested to be handed
// on: each level is opened for each file below it.
const maxDepth = 256

// treeCopy copies the regular files, directories and links below one directory to
// another. Paths are resolved inside of these whatever links say.
type treeCopy struct {
	to, from *os.Root
}

func copyTree(ctx context.Context, to, from *os.File) error {
	var c treeCopy
	var err error
	if c.from, err = rootOf(from); err != nil {
		return err
	}
	defer func() { _ = c.from.Close() }()
	if c.to, err = rootOf(to); err != nil {
		return err
	}
	defer func() { _ = c.to.Close() }()
	return fs.WalkDir(c.from.FS(), ".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case name == ".":
			return nil
		case strings.Count(name, "/") >= maxDepth:
			return fmt.Errorf("directories are nested more than %d deep", maxDepth)
		}
		return c.entry(name, entry)
	})
}

func rootOf(dir *os.File) (*os.Root, error) {
	return os.OpenRoot(fmt.Sprintf("/proc/self/fd/%d", dir.Fd()))
}

// entry copies one; what is no file, directory or link is left out.
func (c *treeCopy) entry(name string, entry fs.DirEntry) error {
	info, err := entry.Info()
	if err != nil {
		return err
	}
	switch info.Mode().Type() {
	case fs.ModeDir:
		err = c.to.Mkdir(name, info.Mode().Perm())
	case fs.ModeSymlink:
		target, readErr := c.from.Readlink(name)
		if readErr != nil {
			return readErr
		}
		return c.to.Symlink(target, name)
	case 0:
		err = c.file(name, info)
	default:
		return nil
	}
	if err != nil {
		return err
	}
	if err := c.to.Chmod(name, info.Mode().Perm()); err != nil { // whatever our umask is
		return err
	}
	return c.to.Chtimes(name, info.ModTime(), info.ModTime())
}

func (c *treeCopy) file(name string, info fs.FileInfo) error {
	// A process that is about to end may have swapped it for what would block us.
	in, err := c.from.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	out, err := c.to.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	err = copySparse(out, in, info.Size())
	return errors.Join(err, out.Close())
}

// copySparse copies the pieces of a file that hold data: a hole takes no room
// where it came from, and there may be no more room than that.
func copySparse(out, in *os.File, size int64) error {
	for at := int64(0); at < size; {
		begin, err := unix.Seek(int(in.Fd()), at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			break // a hole to the end
		}
		if err != nil {
			return fmt.Errorf("read %s: %w", path.Base(in.Name()), err)
		}
		end, err := unix.Seek(int(in.Fd()), begin, unix.SEEK_HOLE)
		if err != nil {
			return fmt.Errorf("read %s: %w", path.Base(in.Name()), err)
		}
		piece := io.NewSectionReader(in, begin, end-begin)
		if _, err := io.Copy(io.NewOffsetWriter(out, begin), piece); err != nil {
			return err
		}
		at = end
	}
	return out.Truncate(size)
}
