package executions_test

import (
	"context"
	"log/slog"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/remuda-run/remuda/internal/engine/fake"
	"github.com/remuda-run/remuda/internal/executions"
	"github.com/remuda-run/remuda/internal/pool"
	"github.com/remuda-run/remuda/internal/remuda"
	"github.com/remuda-run/remuda/internal/runspaces"
	"github.com/remuda-run/remuda/internal/runtimes"
	"github.com/remuda-run/remuda/internal/store"
)

// BenchmarkRunspace is what the services cost around an engine that costs
// nothing: recording, leasing and answering one execution.
func BenchmarkRunspace(b *testing.B) {
	b.Run("recorded once", func(b *testing.B) { benchmark(b, time.Second) })
	b.Run("recorded twice", func(b *testing.B) { benchmark(b, time.Nanosecond) })
}

func benchmark(b *testing.B, recordAfter time.Duration) {
	b.Helper()
	ctx := context.Background()
	log := slog.New(slog.DiscardHandler)
	st, err := store.Open(ctx, store.Options{Path: filepath.Join(b.TempDir(), "remuda.db")})
	if err != nil {
		b.Fatal(err)
	}
	eng := fake.New()
	p := pool.New(eng, log, nil, pool.Settings{})
	rts := runtimes.New(st, eng, p, log, runtimes.Settings{})
	spaces := runspaces.New(st, rts, p, log, nil, runspaces.Settings{})
	service := executions.New(st, rts, spaces, p, log, nil, executions.Settings{RecordAfter: recordAfter})
	run, stop := context.WithCancel(ctx)
	var background sync.WaitGroup
	background.Go(func() { _ = p.Run(run) })
	defer func() {
		_ = spaces.Drain(ctx)
		stop()
		background.Wait()
		_ = p.Close(ctx)
		_ = st.Close()
	}()
	err = st.Write(ctx, func(tx *store.Tx) error {
		return tx.InsertOrganization(ctx, remuda.Organization{ID: ours, Name: "ours", CreatedAt: time.Now()})
	})
	if err != nil {
		b.Fatal(err)
	}
	if err := rts.Start(ctx); err != nil {
		b.Fatal(err)
	}
	if _, err := rts.CreateRuntime(ctx, deployer, remuda.Definition{Name: "r", Language: remuda.LanguagePython, Pool: remuda.PoolBounds{MinCached: 8, MaxCached: 8}}); err != nil {
		b.Fatal(err)
	}
	rs, err := spaces.CreateRunspace(ctx, deployer, remuda.RunspaceRequest{Runtime: "r"})
	if err != nil {
		b.Fatal(err)
	}
	if _, err := spaces.WaitRunspace(ctx, deployer, rs.ID, time.Minute); err != nil {
		b.Fatal(err)
	}
	for name, req := range map[string]remuda.ExecutionRequest{
		"silent": {Runspace: rs.ID, Script: "value 2"}, "printing": {Runspace: rs.ID, Script: "print 2"}, "one-shot": {Runtime: "r", Script: "value 2"},
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, err := service.SubmitExecution(ctx, deployer, req, time.Minute); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
