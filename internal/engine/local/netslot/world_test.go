package netslot

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"go.uber.org/goleak"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"

	"github.com/remuda-run/remuda/internal/egress"
	"github.com/remuda-run/remuda/internal/remuda"
)

// The tests run in a network namespace of their own, which is "the machine" to
// them: what they change is gone when they end, however they end.
const inNamespace = "REMUDA_TEST_NETSLOT"

func TestMain(m *testing.M) {
	switch os.Getenv(inNamespace) {
	case "":
		os.Exit(again("tests", os.Args[1:]...))
	case "hold":
		os.Exit(hold())
	case "keep":
		os.Exit(keepHold())
	case "sit":
		os.Exit(sit())
	case "powerless":
		os.Exit(powerless())
	}
	if err := setUpMachine(); err != nil {
		fmt.Fprintln(os.Stderr, "the tests' machine:", err)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m)
}

// again runs the test program inside a new network namespace.
func again(mode string, args ...string) int {
	if os.Geteuid() != 0 {
		fmt.Println("not root: the network of sandboxes is not tested")
		return 0
	}
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Env = append(os.Environ(), inNamespace+"="+mode)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Run(); err != nil {
		if cmd.ProcessState != nil && cmd.ProcessState.ExitCode() > 0 {
			return cmd.ProcessState.ExitCode()
		}
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func setUpMachine() error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		return err
	}
	six := "0"
	if value("ipv6/conf/lo/force_forwarding") == "" {
		six = "1" // a kernel before 6.17: the machine's owner has to turn it on
	}
	return errors.Join(sysctl(all4, "0"), sysctl(all6, six))
}

// patience is for what must happen; nothing waits so long when all is well.
const patience = 20 * time.Second

// brief is how long an attempt that must fail may go on without an answer.
const brief = 700 * time.Millisecond

// far is a host of ours beyond the machine, in a namespace of its own.
type far struct {
	t     *testing.T
	space *namespace
	link  string // the machine's end
	v4    netip.Prefix
	v6    netip.Prefix
}

// hosts counts far hosts: each has networks of its own.
var hosts int

// newFar connects one to the machine. It has every address of its networks, and
// those of extra besides; the machine's end has the first of each network.
func newFar(t *testing.T, extra ...string) *far {
	t.Helper()
	hosts++
	f := &far{
		t: t, link: fmt.Sprintf("far%d", hosts),
		v4: netip.MustParsePrefix(fmt.Sprintf("10.199.%d.0/24", hosts)), v6: netip.MustParsePrefix(fmt.Sprintf("2001:db8:%x::/64", hosts)),
	}
	var err error
	if f.space, err = newNamespace(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.space.close)
	attrs := netlink.NewLinkAttrs()
	attrs.Name = f.link
	must(t, netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: "eth0", PeerNamespace: netlink.NsFd(f.space.fd())}))
	outer, err := netlink.LinkByName(f.link)
	must(t, err)
	t.Cleanup(func() { must(t, netlink.LinkDel(outer)) })
	h, err := f.space.links()
	must(t, err)
	defer h.Close()
	host, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	must(t, err)
	defer host.Close()
	_, err = raise(host, f.link, ipNet(f.v4.Addr().Next(), 24), ipNet(f.v6.Addr().Next(), 64))
	must(t, err)
	inner, err := raise(h, "eth0", single(f.addr4(2)), single(f.addr6(2)))
	must(t, err)
	must(t, f.space.do(func() error { return sysctl("ipv6/ip_nonlocal_bind", "1") }))
	lo, err := raise(h, "lo")
	must(t, err)
	// All other addresses too: what is sent to them is for this host.
	for _, p := range append([]netip.Prefix{f.v4, f.v6}, parsePrefixes(extra)...) {
		must(t, h.RouteAdd(&netlink.Route{LinkIndex: lo.Attrs().Index, Dst: ipNet(p.Addr(), p.Bits()), Type: unix.RTN_LOCAL, Table: unix.RT_TABLE_MAIN, Priority: 1, Scope: netlink.SCOPE_HOST}))
	}
	for _, gateway := range []netip.Addr{f.v4.Addr().Next(), f.v6.Addr().Next()} {
		must(t, h.RouteAdd(&netlink.Route{LinkIndex: inner.Attrs().Index, Dst: single(gateway), Scope: netlink.SCOPE_LINK, Priority: 1}))
		must(t, h.RouteAdd(&netlink.Route{LinkIndex: inner.Attrs().Index, Gw: gateway.AsSlice()}))
		must(t, know(h, inner, gateway, outer.Attrs().HardwareAddr))
	}
	for n := 2; n < 256; n++ {
		must(t, know(host, outer, f.addr4(n), inner.Attrs().HardwareAddr))
		must(t, know(host, outer, f.addr6(n), inner.Attrs().HardwareAddr))
	}
	for _, p := range parsePrefixes(extra) {
		via := f.addr4(2)
		if p.Addr().Is6() {
			via = f.addr6(2)
		}
		must(t, netlink.RouteAdd(&netlink.Route{LinkIndex: outer.Attrs().Index, Dst: ipNet(p.Addr(), p.Bits()), Gw: via.AsSlice()}))
	}
	return f
}

func parsePrefixes(list []string) []netip.Prefix {
	var out []netip.Prefix
	for _, s := range list {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

func (f *far) addr4(n int) netip.Addr { return offset(f.v4.Addr(), n) }
func (f *far) addr6(n int) netip.Addr { return offset(f.v6.Addr(), n) }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// echo serves TCP and UDP on every address of a namespace (nil is the machine's)
// and returns its port. Each line comes back; "flood" is answered without end.
func echo(t *testing.T, space *namespace) int {
	t.Helper()
	var listener net.Listener
	var four, six net.PacketConn
	open := func() (err error) {
		if listener, err = net.Listen("tcp", ":0"); err != nil {
			return err
		}
		port := fmt.Sprintf(":%d", listener.Addr().(*net.TCPAddr).Port)
		if four, err = net.ListenPacket("udp4", port); err != nil {
			return err
		}
		six, err = net.ListenPacket("udp6", port)
		return err
	}
	if space == nil {
		must(t, open())
	} else {
		must(t, space.do(open))
	}
	var serving sync.WaitGroup
	t.Cleanup(func() {
		_, _, _ = listener.Close(), four.Close(), six.Close()
		serving.Wait()
	})
	serving.Go(func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { _ = c.Close() })
			serving.Go(func() { serve(c) })
		}
	})
	serving.Go(func() { echo4(ipv4.NewPacketConn(four)) })
	serving.Go(func() { echo6(ipv6.NewPacketConn(six)) })
	return listener.Addr().(*net.TCPAddr).Port
}

// echo4 and echo6 answer from the address that was asked.
func echo4(c *ipv4.PacketConn) {
	_ = c.SetControlMessage(ipv4.FlagDst, true)
	for b := make([]byte, 2048); ; {
		n, m, from, err := c.ReadFrom(b)
		if err != nil {
			return
		}
		_, _ = c.WriteTo(b[:n], &ipv4.ControlMessage{Src: m.Dst}, from)
	}
}

func echo6(c *ipv6.PacketConn) {
	_ = c.SetControlMessage(ipv6.FlagDst, true)
	for b := make([]byte, 2048); ; {
		n, m, from, err := c.ReadFrom(b)
		if err != nil {
			return
		}
		_, _ = c.WriteTo(b[:n], &ipv6.ControlMessage{Src: m.Dst}, from)
	}
}

func serve(c net.Conn) {
	defer func() { _ = c.Close() }()
	lines := bufio.NewScanner(c)
	for lines.Scan() {
		if lines.Text() == "flood" {
			for block := make([]byte, 1400); ; {
				if _, err := c.Write(block); err != nil {
					return
				}
			}
		}
		if _, err := fmt.Fprintln(c, lines.Text()); err != nil {
			return
		}
	}
}

// box is a sandbox's network namespace, without a sandbox.
type box struct {
	t     *testing.T
	space *namespace
	*Attached
}

// newSlots returns slots that are closed at the end, with nothing left of them.
func newSlots(t *testing.T, herd string, settings egress.Settings) *Slots {
	t.Helper()
	s, err := New(Options{Herd: herd, Settings: settings, Ahead: 2})
	must(t, err)
	s.record = forwarding{t.TempDir()}
	before := machineState(t)
	t.Cleanup(func() {
		must(t, s.Close(context.Background()))
		if after := machineState(t); after != before {
			t.Errorf("before:\n%s\nafter:\n%s", before, after)
		}
	})
	return s
}

// machineState is everything on the machine that slots could leave behind.
func machineState(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	links, err := netlink.LinkList()
	must(t, err)
	for _, l := range links {
		if strings.HasPrefix(l.Attrs().Name, linkPrefix) || strings.HasPrefix(l.Attrs().Name, probePrefix) {
			fmt.Fprintln(&b, "link", l.Attrs().Name)
		}
	}
	names, err := table{}.names()
	must(t, err)
	for _, name := range names {
		fmt.Fprintln(&b, "table", name)
	}
	for _, s := range append(closed("ipv4", "forwarding"), closed("ipv6", "force_forwarding")...) {
		fmt.Fprintln(&b, "off", s)
	}
	return b.String()
}

func settings() egress.Settings { return egress.DefaultSettings() }

func list(cidrs ...string) remuda.Egress { return remuda.Egress{CIDRs: parsePrefixes(cidrs)} }

func newBox(t *testing.T, s *Slots, e remuda.Egress) *box {
	t.Helper()
	space, err := newNamespace()
	must(t, err)
	t.Cleanup(space.close)
	h, err := space.links()
	must(t, err)
	_, err = raise(h, "lo")
	h.Close()
	must(t, err)
	inside, err := openNamespace(fmt.Sprintf("/proc/self/fd/%d", space.fd()))
	must(t, err)
	a, err := s.attach(inside, t.Name(), s.Compile(e))
	must(t, err)
	t.Cleanup(func() { must(t, a.Release(context.Background())) })
	return &box{t, space, a}
}
