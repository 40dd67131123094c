package local

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/remuda"
)

// BenchmarkLives is whole lives of forked instances, eight at a time: made, one
// script, destroyed. It tells the processor time of the machine for each, and how
// often both processes of an instance touched a page that had to be made.
func BenchmarkLives(b *testing.B) {
	for _, tt := range []struct {
		name    string
		preload []string
	}{{"plain", nil}, {"preload", []string{"json", "sqlite3", "ssl", "http.client", "asyncio"}}} {
		b.Run(tt.name, func(b *testing.B) {
			e := benchEngine(b)
			spec := engine.Spec{
				Generation: remuda.GenerationKey{Runtime: remuda.NewRuntimeID(), Number: 1},
				Language:   remuda.LanguagePython, Resources: benchResources, Preload: tt.preload,
			}
			for range 2 {
				oneLife(b, e, spec, nil)
			}
			for deadline := time.Now().Add(time.Minute); e.templates.of(b.Context(), spec) == nil; time.Sleep(5 * time.Millisecond) {
				if time.Now().After(deadline) {
					b.Fatal("no template after a minute")
				}
			}
			for range 20 {
				oneLife(b, e, spec, nil)
			}
			var f faults
			before := busy(b)
			begun := time.Now()
			var left atomic.Int64
			left.Store(int64(b.N))
			b.ResetTimer()
			var wg sync.WaitGroup
			for range 8 {
				wg.Go(func() {
					for left.Add(-1) >= 0 {
						oneLife(b, e, spec, &f)
					}
				})
			}
			wg.Wait()
			b.StopTimer()
			n := float64(b.N)
			b.ReportMetric(float64((busy(b)-before).Microseconds())/n, "cpu-us/op")
			b.ReportMetric(n/time.Since(begun).Seconds(), "lives/s")
			b.ReportMetric(float64(f.first.Load())/n, "first-faults/op")
			b.ReportMetric(float64(f.interpreter.Load())/n, "interpreter-faults/op")
		})
	}
}

type faults struct{ first, interpreter atomic.Int64 }

func oneLife(b *testing.B, e *Engine, spec engine.Spec, f *faults) {
	b.Helper()
	spec.ID = remuda.NewInstanceID()
	inst, err := e.Create(context.Background(), spec)
	if err != nil {
		b.Error(err)
		return
	}
	res, err := inst.Execute(context.Background(), engine.Request{ID: remuda.NewExecutionID(), Script: "print(1)", KillOnTimeout: true}, nil)
	if err != nil || res.State != remuda.ExecutionSuccess {
		b.Error(res, err)
	}
	if i := inst.(*Instance); f != nil && i.blank.forked {
		if first := i.blank.proc.pid; first > 0 {
			f.first.Add(minorFaults(first))
			if children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", first, first)); err == nil {
				if pid, err := strconv.Atoi(strings.TrimSpace(string(children))); err == nil {
					f.interpreter.Add(minorFaults(pid))
				}
			}
		}
	}
	if err := inst.Destroy(context.Background()); err != nil {
		b.Error(err)
	}
}

func minorFaults(pid int) int64 {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	n, _ := strconv.ParseInt(fields[7], 10, 64)
	return n
}

// busy is how long the machine's processors have worked.
func busy(b *testing.B) time.Duration {
	b.Helper()
	stat, err := os.ReadFile("/proc/stat")
	if err != nil {
		b.Fatal(err)
	}
	fields := strings.Fields(strings.SplitN(string(stat), "\n", 2)[0])
	var ticks int64
	for i, f := range fields[1:] {
		n, _ := strconv.ParseInt(f, 10, 64)
		if i != 3 && i != 4 && i < 8 { // idle, iowait
			ticks += n
		}
	}
	return time.Duration(ticks) * (time.Second / 100)
}
