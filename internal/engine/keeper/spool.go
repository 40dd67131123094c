package keeper

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// spoolInMemory is how much of a file is held in memory on its way.
const spoolInMemory = 1 << 20

// spool holds a file on its way in or out: first in memory, then in a file
// without a name. It is written, rewound once, and read.
type spool struct {
	dir    string
	size   int64
	memory bytes.Buffer
	file   *os.File
	reader io.Reader
}

func newSpool(dir string) *spool { return &spool{dir: dir} }

// Write implements io.Writer.
func (s *spool) Write(p []byte) (int, error) {
	if s.file == nil && s.memory.Len()+len(p) > spoolInMemory {
		f, err := Unnamed(s.dir)
		if err != nil {
			return 0, err
		}
		s.file = f
	}
	var n int
	var err error
	if s.file == nil {
		n, err = s.memory.Write(p)
	} else {
		n, err = s.file.Write(p)
	}
	s.size += int64(n)
	return n, err
}

// rewind makes what was written readable.
func (s *spool) rewind() error {
	if s.file == nil {
		s.reader = &s.memory
		return nil
	}
	if _, err := s.file.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("rewind: %w", err)
	}
	s.reader = io.MultiReader(&s.memory, s.file)
	return nil
}

// Read implements io.Reader.
func (s *spool) Read(p []byte) (int, error) {
	if s.reader == nil {
		return 0, errors.New("the spool is not rewound")
	}
	return s.reader.Read(p)
}

// Close implements io.Closer.
func (s *spool) Close() error {
	if s.file == nil {
		return nil
	}
	return s.file.Close()
}

// Unnamed makes a file without a name. Where the file system cannot, it has one
// for a moment.
func Unnamed(dir string) (*os.File, error) {
	fd, err := unix.Open(dir, unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err == nil {
		return os.NewFile(uintptr(fd), "unnamed file"), nil
	}
	f, err := os.CreateTemp(dir, "unnamed-*")
	if err != nil {
		return nil, fmt.Errorf("make a file without a name: %w", err)
	}
	if err := os.Remove(f.Name()); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("make a file without a name: %w", err)
	}
	return f, nil
}
