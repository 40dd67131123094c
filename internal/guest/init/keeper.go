package guestinit

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/remuda-run/remuda/internal/guest/protocol"
)

// keeper is the whole state of the program. Only the event loop touches it.
type keeper struct {
	epoll  int
	listen int
	wake   int // eventfd that the reaper writes to

	conn   *conn       // the server's connection; nil while there is none
	driver *driver     // nil before Setup
	run    *execution  // what runs, or has ended and is not acknowledged
	setup  *setupState // nil before Setup
	files  fileServer
	buffer []byte // see scratch

	exits exits // from the reaper to the loop

	template *template // of a template's keeper
	parent   *keeper   // of a forked instance's: the template's
	child    *forked   // of a forked instance's, once the fork was asked for
	heir     *keeper   // has our connection by now

	linger   time.Duration
	lingerAt time.Time // when to give up waiting for a server; zero: do not
	exitAt   time.Time // when to leave after the interpreter is gone; zero: do not
	primed   bool
	// contained says that an OCI runtime has made the sandbox around us.
	contained bool
	done      bool
}

func newKeeper(listen int) (*keeper, error) {
	k := &keeper{listen: listen, wake: -1, lingerAt: time.Now().Add(protocol.FirstConnection)}
	if v, err := unix.GetsockoptInt(listen, unix.SOL_SOCKET, unix.SO_ACCEPTCONN); err != nil || v == 0 {
		return nil, fmt.Errorf("descriptor %d is not the listening socket that an engine leaves: this program is started by remuda only", listen)
	}
	var err error
	if k.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	if err := unix.SetNonblock(listen, true); err != nil {
		return nil, wrap(err, "prepare", "the listening socket")
	}
	return k, k.watch(listen)
}

// watch makes the loop react when a descriptor can be read; rewatch changes the
// events, unwatch ends it.
func (k *keeper) watch(fd int) error {
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(k.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)}))
}

func (k *keeper) rewatch(fd int, events uint32) {
	_ = unix.EpollCtl(k.epoll, unix.EPOLL_CTL_MOD, fd, &unix.EpollEvent{Events: events, Fd: int32(fd)})
}

func (k *keeper) unwatch(fd int) {
	_ = unix.EpollCtl(k.epoll, unix.EPOLL_CTL_DEL, fd, nil)
}

// loop runs until the keeper has nothing to keep.
func (k *keeper) loop() error {
	var events [16]unix.EpollEvent
	for !k.done {
		if err := k.turn(events[:], k.timeout()); err != nil {
			return err
		}
		if k.template != nil {
			k.stir()
			k.template.forget()
		}
		k.flush()
		if k.setup != nil && k.setup.ready && !k.primed {
			k.primed = true
			k.prime()
		}
	}
	k.killAll()
	return nil
}

// scratch is where what has come is read to first. A template's keeper has one for all
// its instances, so whoever reads wipes what it has read: a buffer for each would be
// most of what a short life leaves to the collector.
func (k *keeper) scratch() []byte {
	if k.parent != nil {
		k = k.parent
	}
	if k.buffer == nil {
		k.buffer = make([]byte, readSize)
	}
	return k.buffer
}

// turn waits at most so many milliseconds and reacts to what has happened. What
// is to be written is left for flush.
func (k *keeper) turn(events []unix.EpollEvent, wait int) error {
	n, err := unix.EpollWait(k.epoll, events, wait)
	if err != nil && !errors.Is(err, unix.EINTR) {
		return os.NewSyscallError("epoll_wait", err)
	}
	for i := range max(n, 0) {
		k.handle(int(events[i].Fd), events[i].Events)
	}
	k.tick()
	return nil
}

// handle reacts to one event. A descriptor may have been closed by an earlier
// event of the same batch; then its number matches nothing, or a newer one
// whose non-blocking read finds nothing.
func (k *keeper) handle(fd int, events uint32) {
	d := k.driver
	switch {
	case fd == k.listen:
		k.accept()
	case k.conn != nil && fd == k.conn.fd:
		k.conn.writable = k.conn.writable || events&unix.EPOLLOUT != 0
		if events&^uint32(unix.EPOLLOUT) != 0 {
			k.receive()
		}
	case fd == k.wake:
		k.reaped()
	case k.template != nil && k.handleTemplate(fd):
	case k.child != nil && fd == k.child.door:
		k.hearDoor()
	case d == nil:
	case fd == d.channel:
		d.writable = d.writable || events&unix.EPOLLOUT != 0
		if events&^uint32(unix.EPOLLOUT) != 0 {
			k.hear()
		}
	case fd == d.pipes[0].fd:
		k.capture(&d.pipes[0])
	case fd == d.pipes[1].fd:
		k.capture(&d.pipes[1])
	}
}

// flush writes what the handlers left to be written.
func (k *keeper) flush() {
	if k.driver != nil {
		k.flushDriver()
	}
	if k.conn != nil {
		k.files.pump(k)
		k.flushConn()
	}
}

// deadlines lists the moments at which tick has something to do.
func (k *keeper) deadlines() [8]time.Time {
	var d [8]time.Time
	d[0], d[1] = k.lingerAt, k.exitAt
	if r := k.run; r != nil {
		d[2], d[3], d[4], d[5] = r.timeoutAt, r.killAt, r.captureAt, r.againAt
	}
	if k.child != nil {
		d[6], d[7] = k.child.look, k.child.still
	}
	return d
}

// timeout is how long the loop may wait, in milliseconds, -1 for ever.
func (k *keeper) timeout() int {
	var first time.Time
	for _, at := range k.deadlines() {
		if !at.IsZero() && (first.IsZero() || at.Before(first)) {
			first = at
		}
	}
	if k.template != nil {
		first = k.template.earliest(first)
	}
	if first.IsZero() {
		return -1
	}
	left := time.Until(first)
	if left <= 0 {
		return 0
	}
	return int(min((left+time.Millisecond-1)/time.Millisecond, 1<<30))
}

// tick does what is due.
func (k *keeper) tick() {
	if k.lingerAt.IsZero() && k.exitAt.IsZero() && k.run == nil && k.child == nil {
		return
	}
	now := time.Now()
	due := func(at time.Time) bool { return !at.IsZero() && !now.Before(at) }
	switch f := k.child; {
	case f == nil || !due(f.look):
	case f.told:
		k.offer()
	default:
		k.admit()
	}
	if k.child != nil && due(k.child.still) {
		k.untold()
	}
	if due(k.lingerAt) || due(k.exitAt) {
		if k.template != nil {
			k.endTemplate()
			return
		}
		k.done = true
		return
	}
	r := k.run
	if r == nil {
		return
	}
	if due(r.captureAt) {
		k.resumeCapture()
	}
	if due(r.againAt) {
		k.interruptAgain()
	}
	if due(r.timeoutAt) {
		k.timeUp()
	}
	if due(r.killAt) {
		k.graceOver()
	}
}

// fatal reports that the sandbox could not be made and ends the program.
func (k *keeper) fatal(stage string, err error) {
	k.send(protocol.TypeFailed, &protocol.Failed{Stage: stage, Error: err.Error()})
	k.killAll()
	k.exitAt = time.Now().Add(time.Second) // the frame is written by then, or never
	if k.conn != nil {
		k.conn.closing = true
	}
}
