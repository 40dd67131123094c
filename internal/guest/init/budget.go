package guestinit

import (
	"math"
	"time"

	"github.com/remuda-run/remuda/internal/guest/protocol"
)

// budget is what the instances of a template hold together for their servers: output
// and ends that are not acknowledged, in bytes. They share their keeper's memory, and
// with it their fate; without a server each of them could fill its own part.
type budget struct{ output, ends int }

// The budget's bounds. When all together hold outputMax, each may hold no more output
// than outputLeast, which is enough to go on; and when they hold endsMax, those ends
// are held without their values that some server has had for thinAfter, and if that
// is not enough, the new one is.
const (
	outputMax   = 64 << 20
	outputLeast = 64 << 10
	endsMax     = 64 << 20
	thinAfter   = 10 * time.Second
	thinLeast   = 64 << 10 // of an end, to be worth it
)

// spent reports whether an output that holds so many bytes is to hold no more.
func (b *budget) spent(held int) bool {
	return b != nil && b.output >= outputMax && held >= outputLeast
}

func (b *budget) addOutput(n int) {
	if b != nil {
		b.output += n
	}
}

// hold keeps the end until it is acknowledged.
func (k *keeper) hold(e *protocol.End) {
	r := k.run
	if r.shared == nil {
		r.end = e
		return
	}
	n := sizeOf(e)
	if r.shared.ends+n > endsMax {
		k.parent.template.thin(time.Now().Add(-thinAfter))
	}
	if r.shared.ends+n > endsMax {
		e = withoutValue(e)
		n = sizeOf(e)
	}
	r.end, r.endBytes = e, n
	r.shared.ends += n
}

// thin takes their values from ends that a server has had since before a moment.
func (t *template) thin(before time.Time) {
	for _, child := range t.children {
		r := child.run
		if r == nil || r.endBytes < thinLeast || r.sentAt.IsZero() || !r.sentAt.Before(before) {
			continue
		}
		r.shared.ends -= r.endBytes
		r.end = withoutValue(r.end)
		r.endBytes = sizeOf(r.end)
		r.shared.ends += r.endBytes
	}
}

// drop lets go of all that is held.
func (r *execution) drop() {
	r.release(math.MaxInt64)
	if r.shared != nil {
		r.shared.ends -= r.endBytes
	}
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
