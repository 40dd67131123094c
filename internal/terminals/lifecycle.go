package terminals

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/remuda-run/remuda/internal/remuda"
)

// Run forgets what is over, and ends connections of people who have lost their
// rights, until ctx ends.
func (s *Service) Run(ctx context.Context) error {
	tick := time.NewTicker(s.set.Sweep)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			s.sweep(ctx)
		}
	}
}

func (s *Service) sweep(ctx context.Context) {
	now := time.Now()
	s.mu.Lock()
	s.tickets.expire(now)
	attached := map[remuda.TokenID][]*Attachment{}
	var ids []remuda.TokenID
	for id, t := range s.open {
		if ended, ok := t.endedAt(); ok && now.Sub(ended) > s.set.KeepEnded {
			delete(s.open, id)
			s.tickets.drop(id)
		}
		if a := t.attachment(); a != nil && a.p.Token != "" {
			if attached[a.p.Token] == nil {
				ids = append(ids, a.p.Token)
			}
			attached[a.p.Token] = append(attached[a.p.Token], a)
		}
	}
	s.mu.Unlock()
	if len(ids) == 0 {
		return
	}
	principals, err := s.tokens.Principals(ctx, ids)
	if err != nil {
		if ctx.Err() == nil {
			s.log.Error("the tokens of connections to terminals could not be looked at", "error", err)
		}
		return
	}
	for token, list := range attached {
		err := may(principals, token)
		if err == nil {
			continue
		}
		for _, a := range list {
			a.leave(err)
		}
	}
}

// Close ends every terminal and waits until none is left, or ctx ends: a program that
// the kernel does not let go of must not keep the server.
func (s *Service) Close(ctx context.Context) error {
	s.mu.Lock()
	s.closed = true
	open := make([]*terminal, 0, len(s.open))
	for _, t := range s.open {
		open = append(open, t)
	}
	s.mu.Unlock()
	ended := make(chan error, 1)
	go func() { ended <- s.endAll(open) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
		return remuda.Errorf(remuda.CodeDeadline, "wait for the end of %d terminals: %w", len(open), ctx.Err())
	}
}

// endAll ends terminals and waits for all that reads and writes them.
func (s *Service) endAll(open []*terminal) error {
	errs := make([]error, len(open))
	var ending sync.WaitGroup
	for n, t := range open {
		if a := t.attachment(); a != nil {
			a.leave(remuda.ShuttingDown())
		}
		ending.Go(func() { errs[n] = t.end() })
	}
	ending.Wait()
	s.parts.Wait()
	return errors.Join(errs...)
}
