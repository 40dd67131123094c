package executions_test

import (
	"testing"
	"time"

	"github.com/remuda-run/remuda/internal/remuda"
	"github.com/remuda-run/remuda/internal/runspaces"
	"github.com/remuda-run/remuda/internal/store"
)

// TestTimesGoOnOverARestart has the idle clock of runspaces run on while servers follow
// each other: by what is stored one that was not used for long is closed, one in which
// something ran lately or still runs is not.
func TestTimesGoOnOverARestart(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{runspaces: runspaces.Settings{SweepEvery: 5 * time.Millisecond, UsedEvery: time.Minute}})
	c := newClient(w)
	ctx := t.Context()
	var ids []remuda.RunspaceID
	for range 3 {
		id, err := c.create(ctx, remuda.RunspaceRequest{})
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	idle, ran, runs := ids[0], ids[1], ids[2]
	if _, err := c.run(ctx, ran, "print 1", "1\n", time.Minute); err != nil {
		t.Fatal(err)
	}
	execution, err := c.run(ctx, runs, "print on\nblock", "on\n", 0)
	if err != nil {
		t.Fatal(err)
	}
	c.says(t, execution)
	w.kill()
	long := remuda.Now().Add(-24 * time.Hour)
	err = w.store.Write(ctx, func(tx *store.Tx) error {
		for _, id := range ids {
			if err := tx.NoteUse(ctx, ours, id, long); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	s := w.start()
	if s.recovered.Attached != 3 || s.went.Resumed != 1 || s.went.Lost != 0 {
		t.Fatalf("recovered %+v and %+v", s.recovered, s.went)
	}
	until(t, "the idle one is closed", func() bool {
		rs, err := s.runspaces.GetRunspace(ctx, deployer, idle)
		return err == nil && rs.State == remuda.RunspaceClosed
	})
	for id, want := range map[remuda.RunspaceID]remuda.RunspaceState{ran: remuda.RunspaceReady, runs: remuda.RunspaceActive} {
		if rs, err := s.runspaces.GetRunspace(ctx, deployer, id); err != nil || rs.State != want {
			t.Errorf("one that was used is %s: %s, %v; want %s", rs.State, rs.Error, err, want)
		}
	}
	if _, err := s.executions.CancelExecution(ctx, deployer, execution); err != nil {
		t.Fatal(err)
	}
	if e, err := s.executions.WaitExecution(ctx, deployer, execution, time.Minute); err != nil || e.State != remuda.ExecutionCanceled {
		t.Errorf("what was gone on with is %s: %s, %v", e.State, e.Reason, err)
	}
	if e, err := c.run(ctx, runs, "print works", "works\n", time.Minute); err != nil || c.runs[e].end.State != remuda.ExecutionSuccess {
		t.Errorf("the next script: %v, %v", c.runs[e], err)
	}
}

// says waits until a script has written something: it has begun in its sandbox.
func (c *client) says(t *testing.T, id remuda.ExecutionID) {
	t.Helper()
	page, err := c.w.now.executions.Output(t.Context(), deployer, id, 0, 0, time.Minute)
	if err != nil || len(page.Records) == 0 {
		t.Fatalf("output of what runs: %+v, %v", page, err)
	}
}

// TestUsesAreNoted has the last use of a runspace stored while it is open, also of one
// that is in use now.
func TestUsesAreNoted(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{runspaces: runspaces.Settings{UsedEvery: 5 * time.Millisecond}})
	c := newClient(w)
	id, err := c.create(t.Context(), remuda.RunspaceRequest{})
	if err != nil {
		t.Fatal(err)
	}
	release, _, err := w.now.runspaces.Use(t.Context(), deployer, id)
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	noted := func() (at time.Time) {
		err := w.store.Read(t.Context(), func(tx *store.Tx) error {
			row, err := tx.Runspace(t.Context(), ours, id)
			at = row.LastUsedAt
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return at
	}
	first := noted()
	until(t, "a later use is noted", func() bool { return noted().After(first) })
}

// TestActiveTimeGoesOnOverARestart has a script that runs for too long noticed by the
// second server, which counts from its beginning.
func TestActiveTimeGoesOnOverARestart(t *testing.T) {
	t.Parallel()
	bounds := new(limits).set(remuda.Limits{})
	w := newWorld(t, settings{runspaces: runspaces.Settings{SweepEvery: 5 * time.Millisecond, Limits: bounds, CancelGrace: 5 * time.Millisecond}})
	c := newClient(w)
	id, err := c.create(t.Context(), remuda.RunspaceRequest{})
	if err != nil {
		t.Fatal(err)
	}
	execution, err := c.run(t.Context(), id, "print on\nblock", "on\n", 0)
	if err != nil {
		t.Fatal(err)
	}
	c.says(t, execution)
	w.kill()
	err = w.store.Write(t.Context(), func(tx *store.Tx) error {
		row, err := tx.Execution(t.Context(), ours, execution)
		if err != nil {
			return err
		}
		began := row.StartedAt.Add(-time.Hour)
		row.StartedAt = &began
		return tx.UpdateExecution(t.Context(), row)
	})
	if err != nil {
		t.Fatal(err)
	}
	bounds.set(remuda.Limits{ActiveTimeout: 30 * time.Minute})
	s := w.start()
	e, err := s.executions.WaitExecution(t.Context(), deployer, execution, time.Minute)
	if err != nil || e.State != remuda.ExecutionError || e.KilledBy != remuda.KilledByTime {
		t.Errorf("it is %s by %q: %s, %v", e.State, e.KilledBy, e.Reason, err)
	}
}
