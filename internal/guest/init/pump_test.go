package guestinit

import (
	"testing"

	"golang.org/x/sys/unix"
)

// TestDownloadGoesOnAfterAnEmptyQueue: a server that takes all that is queued in
// one go leaves nothing to wait for but the file itself. A read hung here when
// the machine was slow and the server quick.
func TestDownloadGoesOnAfterAnEmptyQueue(t *testing.T) {
	t.Parallel()
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, fd := range []int{epoll, pair[0], pair[1]} {
			_ = unix.Close(fd)
		}
	})
	k := &keeper{epoll: epoll, conn: &conn{fd: pair[0], out: []byte("all of it fits")}}
	if err := k.watch(pair[0]); err != nil {
		t.Fatal(err)
	}
	k.files.downloads = []*download{{left: 1 << 20}}
	k.flushConn()
	if len(k.conn.out) != 0 {
		t.Fatal("the queue did not fit into the socket; this test tries the wrong thing")
	}
	var events [1]unix.EpollEvent
	if n, err := unix.EpollWait(epoll, events[:], 0); n != 1 || err != nil {
		t.Errorf("nothing wakes the loop to read on (%d events, %v)", n, err)
	}

	k.files.downloads = nil
	k.flushConn()
	if n, err := unix.EpollWait(epoll, events[:], 0); n != 0 || err != nil {
		t.Errorf("the loop spins with nothing to do (%d events, %v)", n, err)
	}
}
