// Package netslot connects sandboxes to what their runtimes list, and to nothing
// else.
//
// Each herd has a router: a network namespace of its own that holds no service
// but our resolver. A slot is a place on the router, made ahead: addresses,
// tables of rules and empty sets. Attaching one makes a pair of virtual
// interfaces, one end in the router and one in the sandbox's namespace, and fills
// the sets. One more pair, the uplink, leads from the router to the machine, which
// masquerades what comes out of it.
//
//	sandbox  eth0 ──── sN  router  up0 ──── rmd<herd>  machine ──── elsewhere
//	                       rules, resolver, NAT        rules, NAT
//
// The router decides what may pass, for every packet in either direction, so that
// a list that becomes shorter cuts what is open. The machine's own rules hold
// whatever the router does: nothing from an uplink reaches the machine itself or
// another herd. No address of a sandbox is seen outside of the router, so that
// herds may use the same ones.
//
// The router lives as long as this process, or, with Options.Outlive, as long as
// the mount that pins its namespace: then what sandboxes have open stays open over
// a restart of the server, also after kill -9, and the rules are in force all the
// while (keep.go). Recover of the next process takes over the slots that it is told
// to keep and clears all others; Adopt brings each under the policy of now
// (adopt.go). Rules of another form, by an older program or other settings, are
// never taken over: those sandboxes are connected anew. Without a server nobody
// answers names. What a server that is never started again leaves is the pinned
// namespace, its uplink, a table of rules and a few switches of the machine.
//
// No program is started: links are made over rtnetlink, rules over nftables'
// netlink, connections are forgotten over conntrack's. Start with Slots, then
// router.go and rules.go, then keep.go and adopt.go.
package netslot
