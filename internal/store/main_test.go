package store_test

import (
	"context"
	"database/sql"
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"testing"

	"github.com/remuda-run/remuda/internal/store"
	"github.com/remuda-run/remuda/internal/store/storetest"
)

var sqliteBackend = storetest.Backend{
	New: func(t testing.TB) string {
		t.Helper()
		return storetest.Fresh(t, filepath.Join(t.TempDir(), "remuda.db"))
	},
	Open: func(ctx context.Context, location string) (*store.Store, error) {
		return store.Open(ctx, store.Options{Path: location})
	},
	Alter: func(ctx context.Context, location, query string, args ...any) error {
		u := url.URL{Scheme: "file", Path: location, RawQuery: "_busy_timeout=5000"}
		db, err := sql.Open("sqlite", u.String())
		if err != nil {
			return err
		}
		_, err = db.ExecContext(ctx, query, args...)
		return errors.Join(err, db.Close())
	},
}

func TestMain(m *testing.M) {
	if location := os.Getenv(diskEnv); location != "" {
		os.Exit(diskChild(location))
	}
	os.Exit(storetest.Main(m, sqliteBackend))
}

func TestSQLite(t *testing.T) {
	t.Parallel()
	storetest.Run(t, sqliteBackend)
}
