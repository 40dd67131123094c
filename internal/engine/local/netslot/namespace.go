package netslot

import (
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// namespace is a network namespace that an open file keeps.
type namespace struct{ file *os.File }

const ownNamespace = "/proc/thread-self/ns/net"

// newNamespace makes an empty one.
func newNamespace() (*namespace, error) {
	var made *namespace
	err := onThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("make a network namespace: %w", err)
		}
		var err error
		made, err = openNamespace(ownNamespace)
		return err
	})
	return made, err
}

func openNamespace(path string) (*namespace, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open a network namespace: %w", err)
	}
	return &namespace{f}, nil
}

func (n *namespace) fd() int { return int(n.file.Fd()) }

func (n *namespace) close() { _ = n.file.Close() }

// do runs fn inside. Sockets that it makes stay there; it must not start
// goroutines or processes.
func (n *namespace) do(fn func() error) error {
	return onThread(func() error {
		if err := unix.Setns(n.fd(), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("enter a network namespace: %w", err)
		}
		return fn()
	})
}

// onThread runs fn, which may change the thread's network namespace, and goes
// back to where the thread was.
func onThread(fn func() error) error {
	runtime.LockOSThread()
	was, err := os.Open(ownNamespace)
	if err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("open the own network namespace: %w", err)
	}
	defer func() { _ = was.Close() }()
	err = fn()
	if back := unix.Setns(int(was.Fd()), unix.CLONE_NEWNET); back != nil {
		// Stays locked: the thread ends with its goroutine and does not serve
		// anyone in the wrong place.
		return errors.Join(err, fmt.Errorf("leave a network namespace: %w", back))
	}
	runtime.UnlockOSThread()
	return err
}

// links returns a handle on a namespace's interfaces, routes and sockets.
func (n *namespace) links() (*netlink.Handle, error) {
	h, err := netlink.NewHandleAt(netns.NsHandle(n.fd()), unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("speak to a network namespace: %w", err)
	}
	return h, nil
}

// sysctl writes a switch of the namespace that the thread is in. Absent ones are
// an error that is os.ErrNotExist.
func sysctl(path, value string) error {
	if err := os.WriteFile("/proc/sys/net/"+path, []byte(value), 0); err != nil {
		return fmt.Errorf("set net/%s to %s: %w", path, value, err)
	}
	return nil
}

// sysctls writes several and passes over those that the kernel does not have.
func sysctls(list [][2]string) error {
	for _, s := range list {
		if err := sysctl(s[0], s[1]); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}

// macOf is a locally administered address that says whose it is.
func macOf(kind byte, number int) net.HardwareAddr {
	return net.HardwareAddr{0x02, 0x72, kind, byte(number >> 16), byte(number >> 8), byte(number)}
}
