package store_test

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
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
			cpu := cpuTime(b)
			took := make([][]time.Duration, callers)
			var wg sync.WaitGroup
			for c := range callers {
				n := b.N / callers
				if c < b.N%callers {
					n++
				}
				wg.Go(func() {
					for range n {
						start := time.Now()
						if err := recordExecution(b.Context(), s, org.ID); err != nil {
							b.Error(err)
							return
						}
						took[c] = append(took[c], time.Since(start))
					}
				})
			}
			wg.Wait()
			b.ReportMetric(float64((cpuTime(b)-cpu).Microseconds())/float64(b.N), "cpu-us/op")
			all := slices.Concat(took...)
			slices.Sort(all)
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "writes/s")
			b.ReportMetric(float64(all[len(all)/2].Microseconds()), "p50-us")
			b.ReportMetric(float64(all[len(all)*99/100].Microseconds()), "p99-us")
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

// cpuTime is what this process has used; unlike the wall clock it hardly depends
// on what else the machine does.
func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		b.Fatal(err)
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}
