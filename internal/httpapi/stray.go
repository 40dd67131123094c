package httpapi

import (
	"bytes"
	"net"
	"strings"
)

// TolerateReturns returns a listener whose connections forgive one fault of clients
// that cut a value out of an answer with grep: a carriage return at the end of one
// header's value, before that of the line's own end. net/http would refuse such a
// request before any handler sees it, and rightly: so this is for the named header
// alone, of requests for paths that begin with prefix, and only in the first request of
// a connection, which begins where the connection does. What comes later would need
// somebody to know where a body ends, and two who know that differently are how requests
// are smuggled. A space takes the place of the return, so that nothing moves.
//
// It is for connections without TLS: http.Server must be given those with it as they
// are.
func TolerateReturns(l net.Listener, header, prefix string) net.Listener {
	return tolerant{l, strings.ToLower(header) + ":", prefix}
}

type tolerant struct {
	net.Listener

	header, prefix string
}

// Accept implements net.Listener.
func (l tolerant) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	tcp, ok := conn.(*net.TCPConn)
	if err != nil || !ok {
		return conn, err
	}
	return &tolerantConn{TCPConn: tcp, strays: strays{header: l.header, prefix: l.prefix}}, nil
}

// tolerantConn keeps what else a TCP connection can do.
type tolerantConn struct {
	*net.TCPConn

	strays strays
}

// Read implements net.Conn.
func (c *tolerantConn) Read(p []byte) (int, error) {
	if c.strays.over && len(c.strays.held) == 0 || len(p) == 0 {
		return c.TCPConn.Read(p)
	}
	for {
		if n := c.strays.take(p); n > 0 {
			return n, nil
		}
		n, err := c.TCPConn.Read(p)
		if n > 0 {
			if n = c.strays.pass(p[:n]); n > 0 {
				return n, err
			}
		}
		if err != nil {
			c.strays.over = true
			if n := c.strays.give(p); n > 0 {
				return n, nil // the error comes again
			}
			return 0, err
		}
	}
}

// maxHead is how far the end of a first request's headers is looked for.
const maxHead = maxHeaderBytes

// strays goes over the first bytes of a connection, as they come.
type strays struct {
	header, prefix string

	over bool   // the headers have ended, or are none that matter
	seen int    // bytes that have come
	line []byte // of the line that has begun, as much as matters
	rest bool   // it is not the first line
	back int    // carriage returns at its end so far, which are held back
	held []byte // what is to be given before anything else
}

// pass looks at new bytes, makes of returns what they are to be, and returns how many
// of p may be given on. What is held back comes with a later call.
func (s *strays) pass(p []byte) int {
	if s.over {
		return len(p)
	}
	out := make([]byte, 0, len(p)+s.back)
	for i, b := range p {
		if s.over {
			out = append(out, p[i:]...)
			break
		}
		out = s.next(out, b)
	}
	n := copy(p, out)
	s.held = append(s.held, out[n:]...)
	return n
}

// next takes one byte and appends what is known to be given on.
func (s *strays) next(out []byte, b byte) []byte {
	s.seen++
	if s.seen > maxHead {
		s.over = true
		return append(append(out, bytes.Repeat([]byte{'\r'}, s.back)...), b)
	}
	switch b {
	case '\r':
		s.back++
		return out
	case '\n':
		out = append(out, s.returns()...)
		s.endLine()
		return append(out, b)
	}
	for range s.back { // they were in the middle of the line, and stay
		out, s.line = append(out, '\r'), append(s.line, '\r')
	}
	s.back, s.line = 0, append(s.line, b)
	return append(out, b)
}

// returns are the carriage returns at the end of a line: in the place of a stray one is
// a space.
func (s *strays) returns() []byte {
	out := bytes.Repeat([]byte{'\r'}, s.back)
	if s.back == 2 && s.rest && len(s.line) > len(s.header) && strings.EqualFold(string(s.line[:len(s.header)]), s.header) {
		out[0] = ' '
	}
	return out
}

func (s *strays) endLine() {
	switch {
	case s.rest && len(s.line) == 0: // the empty line, or what net/http refuses
		s.over = true
	case !s.rest:
		_, target, _ := bytes.Cut(s.line, []byte(" "))
		s.over = !bytes.HasPrefix(target, []byte(s.prefix))
	}
	s.rest, s.back, s.line = true, 0, s.line[:0]
}

// take gives what was held back and is known by now.
func (s *strays) take(p []byte) int {
	n := copy(p, s.held)
	s.held = s.held[n:]
	return n
}

// give gives everything: the connection has ended.
func (s *strays) give(p []byte) int {
	s.held = append(s.held, bytes.Repeat([]byte{'\r'}, s.back)...)
	s.back = 0
	return s.take(p)
}
