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
// How many are kept: the target of a generation is the number of leases in the
// last one to two Windows (30 s), but never less than MinCached nor more than
// MaxCached. So a pool follows recent demand up to its maximum and goes back to
// its minimum when nobody asks.
//
// A replacement is started when the leased instance is released, or after 20 ms:
// starting it at once would compete with the script that the user waits for, which
// on two cores made a short one-shot three to five times slower. A pool that is
// less than half full is filled without that delay.
//
// Slots bound the instances of the whole node. A cold start may take the slot
// of an idle warm instance of another generation; only when every slot is in
// use by a holder is a lease refused (exhausted).
//
// Not here: who may lease (services), how a sandbox is made (engine). Start
// with pool.go, then lease.go and fill.go.
package pool
