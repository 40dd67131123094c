package executions

import (
	"context"
	"time"

	"github.com/remuda-run/remuda/internal/remuda"
	"github.com/remuda-run/remuda/internal/runspaces"
)

// RunSystem implements runspaces.Runner. It needs no right of p's: the server has
// decided that the script runs, for p's user. A server that is shutting down runs it
// too, as long as Run has not ended: whoever ends the runspace waits for the script,
// and Run for what comes after it.
func (s *Service) RunSystem(ctx context.Context, p remuda.Principal, sys runspaces.SystemRun) (remuda.ExecutionID, func(context.Context) (remuda.Execution, error), error) {
	r := newRun(p, remuda.ExecutionRequest{
		Runspace: sys.Runspace, Script: sys.Script, Name: sys.Name, Parameters: sys.Parameters, Timeout: sys.Timeout,
		Streams: true, // whoever asks what went wrong finds it where a script says such things
	}, time.Now())
	r.row.System, r.scratch = true, sys.Scratch
	var c checker
	if c.check(r.req); c.err() != nil {
		return "", nil, c.err()
	}
	hold, err := s.runspaces.AcquireSystem(ctx, p, sys.Runspace, r.id)
	if err != nil {
		return "", nil, err
	}
	r.inside(hold)
	if limit := r.def.ExecTimeout; r.req.Timeout > limit {
		r.req.Timeout = limit
	}
	s.begin(r)
	if err := s.admit(r, &s.systems, &s.over); err != nil {
		hold.Release(runspaces.Outcome{})
		return "", nil, err
	}
	s.due(r)
	go func() {
		defer s.systems.Done()
		s.run(r)
	}()
	// Its id is told of at once, and whoever asks for it finds it.
	if born := r.birth.begin(); born == nil {
		<-r.done // its end records all of it
	} else if err := born.Wait(ctx); err != nil {
		s.abort(r)
		return "", nil, err
	}
	return r.id, func(ctx context.Context) (remuda.Execution, error) {
		select {
		case <-r.done:
			return r.result()
		case <-ctx.Done():
			return remuda.Execution{}, remuda.Errorf(remuda.CodeDeadline, "wait for execution %s: %w", r.id, ctx.Err())
		}
	}, nil
}

// endSystems admits no more scripts of the server's own, cancels what is left of them
// and waits for it: the store is closed next.
func (s *Service) endSystems() {
	s.mu.Lock()
	s.over = true
	s.mu.Unlock()
	var left []*run
	for _, r := range s.all() {
		if r.snapshot().System {
			left = append(left, r)
		}
	}
	now, over := context.WithCancel(context.Background())
	over()
	if err := s.await(now, left); err != nil {
		s.log.Error("scripts of the server's own did not end", "scripts", len(left), "error", err)
		return
	}
	s.systems.Wait() // what is left to do after an end waits for nobody
}
