package runspaces

import (
	"context"
	"fmt"
	"slices"

	"github.com/remuda-run/remuda/internal/remuda"
)

// maxLine bounds the executions that wait for their turn in one runspace.
const maxLine = 100

// Ticket is a place in the line of a runspace. Either Wait returns a Hold, or Leave
// gives the place up.
type Ticket struct {
	Runspace   remuda.Runspace
	Definition remuda.Definition

	r         *runspace
	execution remuda.ExecutionID
	turn      chan struct{} // closed when hold or err is set
	hold      *Hold
	err       error
}

// Queue is Acquire for an execution that may wait: a busy runspace gives it a place
// in line, first come first served, instead of a Hold. Errors: those of Acquire but
// for busy, and exhausted when the line is full.
func (s *Service) Queue(ctx context.Context, p remuda.Principal, id remuda.RunspaceID, execution remuda.ExecutionID) (*Hold, *Ticket, error) {
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
	t := &Ticket{Runspace: r.row, Definition: r.lease.Definition(), r: r, execution: execution, turn: make(chan struct{})}
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
	t.r.line = slices.DeleteFunc(t.r.line, func(other *Ticket) bool { return other == t })
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
	t.hold = r.holdLocked(t.execution)
	close(t.turn)
}

// turnAwayLocked tells everybody in line why their turn will not come.
func (r *runspace) turnAwayLocked(why func() error) {
	for _, t := range r.line {
		t.err = why()
		close(t.turn)
	}
	r.line = nil
}
