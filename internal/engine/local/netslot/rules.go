package netslot

import (
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"go4.org/netipx"
	"golang.org/x/sys/unix"

	"github.com/remuda-run/remuda/internal/egress"
)

// Names of the router's chains.
const (
	chainRefuse   = "refuse"
	chainOutbound = "outbound"
	chainInbound  = "inbound"
)

// uplinkName is the router's end of the uplink.
const uplinkName = "up0"

// Priorities of hooks: before connections are tracked, and with ordinary filters.
const (
	beforeTracking = -300
	filtering      = 0
	sourceNAT      = 100
)

// routerRules are the rules of a router that do not belong to one slot, and the
// sets in them.
type routerRules struct {
	table
	owners   map[*family]*nftables.Set // interface and source that belong together
	never    map[*family]*nftables.Set // the never-list
	machine  map[*family]*nftables.Set // the machine's own addresses
	outbound *nftables.Set             // interface of a slot -> its chain
	inbound  *nftables.Set
}

func newRouterRules(where *namespace) *routerRules {
	r := &routerRules{
		table:    table{where: where, name: "remuda"},
		owners:   map[*family]*nftables.Set{},
		never:    map[*family]*nftables.Set{},
		machine:  map[*family]*nftables.Set{},
		outbound: &nftables.Set{Name: chainOutbound, IsMap: true, KeyType: nftables.TypeIFName, DataType: nftables.TypeVerdict},
		inbound:  &nftables.Set{Name: chainInbound, IsMap: true, KeyType: nftables.TypeIFName, DataType: nftables.TypeVerdict},
	}
	for _, f := range families {
		r.owners[f] = &nftables.Set{Name: "owners" + f.suffix, Concatenation: true, KeyType: nftables.MustConcatSetType(nftables.TypeIFName, f.addresses)}
		r.never[f] = &nftables.Set{Name: "never" + f.suffix, Interval: true, KeyType: f.addresses}
		r.machine[f] = &nftables.Set{Name: "machine" + f.suffix, KeyType: f.addresses}
	}
	r.hold(r.outbound, r.inbound)
	for _, f := range families {
		r.hold(r.owners[f], r.never[f], r.machine[f])
	}
	return r
}

// install writes them.
func (r *routerRules) install(p plan) error {
	return r.change(func(b *batch) {
		b.conn.AddTable(b.table)
		b.set(r.outbound)
		b.set(r.inbound)
		for _, f := range families {
			b.set(r.owners[f])
			b.set(r.never[f])
			b.set(r.machine[f])
			b.add(r.never[f], intervals(neverRanges(f, p)))
		}
		r.installEdges(b, p)
		r.installForward(b)
		r.installRefuse(b)
		post := b.hook("post", nftables.ChainHookPostrouting, nftables.ChainTypeNAT, sourceNAT, nftables.ChainPolicyAccept)
		b.rules(post, rule(to(uplinkName), masquerade()))
	})
}

// neverRanges is the never-list with the slots themselves.
func neverRanges(f *family, p plan) []netipx.IPRange {
	var list []netipx.IPRange
	for _, r := range (egress.Site{Never: []netip.Prefix{p.slots4, p.slots6}}).NeverRanges() {
		if familyOf(r.From()) == f {
			list = append(list, r)
		}
	}
	return list
}

// installEdges writes what a packet meets when it comes in, and what may reach
// the router itself: the resolver, from a slot.
func (r *routerRules) installEdges(b *batch, p plan) {
	pre := b.hook("pre", nftables.ChainHookPrerouting, nftables.ChainTypeFilter, beforeTracking, nftables.ChainPolicyDrop)
	b.rules(pre, rule(from("lo"), accept()), rule(from(uplinkName), accept()))
	for _, gateway := range []netip.Addr{p.gateway4, p.gateway6} {
		// Questions take no place among the connections.
		b.rules(pre, rule(destination(gateway), untracked()))
	}
	b.rules(pre, rule(ip4.fromOwner(r.owners[ip4]), accept()), rule(ip6.fromOwner(r.owners[ip6]), accept()), drop())

	output := b.hook("output", nftables.ChainHookOutput, nftables.ChainTypeFilter, beforeTracking, nftables.ChainPolicyAccept)
	input := b.hook("input", nftables.ChainHookInput, nftables.ChainTypeFilter, filtering, nftables.ChainPolicyDrop)
	b.rules(input, rule(from("lo"), accept()), rule(from(uplinkName), drop()))
	const dns = 53
	for _, gateway := range []netip.Addr{p.gateway4, p.gateway6} {
		b.rules(output, rule(source(gateway), untracked()))
		for _, number := range []byte{unix.IPPROTO_UDP, unix.IPPROTO_TCP} {
			b.rules(input, rule(destination(gateway), protocol(number), destinationPort(dns), accept()))
		}
	}
	b.rules(input, prohibited())
}

// installForward writes what decides about packets between a slot and elsewhere.
func (r *routerRules) installForward(b *batch) {
	outbound, inbound := b.chain(chainOutbound), b.chain(chainInbound)
	b.chain(chainRefuse)
	forward := b.hook("forward", nftables.ChainHookForward, nftables.ChainTypeFilter, filtering, nftables.ChainPolicyDrop)
	b.rules(forward, rule(from(uplinkName), goTo(chainInbound)), goTo(chainOutbound))

	// From one slot to another there is no way.
	b.rules(outbound, rule(notTo(uplinkName), goTo(chainRefuse)))
	for _, f := range families {
		b.rules(outbound,
			rule(f.destinationIn(r.never[f]), goTo(chainRefuse)),
			rule(f.destinationIn(r.machine[f]), goTo(chainRefuse)))
	}
	b.rules(outbound, rule(state(expr.CtStateBitINVALID), goTo(chainRefuse)))
	for _, number := range []byte{unix.IPPROTO_TCP, unix.IPPROTO_UDP} {
		b.rules(outbound, rule(protocol(number), byInterface(expr.MetaKeyIIFNAME, r.outbound)))
	}
	b.rules(outbound, goTo(chainRefuse))

	// What nobody inside has asked for does not come in. A slot's own chain looks
	// again where an answer comes from.
	b.rules(inbound, rule(state(expr.CtStateBitESTABLISHED), reply(), byInterface(expr.MetaKeyOIFNAME, r.inbound)))
	for _, f := range families {
		// Such as: the packet is too large.
		b.rules(inbound, rule(state(expr.CtStateBitRELATED), protocol(f.icmp), accept()))
	}
	b.rules(inbound, drop())
}

// installRefuse writes how a packet is refused: so that its sender knows at once.
func (r *routerRules) installRefuse(b *batch) {
	refuse := &nftables.Chain{Name: chainRefuse, Table: b.table}
	b.rules(refuse,
		rule(part{&expr.Counter{}}, opening(), prohibited()),
		rule(protocol(unix.IPPROTO_TCP), reset()),
		prohibited())
}
