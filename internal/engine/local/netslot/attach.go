package netslot

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/remuda-run/remuda/internal/egress"
	"github.com/remuda-run/remuda/internal/remuda"
)

// insideName is the sandbox's end of its link.
const insideName = "eth0"

// Attached is a slot in use by one sandbox.
type Attached struct {
	slots  *Slots
	router *router
	names  *resolver
	slot   *slot
	inside *namespace
	name   string // for the log

	mu       sync.Mutex
	policy   egress.Compiled
	granted  grants
	released bool
}

// Attach connects the network namespace of a process to what a policy lists.
// Everything is in place when it returns; on error nothing is left. name is for
// the log. The process must not have left the caller's hands: its number must
// not have been given to another.
func (s *Slots) Attach(_ context.Context, pid int, name string, policy egress.Compiled) (*Attached, error) {
	inside, err := openNamespace(fmt.Sprintf("/proc/%d/ns/net", pid))
	if err != nil {
		return nil, err
	}
	return s.attach(inside, name, policy)
}

// attach takes the namespace's file over.
func (s *Slots) attach(inside *namespace, name string, policy egress.Compiled) (_ *Attached, err error) {
	a := &Attached{slots: s, inside: inside, name: name, policy: policy, granted: newGrants()}
	if a.router, a.names, err = s.claim(); err != nil {
		inside.close()
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, a.Release(context.Background()))
		}
	}()
	if a.slot, err = s.take(a.router); err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.inUse[a] = true
	s.mu.Unlock()
	if err := a.link(); err != nil {
		return nil, fmt.Errorf("connect a sandbox: %w", err)
	}
	if err := a.slot.rules.connect(a.slot.v4, a.slot.v6, policy); err != nil {
		return nil, fmt.Errorf("connect a sandbox: %w", err)
	}
	a.names.add(a)
	return a, nil
}

// link makes the pair of interfaces and gives each its addresses. Both ends know
// each other's hardware address; nobody is asked.
func (a *Attached) link() error {
	outerMAC, innerMAC := macOf('g', a.slot.number), macOf('s', a.slot.number)
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.HardwareAddr = a.slot.rules.link, outerMAC
	err := a.router.links.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: insideName, PeerHardwareAddr: innerMAC, PeerNamespace: netlink.NsFd(a.inside.fd())})
	if err != nil {
		return fmt.Errorf("make a link: %w", err)
	}
	outer, err := a.router.links.LinkByName(a.slot.rules.link)
	if err != nil {
		return fmt.Errorf("find the link %s: %w", a.slot.rules.link, err)
	}
	// Questions about hardware addresses are not answered.
	if err := a.router.links.LinkSetARPOff(outer); err != nil {
		return fmt.Errorf("close the link %s: %w", a.slot.rules.link, err)
	}
	if err := a.router.links.LinkSetUp(outer); err != nil {
		return fmt.Errorf("bring up %s: %w", a.slot.rules.link, err)
	}
	for _, address := range usable(a.slot.v4, a.slot.v6) {
		if err := know(a.router.links, outer, address, innerMAC); err != nil {
			return err
		}
		if err := a.router.links.RouteAdd(&netlink.Route{LinkIndex: outer.Attrs().Index, Dst: single(address), Scope: netlink.SCOPE_LINK}); err != nil {
			return fmt.Errorf("lead %s to its slot: %w", address, err)
		}
	}
	return a.linkInside(outerMAC)
}

func (a *Attached) linkInside(gatewayMAC net.HardwareAddr) error {
	const six = "ipv6/conf/" + insideName + "/"
	err := a.inside.do(func() error {
		return sysctls([][2]string{{six + "disable_ipv6", "0"}, {six + "accept_ra", "0"}, {six + "autoconf", "0"}, {six + "accept_dad", "0"}, {six + "addr_gen_mode", "1"}})
	})
	if err != nil {
		return err
	}
	h, err := a.inside.links()
	if err != nil {
		return err
	}
	defer h.Close()
	link, err := raise(h, insideName, single(a.slot.v4), single(a.slot.v6))
	if err != nil {
		return err
	}
	plan := a.slots.plan
	for _, gateway := range usable(plan.gateway4, plan.gateway6) {
		if err := know(h, link, gateway, gatewayMAC); err != nil {
			return err
		}
		index := link.Attrs().Index
		if err := h.RouteAdd(&netlink.Route{LinkIndex: index, Dst: single(gateway), Scope: netlink.SCOPE_LINK}); err != nil {
			return fmt.Errorf("lead to the gateway: %w", err)
		}
		if err := h.RouteAdd(&netlink.Route{LinkIndex: index, Gw: gateway.AsSlice()}); err != nil {
			return fmt.Errorf("lead to elsewhere: %w", err)
		}
	}
	return settled(h, a.slot.v6)
}

// Set replaces what may be reached. When it returns, connections to what may not
// be reached any more are cut.
func (a *Attached) Set(policy egress.Compiled) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.released {
		return remuda.Errorf(remuda.CodeUnavailable, "the sandbox is not connected any more")
	}
	gone := a.granted.lose(policy)
	if err := a.slot.rules.narrow(policy, gone); err != nil {
		return err
	}
	a.policy = policy
	return a.cut(func(to netip.Addr) bool { return !policy.Lists(to) && !a.granted.has(to) })
}

// answer is asked by the resolver: it lets the addresses of a listed name be
// reached. It returns those that may be.
func (a *Attached) answer(name string, found []netip.Addr, stay time.Duration) ([]netip.Addr, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.released || !a.policy.Names(name) {
		return nil, nil
	}
	var good []netip.Addr
	for _, to := range found {
		if a.policy.Admits(to) && !a.router.isMachine(to) {
			good = append(good, to)
		}
	}
	fresh, gone := a.granted.add(name, good, stay)
	if len(fresh)+len(gone) == 0 {
		return good, nil
	}
	if a.slots.opts.Outlive {
		if err := a.slots.left.note(a.slot.number, a.name, a.granted); err != nil {
			a.granted.forget(fresh)
			return nil, err
		}
	}
	if err := a.slot.rules.admit(fresh, gone, stay); err != nil {
		a.granted.forget(fresh)
		return nil, err
	}
	return good, nil
}

// lists reports whether a name may be asked for now.
func (a *Attached) lists(name string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return !a.released && a.policy.Names(name)
}

// Release takes the sandbox off the network. The slot is used again once nothing
// of this use is left on it. It may be called twice.
func (a *Attached) Release(context.Context) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.released {
		return nil
	}
	a.released = true
	defer a.slots.unclaim()
	defer a.inside.close()
	if a.slot == nil {
		return nil
	}
	s := a.slots
	s.mu.Lock()
	delete(s.inUse, a)
	s.mu.Unlock()
	a.names.remove(a)
	if err := a.wipe(); err != nil {
		// It is not used again: its number is lost until the router is new.
		return fmt.Errorf("release a network slot: %w", err)
	}
	s.give(a.slot)
	return nil
}

// wipe removes all of this use and looks whether that is so.
func (a *Attached) wipe() error {
	err := a.slot.rules.disconnect(a.slot.v4, a.slot.v6)
	if isAbsent(err) {
		// It was never connected; an absent element fails the whole batch.
		err = a.slot.rules.router.change(func(b *batch) {
			for _, set := range a.slot.rules.sets() {
				b.flush(set)
			}
		})
	}
	errs := []error{err}
	errs = append(errs, removeLink(a.router.links, a.slot.rules.link), a.forget(func(netip.Addr) bool { return true }), a.slots.left.forget(a.slot.number))
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return a.verify()
}

// verify says what is left on a slot that nobody uses.
func (a *Attached) verify() error {
	rules := a.slot.rules
	if err := rules.empty(); err != nil {
		return err
	}
	if _, err := a.router.links.LinkByName(rules.link); !isUnknownLink(err) {
		return fmt.Errorf("the link %s is still there (%w)", rules.link, err)
	}
	for _, m := range []*nftables.Set{rules.router.outbound, rules.router.inbound} {
		list, err := rules.router.elements(m)
		if err != nil {
			return err
		}
		for _, element := range list {
			if string(element.Key) == string(ifname(rules.link)) {
				return fmt.Errorf("the slot is still on the map %s", m.Name)
			}
		}
	}
	left, err := a.connections(func(netip.Addr) bool { return true })
	if err != nil {
		return err
	}
	if left > 0 {
		return fmt.Errorf("%d connections of the slot are still known", left)
	}
	return nil
}

// versions are the families of addresses in the words of conntrack.
var versions = []netlink.InetFamily{unix.AF_INET, unix.AF_INET6}
