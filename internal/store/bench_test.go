package store_test

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/remuda-run/remuda/internal/remuda"
	"github.com/remuda-run/remuda/internal/store"
)

// BenchmarkExecution is the hot path: one write that records an execution, its
// end, its output and its audit entry.
func BenchmarkExecution(b *testing.B) {
	for _, callers := range []int{1, 8, 64} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			s, err := store.Open(b.Context(), store.Options{Path: filepath.Join(b.TempDir(), "remuda.db")})
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(func() { _ = s.Close() })
			org := remuda.Organization{ID: remuda.NewOrganizationID(), Name: "bench", CreatedAt: time.Now()}
			if err := s.Write(b.Context(), func(tx *store.Tx) error { return tx.InsertOrganization(b.Context(), org) }); err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			b.ResetTimer()
			var wg sync.WaitGroup
			for c := range callers {
				n := b.N / callers
				if c < b.N%callers {
					n++
				}
				wg.Go(func() {
					for range n {
						if err := recordExecution(b.Context(), s, org.ID); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "writes/s")
		})
	}
}

func recordExecution(ctx context.Context, s *store.Store, org remuda.OrganizationID) error {
	now := time.Now()
	code := 0
	e := remuda.Execution{
		ID: remuda.NewExecutionID(), Organization: org, Owner: "usr_bench", Runtime: "rt_bench", RuntimeName: "python",
		State: remuda.ExecutionQueued, CreatedAt: now,
	}
	done := e
	done.State, done.ExitCode, done.StartedAt, done.EndedAt, done.OutputBytes = remuda.ExecutionSuccess, &code, &now, &now, 2
	done.Value = &remuda.Value{JSON: []byte("2"), Text: "2"}
	done.Usage = remuda.Usage{CPU: time.Millisecond, Wall: time.Millisecond, PeakMemory: 1 << 20}
	done.Timings = remuda.Timings{"queue": 10 * time.Microsecond, "lease": 10 * time.Microsecond, "run": time.Millisecond, "total": time.Millisecond}
	return s.Write(ctx, func(tx *store.Tx) error {
		if err := tx.InsertExecution(ctx, e); err != nil {
			return err
		}
		if err := tx.UpdateExecution(ctx, done); err != nil {
			return err
		}
		if err := tx.AppendOutput(ctx, org, e.ID, []remuda.OutputRecord{{Seq: 1, Stream: remuda.StreamStdout, Data: []byte("2\n")}}); err != nil {
			return err
		}
		return tx.AppendAudit(ctx, remuda.AuditEntry{Organization: org, User: "usr_bench", Action: "execution.run", Object: string(e.ID), Outcome: remuda.OutcomeOK, At: now})
	})
}
