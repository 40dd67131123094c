package netslot

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"
)

// dial connects from a namespace (nil is the machine's).
func dial(space *namespace, network string, from, to netip.AddrPort, limit time.Duration) (c net.Conn, err error) {
	d := net.Dialer{Timeout: limit}
	if from.IsValid() {
		if network == "tcp" {
			d.LocalAddr = net.TCPAddrFromAddrPort(from)
		} else {
			d.LocalAddr = net.UDPAddrFromAddrPort(from)
		}
	}
	open := func() error {
		c, err = d.Dial(network, to.String())
		return err
	}
	if space == nil {
		err = open()
	} else {
		err = space.do(open)
	}
	return c, err
}

// talk says one line and hears it back.
func talk(space *namespace, network string, to netip.AddrPort, limit time.Duration) error {
	c, err := dial(space, network, netip.AddrPort{}, to, limit)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	return say(c, limit)
}

func say(c net.Conn, limit time.Duration) error {
	if err := c.SetDeadline(time.Now().Add(limit)); err != nil {
		return err
	}
	if _, err := io.WriteString(c, "hello\n"); err != nil {
		return err
	}
	b := make([]byte, 6)
	if _, err := io.ReadFull(c, b); err != nil {
		return err
	}
	if string(b) != "hello\n" {
		return fmt.Errorf("heard %q", b)
	}
	return nil
}

var both = []string{"tcp", "udp"}

// reaches tries a destination over TCP and UDP.
func (b *box) reaches(to netip.Addr, port int) {
	b.t.Helper()
	for _, network := range both {
		if err := talk(b.space, network, netip.AddrPortFrom(to, uint16(port)), patience); err != nil {
			b.t.Errorf("%s over %s is not reached: %v", to, network, err)
		}
	}
}

// misses tries all destinations at once: each is waited for in vain.
func (b *box) misses(port int, list ...netip.Addr) {
	b.t.Helper()
	if reached := reachedOf(b.space, port, list); len(reached) > 0 {
		b.t.Errorf("reached: %v", reached)
	}
}

// reachedOf is what is reached of destinations that must not be, each with its network.
func reachedOf(space *namespace, port int, list []netip.Addr) (reached []string) {
	var mu sync.Mutex
	var all sync.WaitGroup
	for _, to := range list {
		for _, network := range both {
			all.Go(func() {
				if err := talk(space, network, netip.AddrPortFrom(to, uint16(port)), brief); err == nil {
					mu.Lock()
					defer mu.Unlock()
					reached = append(reached, fmt.Sprintf("%s over %s", to, network))
				}
			})
		}
	}
	all.Wait()
	return reached
}

// there proves from the machine that a destination is up.
func there(t *testing.T, to netip.Addr, port int) {
	t.Helper()
	for _, network := range both {
		if err := talk(nil, network, netip.AddrPortFrom(to, uint16(port)), patience); err != nil {
			t.Fatalf("%s over %s is not up: %v", to, network, err)
		}
	}
}

// until waits for something to become true.
func until(t *testing.T, what string, limit time.Duration, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(limit); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("after %s: not %s", limit, what)
		}
	}
}
