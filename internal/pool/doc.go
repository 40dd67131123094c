// Package pool keeps warm, never-used instances of the current generation of
// every runtime and hands each out at most once.
//
// A lease is made in two steps: Reserve takes a slot and, when there is one, a
// warm instance, without blocking; Start returns that instance or makes one
// (a cold start). A leased instance never comes back: Release destroys it. The
// pool is also the place where a change of a runtime takes effect:
// SetGeneration swaps the generation under the same lock that hands instances
// out, so that nothing of the old generation leaves once it has returned.
//
// How many are kept: a meter (demand.go) turns recent leases into a wish: as many
// as were open at once, and as many as are taken while one is started. It fades by
// half with each Window (30 s). plan.go shares the slots and the memory of the node
// out among the wishes, each of which is at least MinCached and at most MaxCached.
// So pools follow demand and go back when nobody asks, and none starves another.
//
// Cold starts take turns among organizations (line.go), and an organization holds
// at most its Share of the slots: who asks for much waits for itself.
//
// A replacement is started when the leased instance has been released, or after
// 20 ms: starting it at once would compete with the script that the user waits for,
// which on two cores made a short one-shot three to five times slower. For the same
// reason it rests for 2 to 10 ms after a release, and so does the end of the released
// instance (rest.go). A pool that is less than half full is filled without delay, and
// nothing rests that somebody needs: a slot, a share, the end of the pool.
//
// Where several organizations use the node, share.go and last.go divide a busy processor:
// the more instances an organization holds the less each has, and those of one that burns
// far more than the others come last.
//
// Slots bound the instances of the whole node. A cold start may take the slot
// of an idle warm instance of another generation; only when every slot is in
// use by a holder is a lease refused (exhausted).
//
// A claim may ask for less than its runtime gives (narrow.go): a warm instance is
// narrowed before it is handed out, or replaced by a cold start where that cannot
// be. Network rules that change reach what is leased (rules.go).
//
// Not here: who may lease (services), how a sandbox is made (engine). Start
// with pool.go, then lease.go and fill.go.
package pool
