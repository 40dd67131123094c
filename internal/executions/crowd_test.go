package executions_test

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/remuda-run/remuda/internal/remuda"
	"github.com/remuda-run/remuda/internal/runspaces"
)

// TestEverybodyAtOnce has many callers do everything to the same few runspaces, with
// servers killed and shut down in between. Afterwards nothing is stuck, and nothing is
// there but what is open.
func TestEverybodyAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{runspaces: runspaces.Settings{CancelGrace: 5 * time.Millisecond, SweepEvery: 5 * time.Millisecond}})
	c := newClient(w)
	for round := range 6 {
		var ids []remuda.RunspaceID
		for range 3 {
			id, err := c.create(t.Context(), remuda.RunspaceRequest{})
			if err != nil {
				t.Fatal(err)
			}
			ids = append(ids, id)
		}
		crowd(w.now, ids, round)
		if round%2 == 0 {
			w.kill()
		} else {
			w.leave()
		}
		w.start()
	}
	s, ctx := w.now, context.Background()
	for id := range c.spaces {
		if rs, err := s.runspaces.WaitRunspace(ctx, deployer, id, 20*time.Second); err != nil || rs.State == remuda.RunspaceCreating {
			t.Errorf("a runspace is %s: %s, %v", rs.State, rs.Error, err)
		}
		if err := s.runspaces.DeleteRunspace(ctx, deployer, id); err != nil {
			t.Errorf("delete: %v", err)
		}
	}
	for state := range map[remuda.ExecutionState]bool{remuda.ExecutionQueued: true, remuda.ExecutionRunning: true} {
		list, _, err := s.executions.ListExecutions(ctx, deployer, remuda.ExecutionFilter{State: state}, remuda.Page{})
		if err != nil || len(list) != 0 {
			t.Errorf("after everything was deleted %d executions are %s: %+v, %v", len(list), state, list, err)
		}
	}
	until(t, "nothing is held", func() bool { return s.pool.Slots().InUse == len(w.eng.Living()) })
}

// crowd does all kinds of things at the same time. Errors are expected: what is asked
// for may not be possible any more.
func crowd(s *server, ids []remuda.RunspaceID, seed int) {
	ctx, cancel := context.WithTimeout(context.Background(), 150*time.Millisecond)
	defer cancel()
	scripts := []string{"print 1", "set x 1", "block", "flood 200000", "stubborn\nblock", "sleep 2ms", "die memory", "raise ValueError no"}
	weights := []int{0, 0, 0, 0, 0, 1, 1, 2, 3, 3, 4, 5, 5, 6}
	var all sync.WaitGroup
	for n := range 8 {
		dice := rand.New(rand.NewPCG(uint64(seed), uint64(n)))
		all.Go(func() {
			var last remuda.ExecutionID
			for ctx.Err() == nil {
				id := ids[dice.IntN(len(ids))]
				switch what := weights[dice.IntN(len(weights))]; what {
				case 0:
					req := remuda.ExecutionRequest{Runspace: id, Script: scripts[dice.IntN(len(scripts))], Queue: dice.IntN(2) == 0}
					if e, err := s.executions.SubmitExecution(ctx, deployer, req, time.Duration(dice.IntN(3))*time.Millisecond); err == nil {
						last = e.ID
					}
				case 1:
					_, _ = s.executions.CancelExecution(ctx, deployer, last)
				case 2:
					_, _ = s.runspaces.InterruptRunspace(ctx, deployer, id)
				case 3:
					_, _ = s.runspaces.ResetRunspace(ctx, deployer, id, runspaces.ResetRequest{})
				case 4:
					if dice.IntN(8) == 0 {
						_ = s.runspaces.DeleteRunspace(ctx, deployer, id)
					}
				case 5:
					_, _ = s.runspaces.WaitRunspace(ctx, deployer, id, time.Millisecond)
				case 6:
					if release, _, err := s.runspaces.Use(ctx, deployer, id); err == nil {
						release()
					}
				}
			}
		})
	}
	all.Wait()
}
