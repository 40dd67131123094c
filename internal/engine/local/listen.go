package local

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/remuda"
)

var _ engine.Listener = (*Instance)(nil)

// Listen implements engine.Listener. The socket belongs to the sandbox's network
// namespace and the descriptor to this process: what connects to it talks to us.
func (i *Instance) Listen(ctx context.Context, port int) (net.Listener, error) {
	if port < 0 || port > 65535 {
		return nil, remuda.Invalid(remuda.FieldError{Field: "port", Message: "must be from 0 to 65535"})
	}
	space, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", i.blank.proc.pid))
	if err != nil || !i.Alive() { // alive: the number was still its own when it was opened
		if err == nil {
			_ = space.Close()
		}
		return nil, remuda.Errorf(remuda.CodeUnavailable, "the sandbox has ended")
	}
	defer func() { _ = space.Close() }()
	listener, err := listenIn(ctx, space, net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return nil, remuda.Errorf(remuda.CodeUnavailable, "listen in the sandbox: %w", err)
	}
	l := &innerListener{Listener: listener, closed: make(chan struct{})}
	go func() {
		select {
		case <-i.Done():
			_ = l.Close() // nobody can connect any more
		case <-l.closed:
		}
	}()
	return l, nil
}

// listenIn listens in a network namespace.
func listenIn(ctx context.Context, space *os.File, address string) (net.Listener, error) {
	var listener net.Listener
	result := make(chan error, 1)
	go func() { // on a thread of its own, which ends with it unless it is as before
		runtime.LockOSThread()
		own, err := os.Open("/proc/thread-self/ns/net")
		if err != nil {
			runtime.UnlockOSThread()
			result <- err
			return
		}
		defer func() { _ = own.Close() }()
		if err := unix.Setns(int(space.Fd()), unix.CLONE_NEWNET); err != nil {
			runtime.UnlockOSThread()
			result <- fmt.Errorf("enter the sandbox's network namespace: %w", err)
			return
		}
		listener, err = (&net.ListenConfig{}).Listen(ctx, "tcp4", address)
		if unix.Setns(int(own.Fd()), unix.CLONE_NEWNET) == nil {
			runtime.UnlockOSThread()
		}
		result <- err
	}()
	if err := <-result; err != nil {
		return nil, err
	}
	return listener, nil
}

// innerListener ends with the instance.
type innerListener struct {
	net.Listener
	once   sync.Once
	closed chan struct{}
	err    error
}

// Close implements net.Listener.
func (l *innerListener) Close() error {
	l.once.Do(func() {
		close(l.closed)
		if l.err = l.Listener.Close(); errors.Is(l.err, net.ErrClosed) {
			l.err = nil
		}
	})
	return l.err
}
