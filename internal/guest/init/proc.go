package guestinit

import (
	"errors"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// readProc reads a small file of proc. Not by package os, which would offer the file
// to its poller first: of each fork many are read.
func readProc(path string) (string, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", &os.PathError{Op: "open", Path: path, Err: err}
	}
	defer func() { _ = unix.Close(fd) }()
	var room [4 << 10]byte
	text := room[:0]
	for {
		if len(text) == cap(text) {
			text = append(text, 0)[:len(text)]
		}
		n, err := unix.Read(fd, text[len(text):cap(text)])
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return "", &os.PathError{Op: "read", Path: path, Err: err}
		case n == 0:
			return string(text), nil
		default:
			text = text[:len(text)+n]
		}
	}
}

// mapping is what the kernel answers when it is asked for one mapping of a process:
// struct procmap_query of linux/fs.h, since Linux 6.11.
type mapping struct {
	size, ask, at                          uint64
	start, end, flags, page, offset, inode uint64
	major, minor, nameSize, buildSize      uint32
	name, build                            uint64
}

const (
	askMapping  = 0xc0686611 // PROCMAP_QUERY
	mapWritable = 0x02       // PROCMAP_QUERY_VMA_WRITABLE
	mapShared   = 0x08       // PROCMAP_QUERY_VMA_SHARED
	mapNext     = 0x10       // PROCMAP_QUERY_COVERING_OR_NEXT_VMA
)

// sharedMappings asks the kernel for each mapping of a process that is shared, which
// in most there is none of. It reports false if the kernel does not know the question.
func sharedMappings(maps string, found func(mapping) error) (bool, error) {
	fd, err := unix.Open(maps, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return true, &os.PathError{Op: "open", Path: maps, Err: err}
	}
	defer func() { _ = unix.Close(fd) }()
	for at := uint64(0); ; {
		m := mapping{size: uint64(unsafe.Sizeof(mapping{})), ask: mapNext | mapShared, at: at}
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), askMapping, uintptr(unsafe.Pointer(&m)))
		switch {
		case errno == unix.ENOENT:
			return true, nil // no more
		case errno == unix.ENOTTY:
			return false, nil
		case errno == unix.EINTR:
			continue
		case errno != 0:
			return true, fmt.Errorf("ask for the mappings in %s: %w", maps, errno)
		}
		if err := found(m); err != nil {
			return true, err
		}
		at = m.end
	}
}
