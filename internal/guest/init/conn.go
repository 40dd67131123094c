package guestinit

import (
	"encoding/binary"
	"errors"
	"time"

	"golang.org/x/sys/unix"

	"github.com/remuda-run/remuda/internal/guest/protocol"
)

// readSize is how much one read of the connection takes at most, unless a
// larger frame is known to be on its way.
const readSize = 64 << 10

// outHigh is how much unsent data stops us from making more that can wait.
const outHigh = 1 << 20

// conn is the connection of the server.
type conn struct {
	fd       int
	in       []byte // received, not handled
	out      []byte // to be sent
	sent     int    // of out
	writable bool   // worth trying to write
	waiting  bool   // EPOLLOUT is on
	hello    bool   // Hello was seen
	closing  bool   // close once out is written
	rights   []int  // descriptors received, not used yet
}

// accept takes a new connection, which replaces the one there was.
func (k *keeper) accept() {
	fd, _, err := unix.Accept4(k.listen, unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK)
	if err != nil {
		return
	}
	if fromInside(fd) {
		_ = unix.Close(fd)
		return
	}
	if k.template != nil && k.template.prepared {
		k.acceptChild(fd)
		return
	}
	k.dropConn()
	if err := k.watch(fd); err != nil {
		_ = unix.Close(fd)
		return
	}
	k.conn = &conn{fd: fd, writable: true}
	k.lingerAt = time.Time{}
}

// dropConn closes the connection and, once there is a sandbox, starts the clock
// of its lonely life.
func (k *keeper) dropConn() {
	c := k.conn
	if c == nil {
		return
	}
	k.conn = nil
	_ = unix.Close(c.fd)
	for _, fd := range c.rights {
		_ = unix.Close(fd)
	}
	k.files.drop()
	k.lingerAt = time.Now().Add(k.linger)
	if k.run != nil && k.run.end != nil {
		k.exitAt = time.Time{} // the End may not have been taken, or not been stored
	}
}

// receive reads from the connection and handles every whole frame.
func (k *keeper) receive() {
	c := k.conn
	n, err := c.read(k.setup == nil, k.scratch())
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) {
		return
	}
	if err != nil || n == 0 {
		k.dropConn()
		return
	}
	k.understandServer()
	if k.heir != nil { // what came behind an Attach
		k.heir.understandServer()
	}
}

// understandServer handles every whole frame that was received.
func (k *keeper) understandServer() {
	c := k.conn
	if c == nil {
		return
	}
	rest := c.in
	for k.conn == c && len(rest) >= protocol.HeaderLen {
		size := binary.BigEndian.Uint32(rest)
		if size > protocol.MaxFrame {
			k.dropConn()
			return
		}
		end := protocol.HeaderLen + int(size)
		if len(rest) < end {
			break
		}
		if !k.dispatch(protocol.Type(rest[4]), rest[protocol.HeaderLen:end]) {
			k.dropConn() // garbage or out of turn: this is no server of ours
			return
		}
		rest = rest[end:]
	}
	c.keep(rest)
}

// read appends to c.in what one system call gives. Before Setup it also takes
// descriptors.
func (c *conn) read(rights bool, scratch []byte) (int, error) {
	into := scratch
	if len(c.in) >= protocol.HeaderLen {
		size := int(binary.BigEndian.Uint32(c.in))
		want := max(readSize, min(protocol.HeaderLen+size-len(c.in), protocol.MaxFrame))
		if cap(c.in)-len(c.in) < want {
			c.in = append(make([]byte, 0, len(c.in)+want), c.in...)
		}
		into = c.in[len(c.in) : len(c.in)+want]
	}
	n, err := c.take(rights, into)
	switch {
	case n <= 0:
	case len(c.in) >= protocol.HeaderLen:
		c.in = c.in[:len(c.in)+n]
	default:
		c.in = append(c.in, into[:n]...)
		clear(into[:n])
	}
	return n, err
}

// take makes the system call.
func (c *conn) take(rights bool, into []byte) (int, error) {
	if !rights {
		return unix.Read(c.fd, into)
	}
	oob := make([]byte, unix.CmsgSpace(4*(protocol.MaxMounts+2)))
	n, oobn, _, _, err := unix.Recvmsg(c.fd, into, oob, unix.MSG_CMSG_CLOEXEC)
	if err != nil {
		return n, err
	}
	messages, err := unix.ParseSocketControlMessage(oob[:oobn])
	for i := range messages {
		if fds, err := unix.ParseUnixRights(&messages[i]); err == nil {
			c.rights = append(c.rights, fds...)
		}
	}
	return n, err
}

// keep leaves rest as the unhandled input, without holding on to a large buffer.
func (c *conn) keep(rest []byte) {
	switch {
	case len(rest) == 0 && cap(c.in) > 2*readSize:
		c.in = nil
	case len(rest) == 0:
		c.in = c.in[:0]
	case len(rest) < len(c.in):
		c.in = c.in[:copy(c.in, rest)]
	}
}

// dispatch handles one frame; false means that the peer broke the protocol.
func (k *keeper) dispatch(t protocol.Type, p []byte) bool {
	c := k.conn
	if !c.hello {
		return t == protocol.TypeHello && decode(p, k.hello)
	}
	if k.template != nil {
		return false // it runs nothing
	}
	switch t {
	case protocol.TypeFork:
		return decode(p, k.fork)
	case protocol.TypeAttach:
		return decode(p, k.attach)
	case protocol.TypePrepare:
		return decode(p, k.prepare)
	case protocol.TypeSetup:
		if k.parent != nil {
			return decode(p, k.enter)
		}
		return decode(p, k.setUp)
	case protocol.TypeExecute:
		return decode(p, k.execute)
	case protocol.TypeInterrupt:
		return decode(p, k.interrupt)
	case protocol.TypeAck:
		return decode(p, k.ack)
	case protocol.TypeFile:
		return decode(p, k.fileRequest)
	case protocol.TypeFileData:
		req, data, err := protocol.ParseFileData(p)
		return err == nil && k.fileData(req, data)
	case protocol.TypeLinger:
		return decode(p, func(l protocol.Linger) bool {
			k.linger = time.Duration(l.LingerMS) * time.Millisecond
			return true
		})
	}
	return false
}

// decode parses a payload for a handler, which may keep no byte slice of it.
func decode[T any, M interface {
	*T
	protocol.Message
}](p []byte, handle func(T) bool) bool {
	var v T
	return protocol.Decode(p, M(&v)) == nil && handle(v)
}

// hello greets a server.
func (k *keeper) hello(h protocol.Hello) bool {
	if h.Version != protocol.Version {
		k.send(protocol.TypeFailed, &protocol.Failed{Stage: "hello", Error: "the keeper speaks version " + itoa(protocol.Version) + " of the protocol and the server version " + itoa(h.Version)})
		k.conn.closing = true
		k.exitAt = time.Now().Add(time.Second)
		return true
	}
	k.conn.hello = true
	k.greet()
	return true
}

// greet tells what is here and sends again what is held.
func (k *keeper) greet() {
	s := protocol.State{Version: protocol.Version, Ready: k.setup != nil && k.setup.ready, LingerMS: k.linger.Milliseconds()}
	if r := k.run; r != nil {
		s.Execution, s.NextSeq, s.Mark = r.id, r.oldest(), r.mark
		if s.ElapsedUS = r.wall.Microseconds(); r.wall == 0 {
			s.ElapsedUS = time.Since(r.started).Microseconds()
		}
	}
	k.send(protocol.TypeState, &s)
	k.resend()
}

// greeted reports whether there is a server that has been told what is here. Until
// then it gets nothing else.
func (k *keeper) greeted() bool { return k.conn != nil && k.conn.hello }

// send queues a frame for the server; without one it is dropped, which is
// right for everything but output and End, which are held elsewhere.
func (k *keeper) send(t protocol.Type, m protocol.Message) {
	if k.conn == nil {
		return
	}
	k.conn.out = protocol.AppendFrame(k.conn.out, t, m)
}

// flushConn writes as much of the queue as the socket takes.
func (k *keeper) flushConn() {
	c := k.conn
	if c.sent < len(c.out) && (c.writable || !c.waiting) {
		n, err := unix.Write(c.fd, c.out[c.sent:])
		if err != nil && !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR) {
			k.dropConn()
			return
		}
		c.sent += max(n, 0)
		c.writable = false
	}
	if c.sent == len(c.out) {
		if c.closing {
			k.done = true
			return
		}
		c.sent, c.out = 0, c.out[:0]
		if cap(c.out) > outHigh {
			c.out = nil
		}
	}
	// A file that is being read may have more to send than the queue held, also
	// when the server took all of it at once.
	if wait := len(c.out) > 0 || len(k.files.downloads) > 0; wait != c.waiting {
		c.waiting = wait
		events := uint32(unix.EPOLLIN)
		if wait {
			events |= unix.EPOLLOUT
		}
		k.rewatch(c.fd, events)
	}
}

// room reports whether data that can wait may be queued now.
func (c *conn) room() bool { return len(c.out)-c.sent < outHigh }
