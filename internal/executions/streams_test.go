package executions_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/remuda-run/remuda/internal/executions"
	"github.com/remuda-run/remuda/internal/remuda"
)

// messages reads a stream in pages of at least a given number until its end.
func (h *house) messages(t *testing.T, id remuda.ExecutionID, stream remuda.Stream, most int) []string {
	t.Helper()
	all := []string{}
	var after int64
	deadline := time.Now().Add(time.Minute)
	for {
		records, next, ended, err := h.executions.StreamRecords(t.Context(), deployer, id, stream, remuda.StreamPage{After: after, Max: most})
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range records {
			if r.Seq <= after {
				t.Fatalf("a message of record %d comes after record %d", r.Seq, after)
			}
			all = append(all, r.Message)
		}
		if next < after {
			t.Fatalf("next is %d after %d", next, after)
		}
		if after = next; ended {
			return all
		}
		if time.Now().After(deadline) {
			t.Fatalf("stream %s does not end", stream)
		}
	}
}

func TestStreams(t *testing.T) {
	t.Parallel()
	h := open(t, settings{})
	e := h.run(t, remuda.ExecutionRequest{Runtime: "r", Streams: true, Script: strings.Join([]string{
		"say information i1", "print out", "say warning w1", "eprint line one", "say error e1", "say information i2", "say debug d", "say verbose v", "eprint line two",
	}, "\n")})
	for stream, want := range map[remuda.Stream][]string{
		remuda.StreamInformation: {"i1", "i2"}, remuda.StreamWarning: {"w1"}, remuda.StreamDebug: {"d"}, remuda.StreamVerbose: {"v"},
		remuda.StreamError: {"line one", "e1", "line two"},
	} {
		for _, most := range []int{1, 2, 100} {
			if got := h.messages(t, e.ID, stream, most); !slices.Equal(got, want) {
				t.Errorf("%s in pages of %d: %q, want %q", stream, most, got, want)
			}
		}
	}
	// Whoever reads output sees what was written as before, and the rest by its name.
	page, err := h.executions.Output(t.Context(), deployer, e.ID, 0, 0, 0)
	if err != nil || len(page.Records) != 9 || page.Records[0].Stream != remuda.StreamInformation || page.Records[1].Stream != remuda.StreamStdout {
		t.Errorf("output: %+v, %v", page.Records, err)
	}
	text, ended, err := h.executions.OutputText(t.Context(), deployer, e.ID)
	if err != nil || !ended || text != "out" {
		t.Errorf("text %q, %v, %v", text, ended, err)
	}
}

func TestStreamsWithoutAsking(t *testing.T) {
	t.Parallel()
	h := open(t, settings{})
	e := h.run(t, remuda.ExecutionRequest{Runtime: "r", Script: "say warning w\nprint p"})
	if got := h.messages(t, e.ID, remuda.StreamWarning, 10); len(got) != 0 {
		t.Errorf("messages %q", got)
	}
	if got := h.output(t, e.ID); got != "p\n" {
		t.Errorf("output %q", got)
	}
}

func TestNewestMessages(t *testing.T) {
	t.Parallel()
	h := open(t, settings{})
	var script strings.Builder
	for i := range 700 {
		fmt.Fprintf(&script, "say warning w%d\neprint e%d\n", i, i)
	}
	e := h.run(t, remuda.ExecutionRequest{Runtime: "r", Streams: true, Script: script.String()})
	last := func(stream remuda.Stream, n int, after int64) (list []string, next int64) {
		t.Helper()
		records, next, ended, err := h.executions.StreamRecords(t.Context(), deployer, e.ID, stream, remuda.StreamPage{Last: n, After: after})
		if err != nil || !ended {
			t.Fatalf("ended %v, %v", ended, err)
		}
		for _, r := range records {
			list = append(list, r.Message)
		}
		return list, next
	}
	for _, n := range []int{1, 50, 600, 700, 9000} {
		for stream, letter := range map[remuda.Stream]string{remuda.StreamWarning: "w", remuda.StreamError: "e"} {
			got, next := last(stream, n, 0)
			if want := min(n, 700); len(got) != want || got[0] != fmt.Sprintf("%s%d", letter, 700-want) || got[want-1] != letter+"699" || next < 1399 {
				t.Errorf("the last %d of %s are %d, %q to %q; next is %d", n, stream, len(got), got[0], got[len(got)-1], next)
			}
		}
	}
	if got, _ := last(remuda.StreamWarning, 50, 1395); !slices.Equal(got, []string{"w698", "w699"}) {
		t.Errorf("the last after record 1395: %q", got)
	}
}

// TestStreamsAreLive reads while the script runs, and goes on over its end.
func TestStreamsAreLive(t *testing.T) {
	t.Parallel()
	h := open(t, settings{})
	e := h.submit(t, remuda.ExecutionRequest{Runtime: "r", Streams: true, Script: "say debug one\neprint line\nblock"})
	var after int64
	until(t, "the message is there", func() bool {
		records, next, ended, err := h.executions.StreamRecords(t.Context(), deployer, e.ID, remuda.StreamDebug, remuda.StreamPage{})
		if err != nil || ended {
			t.Fatalf("ended %v, %v", ended, err)
		}
		after = next
		return len(records) == 1 && records[0].Message == "one"
	})
	if _, err := h.executions.CancelExecution(t.Context(), deployer, e.ID); err != nil {
		t.Fatal(err)
	}
	h.wait(t, e.ID)
	records, next, ended, err := h.executions.StreamRecords(t.Context(), deployer, e.ID, remuda.StreamDebug, remuda.StreamPage{After: after})
	if err != nil || len(records) != 0 || next != after || !ended {
		t.Errorf("after the end: %v, next %d, ended %v, %v", records, next, ended, err)
	}
}

func TestStreamRequests(t *testing.T) {
	t.Parallel()
	h := open(t, settings{})
	e := h.run(t, remuda.ExecutionRequest{Runtime: "r", Script: "print x"})
	for name, tt := range map[string]struct {
		stream remuda.Stream
		page   remuda.StreamPage
	}{
		"bogus": {stream: "bogus"}, "stdout": {stream: remuda.StreamStdout}, "object": {stream: remuda.StreamObject},
		"after": {remuda.StreamDebug, remuda.StreamPage{After: -1}}, "last": {remuda.StreamDebug, remuda.StreamPage{Last: -1}}, "max": {remuda.StreamDebug, remuda.StreamPage{Max: -1}},
	} {
		if _, _, _, err := h.executions.StreamRecords(t.Context(), deployer, e.ID, tt.stream, tt.page); remuda.CodeOf(err) != remuda.CodeInvalid {
			t.Errorf("%s: %v, want it invalid", name, err)
		}
	}
	other := deployer
	other.User, other.OwnOnly = "usr_b", true
	for who, p := range map[string]remuda.Principal{"another organization": principal(theirs, remuda.RoleDeployer), "another user": other} {
		_, _, _, err := h.executions.StreamRecords(t.Context(), p, e.ID, remuda.StreamDebug, remuda.StreamPage{})
		_, _, err2 := h.executions.OutputText(t.Context(), p, e.ID)
		_, _, err3 := h.executions.OutputObjects(t.Context(), p, e.ID)
		for _, err := range []error{err, err2, err3} {
			if remuda.CodeOf(err) != remuda.CodeNotFound {
				t.Errorf("%s: %v, want it not found", who, err)
			}
		}
	}
	other.User = deployer.User
	if text, _, err := h.executions.OutputText(t.Context(), other, e.ID); err != nil || text != "x" {
		t.Errorf("the owner: %q, %v", text, err)
	}
}

func TestOutputObjects(t *testing.T) {
	t.Parallel()
	h := open(t, settings{})
	e := h.run(t, remuda.ExecutionRequest{Runtime: "r", Objects: true, Script: "print <a> \"b\"\neprint no\nprint \nvalue {\"TypeName\":\"builtins.int\",\"Interfaces\":[],\"Value\":7}"})
	objects, ended, err := h.executions.OutputObjects(t.Context(), deployer, e.ID)
	want := []string{`{"TypeName":"builtins.str","Interfaces":[],"Value":"<a> \"b\""}`, `{"TypeName":"builtins.str","Interfaces":[],"Value":""}`, `{"TypeName":"builtins.int","Interfaces":[],"Value":7}`}
	if err != nil || !ended || !slices.Equal(objects, want) {
		t.Errorf("%q, %v, %v\nwant %q", objects, ended, err, want)
	}
	e = h.run(t, remuda.ExecutionRequest{Runtime: "r", Script: "flood 3\nvalue [1]"})
	if text, ended, err := h.executions.OutputText(t.Context(), deployer, e.ID); err != nil || !ended || text != "xxx\n[1]" {
		t.Errorf("text %q, %v, %v", text, ended, err)
	}
	if objects, _, err := h.executions.OutputObjects(t.Context(), deployer, e.ID); err != nil || len(objects) != 1 {
		t.Errorf("without objects: %q, %v", objects, err)
	}
	e = h.run(t, remuda.ExecutionRequest{Runtime: "r", Script: strings.Repeat("print x\n", 10_050)})
	objects, _, err = h.executions.OutputObjects(t.Context(), deployer, e.ID)
	if err != nil || len(objects) != 10_000 {
		t.Fatalf("%d objects, %v", len(objects), err)
	}
	var rest struct{ Value string }
	if err := json.Unmarshal([]byte(objects[9_999]), &rest); err != nil || rest.Value != strings.TrimSuffix(strings.Repeat("x\n", 51), "\n") {
		t.Errorf("the last of many lines is %q, %v", rest.Value, err)
	}
}

func TestParameterScripts(t *testing.T) {
	t.Parallel()
	h := open(t, settings{executions: executions.Settings{CancelGrace: 10 * time.Millisecond}})
	rs := h.space(t, remuda.RunspaceRequest{})
	ps := func(name, script string, value ...string) remuda.ParameterScript {
		p := remuda.ParameterScript{Name: name, Script: script}
		if len(value) > 0 {
			p.Value = json.RawMessage(value[0])
		}
		return p
	}
	e := h.run(t, remuda.ExecutionRequest{
		Runspace: rs.ID, Script: "get a\nget b\nparam c", Parameters: map[string]json.RawMessage{"c": json.RawMessage("3")},
		ParameterScripts: []remuda.ParameterScript{ps("a", "print nobody sees it\nvalue 1"), ps("b", "value 2\nset kept yes", `"x"`)},
	})
	if got := h.output(t, e.ID); e.State != remuda.ExecutionSuccess || got != "1\n2\n3\n" {
		t.Errorf("ended as %s (%s) with %q", e.State, e.Reason, got)
	}
	e = h.run(t, remuda.ExecutionRequest{
		Runspace: rs.ID, Script: "print not run", ParameterScripts: []remuda.ParameterScript{ps("a", "value 5"), ps("broken", "raise ValueError no"), ps("c", "set never yes")},
	})
	if got := h.output(t, e.ID); e.State != remuda.ExecutionError || e.Reason != `the script of parameter "broken" failed: ValueError: no` || e.Error == nil || got != "" {
		t.Errorf("ended as %s (%s), %+v with %q", e.State, e.Reason, e.Error, got)
	}
	if e = h.run(t, remuda.ExecutionRequest{Runspace: rs.ID, Script: "get kept\nget never"}); e.Error == nil || !strings.Contains(e.Error.Message, "never") {
		t.Errorf("a script after the failed one has run: %+v", e)
	}
	if e = h.run(t, remuda.ExecutionRequest{Runspace: rs.ID, Script: "print x", ParameterScripts: []remuda.ParameterScript{ps("slow", "block")}, Timeout: 20 * time.Millisecond}); e.State != remuda.ExecutionTimeout || e.KilledBy != remuda.KilledByTime || !strings.Contains(e.Reason, `"slow"`) {
		t.Errorf("ended as %s by %q: %s", e.State, e.KilledBy, e.Reason)
	}
	running := h.submit(t, remuda.ExecutionRequest{Runspace: rs.ID, Script: "print x", ParameterScripts: []remuda.ParameterScript{ps("slow", "set begun yes\nblock")}})
	if _, err := h.executions.CancelExecution(t.Context(), deployer, running.ID); err != nil {
		t.Fatal(err)
	}
	if e := h.wait(t, running.ID); e.State != remuda.ExecutionCanceled {
		t.Errorf("ended as %s: %s", e.State, e.Reason)
	}
	if e = h.run(t, remuda.ExecutionRequest{Runspace: rs.ID, Script: "get a"}); e.State != remuda.ExecutionSuccess {
		t.Errorf("the runspace is gone: %s %s", e.State, e.Reason)
	}
}

func TestParameterScriptsAreChecked(t *testing.T) {
	t.Parallel()
	h := open(t, settings{})
	rs := h.space(t, remuda.RunspaceRequest{})
	good := remuda.ParameterScript{Name: "a", Script: "value 1"}
	for name, tt := range map[string]struct {
		req   remuda.ExecutionRequest
		field string
	}{
		"one-shot":      {remuda.ExecutionRequest{Runtime: "r", ParameterScripts: []remuda.ParameterScript{good}}, "parameter_scripts"},
		"twice":         {remuda.ExecutionRequest{Runspace: rs.ID, ParameterScripts: []remuda.ParameterScript{good, good}}, "parameter_scripts[1].name"},
		"given":         {remuda.ExecutionRequest{Runspace: rs.ID, Parameters: map[string]json.RawMessage{"a": json.RawMessage("1")}, ParameterScripts: []remuda.ParameterScript{good}}, "parameter_scripts[0].name"},
		"no identifier": {remuda.ExecutionRequest{Runspace: rs.ID, ParameterScripts: []remuda.ParameterScript{{Name: "a-b", Script: "x"}}}, "parameter_scripts[0].name"},
		"no script":     {remuda.ExecutionRequest{Runspace: rs.ID, ParameterScripts: []remuda.ParameterScript{{Name: "a"}}}, "parameter_scripts[0].script"},
		"no JSON":       {remuda.ExecutionRequest{Runspace: rs.ID, ParameterScripts: []remuda.ParameterScript{{Name: "a", Script: "x", Value: json.RawMessage("{")}}}, "parameter_scripts[0].value"},
	} {
		tt.req.Script = "print x"
		_, err := h.executions.SubmitExecution(t.Context(), deployer, tt.req, time.Minute)
		if remuda.CodeOf(err) != remuda.CodeInvalid || !strings.Contains(fmt.Sprint(fieldsOf(err)), tt.field) {
			t.Errorf("%s: %v with %v, want %s invalid", name, err, fieldsOf(err), tt.field)
		}
	}
}

// fieldsOf are the names of the wrong fields of a request.
func fieldsOf(err error) (names []string) {
	if e, ok := errors.AsType[*remuda.Error](err); ok {
		for _, f := range e.Fields {
			names = append(names, f.Field)
		}
	}
	return names
}
