package store_test

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/remuda-run/remuda/internal/remuda"
	"github.com/remuda-run/remuda/internal/store"
)

// TestEndWhileEndsAreMoved records an end while those before it are moved to the tables:
// it is moved too, though nobody reads or writes any more.
func TestEndWhileEndsAreMoved(t *testing.T) {
	t.Parallel()
	s, err := store.Open(t.Context(), store.Options{Path: filepath.Join(t.TempDir(), "ends.db")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	org := remuda.NewOrganizationID()
	record := func() {
		e := &store.End{Execution: remuda.Execution{ID: remuda.NewExecutionID(), Organization: org, State: remuda.ExecutionSuccess, CreatedAt: time.Now()}}
		if err := s.RecordEnd(t.Context(), e); err != nil {
			t.Error(err)
		}
	}
	writing, release := make(chan struct{}), make(chan struct{})
	busy := s.Begin(func(tx *store.Tx) error {
		close(writing)
		<-release
		return tx.InsertOrganization(t.Context(), remuda.Organization{ID: org, Name: "o", CreatedAt: time.Now()})
	})
	<-writing
	record()
	until(t, "it is to be moved", func() bool { _, writes := s.Waiting(); return writes == 2 })
	meanwhile := s.Begin(func(*store.Tx) error { record(); return nil }) // in the same transaction, behind it
	close(release)
	for _, p := range []*store.Pending{busy, meanwhile} {
		if err := p.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	until(t, "the second one is moved", func() bool { ends, _ := s.Waiting(); return ends == 0 })
}

// until polls a condition that comes true by itself.
func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	for late := time.Now().Add(30 * time.Second); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(late) {
			t.Fatal("never: " + what)
		}
	}
}
