package netslot

import (
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/remuda-run/remuda/internal/egress"
)

// grants remembers which names led a sandbox to which addresses, for as long as a
// connection may be open to one.
type grants struct {
	to map[netip.Addr]*grant
}

type grant struct {
	names map[string]bool
	until time.Time // new connections
}

func newGrants() grants { return grants{to: map[netip.Addr]*grant{}} }

// add notes what a name led to. It returns the addresses of which the kernel has
// to be told: fresh ones, and those whose time is more than half over; and, when
// a sandbox has asked for very many, the oldest, which it is to forget.
func (g *grants) add(name string, found []netip.Addr, stay time.Duration) (fresh, gone []netip.Addr) {
	now := time.Now()
	if len(g.to)+len(found) > maxNamed {
		gone = g.prune(found)
	}
	for _, a := range found {
		known := g.to[a]
		if known == nil {
			known = &grant{names: map[string]bool{}}
			g.to[a] = known
		}
		known.names[name] = true
		if known.until.Before(now.Add(stay / 2)) {
			known.until = now.Add(stay)
			fresh = append(fresh, a)
		}
	}
	return fresh, gone
}

// prune lets go of the oldest quarter, but for some that are asked for now.
func (g *grants) prune(keep []netip.Addr) []netip.Addr {
	oldest := slices.SortedFunc(maps.Keys(g.to), func(a, b netip.Addr) int { return g.to[a].until.Compare(g.to[b].until) })
	oldest = slices.DeleteFunc(oldest[:len(oldest)/4], func(a netip.Addr) bool { return slices.Contains(keep, a) })
	g.forget(oldest)
	return oldest
}

// lose removes the addresses that no listed name led to, or that may not be
// reached at all any more, and returns them.
func (g *grants) lose(policy egress.Compiled) []netip.Addr {
	var gone []netip.Addr
	for a, known := range g.to {
		maps.DeleteFunc(known.names, func(name string, _ bool) bool { return !policy.Names(name) })
		if len(known.names) == 0 || !policy.Admits(a) {
			gone = append(gone, a)
			delete(g.to, a)
		}
	}
	return gone
}

func (g *grants) forget(list []netip.Addr) {
	for _, a := range list {
		delete(g.to, a)
	}
}

func (g *grants) has(a netip.Addr) bool { return g.to[a] != nil }
