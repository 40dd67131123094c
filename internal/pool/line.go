package pool

import (
	"context"
	"slices"
	"sync"

	"github.com/remuda-run/remuda/internal/remuda"
)

// line gives out the turns of cold starts: one organization after the other, and
// within one who came first. So a burst of one organization makes it wait for
// itself, and others for one turn at most.
type line struct {
	mu      sync.Mutex
	free    int
	waiting map[remuda.OrganizationID][]chan struct{} // each closed when its turn comes
	order   []remuda.OrganizationID                   // of those with somebody waiting
}

func newLine(turns int) *line {
	return &line{free: turns, waiting: map[remuda.OrganizationID][]chan struct{}{}}
}

// take waits for a turn. Give it back with give.
func (q *line) take(ctx context.Context, org remuda.OrganizationID) error {
	q.mu.Lock()
	if q.free > 0 {
		q.free--
		q.mu.Unlock()
		return nil
	}
	turn := make(chan struct{})
	if len(q.waiting[org]) == 0 {
		q.order = append(q.order, org)
	}
	q.waiting[org] = append(q.waiting[org], turn)
	q.mu.Unlock()
	select {
	case <-turn:
		return nil
	case <-ctx.Done():
	}
	if !q.leave(org, turn) {
		q.give() // the turn came at the same time
	}
	return remuda.Errorf(remuda.CodeCanceled, "wait for a turn to start an instance: %w", ctx.Err())
}

// leave takes somebody who gave up out of the line, and reports whether it was
// still in it.
func (q *line) leave(org remuda.OrganizationID, turn chan struct{}) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	i := slices.Index(q.waiting[org], turn)
	if i < 0 {
		return false
	}
	q.waiting[org] = slices.Delete(q.waiting[org], i, i+1)
	if len(q.waiting[org]) == 0 {
		delete(q.waiting, org)
		q.order = slices.DeleteFunc(q.order, func(o remuda.OrganizationID) bool { return o == org })
	}
	return true
}

// give passes a turn on to the next organization, or keeps it for later.
func (q *line) give() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.order) == 0 {
		q.free++
		return
	}
	org := q.order[0]
	q.order = q.order[1:]
	turn := q.waiting[org][0]
	if rest := q.waiting[org][1:]; len(rest) > 0 {
		q.waiting[org] = rest
		q.order = append(q.order, org)
	} else {
		delete(q.waiting, org)
	}
	close(turn)
}
