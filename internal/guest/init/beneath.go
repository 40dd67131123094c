package guestinit

import (
	"errors"
	"io/fs"
	"os"
	"path"

	"golang.org/x/sys/unix"
)

// directory is what the file server needs of a directory tree that no path and
// no link leads out of. os.Root is one.
type directory interface {
	OpenFile(name string, flag int, perm fs.FileMode) (*os.File, error)
	Lstat(name string) (fs.FileInfo, error)
	Mkdir(name string, perm fs.FileMode) error
	Lchown(name string, uid, gid int) error
	Rename(from, to string) error
	Remove(name string) error
	Close() error
}

// beneath is a directory whose kernel resolves paths (openat2), for kernels on
// which os.Root does not hold: gVisor's follows a link that is opened with
// O_NOFOLLOW and O_DIRECTORY, on which os.Root relies.
type beneath struct{ fd int }

func openBeneath(dir string) (directory, error) {
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: dir, Err: err}
	}
	return &beneath{fd}, nil
}

// errEscapes has os.Root's words.
var errEscapes = errors.New("path escapes from parent")

func pathError(op, name string, err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, unix.EXDEV) { // what the kernel says of a way out
		err = errEscapes
	}
	return &fs.PathError{Op: op, Path: name, Err: err}
}

// resolve opens a path. The kernel gives up when names change on the way; a
// script that keeps changing them loses only its own access.
func (b *beneath) resolve(name string, flag int, perm fs.FileMode) (int, error) {
	how := unix.OpenHow{
		Flags: uint64(flag) | unix.O_CLOEXEC, Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_MAGICLINKS,
	}
	if flag&os.O_CREATE != 0 {
		how.Mode = uint64(perm.Perm())
	}
	const tries = 100
	for n := 0; ; n++ {
		fd, err := unix.Openat2(b.fd, name, &how)
		if err != nil && n < tries && (errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR)) {
			continue
		}
		return fd, err
	}
}

// parent opens the directory that a path's last part is in, for use, and closes
// it afterwards.
func (b *beneath) parent(op, name string, use func(dir int, base string) error) error {
	dir, err := b.resolve(path.Dir(name), unix.O_PATH|unix.O_DIRECTORY, 0)
	if err == nil {
		err = use(dir, path.Base(name))
		_ = unix.Close(dir)
	}
	return pathError(op, name, err)
}

func (b *beneath) OpenFile(name string, flag int, perm fs.FileMode) (*os.File, error) {
	fd, err := b.resolve(name, flag, perm)
	if err != nil {
		return nil, pathError("open", name, err)
	}
	return os.NewFile(uintptr(fd), name), nil
}

func (b *beneath) Lstat(name string) (fs.FileInfo, error) {
	f, err := b.OpenFile(name, unix.O_PATH|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	return f.Stat()
}

func (b *beneath) Mkdir(name string, perm fs.FileMode) error {
	return b.parent("mkdir", name, func(dir int, base string) error { return unix.Mkdirat(dir, base, uint32(perm.Perm())) })
}

func (b *beneath) Lchown(name string, uid, gid int) error {
	return b.parent("chown", name, func(dir int, base string) error {
		return unix.Fchownat(dir, base, uid, gid, unix.AT_SYMLINK_NOFOLLOW)
	})
}

func (b *beneath) Rename(from, to string) error {
	return b.parent("rename", from, func(fromDir int, fromBase string) error {
		return b.parent("rename", to, func(toDir int, toBase string) error {
			return unix.Renameat(fromDir, fromBase, toDir, toBase)
		})
	})
}

func (b *beneath) Remove(name string) error {
	return b.parent("remove", name, func(dir int, base string) error {
		err := unix.Unlinkat(dir, base, 0)
		if errors.Is(err, unix.EISDIR) || errors.Is(err, unix.EPERM) {
			return unix.Unlinkat(dir, base, unix.AT_REMOVEDIR)
		}
		return err
	})
}

func (b *beneath) Close() error { return unix.Close(b.fd) }
