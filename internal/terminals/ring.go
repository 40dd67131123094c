package terminals

import "bytes"

// ring keeps the last bytes of what a terminal has shown. Positions count from
// the first byte ever.
type ring struct {
	buf []byte // grows up to size, then wraps
	max int
	end int64 // position after the last byte
}

// start is the position of the oldest byte that is kept.
func (r *ring) start() int64 { return r.end - int64(len(r.buf)) }

func (r *ring) write(p []byte) {
	if len(p) > r.max {
		r.end += int64(len(p) - r.max)
		p = p[len(p)-r.max:]
	}
	for len(p) > 0 {
		if len(r.buf) < r.max && r.end == int64(len(r.buf)) {
			n := min(len(p), r.max-len(r.buf))
			r.buf = append(r.buf, p[:n]...)
			r.end += int64(n)
			p = p[n:]
			continue
		}
		if len(r.buf) < r.max { // a single write was larger than the ring before it was full
			r.buf = append(r.buf, make([]byte, r.max-len(r.buf))...)
		}
		n := copy(r.buf[int(r.end%int64(r.max)):], p)
		r.end += int64(n)
		p = p[n:]
	}
}

// read copies from a position that is kept into p.
func (r *ring) read(p []byte, from int64) int {
	n := 0
	for n < len(p) && from < r.end {
		at := int(from % int64(r.max))
		until := min(int64(len(r.buf)), int64(at)+r.end-from)
		c := copy(p[n:], r.buf[at:until])
		n, from = n+c, from+int64(c)
	}
	return n
}

// begin is where somebody begins to read who wants all that is kept: what is cut
// off at its front is cut off at the end of a line, so that no character and no
// control sequence is seen from its middle.
func (r *ring) begin() int64 {
	from := r.start()
	if from == 0 {
		return 0
	}
	p := make([]byte, len(r.buf))
	n := r.read(p, from)
	if at := bytes.IndexByte(p[:n], '\n'); at >= 0 {
		return from + int64(at) + 1
	}
	return from
}
