package launch

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// socketFD is where the launcher finds its end of the socketpair.
const socketFD = 3

// rootFD is where it finds the description of the root it is to prepare.
const rootFD = 4

// maxMessage bounds a request and a reply.
const maxMessage = 4096

// request asks for one keeper. With it come the descriptors for its stderr,
// its listening socket, its lock and, with InCgroup, a cgroup v2 directory.
type request struct {
	Base     int  `json:"base"` // first uid and gid of the range, on the host
	Size     int  `json:"size"`
	InCgroup bool `json:"in_cgroup,omitempty"`
}

// reply answers a request, with a pidfd when Error is empty.
type reply struct {
	Pid   int    `json:"pid,omitempty"`
	Error string `json:"error,omitempty"`
}

// errClosed says that the other side has gone.
var errClosed = errors.New("the socket is closed")

func send(fd int, message any, fds ...int) error {
	b, err := json.Marshal(message)
	if err != nil {
		return fmt.Errorf("encode message: %w", err)
	}
	var oob []byte
	if len(fds) > 0 {
		oob = unix.UnixRights(fds...)
	}
	for {
		err := unix.Sendmsg(fd, b, oob, nil, unix.MSG_NOSIGNAL)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// receive reads one message and the descriptors that came with it; they are the
// caller's, also when there is an error.
func receive(fd int, message any) ([]int, error) {
	buf, oob := make([]byte, maxMessage), make([]byte, unix.CmsgSpace(8*4))
	var n, oobn, flags int
	for {
		var err error
		n, oobn, flags, _, err = unix.Recvmsg(fd, buf, oob, unix.MSG_CMSG_CLOEXEC)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return nil, err
		}
		break
	}
	fds, err := rights(oob[:oobn])
	switch {
	case err != nil:
		return fds, err
	case n == 0:
		return fds, errClosed
	case flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0:
		return fds, errors.New("message is too long")
	}
	if err := json.Unmarshal(buf[:n], message); err != nil {
		return fds, fmt.Errorf("decode message: %w", err)
	}
	return fds, nil
}

// readable waits until there is something to receive, which may be the end.
func readable(fd int, atMost time.Duration) error {
	for until := time.Now().Add(atMost); ; {
		left := time.Until(until)
		if left <= 0 {
			return fmt.Errorf("it did not answer within %s", atMost)
		}
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(left.Milliseconds())+1)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return os.NewSyscallError("poll", err)
		}
		if n > 0 {
			return nil
		}
	}
}

func rights(oob []byte) ([]int, error) {
	if len(oob) == 0 {
		return nil, nil
	}
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, err
	}
	var fds []int
	for i := range messages {
		more, err := unix.ParseUnixRights(&messages[i])
		if err != nil {
			return fds, err
		}
		fds = append(fds, more...)
	}
	return fds, nil
}

func closeAll(fds []int) {
	for _, fd := range fds {
		_ = unix.Close(fd) // nothing to be done about it, and nothing was written
	}
}
