package storetest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/remuda-run/remuda/internal/remuda"
	"github.com/remuda-run/remuda/internal/store"
)

// Rows as earlier versions wrote them. Never change them: databases hold them.
const (
	oldDefinition = `{"name":"old","language":"python","environment":"host","cpu":1,"memory_mb":64,"disk_mb":32,"pids":16,"exec_timeout_us":60000000,"min_cached":0,"max_cached":2}`
	oldResult     = `{"reason":"r","timings_us":{"run":7}}`
)

// What an earlier version wrote is read with the meaning that it had.
func testOldRows(in subject) {
	t, b := in.t, in.b
	f := newFixture(t, b)
	rt, ex := newRuntime(f.org), newExecution(f.org)
	f.write(func(ctx context.Context, tx *store.Tx) error {
		return errors.Join(tx.InsertRuntime(ctx, rt), tx.InsertExecution(ctx, ex))
	})
	alter(t, b, f, "UPDATE runtimes SET definition = $1 WHERE id = $2", oldDefinition, string(rt.ID))
	alter(t, b, f, "UPDATE executions SET result = $1 WHERE id = $2", oldResult, string(ex.ID))
	f.read(func(ctx context.Context, tx *store.Tx) error {
		gotRuntime, err := tx.Runtime(ctx, f.org, rt.ID)
		same(t, gotRuntime.Definition, remuda.Definition{
			Name: "old", Language: remuda.LanguagePython, Environment: remuda.EnvironmentHost, ExecTimeout: time.Minute, Isolation: remuda.IsolationProcess, VersionPolicy: remuda.VersionExact,
			Resources: remuda.Resources{CPU: 1, MemoryMB: 64, DiskMB: 32, Pids: 16}, Pool: remuda.PoolBounds{MaxCached: 2},
		})
		gotExecution, err2 := tx.Execution(ctx, f.org, ex.ID)
		same(t, gotExecution.Reason, "r")
		same(t, gotExecution.Timings, remuda.Timings{"run": 7 * time.Microsecond})
		same(t, gotExecution.Warm || gotExecution.Narrowed != nil || gotExecution.ColdReason != "", false)
		return errors.Join(err, err2)
	})
}

func alter(t *testing.T, b Backend, f *fixture, query string, args ...any) {
	t.Helper()
	if err := b.Alter(t.Context(), f.location, query, args...); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
}
