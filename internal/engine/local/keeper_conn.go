package local

import (
	"bufio"
	"context"
	"errors"
	"fmt"
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
