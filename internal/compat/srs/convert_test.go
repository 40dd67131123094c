package srs

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/remuda-run/remuda/internal/httpapi"
	"github.com/remuda-run/remuda/internal/remuda"
)

// Ids go out and come back, in either case and with and without the prefix.
func TestIDs(t *testing.T) {
	t.Parallel()
	for range 100 {
		id := remuda.NewRunspaceID()
		first, last := remuda.UUIDRange(remuda.PrefixRunspace, runspaceUUID(runspaceID(id)))
		if string(id) < first || string(id) > last || first == "" {
			t.Fatalf("%s becomes %s and is looked for from %q to %q", id, runspaceID(id), first, last)
		}
		if uuid := remuda.UUID(id); runspaceUUID(strings.ToUpper(runspaceID(id))) != uuid || runspaceUUID(uuid) != uuid {
			t.Fatalf("%s is not found in other forms", runspaceID(id))
		}
	}
}

func TestTimeText(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 21, 11, 0, 0, 123456789, time.FixedZone("", 3600))
	if got, want := timeText(at), "2026-11-21T10:00:00.1234567+00:00"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// No text that leaves has an id of ours.
func TestTheirIDs(t *testing.T) {
	t.Parallel()
	ex, rs := remuda.NewExecutionID(), remuda.NewRunspaceID()
	got := theirIDs("execution " + string(ex) + " in (" + string(rs) + "), not ex_1")
	if want := "execution " + remuda.UUID(ex) + " in (" + runspaceID(rs) + "), not ex_1"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestExecutionToWire(t *testing.T) {
	t.Parallel()
	created, ended := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), time.Date(2026, 1, 2, 3, 4, 6, 0, time.UTC)
	base := remuda.Execution{ID: remuda.NewExecutionID(), Runspace: remuda.NewRunspaceID(), CreatedAt: created}
	for name, c := range map[string]struct {
		change        func(*remuda.Execution)
		state, reason string
	}{
		"queued":   {func(e *remuda.Execution) { e.State = remuda.ExecutionQueued }, "running", ""},
		"success":  {func(e *remuda.Execution) { e.State, e.EndedAt = remuda.ExecutionSuccess, &ended }, "success", ""},
		"timeout":  {func(e *remuda.Execution) { e.State, e.Reason = remuda.ExecutionTimeout, "too slow" }, "error", "too slow"},
		"lost":     {func(e *remuda.Execution) { e.State, e.Reason = remuda.ExecutionLost, "gone" }, "error", "gone"},
		"canceled": {func(e *remuda.Execution) { e.State, e.Reason = remuda.ExecutionCanceled, "it was canceled" }, "canceled", "it was canceled"},
		"exception": {func(e *remuda.Execution) {
			e.State, e.Error = remuda.ExecutionError, &remuda.ScriptError{Type: "E", Message: "m"}
		}, "error", "E: m"},
		"parameter": {func(e *remuda.Execution) {
			e.State, e.Reason, e.Error = remuda.ExecutionError, "the script of parameter p failed", &remuda.ScriptError{Type: "E", Message: "no number"}
		}, "error", "E: no number (the script of parameter p failed)"},
	} {
		ex := base
		c.change(&ex)
		w := executionToWire(ex)
		if w.State != c.state || w.Reason != c.reason || (w.EndTime != "") != (ex.EndedAt != nil) {
			t.Errorf("%s: got %+v", name, w)
		}
	}
}

// Every code of ours has a status here.
func TestEveryCodeHasAStatus(t *testing.T) {
	t.Parallel()
	for _, code := range []remuda.Code{
		remuda.CodeInvalid, remuda.CodeUnauthenticated, remuda.CodeForbidden, remuda.CodeNotFound, remuda.CodeConflict, remuda.CodePrecondition, remuda.CodeTooLarge,
		remuda.CodeUnsupportedType, remuda.CodeExhausted, remuda.CodeDeadline, remuda.CodeCanceled, remuda.CodeUnavailable, remuda.CodeUnsupported, remuda.CodeInternal,
		httpapi.CodeMethodNotAllowed,
	} {
		a := answerOf(failed(&remuda.Error{Code: code, Message: "m"}, codeHistory))
		if statuses[code] == 0 || a.status != statuses[code] || a.status >= 500 && a.body.Code != codeHistory {
			t.Errorf("%s becomes %+v", code, a)
		}
	}
	if a := answerOf(errors.New("secret cause")); a.status != http.StatusInternalServerError || strings.Contains(a.body.Message+a.body.Details, "secret") {
		t.Errorf("an error of nobody's becomes %+v", a)
	}
}

// FuzzBodies decodes whatever comes: what is taken is sound, and what is not is said to
// be the request's fault.
func FuzzBodies(f *testing.F) {
	for _, seed := range []string{
		`{"name":"n","run_vc_connection_script":"true","credentials":{"a":"b"}}`, `{"run_vc_connection_script":1}`, `{"run_vc_connection_script":null}`,
		`{"runspace_id":"pcli-x","script":"1","script_parameters":[{"name":"a","value":{"x":[1]}},{"name":"b","script":"1"}],"output_objects_format":"JSON"}`,
		`{"template_id":"vm-by-id-server-name","template_placeholder_value_list":[{"values":[{"placeholder_name":"id","value":["a'b"]}]}]}`,
		`{"max_number_of_runspaces":"5","max_runspace_idle_time_minutes":0}`, `{"no_older_than_days":9999999}`, `{"a":1,"a":2}`, "{\"name\":\"\xff\"}",
	} {
		f.Add([]byte(seed))
	}
	doc, err := document()
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		decode := func(operation string, into any) bool {
			err := httpapi.DecodeJSON(data, doc.Operation(operation).JSONBody(), into)
			if err != nil && answerOf(err).status != http.StatusBadRequest {
				t.Fatalf("%s: %v", operation, err)
			}
			return err == nil
		}
		var rs runspaceCreate
		if decode("create-runspace", &rs) {
			req := (&edge{}).runspaceRequest(remuda.Principal{}, rs)
			if !utf8.ValidString(req.Label) || len(req.Label) > 4*255 {
				t.Fatalf("the label is %q", req.Label)
			}
		}
		var run executionCreate
		if decode("create-script-execution", &run) {
			req, err := executionRequest(remuda.Runspace{}, run)
			if err != nil && answerOf(err).status != http.StatusBadRequest {
				t.Fatal(err)
			}
			for name, v := range req.Parameters {
				if !json.Valid(v) || name == "" {
					t.Fatalf("the parameter %q is %s", name, v)
				}
			}
		}
		var script argumentScript
		if decode("create-argument-scripts-script", &script) {
			if _, err := fillsOf(script); err != nil && answerOf(err).status != http.StatusBadRequest {
				t.Fatal(err)
			}
		}
		var provider providerSettings
		if decode("update-provider-settings", &provider) {
			if p := providerPatch(provider); p.IdleTimeout != nil && *p.IdleTimeout < 0 || p.MaxRunspaces != nil && *p.MaxRunspaces < 0 {
				t.Fatalf("the patch is %+v", p)
			}
		}
		var retention retentionPolicy
		if decode("update-retention-policy", &retention) {
			if p := retentionPatch(retention); p.KeepFor != nil && *p.KeepFor < 0 {
				t.Fatalf("the patch is %+v", p)
			}
		}
	})
}
