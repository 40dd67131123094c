package netslot

import (
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// router is a herd's network namespace and its uplink.
type router struct {
	plan    plan
	space   *namespace
	links   *netlink.Handle // inside
	host    *netlink.Handle // of the machine
	rules   *routerRules
	machine *hostRules
	record  forwarding
	six     bool // the machine forwards IPv6 for us
	guarded []string

	own atomic.Pointer[map[netip.Addr]bool] // the machine's addresses
}

// openRouter makes it. What an earlier process left under the herd's name is
// removed first. On error nothing is left.
func openRouter(herd string, p plan, record forwarding) (_ *router, err error) {
	r := &router{plan: p, machine: newHostRules(herd), record: record}
	defer func() {
		if err != nil {
			err = errors.Join(err, r.close())
		}
	}()
	if r.host, err = netlink.NewHandle(unix.NETLINK_ROUTE); err != nil {
		return nil, fmt.Errorf("speak to the machine's network: %w", err)
	}
	if r.space, err = newNamespace(); err != nil {
		return nil, err
	}
	if r.links, err = r.space.links(); err != nil {
		return nil, err
	}
	r.rules = newRouterRules(r.space)
	if err := r.rules.install(p); err != nil {
		return nil, fmt.Errorf("the router: %w", err)
	}
	if err := r.inside(); err != nil {
		return nil, err
	}
	err = record.locked(func() error {
		if err := r.clear(); err != nil {
			return err
		}
		return r.connect(herd)
	})
	if err != nil {
		return nil, err
	}
	return r, r.refresh()
}

// inside sets up the namespace itself.
func (r *router) inside() error {
	err := r.space.do(func() error {
		return sysctls([][2]string{
			{"ipv6/conf/all/disable_ipv6", "0"}, {"ipv6/conf/default/disable_ipv6", "0"},
			{"ipv4/ip_forward", "1"}, {"ipv6/conf/all/forwarding", "1"},
			{"ipv6/conf/default/accept_ra", "0"}, {"ipv6/conf/default/accept_dad", "0"},
			{"ipv4/conf/all/send_redirects", "0"}, {"ipv4/conf/default/send_redirects", "0"},
			{"ipv4/conf/all/accept_redirects", "0"}, {"ipv6/conf/all/accept_redirects", "0"},
			{"ipv4/conf/all/accept_source_route", "0"},
			// A packet of a connection that is forgotten does not begin a new one.
			{"netfilter/nf_conntrack_tcp_loose", "0"},
		})
	})
	if err != nil {
		return fmt.Errorf("the router: %w", err)
	}
	lo, err := r.links.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("the router's loopback: %w", err)
	}
	if err := r.links.LinkSetUp(lo); err != nil {
		return fmt.Errorf("the router's loopback: %w", err)
	}
	return give(r.links, lo, single(r.plan.gateway4), single(r.plan.gateway6))
}

// give adds addresses that are used at once, without asking who else has them.
func give(h *netlink.Handle, link netlink.Link, networks ...*net.IPNet) error {
	for _, n := range networks {
		if n.IP.To4() == nil && !hasIPv6() {
			continue
		}
		a := &netlink.Addr{IPNet: n, Flags: unix.IFA_F_NODAD | unix.IFA_F_PERMANENT}
		if err := h.AddrAdd(link, a); err != nil && !errors.Is(err, os.ErrExist) {
			return fmt.Errorf("give %s the address %s: %w", link.Attrs().Name, n, err)
		}
	}
	return nil
}

// connect makes the uplink and lets the machine forward it. Called with the
// machine's lock.
func (r *router) connect(herd string) error {
	number, err := r.freeUplink(herd)
	if err != nil {
		return err
	}
	u := r.plan.uplink(number)
	// Before there is an interface: it is never without rules.
	if err := r.machine.install(u); err != nil {
		return fmt.Errorf("the machine's side: %w", err)
	}
	hostMAC, routerMAC := macOf('h', number), macOf('r', number)
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.HardwareAddr = r.machine.link, hostMAC
	if err := r.host.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: uplinkName, PeerHardwareAddr: routerMAC, PeerNamespace: netlink.NsFd(r.space.fd())}); err != nil {
		return fmt.Errorf("make the uplink: %w", err)
	}
	six := "ipv6/conf/" + r.machine.link + "/"
	if err := sysctls([][2]string{{six + "disable_ipv6", "0"}, {six + "accept_ra", "0"}, {six + "addr_gen_mode", "1"}}); err != nil {
		return fmt.Errorf("the uplink: %w", err)
	}
	outer, err := raise(r.host, r.machine.link, linked(u.host4), linked(u.host6))
	if err != nil {
		return err
	}
	inner, err := raise(r.links, uplinkName, linked(u.router4), linked(u.router6))
	if err != nil {
		return err
	}
	for _, n := range []struct {
		h    *netlink.Handle
		link netlink.Link
		a    netip.Addr
		mac  net.HardwareAddr
	}{{r.host, outer, u.router4, routerMAC}, {r.host, outer, u.router6, routerMAC}, {r.links, inner, u.host4, hostMAC}, {r.links, inner, u.host6, hostMAC}} {
		if err := know(n.h, n.link, n.a, n.mac); err != nil {
			return err
		}
	}
	for _, gateway := range usable(u.host4, u.host6) {
		if err := r.links.RouteAdd(&netlink.Route{LinkIndex: inner.Attrs().Index, Gw: gateway.AsSlice()}); err != nil {
			return fmt.Errorf("give the router a way out: %w", err)
		}
	}
	return r.forward()
}

// raise gives a link its addresses and brings it up.
func raise(h *netlink.Handle, name string, networks ...*net.IPNet) (netlink.Link, error) {
	link, err := h.LinkByName(name)
	if err != nil {
		return nil, fmt.Errorf("find the link %s: %w", name, err)
	}
	if err := give(h, link, networks...); err != nil {
		return nil, err
	}
	if err := h.LinkSetUp(link); err != nil {
		return nil, fmt.Errorf("bring up %s: %w", name, err)
	}
	return link, nil
}

// settled waits until a link's address of IPv6 can be used, which the kernel sees
// to a moment after it was given.
func settled(h *netlink.Handle, a netip.Addr) error {
	if !hasIPv6() {
		return nil
	}
	const limit = 2 * time.Second
	for end := time.Now().Add(limit); ; time.Sleep(200 * time.Microsecond) {
		routes, err := h.RouteGet(a.AsSlice())
		if err == nil && len(routes) == 1 && routes[0].Type == unix.RTN_LOCAL {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("the address %s is not usable after %s (%w)", a, limit, err)
		}
	}
}

// know fixes a neighbour's hardware address: nobody is asked for it, and nobody
// can answer in its place.
func know(h *netlink.Handle, link netlink.Link, a netip.Addr, mac net.HardwareAddr) error {
	version := unix.AF_INET
	if a.Is6() {
		if !hasIPv6() {
			return nil
		}
		version = unix.AF_INET6
	}
	err := h.NeighSet(&netlink.Neigh{LinkIndex: link.Attrs().Index, Family: version, State: netlink.NUD_PERMANENT, IP: a.AsSlice(), HardwareAddr: mac})
	if err != nil {
		return fmt.Errorf("fix the neighbour %s of %s: %w", a, link.Attrs().Name, err)
	}
	return nil
}

// freeUplink finds addresses that nothing on the machine has or leads to.
func (r *router) freeUplink(herd string) (int, error) {
	taken, err := addressesOf(r.host)
	if err != nil {
		return 0, err
	}
	routes, err := r.host.RouteList(nil, netlink.FAMILY_ALL)
	if err != nil {
		return 0, fmt.Errorf("read the machine's routes: %w", err)
	}
	ours := map[int]bool{}
	links, err := r.host.LinkList()
	if err != nil {
		return 0, fmt.Errorf("list the machine's links: %w", err)
	}
	for _, l := range links {
		ours[l.Attrs().Index] = strings.HasPrefix(l.Attrs().Name, linkPrefix)
	}
	for _, route := range routes {
		if route.Dst == nil || ours[route.LinkIndex] {
			continue
		}
		to, ok := netip.AddrFromSlice(route.Dst.IP)
		ones, _ := route.Dst.Mask.Size()
		dst := netip.PrefixFrom(to.Unmap(), ones)
		if ok && ones > 0 && r.plan.overlaps(dst) {
			return 0, unsupported("the network range of sandboxes is in use on this machine", "there is a route to "+dst.String(),
				"choose another range (settings network_range and network_range6)", nil)
		}
	}
	// From a place of its own, so that herds seldom meet.
	hash := fnv.New32a()
	_, _ = hash.Write([]byte(herd)) // never fails
	most := r.plan.uplinkCapacity()
	for n := range most {
		number := (int(hash.Sum32()%uint32(most)) + n) % most
		u := r.plan.uplink(number)
		if !taken[u.host4] && !taken[u.host6] {
			return number, nil
		}
	}
	return 0, unsupported("no more herds can be connected on this machine", fmt.Sprintf("all %d uplinks are taken", most), "stop a server, or choose a larger network_range", nil)
}

// addressesOf returns the addresses of a namespace's interfaces.
func addressesOf(h *netlink.Handle) (map[netip.Addr]bool, error) {
	list, err := h.AddrList(nil, netlink.FAMILY_ALL)
	if err != nil {
		return nil, fmt.Errorf("list the machine's addresses: %w", err)
	}
	found := map[netip.Addr]bool{}
	for _, one := range list {
		for _, ip := range []net.IP{one.IP, one.Broadcast} {
			if a, ok := netip.AddrFromSlice(ip); ok {
				found[a.Unmap()] = true
			}
		}
	}
	return found, nil
}

// forward lets the machine's interfaces forward, as far as they do not. Called
// with the machine's lock.
func (r *router) forward() error {
	ours, six, err := r.record.ensure()
	if err != nil {
		return err
	}
	r.six = six
	if strings.Join(ours, "/") == strings.Join(r.guarded, "/") {
		return nil
	}
	if err := r.machine.guard(ours); err != nil {
		return err
	}
	r.guarded = ours
	return nil
}

// refresh follows changes of the machine: interfaces and addresses come and go.
func (r *router) refresh() error {
	err := r.record.locked(r.forward)
	if err != nil {
		return err
	}
	known, err := addressesOf(r.host)
	if err != nil {
		return err
	}
	if was := r.own.Swap(&known); was != nil && maps.Equal(*was, known) {
		return nil
	}
	return r.rules.change(func(b *batch) {
		for _, f := range families {
			b.flush(r.rules.machine[f])
			var list []nftables.SetElement
			for a := range known {
				if familyOf(a) == f {
					list = append(list, nftables.SetElement{Key: a.AsSlice()})
				}
			}
			b.add(r.rules.machine[f], list)
		}
	})
}

// isMachine reports whether an address is the machine's own.
func (r *router) isMachine(a netip.Addr) bool {
	known := r.own.Load()
	return known != nil && (*known)[a.Unmap()]
}

// clear removes what the machine has of the herd. Called with the machine's lock.
func (r *router) clear() error { return clearMachine(r.host, r.machine) }

func clearMachine(h *netlink.Handle, m *hostRules) error {
	if err := removeLink(h, m.link); err != nil {
		return err
	}
	if err := m.remove(); err != nil {
		return fmt.Errorf("remove the machine's rules: %w", err)
	}
	return nil
}

func isUnknownLink(err error) bool {
	_, ok := errors.AsType[netlink.LinkNotFoundError](err)
	return ok
}

// close removes the router, the uplink and, when no other herd is left, what was
// changed of the machine.
func (r *router) close() error {
	var err error
	if r.host != nil {
		err = r.record.locked(func() error { return disconnect(r.host, r.machine, r.record) })
		r.host.Close()
	}
	if r.links != nil {
		r.links.Close()
	}
	if r.space != nil {
		r.space.close()
	}
	return err
}

// disconnect removes a herd from the machine. The last one puts back what was
// changed. Called with the machine's lock.
func disconnect(h *netlink.Handle, m *hostRules, record forwarding) error {
	if err := clearMachine(h, m); err != nil {
		return err
	}
	names, err := m.names()
	if err != nil {
		return err
	}
	for _, name := range names {
		if strings.HasPrefix(name, tablePrefix) {
			return nil
		}
	}
	return record.restore()
}
