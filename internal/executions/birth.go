package executions

import (
	"sync"
	"time"

	"github.com/remuda-run/remuda/internal/store"
)

// birth is the record that an execution exists: its row and the audit entry of
// its submission. It is due when somebody is to be told of the execution, when
// output is to be stored, or after a moment. A run that has ended before that
// takes its birth into the transaction of its end, which halves what a short
// execution costs.
type birth struct {
	store Store
	write func(*store.Tx) error

	mu      sync.Mutex
	timer   *time.Timer
	pending *store.Pending
	folded  bool // the end writes it
}

// after makes the birth due in d.
func (b *birth) after(d time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.timer = time.AfterFunc(d, func() { b.begin() })
}

// begin queues the birth to be written, if it is not yet. It returns nil when the
// end of the execution writes it.
func (b *birth) begin() *store.Pending {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.pending == nil && !b.folded {
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
	b.folded = b.pending == nil
	return b.folded
}

func (b *birth) stop() {
	if b.timer != nil {
		b.timer.Stop()
	}
}
