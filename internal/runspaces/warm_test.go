package runspaces_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/remuda-run/remuda/internal/pool"
	"github.com/remuda-run/remuda/internal/remuda"
	"github.com/remuda-run/remuda/internal/runspaces"
	"github.com/remuda-run/remuda/internal/store"
)

// openWarm is open with a runtime "w" of which an instance is kept warm.
func openWarm(t *testing.T, set runspaces.Settings) *house {
	t.Helper()
	h := open(t, set)
	_, err := h.rts.CreateRuntime(t.Context(), deployer, remuda.Definition{
		Name: "w", Language: remuda.LanguagePython, Resources: remuda.Resources{DiskMB: 1}, Pool: remuda.PoolBounds{MinCached: 1},
	})
	if err != nil {
		t.Fatal(err)
	}
	h.warm(t)
	return h
}

// warm waits until the pool has a warm instance.
func (h *house) warm(t *testing.T) {
	t.Helper()
	until(t, "there is a warm instance", func() bool {
		return slices.ContainsFunc(h.pool.Status(), func(s pool.Status) bool { return s.Ready > 0 })
	})
}

// stored is the row of a runspace as it is in the database.
func (h *house) stored(t *testing.T, id remuda.RunspaceID) (row remuda.Runspace) {
	t.Helper()
	err := h.store.Read(t.Context(), func(tx *store.Tx) (err error) {
		row, err = tx.Runspace(t.Context(), ours, id)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return row
}

// TestReadyAtOnce: where a warm instance is all that a runspace needs, it is recorded
// as ready before anybody is told of it, and is what any other is.
func TestReadyAtOnce(t *testing.T) {
	t.Parallel()
	h := openWarm(t, runspaces.Settings{Linger: time.Hour})
	idle := time.Minute
	rs, err := h.CreateRunspace(t.Context(), deployer, remuda.RunspaceRequest{Runtime: "w", Name: "n", IdleTimeout: &idle})
	if err != nil {
		t.Fatal(err)
	}
	row := h.stored(t, rs.ID)
	if rs.State != remuda.RunspaceReady || row.State != rs.State || row.Instance == "" || row.Instance != rs.Instance || row.LastUsedAt.Before(row.CreatedAt) {
		t.Fatalf("created %+v\nstored %+v", rs, row)
	}
	if got := h.state(t, rs.ID); got.State != remuda.RunspaceReady || got.Instance != rs.Instance {
		t.Errorf("it shows as %+v", got)
	}
	for _, inst := range h.eng.Living() {
		if inst.ID() == rs.Instance && inst.Linger() != time.Hour {
			t.Errorf("its sandbox waits %s for another server", inst.Linger())
		}
	}
	hold, err := h.Acquire(t.Context(), deployer, rs.ID, "ex_1")
	if err != nil || !hold.Fresh || hold.Instance.ID() != rs.Instance {
		t.Fatalf("it lends %+v, %v", hold, err)
	}
	hold.Release(runspaces.Outcome{Ran: true})
	if err := h.DeleteRunspace(t.Context(), deployer, rs.ID); err != nil {
		t.Fatal(err)
	}
	h.audited(t, string(rs.ID), []string{"create", "end"})
}

// TestNotReadyAtOnce: what a script has to come first for is created as ever.
func TestNotReadyAtOnce(t *testing.T) {
	t.Parallel()
	h := openWarm(t, runspaces.Settings{})
	rs, err := h.CreateRunspace(t.Context(), deployer, remuda.RunspaceRequest{Runtime: "w", InitScript: "set x 1"})
	if err != nil || rs.State != remuda.RunspaceCreating || rs.Instance != "" {
		t.Fatalf("created %+v, %v", rs, err)
	}
	if rs, err = h.WaitRunspace(t.Context(), deployer, rs.ID, time.Minute); err != nil || rs.State != remuda.RunspaceReady {
		t.Errorf("it became %s: %s, %v", rs.State, rs.Error, err)
	}
}

// TestRefusedThoughWarm: a creation that the store refuses leaves neither a runspace nor
// the sandbox that it had taken.
func TestRefusedThoughWarm(t *testing.T) {
	t.Parallel()
	h := openWarm(t, runspaces.Settings{})
	h.ready(t, remuda.RunspaceRequest{Runtime: "w", Name: "n"})
	h.warm(t)
	had := len(h.eng.Living())
	rs, err := h.CreateRunspace(t.Context(), deployer, remuda.RunspaceRequest{Runtime: "w", Name: "n"})
	if remuda.CodeOf(err) != remuda.CodeConflict || rs.ID != "" {
		t.Fatalf("created %+v, %v; want a conflict", rs, err)
	}
	h.warm(t)
	until(t, "its sandbox is gone", func() bool { return len(h.eng.Living()) == had })
	if list, _, err := h.ListRunspaces(t.Context(), deployer, remuda.Page{}); err != nil || len(list) != 1 {
		t.Errorf("there are %v, %v", list, err)
	}
}

// TestWarmButLost: a sandbox that cannot be told how long to wait for another server
// makes no runspace that says it is ready.
func TestWarmButLost(t *testing.T) {
	t.Parallel()
	h := openWarm(t, runspaces.Settings{Linger: time.Hour})
	h.eng.FailLinger(errors.New("its keeper is gone"))
	rs, err := h.CreateRunspace(t.Context(), deployer, remuda.RunspaceRequest{Runtime: "w"})
	if err != nil || rs.State != remuda.RunspaceCreating {
		t.Fatalf("created %+v, %v", rs, err)
	}
	rs, err = h.WaitRunspace(t.Context(), deployer, rs.ID, time.Minute)
	if err != nil || rs.State != remuda.RunspaceError || rs.Error == "" {
		t.Errorf("it became %s: %q, %v", rs.State, rs.Error, err)
	}
}

// TestWarmButSlow: a sandbox that does not answer at once holds up nobody's creation.
// The runspace is ready when it has answered.
func TestWarmButSlow(t *testing.T) {
	t.Parallel()
	h := openWarm(t, runspaces.Settings{Linger: time.Hour})
	answers := make(chan struct{})
	h.eng.HoldLinger(answers)
	rs, err := h.CreateRunspace(t.Context(), deployer, remuda.RunspaceRequest{Runtime: "w"})
	if err != nil || rs.State != remuda.RunspaceCreating {
		t.Fatalf("created %+v, %v", rs, err)
	}
	if row := h.stored(t, rs.ID); row.State != remuda.RunspaceCreating || row.Instance != "" {
		t.Errorf("it is stored as %+v", row)
	}
	close(answers)
	rs, err = h.WaitRunspace(t.Context(), deployer, rs.ID, time.Minute)
	if row := h.stored(t, rs.ID); err != nil || rs.State != remuda.RunspaceReady || row.State != rs.State || row.Instance != rs.Instance || rs.Instance == "" {
		t.Errorf("it became %+v (stored %+v): %q, %v", rs, row, rs.Error, err)
	}

	h.eng.HoldLinger(make(chan struct{})) // one that never answers
	h.warm(t)
	rs, err = h.CreateRunspace(t.Context(), deployer, remuda.RunspaceRequest{Runtime: "w"})
	if err != nil || rs.State != remuda.RunspaceCreating {
		t.Fatalf("created %+v, %v", rs, err)
	}
	if err := h.DeleteRunspace(t.Context(), deployer, rs.ID); err != nil {
		t.Errorf("it cannot be deleted: %v", err)
	}
}
