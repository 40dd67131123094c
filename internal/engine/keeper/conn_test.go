package keeper

import (
	"bufio"
	"errors"
	"net"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/remuda-run/remuda/internal/guest/protocol"
)

// TestKeeperOfAnotherVersion has one answer Hello that does not refuse by itself.
func TestKeeperOfAnotherVersion(t *testing.T) {
	t.Parallel()
	for version, accepted := range map[int]bool{protocol.Version: true, protocol.Version + 1: false, 0: false} {
		k, keeper := keeperPair(t)
		answered := make(chan error, 1)
		go func() {
			if _, _, err := protocol.Read(keeper, nil, protocol.MaxFrame); err != nil {
				answered <- err
				return
			}
			_, err := keeper.Write(protocol.AppendFrame(nil, protocol.TypeState, &protocol.State{Version: version}))
			answered <- err
		}()
		err := k.hello(t.Context())
		if e := <-answered; e != nil {
			t.Fatalf("the keeper's end: %v", e)
		}
		if accepted {
			if err != nil {
				t.Errorf("version %d: %v", version, err)
			}
			continue
		}
		if !errors.Is(err, errProtocol) || !strings.Contains(err.Error(), "version "+strconv.Itoa(version)) {
			t.Errorf("version %d: got %v, want it refused by its number", version, err)
		}
	}
}

// TestKeeperThatDoesNotRead sends more to a keeper than its socket holds.
func TestKeeperThatDoesNotRead(t *testing.T) {
	t.Parallel()
	k, far := keeperPair(t)
	k.patience = 50 * time.Millisecond
	large := make([]byte, 4<<20)
	sent := make(chan error, 1)
	go func() { sent <- k.sendRaw(protocol.TypeExecute, large) }()
	select {
	case err := <-sent:
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("got %v", err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("it is waited for")
	}
	if _, _, err := k.read(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the connection goes on after half a frame: %v", err)
	}
	_ = far.Close()

	k, far = keeperPair(t)
	go func() { sent <- k.sendRaw(protocol.TypeExecute, large) }()
	kind, got, err := protocol.Read(far, nil, protocol.MaxFrame) // one that only reads late has all of it
	if err != nil || kind != protocol.TypeExecute || len(got) != len(large) {
		t.Errorf("frame of type %d with %d bytes: %v", kind, len(got), err)
	}
	if err := <-sent; err != nil {
		t.Error(err)
	}
}

// keeperPair is a connection to nobody yet and its other end.
func keeperPair(t *testing.T) (*Conn, net.Conn) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	var ends [2]net.Conn
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "pair")
		if ends[i], err = net.FileConn(f); err != nil {
			t.Fatal(err)
		}
		_ = f.Close()
		t.Cleanup(func() { _ = ends[i].Close() })
	}
	return &Conn{conn: ends[0].(*net.UnixConn), in: bufio.NewReader(ends[0])}, ends[1]
}
