package store_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/remuda-run/remuda/internal/store"
)

// TestLostReadersLeaveNoFiles loses connections and counts the database's files that
// are open once it is closed.
func TestLostReadersLeaveNoFiles(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "files.db")
	s, err := store.Open(t.Context(), store.Options{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		if err := s.LoseReader(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if openFiles(t, path) == 0 {
		t.Error("an open database has no open file")
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if n := openFiles(t, path); n > 0 {
		t.Errorf("%d files are open after Close", n)
	}
}

func openFiles(t *testing.T, path string) (n int) {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip("this system does not tell what is open")
	}
	for _, e := range entries {
		if link, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil && strings.HasPrefix(link, path) {
			n++
		}
	}
	return n
}
