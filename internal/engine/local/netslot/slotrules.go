package netslot

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"

	"github.com/remuda-run/remuda/internal/egress"
)

// openStay is how long an address that a name led to may be reached by a
// connection that is open and silent.
const openStay = 2 * time.Hour

// maxNamed bounds the addresses that names lead to, for each slot.
const maxNamed = 4096

// newPerSecond bounds how many connections a slot may open in a second.
const newPerSecond = 500

// slotPrefix begins the names of the slots' links in the router.
const slotPrefix = "s"

// slotRules are the chains and sets of one slot. They are made once and stay
// with it; what is in the sets changes.
type slotRules struct {
	router *routerRules
	number int
	link   string // in the router

	listed map[*family]*nftables.Set // addresses that the runtime lists
	named  map[*family]*nftables.Set // addresses that listed names led to: connections may be opened
	open   map[*family]*nftables.Set // addresses that a named connection is open to
}

func newSlotRules(router *routerRules, number int) *slotRules {
	s := &slotRules{
		router: router, number: number, link: fmt.Sprintf("%s%d", slotPrefix, number),
		listed: map[*family]*nftables.Set{}, named: map[*family]*nftables.Set{}, open: map[*family]*nftables.Set{},
	}
	for _, f := range families {
		name := func(kind string) string { return fmt.Sprintf("%s-%s%s", s.link, kind, f.suffix) }
		s.listed[f] = &nftables.Set{Name: name("listed"), Interval: true, KeyType: f.addresses}
		s.named[f] = &nftables.Set{Name: name("named"), HasTimeout: true, KeyType: f.addresses, Size: maxNamed}
		s.open[f] = &nftables.Set{Name: name("open"), HasTimeout: true, Dynamic: true, KeyType: f.addresses, Size: maxNamed}
	}
	router.hold(s.sets()...)
	return s
}

func (s *slotRules) chains() (out, in, pass, back string) {
	return s.link + "-out", s.link + "-in", s.link + "-pass", s.link + "-back"
}

// bounds are what a slot may use.
type bounds struct {
	connections int
	bytes       uint64 // per second, in each direction
}

// install writes them, with nothing in the sets. The slot is on no map yet: its
// packets are refused.
func (s *slotRules) install(limits bounds) error {
	outName, inName, passName, backName := s.chains()
	return s.router.change(func(b *batch) {
		out, in, pass, back := b.chain(outName), b.chain(inName), b.chain(passName), b.chain(backName)
		fresh, running := state(expr.CtStateBitNEW), state(expr.CtStateBitESTABLISHED)
		for _, f := range families {
			for _, set := range []*nftables.Set{s.listed[f], s.named[f], s.open[f]} {
				b.set(set)
			}
			// Every packet is looked at, not only the first of a connection: a list
			// that becomes shorter holds for what is open.
			b.rules(out,
				rule(f.destinationIn(s.listed[f]), goTo(passName)),
				rule(fresh, f.destinationIn(s.named[f]), f.refresh(s.open[f], openStay), goTo(passName)),
				rule(running, f.destinationIn(s.open[f]), f.refresh(s.open[f], openStay), goTo(passName)))
			b.rules(in,
				rule(f.sourceIn(s.listed[f]), goTo(backName)),
				rule(f.sourceIn(s.open[f]), goTo(backName)))
		}
		b.rules(out, goTo(chainRefuse))
		b.rules(in, drop())
		b.rules(pass,
			rule(fresh, connectionsOver(limits.connections), goTo(chainRefuse)),
			rule(fresh, packetsOver(newPerSecond), drop()),
			rule(bytesOver(limits.bytes), drop()),
			accept())
		b.rules(back, rule(bytesOver(limits.bytes), drop()), accept())
	})
}

func (s *slotRules) sets() []*nftables.Set {
	var list []*nftables.Set
	for _, f := range families {
		list = append(list, s.listed[f], s.named[f], s.open[f])
	}
	return list
}

// owner is the element that binds an address to the slot's interface.
func (s *slotRules) owner(a netip.Addr) []nftables.SetElement {
	return []nftables.SetElement{{Key: append(ifname(s.link), a.AsSlice()...)}}
}

// connect puts the slot on the maps, with what its policy lists.
func (s *slotRules) connect(v4, v6 netip.Addr, policy egress.Compiled) error {
	out, in, _, _ := s.chains()
	jump := func(chain string) []nftables.SetElement {
		return []nftables.SetElement{{Key: ifname(s.link), VerdictData: &expr.Verdict{Kind: expr.VerdictGoto, Chain: chain}}}
	}
	return s.router.change(func(b *batch) {
		s.fill(b, policy)
		b.add(s.router.owners[ip4], s.owner(v4))
		b.add(s.router.owners[ip6], s.owner(v6))
		b.add(s.router.outbound, jump(out))
		b.add(s.router.inbound, jump(in))
	})
}

// disconnect takes the slot off the maps and empties its sets.
func (s *slotRules) disconnect(v4, v6 netip.Addr) error {
	return s.router.change(func(b *batch) {
		for set, element := range map[*nftables.Set][]nftables.SetElement{
			s.router.owners[ip4]: s.owner(v4), s.router.owners[ip6]: s.owner(v6),
			s.router.outbound: {{Key: ifname(s.link)}}, s.router.inbound: {{Key: ifname(s.link)}},
		} {
			b.note(b.conn.SetDeleteElements(set, element))
		}
		for _, set := range s.sets() {
			b.flush(set)
		}
	})
}

// fill replaces what is listed.
func (s *slotRules) fill(b *batch, policy egress.Compiled) {
	v4, v6 := policy.Ranges()
	b.flush(s.listed[ip4])
	b.flush(s.listed[ip6])
	b.add(s.listed[ip4], intervals(v4))
	b.add(s.listed[ip6], intervals(v6))
}

// narrow replaces what is listed and takes back addresses that names led to.
func (s *slotRules) narrow(policy egress.Compiled, gone []netip.Addr) error {
	return s.router.change(func(b *batch) {
		s.fill(b, policy)
		s.takeBack(b, gone)
	})
}

// admit lets addresses that a name led to be reached for a while, and takes back
// others.
func (s *slotRules) admit(fresh, gone []netip.Addr, stay time.Duration) error {
	return s.router.change(func(b *batch) {
		for _, a := range fresh {
			b.replace(s.named[familyOf(a)], a.AsSlice(), stay)
		}
		s.takeBack(b, gone)
	})
}

func (s *slotRules) takeBack(b *batch, gone []netip.Addr) {
	for _, a := range gone {
		b.drop(s.named[familyOf(a)], a.AsSlice())
		b.drop(s.open[familyOf(a)], a.AsSlice())
	}
}

// empty says what of an earlier user is still in the sets.
func (s *slotRules) empty() error {
	for _, set := range s.sets() {
		list, err := s.router.elements(set)
		if err != nil {
			return err
		}
		if len(list) > 0 {
			return fmt.Errorf("the set %s of a slot that nobody uses holds %d elements", set.Name, len(list))
		}
	}
	return nil
}

// admitted lists the addresses that names led to and that are still reached.
func (s *slotRules) admitted() ([]netip.Addr, error) {
	var list []netip.Addr
	for _, f := range families {
		for _, set := range []*nftables.Set{s.named[f], s.open[f]} {
			found, err := s.router.elements(set)
			if err != nil {
				return nil, err
			}
			for _, element := range found {
				if a, ok := netip.AddrFromSlice(element.Key); ok {
					list = append(list, a)
				}
			}
		}
	}
	return list, nil
}
