package guestinit

import (
	"runtime"
	"time"
)

// forgetAfter is how long after the end of an instance its template's keeper wipes
// what it has held of it: scripts, variables, input, output, results. One sweep
// serves all that have ended by then.
const forgetAfter = time.Second

// forget wipes what ended instances have left in this process, which lives on for
// others. All that a child has is its own and let go of when it is buried; the
// collector overwrites what it frees (the engine sets clobberfree, see
// protocol.KeeperEnv), so all it takes is a collection.
func (t *template) forget() {
	if t.forgetAt.IsZero() || time.Now().Before(t.forgetAt) {
		return
	}
	t.forgetAt = time.Time{}
	scrubStack()
	go runtime.GC() // it ends by itself; the loop goes on meanwhile
}

// scrubStack overwrites what calls have left below the caller's frame: short texts
// are compared and converted there. Called before the first fork it makes the stack
// as large as it needs to be, so that no older one, which nobody would overwrite, is
// ever left behind; it does not shrink (protocol.KeeperEnv).
//
//go:noinline
func scrubStack() {
	var below [64 << 10]byte
	for i := range below {
		below[i] = scrubbed
	}
	scrubbed = below[len(below)-1]
}

var scrubbed byte // read and written, so that the compiler keeps the loop
