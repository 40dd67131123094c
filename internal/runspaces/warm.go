package runspaces

import (
	"context"
	"time"

	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/pool"
	"github.com/remuda-run/remuda/internal/remuda"
)

// needsOnly says that a runspace needs only the instance that its lease has already,
// as it is: no script comes first.
func needsOnly(lease *pool.Lease, row remuda.Runspace) bool {
	return lease.Ready() && row.InitScript == "" && !row.Connects()
}

// promptly is how long the caller of a creation waits for a warm instance to answer.
// Most answer within a fraction of a millisecond.
const promptly = 100 * time.Millisecond

// takeWarm takes the instance of a runspace that needs only that, and returns the row
// to be recorded, which is ready at once: one commit is all that it costs. Should the
// server end before that commit, the next one finds an instance that no row names, and
// ends it. An instance that has died meanwhile leaves a row that is being created, and
// a life that ends it with the reason; one that is slow is waited for in that life.
func (s *Service) takeWarm(r *runspace) (row remuda.Runspace, life func(*runspace)) {
	var inst engine.Instance
	taken := make(chan error, 1)
	go func() {
		taken <- s.timely(r, func(ctx context.Context) (err error) {
			if inst, err = r.lease.Start(ctx); err != nil {
				return err
			}
			return s.linger(ctx, inst)
		})
	}()
	slow := time.NewTimer(promptly)
	defer slow.Stop()
	select {
	case err := <-taken:
		row = r.state()
		if err != nil {
			return row, func(r *runspace) { s.keep(r, err) }
		}
		r.setInstance(inst)
		row.State, row.Instance, row.LastUsedAt = remuda.RunspaceReady, inst.ID(), remuda.Now()
		return row, func(r *runspace) { s.keep(r, nil) }
	case <-slow.C:
		return r.state(), func(r *runspace) {
			err := <-taken
			if err == nil {
				r.setInstance(inst)
				err = s.timely(r, func(ctx context.Context) error { return s.ready(ctx, r, inst) })
			}
			s.keep(r, err)
		}
	}
}

// opened notes that row is recorded, and lets others use what is ready in it.
func (r *runspace) opened(row remuda.Runspace) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if row.State != remuda.RunspaceReady {
		return
	}
	r.row.State, r.row.Instance, r.row.LastUsedAt, r.noted = row.State, row.Instance, row.LastUsedAt, row.LastUsedAt
	r.unblockLocked()
}
