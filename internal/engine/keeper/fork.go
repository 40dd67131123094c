package keeper

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"time"

	"golang.org/x/sys/unix"

	"github.com/remuda-run/remuda/internal/guest/protocol"
)

// Fork takes a connection whose other end is the keeper of a template, and asks
// it for an instance: its first process, known by a pidfd, and what its user 0 is
// in the template's range. On error the connection is closed.
func Fork(ctx context.Context, c *net.UnixConn) (_ *Conn, pidfd, user int, err error) {
	k := &Conn{conn: c}
	defer func() {
		if err != nil {
			k.Close()
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, HelloTime)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = k.conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	frames := protocol.AppendFrame(nil, protocol.TypeHello, &protocol.Hello{Version: protocol.Version})
	frames = protocol.AppendFrame(frames, protocol.TypeFork, &protocol.Fork{})
	if _, err := c.Write(frames); err != nil {
		return nil, -1, 0, fmt.Errorf("ask for a fork: %w", err)
	}
	with := &withRights{conn: c, fd: -1}
	k.in = bufio.NewReaderSize(with, readSize)
	forked, err := k.waitForked()
	if err == nil && with.fd < 0 {
		err = fmt.Errorf("%w: no process came with its answer", errProtocol)
	}
	if err == nil && !stop() {
		err = context.Cause(ctx)
	}
	if err != nil {
		if with.fd >= 0 {
			_ = unix.Close(with.fd)
		}
		return nil, -1, 0, fmt.Errorf("wait for a fork: %w", err)
	}
	k.in.Reset(c) // nothing has come that was not read: Setup is next
	return k, with.fd, forked.User, nil
}

// Prepare lets the forked process, which is in its cgroup by now, build what is
// the same for all instances of its template. Without it that comes with Setup.
func (k *Conn) Prepare() error {
	if err := k.send(protocol.TypePrepare, &protocol.Prepare{}); err != nil {
		return fmt.Errorf("have a fork prepared: %w", err)
	}
	return nil
}

// waitForked reads the answers to Hello and Fork.
func (k *Conn) waitForked() (protocol.Forked, error) {
	var forked protocol.Forked
	for {
		t, payload, err := k.read()
		if err != nil {
			return forked, err
		}
		switch t {
		case protocol.TypeState:
			if k.state, err = greeted(payload); err != nil {
				return forked, err
			}
		case protocol.TypeForked:
			return forked, decode(payload, &forked)
		case protocol.TypeFailed:
			return forked, failure(payload)
		default:
			return forked, fmt.Errorf("%w: frame of type %d instead of Forked", errProtocol, t)
		}
	}
}

// withRights reads a connection and keeps one descriptor that comes with it.
type withRights struct {
	conn *net.UnixConn
	fd   int
}

func (w *withRights) Read(p []byte) (int, error) {
	oob := make([]byte, unix.CmsgSpace(4))
	n, oobn, _, _, err := w.conn.ReadMsgUnix(p, oob)
	if err != nil {
		return max(n, 0), err // it is -1, which no Reader may say
	}
	if n == 0 {
		return 0, io.EOF
	}
	messages, err := unix.ParseSocketControlMessage(oob[:oobn])
	if err != nil {
		return n, err
	}
	for i := range messages {
		if fds, err := unix.ParseUnixRights(&messages[i]); err == nil && len(fds) == 1 {
			unix.CloseOnExec(fds[0])
			w.fd = fds[0]
		}
	}
	return n, nil
}
