package cli

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// input is standard input that somebody can stop waiting for: a read of a
// terminal returns only when a key is pressed.
type input struct {
	from io.Reader
	file *os.File    // from, if it is one that can be waited for
	wake [2]*os.File // a pipe, whose end is the end of waiting
}

func newInput(from io.Reader) (*input, error) {
	in := &input{from: from}
	f, ok := from.(*os.File)
	if !ok {
		return in, nil
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("make a pipe: %w", err)
	}
	in.file, in.wake = f, [2]*os.File{r, w}
	return in, nil
}

// Read implements io.Reader. After stop it is at its end.
func (in *input) Read(p []byte) (int, error) {
	if in.file == nil {
		return in.from.Read(p)
	}
	fds := []unix.PollFd{{Fd: int32(in.file.Fd()), Events: unix.POLLIN}, {Fd: int32(in.wake[0].Fd()), Events: unix.POLLIN}}
	for {
		_, err := unix.Poll(fds, -1)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return 0, os.NewSyscallError("poll", err)
		case fds[1].Revents != 0:
			return 0, io.EOF
		case fds[0].Revents != 0:
			return in.file.Read(p)
		}
	}
}

// stop ends a Read that waits.
func (in *input) stop() {
	if in.file != nil {
		_, _ = in.wake[1].Write([]byte{0})
	}
}

func (in *input) close() {
	if in.file != nil {
		_, _ = in.wake[0].Close(), in.wake[1].Close()
	}
}
