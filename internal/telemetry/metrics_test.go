package telemetry

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/remuda-run/remuda/internal/remuda"
)

func scrape(t *testing.T, m *Metrics) string {
	t.Helper()
	rec := httptest.NewRecorder()
	m.Handler().ServeHTTP(rec, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", http.NoBody))
	body, err := io.ReadAll(rec.Body)
	if err != nil || rec.Code != http.StatusOK {
		t.Fatalf("scrape: status %d, %v", rec.Code, err)
	}
	return string(body)
}

func TestScrape(t *testing.T) {
	t.Parallel()
	m := New()
	m.WatchInstances(func() ([]InstanceCount, Slots) {
		return []InstanceCount{{Generation: remuda.GenerationKey{Runtime: "rt_x", Number: 3}, State: remuda.InstanceReady, Count: 2}}, Slots{InUse: 2, Capacity: 64}
	})
	m.WatchRunspaces(func() map[remuda.RunspaceState]int { return map[remuda.RunspaceState]int{remuda.RunspaceReady: 5} })
	m.Lease(true, 3*time.Microsecond)
	m.Lease(false, 30*time.Millisecond)
	m.Start(true, nil)
	m.Start(false, io.EOF)
	m.DeadWarm()
	m.DestroyFailed()
	m.Stages(remuda.Timings{"run": time.Millisecond})
	m.ExecutionMoved("", remuda.ExecutionQueued, remuda.LanguageBash)
	m.ExecutionMoved(remuda.ExecutionQueued, remuda.ExecutionRunning, remuda.LanguageBash)
	m.ExecutionMoved("", remuda.ExecutionRunning, remuda.LanguageNode)
	m.ExecutionMoved(remuda.ExecutionRunning, remuda.ExecutionTimeout, remuda.LanguageNode)
	text := scrape(t, m)
	for _, line := range []string{
		`remuda_pool_leases_total{result="hit"} 1`, `remuda_pool_leases_total{result="miss"} 1`,
		`remuda_pool_lease_seconds_count{result="hit"} 1`,
		`remuda_instances{generation="3",runtime="rt_x",state="ready"} 2`,
		`remuda_slots_in_use 2`, `remuda_slots_capacity 64`,
		`remuda_runspaces{state="ready"} 5`, `remuda_runspaces{state="creating"} 0`,
		`remuda_executions{state="queued"} 0`, `remuda_executions{state="running"} 1`,
		`remuda_executions_total{language="node",state="timeout"} 1`, `remuda_executions_total{language="python",state="success"} 0`,
		`remuda_instance_starts_total{outcome="ok",purpose="warm"} 1`, `remuda_instance_starts_total{outcome="failed",purpose="cold"} 1`,
		`remuda_pool_dead_instances_total 1`, `remuda_instance_destroy_failures_total 1`,
		`remuda_execution_stage_seconds_count{stage="run"} 1`, `go_goroutines`,
	} {
		if !strings.Contains(text, line) {
			t.Errorf("no line %q in the metrics", line)
		}
	}
}

func TestNilMetricsTakeEveryCall(t *testing.T) {
	t.Parallel()
	var m *Metrics
	m.Lease(true, 0)
	m.Start(true, nil)
	m.DeadWarm()
	m.DestroyFailed()
	m.Stages(nil)
	m.ExecutionMoved("", remuda.ExecutionQueued, "")
	m.WatchInstances(nil)
	m.WatchRunspaces(nil)
}
