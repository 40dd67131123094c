package netslot

import (
	"net/netip"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/remuda-run/remuda/internal/remuda"
)

// Rows N02, N03, N05, N08, N09, N10.
func TestListedOnly(t *testing.T) {
	f := newFar(t)
	port := echo(t, f.space)
	for _, a := range []netip.Addr{f.addr4(9), f.addr4(10), f.addr4(15), f.addr4(16), f.addr6(9), f.addr6(0x10), f.addr6(0x1f), f.addr6(0x20)} {
		there(t, a, port)
	}
	s := newSlots(t, "listed", settings())
	t.Run("one address", func(t *testing.T) {
		b := newBox(t, s, list(f.addr4(10).String()+"/32", f.addr6(0x10).String()+"/128"))
		b.reaches(f.addr4(10), port)
		b.reaches(f.addr6(0x10), port)
		b.misses(port, f.addr4(9), f.addr4(11), f.addr6(0xf), f.addr6(0x11))
	})
	t.Run("edges, overlap, duplicates", func(t *testing.T) {
		b := newBox(t, s, list(f.addr4(8).String()+"/29", f.addr4(12).String()+"/30", f.addr4(8).String()+"/29", f.addr6(0x10).String()+"/124", f.addr6(0x18).String()+"/125"))
		for _, a := range []netip.Addr{f.addr4(8), f.addr4(15), f.addr6(0x10), f.addr6(0x1f)} {
			b.reaches(a, port)
		}
		b.misses(port, f.addr4(7), f.addr4(16), f.addr6(0xf), f.addr6(0x20))
	})
	t.Run("whole /24 and its neighbour", func(t *testing.T) {
		g := newFar(t)
		other := echo(t, g.space)
		there(t, g.addr4(5), other)
		b := newBox(t, s, list(f.v4.String(), f.v6.String()))
		b.reaches(f.addr4(2), port)
		b.reaches(f.addr4(254), port)
		b.misses(other, g.addr4(5), g.addr6(5))
	})
	t.Run("nothing", func(t *testing.T) {
		b := newBox(t, s, remuda.Egress{})
		b.misses(port, f.addr4(10), f.addr6(0x10))
	})
	t.Run("forbidden by the site", func(t *testing.T) {
		set := settings()
		set.Forbid = parsePrefixes([]string{f.addr4(12).String() + "/32", f.addr6(12).String() + "/128"})
		b := newBox(t, newSlots(t, "forbid", set), list("0.0.0.0/0", "::/0"))
		b.reaches(f.addr4(11), port)
		b.reaches(f.addr4(13), port)
		b.reaches(f.addr6(13), port)
		b.misses(port, f.addr4(12), f.addr6(12))
	})
}

// Row N02, with everything listed. The services are ours, in a namespace, and
// the machine itself reaches them.
func TestMetadataServices(t *testing.T) {
	services := []string{"169.254.169.254", "169.254.42.42", "100.100.100.200", "168.63.129.16", "fd00:ec2::254", "fd20:ce::254", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::1"}
	var prefixes []string
	var addresses []netip.Addr
	for _, text := range services {
		a := netip.MustParseAddr(text)
		addresses, prefixes = append(addresses, a), append(prefixes, netip.PrefixFrom(a, a.BitLen()).String())
	}
	f := newFar(t, prefixes...)
	port := echo(t, f.space)
	s := newSlots(t, "metadata", settings())
	b := newBox(t, s, list("0.0.0.0/0", "::/0"))
	b.reaches(f.addr4(9), port)
	b.reaches(f.addr6(9), port)
	for _, a := range addresses {
		there(t, a, port)
	}
	b.misses(port, addresses...)
	// The list itself is not all that stands before them: the router's own sets do
	// too. Nobody can list them; this pretends that somebody could.
	must(t, s.router.rules.change(func(batch *batch) {
		for f, all := range map[*family]string{ip4: "0.0.0.0/0", ip6: "::/0"} {
			batch.flush(b.slot.rules.listed[f])
			batch.add(b.slot.rules.listed[f], intervals(rangesOf(all)))
		}
	}))
	b.reaches(f.addr4(9), port)
	// IPv4 in the clothes of IPv6 is IPv4 to the kernel.
	mapped := netip.AddrFrom16(netip.MustParseAddr("169.254.169.254").As16())
	b.misses(port, append(addresses, mapped)...)
}

// Rows N03, N04: the machine itself, on whatever address.
func TestMachineItself(t *testing.T) {
	f := newFar(t)
	port := echo(t, nil)
	s := newSlots(t, "machine", settings())
	b := newBox(t, s, list("0.0.0.0/0", "::/0"))
	up := machineUplink(t, s)
	own := []netip.Addr{f.v4.Addr().Next(), f.v6.Addr().Next()}
	for _, a := range own {
		if err := talk(f.space, "tcp", netip.AddrPortFrom(a, uint16(port)), patience); err != nil {
			t.Fatalf("the machine's service is not up for others: %v", err)
		}
	}
	b.misses(port, own...)
	there(t, up.host4, port)
	there(t, up.host6, port)
	b.misses(port, up.host4, up.host6, up.router4, up.router6, s.plan.gateway4, s.plan.gateway6)
	// Also when the router has not heard of the address yet: the machine's own
	// rules do not need to know it.
	must(t, s.router.rules.change(func(batch *batch) {
		for _, f := range families {
			batch.flush(s.router.rules.machine[f])
		}
	}))
	b.misses(port, own...)
}

func machineUplink(t *testing.T, s *Slots) uplink {
	t.Helper()
	host, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	must(t, err)
	defer host.Close()
	known, err := addressesOf(host)
	must(t, err)
	for n := range s.plan.uplinkCapacity() {
		if u := s.plan.uplink(n); known[u.host4] {
			return u
		}
	}
	t.Fatal("there is no uplink")
	return uplink{}
}

// Rows N14, N15.
func TestOtherSandboxes(t *testing.T) {
	f := newFar(t)
	port := echo(t, f.space)
	s := newSlots(t, "others", settings())
	everything := list("0.0.0.0/0", "::/0")
	a, b := newBox(t, s, everything), newBox(t, s, everything)
	inside := echo(t, a.space)
	a.reaches(a.slot.v4, inside) // the service is up
	a.reaches(a.slot.v6, inside)
	b.reaches(f.addr4(9), port) // and the other has a network
	b.misses(inside, a.slot.v4, a.slot.v6)
	t.Run("of another herd", func(t *testing.T) {
		other := newSlots(t, "others2", settings())
		other.record = s.record
		c := newBox(t, other, everything)
		c.reaches(f.addr4(9), port)
		c.reaches(f.addr6(9), port)
		for n := range s.plan.uplinkCapacity() {
			known, err := addressesOf(s.router.host)
			must(t, err)
			if u := s.plan.uplink(n); known[u.host4] {
				c.misses(inside, u.router4, u.router6, u.host4)
			}
		}
	})
	t.Run("from outside", func(t *testing.T) {
		up := machineUplink(t, s)
		if reached := reachedOf(f.space, inside, []netip.Addr{a.slot.v4, a.slot.v6, up.router4, up.router6}); len(reached) > 0 {
			t.Errorf("reached from outside: %v", reached)
		}
	})
}

// Row N20.
func TestSpoofedSource(t *testing.T) {
	f := newFar(t)
	port := echo(t, f.space)
	s := newSlots(t, "spoof", settings())
	everything := list("0.0.0.0/0", "::/0")
	a, b := newBox(t, s, everything), newBox(t, s, everything)
	h, err := b.space.links()
	must(t, err)
	defer h.Close()
	eth0, err := h.LinkByName(insideName)
	must(t, err)
	for _, c := range []struct{ to, own, spoofed netip.Addr }{
		{f.addr4(9), b.slot.v4, a.slot.v4},
		{f.addr4(9), b.slot.v4, netip.MustParseAddr("10.9.9.9")},
		{f.addr4(9), b.slot.v4, s.plan.gateway4},
		{f.addr6(9), b.slot.v6, a.slot.v6},
		{f.addr6(9), b.slot.v6, netip.MustParseAddr("2001:db8:ffff::9")},
	} {
		must(t, give(h, eth0, single(c.spoofed)))
		to := netip.AddrPortFrom(c.to, uint16(port))
		for from, want := range map[netip.Addr]bool{c.own: true, c.spoofed: false} {
			limit := brief
			if want {
				limit = patience
			}
			seen := s.counter(t, "pre")
			conn, err := dial(b.space, "udp", netip.AddrPortFrom(from, 0), to, limit)
			must(t, err)
			if err := say(conn, limit); (err == nil) != want {
				t.Errorf("from %s to %s: %v", from, to, err)
			}
			_ = conn.Close()
			// What the kernel itself sends, of multicast groups, is dropped too.
			if !want && s.counter(t, "pre") == seen {
				t.Errorf("from %s: no packet was dropped for its source", from)
			}
		}
		must(t, h.AddrDel(eth0, &netlink.Addr{IPNet: single(c.spoofed)}))
	}
	a.reaches(f.addr4(9), port)
}
