package netslot

import (
	"context"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/nftables"

	"github.com/remuda-run/remuda/internal/egress"
	"github.com/remuda-run/remuda/internal/remuda"
)

// open connects, proves that it works and returns the connection.
func (b *box) open(to netip.Addr, port int) net.Conn {
	b.t.Helper()
	c, err := dial(b.space, "tcp", netip.AddrPort{}, netip.AddrPortFrom(to, uint16(port)), patience)
	must(b.t, err)
	b.t.Cleanup(func() { _ = c.Close() })
	must(b.t, say(c, patience))
	return c
}

// Row N16: what is open is cut, whether it is silent, asks or listens to a flood.
func TestTighteningCuts(t *testing.T) {
	f := newFar(t)
	port := echo(t, f.space)
	s := newSlots(t, "tighten", settings())
	b := newBox(t, s, list(f.v4.String(), f.v6.String()))
	for _, to := range []netip.Addr{f.addr4(9), f.addr6(9)} {
		silent, flooded := b.open(to, port), b.open(to, port)
		_, err := flooded.Write([]byte("flood\n"))
		must(t, err)
		keeps := b.open(f.addr4(20), port)
		ended := make(chan error, 2)
		for _, c := range []net.Conn{silent, flooded} {
			must(t, c.SetReadDeadline(time.Now().Add(patience)))
			go func() {
				for buffer := make([]byte, 4096); ; {
					if _, err := c.Read(buffer); err != nil {
						ended <- err
						return
					}
				}
			}()
		}
		begun := time.Now()
		must(t, b.Set(s.Compile(list(f.addr4(20).String()+"/32"))))
		for range 2 {
			if err := <-ended; os.IsTimeout(err) {
				t.Errorf("a connection to %s was not cut: %v", to, err)
			}
		}
		t.Logf("cut after %s", time.Since(begun))
		if err := say(keeps, patience); err != nil {
			t.Errorf("a connection that is still listed was cut: %v", err)
		}
		b.misses(port, to)
		n, err := b.connections(func(a netip.Addr) bool { return a == to })
		if err != nil || n > 0 {
			t.Errorf("%d connections are still known (%v)", n, err)
		}
		must(t, b.Set(s.Compile(list(f.v4.String(), f.v6.String()))))
		b.reaches(to, port) // and it can be listed again
	}
}

// The rules alone cut what is open, in both directions, before anything is
// forgotten or aborted.
func TestRulesAloneCut(t *testing.T) {
	f := newFar(t)
	port := echo(t, f.space)
	s := newSlots(t, "alone", settings())
	b := newBox(t, s, list(f.v4.String()))
	asks, flooded := b.open(f.addr4(9), port), b.open(f.addr4(9), port)
	_, err := flooded.Write([]byte("flood\n"))
	must(t, err)
	must(t, b.slot.rules.narrow(egress.Compiled{}, nil))
	if err := say(asks, brief); err == nil {
		t.Error("a question on an open connection was answered")
	}
	until(t, "silent", patience, func() bool {
		must(t, flooded.SetReadDeadline(time.Now().Add(brief)))
		for buffer := make([]byte, 1<<20); ; {
			if n, err := flooded.Read(buffer); err != nil {
				return n == 0
			}
		}
	})
}

// A slot is used again only when nothing of its last use is left.
func TestUsedAgain(t *testing.T) {
	f := newFar(t)
	port := echo(t, f.space)
	s := newSlots(t, "again", settings())
	s.opts.Ahead = 1
	seen := map[int]int{}
	var first *box
	for range 6 {
		b := newBox(t, s, list(f.v4.String()))
		seen[b.slot.number]++
		b.reaches(f.addr4(9), port)
		b.open(f.addr4(9), port)
		must(t, b.Release(context.Background()))
		if err := talk(b.space, "tcp", netip.AddrPortFrom(f.addr4(9), uint16(port)), brief); err == nil {
			t.Error("a sandbox that was taken off reaches something")
		}
		first = b
	}
	again := false
	for _, n := range seen {
		again = again || n > 1
	}
	if !again {
		t.Errorf("no slot was used twice: %v", seen)
	}
	t.Run("what is left is found", func(t *testing.T) {
		rules := first.slot.rules
		must(t, rules.router.change(func(b *batch) { b.add(rules.listed[ip4], intervals(rangesOf("10.0.0.0/8"))) }))
		if err := rules.empty(); err == nil || !strings.Contains(err.Error(), "holds") {
			t.Errorf("an element that was left gave %v", err)
		}
		must(t, rules.router.change(func(b *batch) { b.flush(rules.listed[ip4]) }))
		must(t, rules.empty())
	})
}

// Row N19.
func TestCaps(t *testing.T) {
	f := newFar(t)
	port := echo(t, f.space)
	set := settings()
	set.Connections, set.MegabitsPerSecond = 5, 8
	s := newSlots(t, "caps", set)
	b, other := newBox(t, s, list(f.v4.String())), newBox(t, s, list(f.v4.String()))
	var opened []net.Conn
	for range 5 {
		opened = append(opened, b.open(f.addr4(9), port))
	}
	to := netip.AddrPortFrom(f.addr4(9), uint16(port))
	if c, err := dial(b.space, "tcp", netip.AddrPort{}, to, brief); err == nil {
		_ = c.Close()
		t.Error("one connection more than the cap was opened")
	}
	other.reaches(f.addr4(9), port) // whose cap is its own
	_, back := "", b.slot.rules.link+"-back"
	before := s.counter(t, back)
	_, err := opened[0].Write([]byte("flood\n"))
	must(t, err)
	go func() {
		for buffer := make([]byte, 1<<16); ; {
			if _, err := opened[0].Read(buffer); err != nil {
				return
			}
		}
	}()
	until(t, "bounded", patience, func() bool { return s.counter(t, back) > before })
	must(t, opened[0].Close())
}

// Row N18: without rules there is no network, and the check says so.
func TestCheck(t *testing.T) {
	newFar(t)
	s := newSlots(t, "check", settings())
	before := machineState(t)
	finding := s.Check(context.Background())
	if !finding.OK || finding.Detail == "" {
		t.Errorf("%+v", finding)
	}
	if after := machineState(t); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
	t.Run("with another firewall in the way", func(t *testing.T) {
		wall := table{name: "wall"}
		must(t, wall.change(func(b *batch) {
			b.conn.AddTable(b.table)
			b.hook("forward", nftables.ChainHookForward, nftables.ChainTypeFilter, filtering, nftables.ChainPolicyDrop)
		}))
		defer func() { must(t, wall.remove()) }()
		if f := s.Check(context.Background()); f.OK || f.Remedy == "" || !strings.Contains(f.Detail, "not reached") {
			t.Errorf("%+v", f)
		}
	})
	t.Run("with its range in use", func(t *testing.T) {
		set := settings()
		set.Range = netip.MustParsePrefix("10.192.0.0/10")
		taken := newSlots(t, "taken", set)
		_, err := taken.attach(mustSpace(t), "x", egress.Compiled{})
		if remuda.CodeOf(err) != remuda.CodeUnsupported || !strings.Contains(err.Error(), "10.199.") {
			t.Errorf("a range that the machine leads elsewhere gave %v", err)
		}
	})
	t.Run("with settings that are wrong", func(t *testing.T) {
		set := settings()
		set.Range = netip.MustParsePrefix("10.0.0.0/24")
		if _, err := New(Options{Herd: "x", Settings: set}); remuda.CodeOf(err) != remuda.CodeInvalid {
			t.Errorf("got %v", err)
		}
		if _, err := New(Options{Herd: "much-too-long-a-name"}); err == nil {
			t.Error("a name that no link can have was taken")
		}
	})
}

func mustSpace(t *testing.T) *namespace {
	t.Helper()
	n, err := newNamespace()
	must(t, err)
	return n
}
