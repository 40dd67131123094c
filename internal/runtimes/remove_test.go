package runtimes_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/remuda-run/remuda/internal/pool"
	"github.com/remuda-run/remuda/internal/remuda"
	"github.com/remuda-run/remuda/internal/store"
)

// runspace stores an open runspace of a runtime, without an instance, and returns what
// records its end.
func (h *house) runspace(t *testing.T, rt remuda.Runtime) (closeIt func()) {
	t.Helper()
	row := remuda.Runspace{
		ID: remuda.NewRunspaceID(), Organization: ours, Owner: "usr_a", Runtime: rt.ID, RuntimeName: rt.Name, Generation: 1,
		State: remuda.RunspaceReady, CreatedAt: time.Now(), LastUsedAt: time.Now(),
	}
	write := func(fn func(tx *store.Tx) error) {
		t.Helper()
		if err := h.store.Write(t.Context(), fn); err != nil {
			t.Fatal(err)
		}
	}
	write(func(tx *store.Tx) error { return tx.InsertRunspace(t.Context(), row) })
	return func() {
		t.Helper()
		row.State = remuda.RunspaceClosed
		write(func(tx *store.Tx) error { return tx.UpdateRunspace(t.Context(), row) })
	}
}

// TestDrainWaitsForTheRecord: a runspace whose instance is gone and whose end is not
// recorded yet does not make a deletion that waits fail.
func TestDrainWaitsForTheRecord(t *testing.T) {
	t.Parallel()
	h := open(t)
	rt := h.create(t, remuda.Definition{Name: "r", Language: remuda.LanguagePython})
	closeIt := h.runspace(t, rt)
	deleted := make(chan error, 1)
	go func() { deleted <- h.DeleteRuntime(t.Context(), deployer, "r", remuda.Deletion{Drain: time.Second}) }()
	select {
	case err := <-deleted:
		t.Fatalf("it ended before the end of the runspace was recorded: %v", err)
	case <-time.After(50 * time.Millisecond): // longer than it looks again
	}
	closeIt()
	if err := <-deleted; err != nil {
		t.Errorf("after that: %v", err)
	}
}

func TestDeleteIsRefusedWhileUsed(t *testing.T) {
	t.Parallel()
	h := open(t)
	rt := h.create(t, remuda.Definition{Name: "r", Language: remuda.LanguagePython, Pool: remuda.PoolBounds{MinCached: 1, MaxCached: 1}})
	closeIt := h.runspace(t, rt)
	err := h.DeleteRuntime(t.Context(), deployer, "r", remuda.Deletion{})
	var e *remuda.Error
	if !errors.As(err, &e) || e.Code != remuda.CodeConflict || !strings.Contains(e.Cause, "1 open runspace uses it") || e.Remedy == "" {
		t.Fatalf("delete of a used runtime: %v, want a conflict that counts", err)
	}
	closeIt()
	if err := h.DeleteRuntime(t.Context(), deployer, "r", remuda.Deletion{}); err != nil {
		t.Fatal(err)
	}
	if _, err := h.GetRuntime(t.Context(), deployer, "r"); remuda.CodeOf(err) != remuda.CodeNotFound {
		t.Errorf("after the delete: %v, want not_found", err)
	}
	if _, err := h.pool.Reserve(pool.Claim{Runtime: rt.ID}); remuda.CodeOf(err) != remuda.CodeNotFound {
		t.Errorf("lease after the delete: %v, want not_found", err)
	}
	if n := len(h.eng.Living()); n != 0 {
		t.Errorf("%d instances live after the delete", n)
	}
}
