package guestinit

import (
	"os"

	"golang.org/x/sys/unix"
)

// feed is a file of which the interpreter holds a read-only descriptor that
// shares its offset with ours, so that we can give it new content at any time.
type feed struct {
	write int // of the memory file
	read  int // the description that the interpreter has
}

func newFeed(name string) (feed, error) {
	w, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC)
	if err != nil {
		return feed{-1, -1}, os.NewSyscallError("memfd_create", err)
	}
	if err := unix.Fchmod(w, 0o444); err != nil {
		return feed{-1, -1}, wrap(err, "protect", name)
	}
	r, err := unix.Open(procDir+"/self/fd/"+itoa(w), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	return feed{w, r}, wrap(err, "open", name)
}

func (f feed) close() {
	if f.write > 0 {
		_, _ = unix.Close(f.write), unix.Close(f.read)
	}
}

// fill replaces the content.
func (f feed) fill(content []byte) error {
	if err := unix.Ftruncate(f.write, 0); err != nil {
		return err
	}
	for off := 0; off < len(content); {
		n, err := unix.Pwrite(f.write, content[off:], int64(off))
		if err != nil {
			return err
		}
		off += n
	}
	_, err := unix.Seek(f.read, 0, unix.SEEK_SET)
	return err
}
