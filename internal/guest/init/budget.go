package guestinit

import (
	"math"

	"github.com/remuda-run/remuda/internal/guest/protocol"
)

// budget is what the instances of a template hold together for their servers: output
// and ends that are not acknowledged. They share their keeper's memory, and with it
// their fate; without a server each of them could fill its own part.
type budget struct{ held int }

// The budget's bounds. When all together hold sharedMax, each may hold no more output
// than sharedLeast, which is enough to go on; and when they hold endsMax, an end is
// held without its value.
const (
	sharedMax   = 64 << 20
	sharedLeast = 16 << 10
	endsMax     = 96 << 20
)

// spent reports whether an output that holds so many bytes is to hold no more.
func (b *budget) spent(held int) bool {
	return b != nil && b.held >= sharedMax && held >= sharedLeast
}

func (b *budget) add(n int) {
	if b != nil {
		b.held += n
	}
}

// hold keeps the end until it is acknowledged.
func (r *execution) hold(e *protocol.End) {
	n := sizeOf(e)
	if r.shared != nil && r.shared.held+n > endsMax {
		e = withoutValue(e)
		n = sizeOf(e)
	}
	r.end, r.endBytes = e, n
	r.shared.add(n)
}

// drop lets go of all that is held.
func (r *execution) drop() {
	r.release(math.MaxInt64)
	r.shared.add(-r.endBytes)
	r.end, r.endBytes = nil, 0
}

// sizeOf is about how much memory an end takes.
func sizeOf(e *protocol.End) int {
	n := 512 + len(e.ValueJSON) + len(e.ValueText) + len(e.ErrText) + len(e.Traceback)
	for kind, form := range e.Rich {
		n += len(kind) + len(form)
	}
	return n
}

// withoutValue is an end as it is told when it was too large to be held.
func withoutValue(e *protocol.End) *protocol.End {
	lean := *e
	lean.ValueJSON, lean.ValueText, lean.Rich, lean.HasValue = nil, "", nil, false
	if e.HasValue {
		const lost = "its value was not kept until a server had stored it: the sandboxes of its generation held too much already"
		if lean.Reason != "" {
			lean.Reason += "; "
		}
		lean.Reason += lost
	}
	return &lean
}
