package guestinit

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/remuda-run/remuda/internal/guest/protocol"
)

// attach hands this connection over to an instance that was forked before: the
// server that had forked it is gone, or wants another connection. The keeper that
// has only greeted is done with it.
func (k *keeper) attach(a protocol.Attach) bool {
	if k.parent == nil || k.child != nil || len(k.conn.rights) > 0 {
		return false
	}
	heir := k.parent.template.livesAs(a.User)
	if heir == nil {
		k.fatal("attach", fmt.Errorf("this keeper has no instance with the user %d: it has ended, or never was", a.User))
		return true
	}
	c := k.conn
	k.unwatch(c.fd)
	k.conn, k.heir, k.done = nil, heir, true
	heir.dropConn()
	heir.conn, heir.lingerAt = c, time.Time{}
	k.parent.template.stirred[heir] = true
	if err := heir.watch(c.fd); err != nil {
		heir.dropConn()
		return true
	}
	heir.greet()
	return true
}

// livesAs is the instance with a user, once its Setup is answered. One whose
// interpreter has ended may still hold what that left.
func (t *template) livesAs(user int) *keeper {
	var ended *keeper
	for _, child := range t.children {
		switch f := child.child; {
		case f == nil || f.user != user || child.done || child.setup == nil || !child.setup.ready:
		case f.first > 0:
			return child // the user of one that has ended may be another's by now
		default:
			ended = child
		}
	}
	return ended
}

// fromInside reports whether a connection comes from this sandbox. Servers are
// outside of its pid namespace, so the kernel has no number for them here.
func fromInside(fd int) bool {
	who, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	return err != nil || who.Pid != 0
}
