package keeper

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/remuda-run/remuda/internal/guest/protocol"
)

// maxFromKeeper bounds a frame that a keeper sends. A result is the largest.
const maxFromKeeper = 24 << 20

// readSize is what is read ahead. Larger frames are read to where they stay.
const readSize = 16 << 10

// HelloTime is how long a keeper may take to greet. On a busy machine its start
// can take a while.
const HelloTime = 20 * time.Second

// Conn is the server's end of a keeper's socket. One goroutine reads; any
// may send.
type Conn struct {
	conn *net.UnixConn
	in   *bufio.Reader

	state protocol.State // what the keeper has greeted with

	sending  sync.Mutex
	out      []byte        // reused between frames
	frames   atomic.Int64  // written, or tried
	patience time.Duration // with a keeper that does not read; 0 is readTime
}

// readTime is how long a keeper may take to read one frame, once its socket is full: it
// reads whatever it is doing. One that has stopped is given up, and its sandbox with it.
const readTime = time.Minute

// NewConn takes a connection whose other end is a keeper, and says Hello. On
// error it is closed.
func NewConn(ctx context.Context, c *net.UnixConn) (*Conn, error) {
	k := &Conn{conn: c, in: bufio.NewReaderSize(c, readSize)}
	if err := k.hello(ctx); err != nil {
		k.Close()
		return nil, fmt.Errorf("greet the keeper: %w", err)
	}
	return k, nil
}

func (k *Conn) hello(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, HelloTime)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = k.conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if err := k.send(protocol.TypeHello, &protocol.Hello{Version: protocol.Version}); err != nil {
		return err
	}
	return k.waitState()
}

// waitState reads the answer to Hello or Attach.
func (k *Conn) waitState() error {
	t, payload, err := k.read()
	if err != nil {
		return err
	}
	switch t {
	case protocol.TypeState:
		k.state, err = greeted(payload)
		return err
	case protocol.TypeFailed:
		return failure(payload)
	default:
		return fmt.Errorf("%w: frame of type %d instead of State", errProtocol, t)
	}
}

// State is what the keeper has greeted with.
func (k *Conn) State() protocol.State { return k.state }

// greeted takes the answer to Hello or Attach.
func greeted(payload []byte) (protocol.State, error) {
	state := protocol.State{}
	if err := decode(payload, &state); err != nil {
		return state, err
	}
	if state.Version != protocol.Version {
		return state, fmt.Errorf("%w: it answers in version %d and this server speaks version %d", errProtocol, state.Version, protocol.Version)
	}
	return state, nil
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
	return &Refusal{Stage: f.Stage, Reason: f.Error}
}

// Refusal is what a keeper says in a Failed frame.
type Refusal struct{ Stage, Reason string }

func (r *Refusal) Error() string { return r.Stage + ": " + r.Reason }

// read returns the next frame. The payload is the caller's.
func (k *Conn) read() (protocol.Type, []byte, error) {
	return protocol.Read(k.in, nil, maxFromKeeper)
}

// send writes a frame with a message.
func (k *Conn) send(t protocol.Type, message protocol.Message) error {
	k.sending.Lock()
	defer k.sending.Unlock()
	k.out = protocol.AppendFrame(k.out[:0], t, message)
	return k.write()
}

// sendRaw writes a frame.
func (k *Conn) sendRaw(t protocol.Type, payload []byte) error {
	k.sending.Lock()
	defer k.sending.Unlock()
	k.out = protocol.Append(k.out[:0], t, payload)
	return k.write()
}

// write writes k.out. The caller holds the lock.
func (k *Conn) write() error {
	k.frames.Add(1)
	n, err := k.writeNow()
	if err == nil && n < len(k.out) {
		_ = k.conn.SetWriteDeadline(time.Now().Add(cmp.Or(k.patience, readTime)))
		if _, err = k.conn.Write(k.out[n:]); errors.Is(err, os.ErrDeadlineExceeded) {
			k.Close() // half a frame is there; the reader ends the sandbox
		}
		_ = k.conn.SetWriteDeadline(time.Time{})
	}
	if cap(k.out) > 1<<20 {
		k.out = nil
	}
	return err
}

// writeNow writes what of k.out the socket takes at once, which most often is all of it:
// then no deadline has to be set.
func (k *Conn) writeNow() (n int, err error) {
	raw, err := k.conn.SyscallConn()
	if err != nil {
		return 0, err
	}
	var failed error
	err = raw.Write(func(fd uintptr) bool {
		n, failed = unix.Write(int(fd), k.out)
		return true
	})
	if errors.Is(failed, unix.EAGAIN) || errors.Is(failed, unix.EINTR) {
		failed = nil
	}
	return max(n, 0), errors.Join(err, os.NewSyscallError("write", failed))
}

// Gone reports whether the other end has closed, without reading.
func (k *Conn) Gone() bool {
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

// Close closes the connection.
func (k *Conn) Close() { _ = k.conn.Close() }

// SetUp tells the keeper what sandbox to build and waits for its answer.
func (k *Conn) SetUp(ctx context.Context, setup *protocol.Setup) (protocol.Ready, error) {
	if err := k.SendSetup(setup, -1); err != nil {
		return protocol.Ready{}, err
	}
	return k.WaitReady(ctx)
}

// SendSetup tells the keeper what sandbox to build, and passes it the descriptor
// of the disk unless that is negative, and those of setup.Mounts. WaitReady has to
// follow.
func (k *Conn) SendSetup(setup *protocol.Setup, disk int, mounts ...int) error {
	var err error
	if disk >= 0 {
		mounts = append([]int{disk}, mounts...)
	}
	if len(mounts) == 0 {
		err = k.send(protocol.TypeSetup, setup)
	} else {
		err = k.sendWithFDs(protocol.TypeSetup, setup, mounts)
	}
	if err != nil {
		return fmt.Errorf("send the setup: %w", err)
	}
	return nil
}

// sendWithFDs writes a frame and passes descriptors with it.
func (k *Conn) sendWithFDs(t protocol.Type, message protocol.Message, fds []int) error {
	frame := protocol.AppendFrame(nil, t, message)
	k.sending.Lock()
	defer k.sending.Unlock()
	// The descriptors come with the first bytes; the rest may not fit into the
	// same call.
	n, _, err := k.conn.WriteMsgUnix(frame, unix.UnixRights(fds...), nil)
	if err != nil {
		return err
	}
	_, err = k.conn.Write(frame[n:])
	return err
}

// WaitReady waits for the answer to SendSetup.
func (k *Conn) WaitReady(ctx context.Context) (protocol.Ready, error) {
	stop := context.AfterFunc(ctx, func() { _ = k.conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	t, payload, err := k.read()
	if err != nil {
		return protocol.Ready{}, fmt.Errorf("wait for the sandbox: %w", err)
	}
	switch t {
	case protocol.TypeReady:
		var r protocol.Ready
		if !stop() {
			return r, context.Cause(ctx) // the deadline is set by now
		}
		return r, decode(payload, &r)
	case protocol.TypeFailed:
		return protocol.Ready{}, fmt.Errorf("build the sandbox: %w", failure(payload))
	default:
		return protocol.Ready{}, fmt.Errorf("%w: frame of type %d instead of Ready", errProtocol, t)
	}
}
