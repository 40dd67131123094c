package netslot

import (
	"encoding/binary"
	"net"
	"net/netip"
	"os"
	"sync"

	"go4.org/netipx"

	"github.com/remuda-run/remuda/internal/egress"
)

// plan says which addresses are whose.
type plan struct {
	gateway4, gateway6 netip.Addr
	slots4, slots6     netip.Prefix // lower halves of the ranges
	uplinks4, uplinks6 netip.Prefix // upper halves
}

func newPlan(s egress.Settings) plan {
	p := plan{}
	p.slots4, p.uplinks4 = halves(s.Range)
	p.slots6, p.uplinks6 = halves(s.Range6)
	p.gateway4, p.gateway6 = s.Gateway()
	return p
}

// halves cuts a prefix in two.
func halves(p netip.Prefix) (lower, upper netip.Prefix) {
	lower = netip.PrefixFrom(p.Addr(), p.Bits()+1)
	upper = netip.PrefixFrom(netipx.RangeOfPrefix(lower).To().Next(), p.Bits()+1)
	return lower, upper
}

// overlaps reports whether a network has addresses of ours.
func (p plan) overlaps(other netip.Prefix) bool {
	for _, own := range []netip.Prefix{p.slots4, p.uplinks4, p.slots6, p.uplinks6} {
		if own.Overlaps(other) {
			return true
		}
	}
	return false
}

// firstSlot leaves room for the network's address and the gateway.
const firstSlot = 2

// maxSlots bounds the slots of one herd, whatever the range holds.
const maxSlots = 1 << 14

// capacity is how many slots there can be.
func (p plan) capacity() int {
	return min(maxSlots, 1<<(32-p.slots4.Bits())-firstSlot-1)
}

// slot returns the addresses inside a sandbox.
func (p plan) slot(number int) (v4, v6 netip.Addr) {
	return offset(p.slots4.Addr(), number+firstSlot), offset(p.slots6.Addr(), number+firstSlot)
}

// uplinkCapacity is how many herds a machine can have.
func (p plan) uplinkCapacity() int {
	return min(1<<10, 1<<(32-p.uplinks4.Bits()-1))
}

// uplink is the network between a herd's router and the machine: the machine has
// the first address, the router the second.
type uplink struct{ host4, router4, host6, router6 netip.Addr }

func (p plan) uplink(number int) uplink {
	u := uplink{host4: offset(p.uplinks4.Addr(), 2*number), host6: offset(p.uplinks6.Addr(), 2*number)}
	u.router4, u.router6 = u.host4.Next(), u.host6.Next()
	return u
}

// offset adds a number to an address.
func offset(a netip.Addr, n int) netip.Addr {
	b := a.AsSlice()
	low := b[len(b)-4:]
	binary.BigEndian.PutUint32(low, binary.BigEndian.Uint32(low)+uint32(n))
	sum, _ := netip.AddrFromSlice(b) // has the length that it came with
	return sum
}

// ipNet is an address with a length as package net has it.
func ipNet(a netip.Addr, bits int) *net.IPNet {
	return &net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(bits, a.BitLen())}
}

// single is the network of one address.
func single(a netip.Addr) *net.IPNet { return ipNet(a, a.BitLen()) }

// linked is the network of a pair of addresses.
func linked(a netip.Addr) *net.IPNet { return ipNet(a, a.BitLen()-1) }

// hasIPv6 reports whether the kernel speaks IPv6.
var hasIPv6 = sync.OnceValue(func() bool {
	_, err := os.Stat(sysctlRoot + "ipv6")
	return err == nil
})

// usable leaves out the address of IPv6 where the kernel does not speak it.
func usable(v4, v6 netip.Addr) []netip.Addr {
	if hasIPv6() {
		return []netip.Addr{v4, v6}
	}
	return []netip.Addr{v4}
}
