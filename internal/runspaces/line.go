package runspaces

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/remuda-run/remuda/internal/remuda"
)

// Bounds of what waits for a turn.
const (
	maxLine      = 100       // executions in one runspace
	maxLineBytes = 128 << 20 // what their requests hold in memory, of one organization
)

// waitingBytes is how much memory the lines of organizations hold.
type waitingBytes struct {
	mu sync.Mutex
	of map[remuda.OrganizationID]int
}

// take reports whether n more bytes may wait.
func (w *waitingBytes) take(org remuda.OrganizationID, n int) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.of[org]+n > maxLineBytes {
		return false
	}
	w.of[org] += n
	return true
}

func (w *waitingBytes) give(org remuda.OrganizationID, n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.of[org] -= n; w.of[org] <= 0 {
		delete(w.of, org)
	}
}

// Ticket is a place in the line of a runspace. Either Wait returns a Hold, or Leave
// gives the place up.
type Ticket struct {
	Runspace   remuda.Runspace
	Definition remuda.Definition

	r         *runspace
	execution remuda.ExecutionID
	bytes     int
	turn      chan struct{} // closed when hold or err is set
	hold      *Hold
	err       error
}

// Queue is Acquire for an execution that may wait: a busy runspace gives it a place
// in line, first come first served, instead of a Hold. Errors: those of Acquire but
// for busy, and exhausted when the line is full. bytes is how much memory the request
// holds while it waits.
func (s *Service) Queue(ctx context.Context, p remuda.Principal, id remuda.RunspaceID, execution remuda.ExecutionID, bytes int) (*Hold, *Ticket, error) {
	r, err := s.openOrWhy(ctx, p, id)
	if err != nil {
		return nil, nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.usable(); err != nil {
		return nil, nil, err
	}
	if r.running == "" {
		return r.holdLocked(execution), nil, nil
	}
	if len(r.line) >= maxLine {
		return nil, nil, &remuda.Error{
			Code: remuda.CodeExhausted, Message: "no more executions can wait for runspace " + string(id),
			Cause:  fmt.Sprintf("%d wait already, which is the limit", len(r.line)),
			Remedy: "wait until some of them have ended, or use another runspace", RetryAfterSeconds: 1,
		}
	}
	if !r.bytes.take(r.org, bytes) {
		return nil, nil, &remuda.Error{
			Code: remuda.CodeExhausted, Message: "no more executions can wait for runspace " + string(id),
			Cause:  fmt.Sprintf("what waits in the organization's runspaces would hold more than %d MiB", maxLineBytes>>20),
			Remedy: "wait until some of it has run, or put large inputs into files of the workspace", RetryAfterSeconds: 1,
		}
	}
	t := &Ticket{Runspace: r.row, Definition: r.lease.Definition(), r: r, execution: execution, bytes: bytes, turn: make(chan struct{})}
	r.line = append(r.line, t)
	return nil, t, nil
}

// Wait returns when it is the ticket's turn, or the runspace cannot be used any
// more. When ctx ends first the place is given up.
func (t *Ticket) Wait(ctx context.Context) (*Hold, error) {
	select {
	case <-t.turn:
		return t.hold, t.err
	case <-ctx.Done():
		t.Leave()
		return nil, remuda.Errorf(remuda.CodeCanceled, "wait for a turn in runspace %s: %w", t.r.id, ctx.Err())
	}
}

// Leave gives the place up, and what Wait would have returned with it.
func (t *Ticket) Leave() {
	t.r.mu.Lock()
	if i := slices.Index(t.r.line, t); i >= 0 {
		t.r.line = slices.Delete(t.r.line, i, i+1)
		t.r.bytes.give(t.r.org, t.bytes)
	}
	hold := t.hold
	t.r.mu.Unlock()
	if hold != nil {
		hold.Release(Outcome{})
	}
}

// nextLocked gives the runspace to the first in line.
func (r *runspace) nextLocked() {
	if len(r.line) == 0 || r.running != "" || r.usable() != nil {
		return
	}
	t := r.line[0]
	r.line = slices.Delete(r.line, 0, 1)
	r.bytes.give(r.org, t.bytes)
	t.hold = r.holdLocked(t.execution)
	close(t.turn)
}

// turnAwayLocked tells everybody in line why their turn will not come.
func (r *runspace) turnAwayLocked(why func() error) {
	for _, t := range r.line {
		r.bytes.give(r.org, t.bytes)
		t.err = why()
		close(t.turn)
	}
	r.line = nil
}
