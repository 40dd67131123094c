package guestinit

import (
	"encoding/binary"
	"errors"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/remuda-run/remuda/internal/guest/protocol"
)

// heldMax is how many bytes of output we hold for the server before we let the
// script wait.
const heldMax = 1 << 20

// A script that writes many small pieces is read every slowDown, so that they
// become one record; a piece that comes after longer silence is taken at once.
const (
	slowDown   = 2 * time.Millisecond
	smallPiece = 16 << 10
)

// drainMax bounds what is read from a pipe after the script's end, since a
// process that it left behind may go on writing.
const drainMax = 1 << 20

// pipe is our end of the interpreter's standard output or error.
type pipe struct {
	fd      int
	stream  byte
	watched bool // the loop reacts to it
	eof     bool
}

// output is the captured output of an execution.
type output struct {
	limit     int64
	kept      int64
	cut       int64
	seq       int64
	held      []record // oldest first
	heldBytes int
	last      time.Time // of the last read
	shared    *budget   // of a forked instance's; nil of others
}

// record is an Output frame, kept until it is acknowledged.
type record struct {
	seq   int64
	frame []byte
}

// oldest is the number of the oldest held record, or of the next one.
func (o *output) oldest() int64 {
	if len(o.held) > 0 {
		return o.held[0].seq
	}
	return o.seq + 1
}

// add makes a record of data, up to the limit. It returns the frame, or nil.
func (o *output) add(stream byte, data []byte) []byte {
	keep := min(int64(len(data)), o.limit-o.kept)
	o.kept += keep
	o.cut += int64(len(data)) - keep
	if keep == 0 {
		return nil
	}
	o.seq++
	frame := make([]byte, 0, protocol.HeaderLen+9+keep)
	frame = append(frame, 0, 0, 0, 0, byte(protocol.TypeOutput))
	frame = protocol.AppendOutput(frame, o.seq, stream, data[:keep])
	binary.BigEndian.PutUint32(frame, uint32(len(frame)-protocol.HeaderLen))
	o.held = append(o.held, record{o.seq, frame})
	o.heldBytes += len(frame)
	o.shared.addOutput(len(frame))
	return frame
}

// release forgets the records up to seq.
func (o *output) release(seq int64) {
	i := 0
	for i < len(o.held) && o.held[i].seq <= seq {
		o.heldBytes -= len(o.held[i].frame)
		o.shared.addOutput(-len(o.held[i].frame))
		o.held[i].frame = nil
		i++
	}
	if o.held = o.held[i:]; len(o.held) == 0 {
		o.held = nil
	}
}

// full reports whether the script has to wait for the server.
func (o *output) full() bool { return o.heldBytes >= heldMax || o.shared.spent(o.heldBytes) }

// capture reads a pipe once, on an event.
func (k *keeper) capture(p *pipe) {
	r := k.run
	if r == nil || r.phase != running || r.full() {
		k.pause(p) // what a left-behind process writes waits for the next run
		return
	}
	n := k.readPipe(p)
	now := time.Now()
	if n > 0 && n < smallPiece && now.Sub(r.last) < slowDown {
		k.pause(&k.driver.pipes[0])
		k.pause(&k.driver.pipes[1])
		r.captureAt = now.Add(slowDown)
	}
	r.last = now
}

// readPipe makes one record of what a pipe holds. It returns how many bytes it
// read, 0 if there is nothing now.
func (k *keeper) readPipe(p *pipe) int {
	if p.eof {
		return 0
	}
	into := k.scratch()
	n, err := unix.Read(p.fd, into)
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) {
		return 0
	}
	if err != nil || n == 0 {
		k.pause(p)
		p.eof = true
		return 0
	}
	r := k.run
	if frame := r.add(p.stream, into[:n]); frame != nil && k.greeted() {
		k.conn.out = append(k.conn.out, frame...)
	}
	clear(into[:n])
	k.checkFlood()
	return n
}

// checkFlood kills a script that has written far more than it may.
func (k *keeper) checkFlood() {
	r := k.run
	if r.kept+r.cut > outputKillFactor*r.limit && r.phase == running && !r.killed {
		r.reason = "the script wrote more than ten times its output limit"
		k.kill(killedByOutput)
	}
}

func (k *keeper) pause(p *pipe) {
	if p.watched {
		p.watched = false
		k.unwatch(p.fd)
	}
}

// resumeCapture lets the loop react to output again.
func (k *keeper) resumeCapture() {
	r := k.run
	r.captureAt = time.Time{}
	if r.phase != running || r.full() {
		return
	}
	k.listenAgain()
	for i := range k.driver.pipes {
		if p := &k.driver.pipes[i]; !p.watched && !p.eof {
			p.watched = k.watch(p.fd) == nil
		}
	}
}

// drain reads what is left in the pipes after the script's end and then ends
// the execution. When the server is slow it stops and the next Ack calls it
// again.
func (k *keeper) drain() {
	r := k.run
	if r.phase == running {
		r.phase = draining
		r.wall = time.Since(r.started)
		r.timeoutAt, r.killAt, r.captureAt, r.againAt = time.Time{}, time.Time{}, time.Time{}, time.Time{}
	}
	for i := range k.driver.pipes {
		for total := 0; total < drainMax; {
			if r.full() {
				return
			}
			n := k.readPipe(&k.driver.pipes[i])
			if n == 0 {
				break
			}
			total += n
		}
	}
	k.finish()
}

// resend queues for a new connection what the last one did not acknowledge.
func (k *keeper) resend() {
	r := k.run
	if r == nil {
		return
	}
	for _, rec := range r.held {
		k.conn.out = append(k.conn.out, rec.frame...)
	}
	if r.end != nil {
		r.sentAt = time.Now()
		k.send(protocol.TypeEnd, r.end)
		if k.driver.dead {
			k.leave()
		}
	}
}

// lastWords is what an interpreter that failed to start wrote.
func (k *keeper) lastWords() string {
	var b [4096]byte
	for i := len(k.driver.pipes) - 1; i >= 0; i-- {
		if n, err := unix.Read(k.driver.pipes[i].fd, b[:]); err == nil && n > 0 {
			return strings.ToValidUTF8(strings.TrimSpace(string(b[:n])), "?")
		}
	}
	return "it wrote nothing"
}
