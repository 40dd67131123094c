package executions_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/remuda-run/remuda/internal/remuda"
)

// TestRealStreams has the drivers say what the fake engine's scripts only claim.
func TestRealStreams(t *testing.T) {
	t.Parallel()
	h := sandboxed(t)
	rs := h.space(t, remuda.RunspaceRequest{Runtime: "r"})
	in := func(req remuda.ExecutionRequest) remuda.ExecutionRequest {
		req.Runspace = rs.ID
		return req
	}
	t.Run("streams", func(t *testing.T) {
		e := h.run(t, in(remuda.ExecutionRequest{Streams: true, Script: "import logging, os\nlogging.warning('w')\nos.write(2, b'begun and ')\nlogging.error('e')\nos.write(2, b'ended\\nopen')\nraise ValueError('no')"}))
		if got := h.messages(t, e.ID, remuda.StreamWarning, 1); !slices.Equal(got, []string{"w"}) {
			t.Errorf("warnings %q", got)
		}
		for most := range 4 {
			got := h.messages(t, e.ID, remuda.StreamError, most+1)
			slices.Sort(got)
			if !slices.Equal(got, []string{"ValueError: no", "begun and ended", "e", "open"}) {
				t.Errorf("errors in pages of %d: %q", most+1, got)
			}
		}
		records, _, ended, err := h.executions.StreamRecords(t.Context(), deployer, e.ID, remuda.StreamWarning, remuda.StreamPage{Last: 5})
		if err != nil || !ended || len(records) != 1 || records[0].Time.Before(*e.StartedAt) || records[0].Time.After(*e.EndedAt) {
			t.Errorf("%+v, %v, %v: between %v and %v", records, ended, err, e.StartedAt, e.EndedAt)
		}
	})
	t.Run("live", func(t *testing.T) {
		e := h.submit(t, in(remuda.ExecutionRequest{Streams: true, Script: "import logging, time\nlogging.info('begun')\ntime.sleep(600)"}))
		until(t, "the message is there", func() bool {
			records, _, ended, err := h.executions.StreamRecords(t.Context(), deployer, e.ID, remuda.StreamInformation, remuda.StreamPage{Last: 1})
			return err == nil && !ended && len(records) == 1 && records[0].Message == "begun"
		})
		h.cancel(t, e.ID)
	})
	t.Run("parameters", func(t *testing.T) {
		e := h.run(t, in(remuda.ExecutionRequest{
			Script: "sum(numbers) + n, day.year", Parameters: map[string]json.RawMessage{"n": json.RawMessage("1")},
			ParameterScripts: []remuda.ParameterScript{
				{Name: "numbers", Script: "print('not seen')\n(int(c) for c in argument)", Value: json.RawMessage(`"123"`)},
				{Name: "day", Script: "import datetime\ndatetime.date(2026, 1, 1)"},
			},
		}))
		if e.Value == nil || e.Value.Text != "(7, 2026)" || e.OutputBytes != 0 {
			t.Errorf("ended as %s (%s) with %+v and %d bytes of output", e.State, e.Reason, e.Value, e.OutputBytes)
		}
		if e := h.run(t, in(remuda.ExecutionRequest{Script: "'argument' in globals()"})); e.Value == nil || e.Value.Text != "False" {
			t.Errorf("argument is there: %+v", e.Value)
		}
		e = h.run(t, in(remuda.ExecutionRequest{Script: "never = 1", ParameterScripts: []remuda.ParameterScript{{Name: "x", Script: "1/0"}}}))
		if e.State != remuda.ExecutionError || e.Error == nil || e.Error.Type != "ZeroDivisionError" || !strings.Contains(e.Error.Traceback, "<parameter x>") || !strings.Contains(e.Reason, `"x"`) {
			t.Errorf("ended as %s (%s) with %+v", e.State, e.Reason, e.Error)
		}
		if e := h.run(t, in(remuda.ExecutionRequest{Script: "'never' in globals(), 'x' in globals()"})); e.Value == nil || e.Value.Text != "(False, False)" {
			t.Errorf("the script has run: %+v", e.Value)
		}
	})
	t.Run("a parameter called argument", func(t *testing.T) {
		e := h.run(t, in(remuda.ExecutionRequest{Script: "argument", ParameterScripts: []remuda.ParameterScript{{Name: "argument", Script: "argument + 1", Value: json.RawMessage("1")}}}))
		if e.Value == nil || e.Value.Text != "2" {
			t.Errorf("ended as %s (%s) with %+v", e.State, e.Reason, e.Value)
		}
	})
	t.Run("a parameter that ends its interpreter", func(t *testing.T) {
		other := h.space(t, remuda.RunspaceRequest{Runtime: "r"})
		e := h.run(t, remuda.ExecutionRequest{Runspace: other.ID, Script: "1", ParameterScripts: []remuda.ParameterScript{{Name: "x", Script: "import os\nos._exit(0)"}}})
		if e.State != remuda.ExecutionError || e.Reason != `the script of parameter "x" failed: it ended its interpreter` {
			t.Errorf("ended as %s: %s", e.State, e.Reason)
		}
		until(t, "the runspace says so", func() bool {
			got, err := h.runspaces.GetRunspace(t.Context(), deployer, other.ID)
			return err == nil && got.State == remuda.RunspaceError
		})
	})
	t.Run("time of all", func(t *testing.T) {
		began := time.Now()
		e := h.run(t, in(remuda.ExecutionRequest{
			Script: "import time\ntime.sleep(600)", Timeout: 2 * time.Second,
			ParameterScripts: []remuda.ParameterScript{{Name: "x", Script: "import time\ntime.sleep(1.5)"}},
		}))
		if took := time.Since(began); e.State != remuda.ExecutionTimeout || took < 2*time.Second {
			t.Errorf("ended as %s (%s) after %s", e.State, e.Reason, took)
		}
		e = h.run(t, in(remuda.ExecutionRequest{Script: "1", Timeout: 300 * time.Millisecond, ParameterScripts: []remuda.ParameterScript{{Name: "slow", Script: "time.sleep(600)"}}}))
		if e.State != remuda.ExecutionTimeout || !strings.Contains(e.Reason, `"slow"`) {
			t.Errorf("ended as %s (%s)", e.State, e.Reason)
		}
	})
	t.Run("canceled", func(t *testing.T) {
		e := h.submit(t, in(remuda.ExecutionRequest{Script: "1", ParameterScripts: []remuda.ParameterScript{{Name: "slow", Script: "open('begun', 'w')\ntime.sleep(600)"}}}))
		until(t, "it has begun", func() bool {
			list, err := h.runspaces.ListFiles(t.Context(), deployer, rs.ID, "")
			return err == nil && len(list) > 0
		})
		h.cancel(t, e.ID)
		if e := h.run(t, in(remuda.ExecutionRequest{Script: "day.year"})); e.Value == nil || e.Value.Text != "2026" {
			t.Errorf("the runspace has lost its variables: %s %+v", e.Reason, e.Error)
		}
	})
}

// cancel ends an execution and wants it canceled.
func (h *house) cancel(t *testing.T, id remuda.ExecutionID) {
	t.Helper()
	if _, err := h.executions.CancelExecution(t.Context(), deployer, id); err != nil {
		t.Fatal(err)
	}
	if e := h.wait(t, id); e.State != remuda.ExecutionCanceled {
		t.Errorf("ended as %s: %s", e.State, e.Reason)
	}
}
