package storetest

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"

	"github.com/remuda-run/remuda/internal/store"
)

// empty is a database as the first start of a server makes it. To make one takes every
// migration, which is most of what a small test with a database of its own does.
var empty = sync.OnceValues(func() (content []byte, err error) {
	dir, err := os.MkdirTemp("", "remuda-storetest-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	path := filepath.Join(dir, "remuda.db")
	s, err := store.Open(context.Background(), store.Options{Path: path, Durability: store.DurabilityProcess})
	if err != nil {
		return nil, err
	}
	if err := s.Close(); err != nil {
		return nil, err
	}
	return os.ReadFile(path)
})

// fataler is what a test is to this.
type fataler interface {
	Helper()
	Fatalf(format string, args ...any)
}

// Fresh puts an empty database at a path where there is none, and returns the path. It
// is for tests to which the first start does not matter.
func Fresh(t fataler, path string) string {
	t.Helper()
	if _, err := os.Stat(path); err == nil {
		return path
	}
	content, err := empty()
	if err != nil {
		t.Fatalf("make an empty database: %v", err)
	}
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatalf("%v", err)
	}
	return path
}
