package netslot

import (
	"github.com/google/nftables"
	"github.com/google/nftables/expr"
)

// linkPrefix begins the names of the machine's ends of uplinks, of all herds.
const linkPrefix = "rmd"

// tablePrefix begins the names of the machine's tables, of all herds.
const tablePrefix = "remuda-"

// hostRules are the machine's own rules for one uplink. They hold whatever the
// router does.
type hostRules struct {
	table
	link   string        // the machine's end
	opened *nftables.Set // interfaces that we made forward
}

func newHostRules(herd string) *hostRules {
	h := &hostRules{
		table: table{name: tablePrefix + herd}, link: linkPrefix + herd,
		opened: &nftables.Set{Name: "opened", KeyType: nftables.TypeIFName},
	}
	h.hold(h.opened)
	return h
}

// install writes them. A machine's other tables still have their say: what they
// drop stays dropped.
func (h *hostRules) install(u uplink) error {
	return h.change(func(b *batch) {
		b.conn.AddTable(b.table)
		b.set(h.opened)

		// Before anything may send it elsewhere: nothing that is for the machine
		// itself, and only packets of the router.
		pre := b.hook("pre", nftables.ChainHookPrerouting, nftables.ChainTypeFilter, beforeTracking-10, nftables.ChainPolicyAccept)
		b.rules(pre,
			rule(notFrom(h.link), accept()),
			rule(notSource(u.router4), drop()),
			rule(notSource(u.router6), drop()),
			rule(local(), drop()))

		input := b.hook("input", nftables.ChainHookInput, nftables.ChainTypeFilter, filtering-10, nftables.ChainPolicyAccept)
		b.rules(input, rule(from(h.link), drop()))

		forward := b.hook("forward", nftables.ChainHookForward, nftables.ChainTypeFilter, filtering-10, nftables.ChainPolicyAccept)
		b.rules(forward,
			rule(from(h.link), toAny(linkPrefix), drop()),
			rule(from(h.link), accept()),
			rule(to(h.link), state(expr.CtStateBitESTABLISHED|expr.CtStateBitRELATED), reply(), accept()),
			rule(to(h.link), drop()),
			// An interface forwards for our sake: not for others.
			rule(fromIn(h.opened), notToAny(linkPrefix), state(expr.CtStateBitNEW|expr.CtStateBitINVALID), drop()))

		post := b.hook("post", nftables.ChainHookPostrouting, nftables.ChainTypeNAT, sourceNAT, nftables.ChainPolicyAccept)
		b.rules(post,
			rule(source(u.router4), notTo(h.link), masquerade()),
			rule(source(u.router6), notTo(h.link), masquerade()))
	})
}

// guard says which interfaces forward for our sake.
func (h *hostRules) guard(names []string) error {
	return h.change(func(b *batch) {
		b.flush(h.opened)
		var list []nftables.SetElement
		for _, name := range names {
			list = append(list, nftables.SetElement{Key: ifname(name)})
		}
		b.add(h.opened, list)
	})
}
