package connection

import (
	"net/http"
	"testing"

	"github.com/remuda-run/remuda/test/harness"
)

// TestMemoryOfRunspaces: the organization's limit holds in the kernel, below the
// runtime's, also for a runspace that has outlived its server; a runspace that was open
// before keeps what it had.
func TestMemoryOfRunspaces(t *testing.T) {
	w := newWorld(t, nil)
	const use = "x = bytearray(90 << 20)\nlen(x)"
	before := w.Runspace(w.runtime)
	w.Call(http.MethodPatch, "/v1/organizations/default/limits", harness.JSON{"memory_mb": 48}, nil)
	narrow := []string{w.Runspace(w.runtime), w.Runspace(w.runtime)}
	fails := func(id string) {
		t.Helper()
		if ex := w.RunIn(id, harness.JSON{"script": use}); ex.State == "success" || ex.KilledBy != "memory" && (ex.Error == nil || ex.Error.Type != "MemoryError") {
			t.Errorf("90 MiB in a runspace of 48: %s", ex)
		}
	}
	fails(narrow[0])
	w.Kill()
	w.Up()
	fails(narrow[1])
	if ex := w.RunIn(before, harness.JSON{"script": use}); ex.State != "success" {
		t.Errorf("90 MiB in a runspace of before: %s", ex)
	}
	p := w.Refuse(http.MethodPost, "/v1/runspaces", harness.JSON{"runtime": w.runtime, "memory_mb": 64})
	if p.Status != http.StatusBadRequest || p.Code != "invalid" {
		t.Errorf("more than the organization's limit: %v", p)
	}
}

// TestHistoryOfOrganization: who lowers the number sees it, and only what has ended goes.
func TestHistoryOfOrganization(t *testing.T) {
	w := newWorld(t, nil)
	rs := w.Runspace(w.runtime)
	var running harness.Execution
	w.Call(http.MethodPost, "/v1/runspaces/"+rs+"/executions", harness.JSON{"script": "import time; time.sleep(50)"}, &running)
	var ended []string
	for range 3 {
		ended = append(ended, w.Run(harness.JSON{"runtime": w.runtime, "script": "print('said')"}).ID)
	}
	w.Call(http.MethodPatch, "/v1/organizations/default/limits", harness.JSON{"keep_executions": 1}, nil)
	w.Eventually("the older ones are gone", func() bool {
		return w.Try(http.MethodGet, "/v1/executions/"+ended[0], nil, nil) != nil && w.Try(http.MethodGet, "/v1/executions/"+ended[1]+"/output", nil, nil) != nil
	})
	if p := w.Refuse(http.MethodGet, "/v1/executions/"+ended[0]+"/output", nil); p.Status != http.StatusNotFound {
		t.Errorf("output of what is gone: %v", p)
	}
	if stdout, _ := w.Output(ended[2]); stdout != "said\n" {
		t.Errorf("the newest one has the output %q", stdout)
	}
	w.Call(http.MethodGet, "/v1/executions/"+running.ID, nil, &running)
	if running.State != "running" {
		t.Errorf("what runs is %s", &running)
	}
}
