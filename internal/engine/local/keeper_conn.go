package local

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/remuda-run/remuda/internal/guest/protocol"
)

// maxFromKeeper bounds a frame that a keeper sends. A result is the largest.
const maxFromKeeper = 24 << 20

// helloTime is how long a keeper may take to greet. On a busy machine its start
// can take a while.
const helloTime = 20 * time.Second

// keeperConn is the server's end of a keeper's socket. One goroutine reads; any
// may send.
type keeperConn struct {
	conn  *net.UnixConn
	in    *bufio.Reader
	state protocol.State // what Hello was answered with

	sending sync.Mutex
	out     []byte // reused between frames
}

// dialKeeper connects and says Hello.
func dialKeeper(ctx context.Context, dir, name string) (*keeperConn, error) {
	c, err := dial(ctx, dir, name)
	if err != nil {
		return nil, err
	}
	k := &keeperConn{conn: c, in: bufio.NewReaderSize(c, 64<<10)}
	if err := k.hello(ctx); err != nil {
		k.close()
		return nil, fmt.Errorf("greet the keeper: %w", err)
	}
	return k, nil
}

func (k *keeperConn) hello(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, helloTime)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = k.conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if err := k.send(protocol.TypeHello, &protocol.Hello{Version: protocol.Version}); err != nil {
		return err
	}
	t, payload, err := k.read()
	if err != nil {
		return err
	}
	switch t {
	case protocol.TypeState:
		if err := decode(payload, &k.state); err != nil {
			return err
		}
		if k.state.Version != protocol.Version {
			return fmt.Errorf("%w: it answers in version %d and this server speaks version %d", errProtocol, k.state.Version, protocol.Version)
		}
		return nil
	case protocol.TypeFailed:
		return failure(payload)
	default:
		return fmt.Errorf("%w: frame of type %d instead of State", errProtocol, t)
	}
}

// errProtocol is wrapped by every error about what a keeper may not send.
var errProtocol = errors.New("the keeper broke the protocol")

func decode(payload []byte, into protocol.Message) error {
	if err := protocol.Decode(payload, into); err != nil {
		return fmt.Errorf("%w: %w", errProtocol, err)
	}
	return nil
}

// failure turns a Failed frame into an error.
func failure(payload []byte) error {
	var f protocol.Failed
	if err := decode(payload, &f); err != nil {
		return err
	}
	return fmt.Errorf("%s: %s", f.Stage, f.Error)
}

// read returns the next frame. The payload is the caller's.
func (k *keeperConn) read() (protocol.Type, []byte, error) {
	return protocol.Read(k.in, nil, maxFromKeeper)
}

// send writes a frame with a message.
func (k *keeperConn) send(t protocol.Type, message protocol.Message) error {
	k.sending.Lock()
	defer k.sending.Unlock()
	k.out = protocol.AppendFrame(k.out[:0], t, message)
	return k.write()
}

// sendRaw writes a frame.
func (k *keeperConn) sendRaw(t protocol.Type, payload []byte) error {
	k.sending.Lock()
	defer k.sending.Unlock()
	k.out = protocol.Append(k.out[:0], t, payload)
	return k.write()
}

// write writes k.out. The caller holds the lock.
func (k *keeperConn) write() error {
	_, err := k.conn.Write(k.out)
	if cap(k.out) > 1<<20 {
		k.out = nil
	}
	return err
}

// sendWithFD writes a frame and passes a descriptor with it.
func (k *keeperConn) sendWithFD(t protocol.Type, message protocol.Message, fd int) error {
	frame := protocol.AppendFrame(nil, t, message)
	k.sending.Lock()
	defer k.sending.Unlock()
	// The descriptor comes with the first bytes; the rest may not fit into the
	// same call.
	n, _, err := k.conn.WriteMsgUnix(frame, unix.UnixRights(fd), nil)
	if err != nil {
		return err
	}
	_, err = k.conn.Write(frame[n:])
	return err
}

// gone reports whether the other end has closed, without reading.
func (k *keeperConn) gone() bool {
	raw, err := k.conn.SyscallConn()
	if err != nil {
		return true
	}
	gone := true
	_ = raw.Control(func(fd uintptr) { // fails when closed
		for {
			p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
			n, err := unix.Poll(p, 0)
			if errors.Is(err, unix.EINTR) {
				continue
			}
			gone = err != nil || n > 0
			return
		}
	})
	return gone
}

func (k *keeperConn) close() { _ = k.conn.Close() }

// forkKeeper connects to the keeper of a template and asks it for an instance:
// its first process, known by a pidfd, and what its user 0 is in the template's
// range.
func forkKeeper(ctx context.Context, dir, name string) (_ *keeperConn, pidfd, user int, err error) {
	c, err := dial(ctx, dir, name)
	if err != nil {
		return nil, -1, 0, err
	}
	k := &keeperConn{conn: c}
	defer func() {
		if err != nil {
			k.close()
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, helloTime)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = k.conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	frames := protocol.AppendFrame(nil, protocol.TypeHello, &protocol.Hello{Version: protocol.Version})
	frames = protocol.AppendFrame(frames, protocol.TypeFork, &protocol.Fork{})
	if _, err := c.Write(frames); err != nil {
		return nil, -1, 0, fmt.Errorf("ask for a fork: %w", err)
	}
	with := &withRights{conn: c, fd: -1}
	k.in = bufio.NewReaderSize(with, 64<<10)
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

// waitForked reads the answers to Hello and Fork.
func (k *keeperConn) waitForked() (protocol.Forked, error) {
	var forked protocol.Forked
	for {
		t, payload, err := k.read()
		if err != nil {
			return forked, err
		}
		switch t {
		case protocol.TypeState:
			if err := decode(payload, &k.state); err != nil {
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
