package executions

import (
	"context"
	"sync"
	"time"

	"github.com/remuda-run/remuda/internal/store"
)

// birth is the record that an execution exists: its row and the audit entry of
// its submission. It is due when somebody is to be told of the execution, when
// output is to be stored, or after a moment. A run that has ended before that
// takes its birth into the transaction of its end: of three transactions that a
// short execution may need on a server without stock, that leaves one.
type birth struct {
	store Store
	write func(*store.Tx) error

	mu      sync.Mutex
	due     *dueThing // nil while it is not
	pending *store.Pending
	folded  bool // the end writes it
	stored  bool // by an earlier server
}

// What is recorded because its time has come, while nobody waits for it, waits so
// long for so many others.
const (
	birthPatience = 5 * time.Millisecond
	birthCompany  = 16
)

// after makes the birth due in the time of a list.
func (b *birth) after(list *dueList) { b.again(list, nil) }

// again is after, and when the birth is pending already then the change of its row is
// due, which the end would say again.
func (b *birth) again(list *dueList, change func(*store.Tx) error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.stop()
	if b.folded {
		return
	}
	var due *dueThing
	due = list.add(func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		switch {
		case b.due != due: // taken back
		case b.pending == nil:
			b.pending = b.store.BeginPatiently(birthPatience, birthCompany, b.write)
		case change != nil:
			b.store.BeginPatiently(birthPatience, birthCompany, change)
		}
	})
	b.due = due
}

// await has the birth written and returns once it is durable. It is not when the end
// of the execution writes it: then born is false.
func (b *birth) await(ctx context.Context) (born bool, err error) {
	pending := b.begin()
	if pending == nil {
		return b.stored, nil
	}
	return true, pending.Wait(ctx)
}

// begin queues the birth to be written, if it is not yet. It returns nil when the
// end of the execution writes it, or an earlier server has.
func (b *birth) begin() *store.Pending {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.pending == nil && !b.folded && !b.stored {
		b.stop()
		b.pending = b.store.Begin(b.write)
	}
	return b.pending
}

// fold leaves the birth to the end of the execution, unless it is queued already.
func (b *birth) fold() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.stop()
	b.folded = b.pending == nil && !b.stored
	return b.folded
}

// durable says that the birth is, without waiting for it.
func (b *birth) durable() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.stored || b.pending != nil && b.pending.Durable()
}

func (b *birth) stop() {
	if b.due != nil {
		b.due.takeBack()
		b.due = nil
	}
}
