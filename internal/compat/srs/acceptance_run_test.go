package srs_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// acceptExecutions makes the checks of script executions.
func acceptExecutions(t *testing.T, ada *peer) {
	t.Helper()
	rs := ada.in(t).runspace()
	check := func(number int, what string, f func(t *testing.T, r *peer)) {
		t.Run(fmt.Sprintf("S%02d %s", number, what), func(t *testing.T) { f(t, ada.in(t)) })
	}
	check(12, "run", func(t *testing.T, r *peer) {
		ex := r.post("/api/script-executions", object{"runspace_id": rs, "script": "1", "name": "first"})
		if _, reason := ex["reason"]; reason || ex["state"] != "running" || ex["name"] != "first" || ex["output_objects_format"] != "text" || !uuid.MatchString(fmt.Sprint(ex["id"])) || ex["runspace_id"] != rs {
			t.Errorf("it is %v", ex)
		}
		end := r.ended(fmt.Sprint(ex["id"]))
		if _, err := time.Parse(time.RFC3339Nano, fmt.Sprint(end["end_time"])); err != nil || end["state"] != "success" || end["reason"] != nil {
			t.Errorf("it ends as %v (%v)", end, err)
		}
	})
	check(13, "look at once", func(_ *testing.T, r *peer) {
		for range 200 {
			id := r.submit(rs, "1", nil)
			for _, path := range []string{"", "/output", "/streams/information"} {
				r.want(r.send(http.MethodGet, "/api/script-executions/"+id+path, ""), http.StatusOK)
			}
			r.ended(id)
		}
	})
	check(14, "a runspace that is none", func(_ *testing.T, r *peer) {
		r.refused(r.send(http.MethodPost, "/api/script-executions", `{"runspace_id":"invalid","script":"1"}`), http.StatusNotFound, 2030, "Runspace with id 'invalid' not found")
	})
	check(15, "one at a time", func(t *testing.T, r *peer) {
		long := r.submit(rs, "import time\ntime.sleep(5)", nil)
		e := r.refused(r.send(http.MethodPost, "/api/script-executions", `{"runspace_id":"`+rs+`","script":"1"}`), http.StatusInternalServerError, 1310)
		if want := "Another script with id '" + long + "' is running"; e.Message != want {
			t.Errorf("says %q, want %q", e.Message, want)
		}
		if got := get[object](r, "/api/runspaces/"+rs); got["state"] != "active" {
			t.Errorf("it is %v", got)
		}
		r.ended(long)
		r.text(rs, "1", nil)
	})
	check(17, "output", func(t *testing.T, r *peer) { checkOutput(t, r, rs) })
	check(18, "a script that throws", func(t *testing.T, r *peer) {
		ex := r.run(rs, "raise ValueError('no such number')", nil)
		if out := r.output(ex["id"]); ex["state"] != "error" || !strings.Contains(fmt.Sprint(ex["reason"]), "no such number") || len(out) != 1 || out[0] != "" {
			t.Errorf("it is %v with output %q", ex, out)
		}
	})
	check(19, "streams", func(t *testing.T, r *peer) { checkStreams(t, r, rs) })
	check(20, "cancel", func(t *testing.T, r *peer) {
		rs := r.runspace() // a busy machine may need longer than a canceled script has, which is its sandbox's end
		id := r.submit(rs, "import time\ntime.sleep(600)", nil)
		begun := time.Now()
		r.want(r.send(http.MethodPost, "/api/script-executions/"+id+"/cancel", ""), http.StatusOK)
		if ex := r.ended(id); ex["state"] != "canceled" {
			t.Errorf("it is %v", ex)
		}
		t.Logf("it took %s", time.Since(begun))
		r.want(r.send(http.MethodPost, "/api/script-executions/"+id+"/cancel", ""), http.StatusOK)
		e := r.refused(r.send(http.MethodPost, "/api/script-executions/"+absent+"/cancel", ""), http.StatusNotFound, 1040)
		if want := "Script with id '" + absent + "' not found"; e.Message != want {
			t.Errorf("says %q, want %q", e.Message, want)
		}
	})
	check(21, "parameters", func(t *testing.T, r *peer) { checkParameters(t, r, rs) })
}

func checkOutput(t *testing.T, r *peer, rs string) {
	t.Helper()
	if got := r.text(rs, "print('a')\nprint('b')", nil); got != "a\nb" {
		t.Errorf("got %q", got)
	}
	ex := r.run(rs, "print('line')\n[1, 'two', {'three': 3}]", object{"output_objects_format": "json"})
	out := r.output(ex["id"])
	if ex["state"] != "success" || ex["output_objects_format"] != "json" || len(out) != 4 {
		t.Fatalf("it is %v with output %q", ex, out)
	}
	for i, want := range []string{`"line"`, `1`, `"two"`} {
		var v struct {
			TypeName   string
			Interfaces []string
			Value      json.RawMessage
		}
		if err := json.Unmarshal([]byte(out[i]), &v); err != nil || v.TypeName == "" || v.Interfaces == nil || string(v.Value) != want {
			t.Errorf("object %d is %s (%v)", i, out[i], err)
		}
	}
}

func checkStreams(t *testing.T, r *peer, rs string) {
	t.Helper()
	ex := r.run(rs, strings.Join([]string{
		"import logging, sys, warnings", "log = logging.getLogger('x')", "log.setLevel(1)",
		"log.info('some information')", "log.error('an error')", "log.warning('a warning')", "log.debug('debugging')", "log.log(15, 'verbose')",
	}, "\n"), nil)
	if ex["state"] != "success" {
		t.Fatalf("it is %v", ex)
	}
	for kind, want := range map[string]string{"information": "some information", "error": "an error", "warning": "a warning", "debug": "debugging", "Verbose": "verbose"} {
		records := get[[]struct{ Message, Time string }](r, fmt.Sprintf("/api/script-executions/%v/streams/%s", ex["id"], kind))
		if len(records) != 1 || !strings.Contains(records[0].Message, want) || records[0].Time == "" {
			t.Errorf("the stream %s has %v", kind, records)
		}
	}
	r.refused(r.send(http.MethodGet, fmt.Sprintf("/api/script-executions/%v/streams/bogus", ex["id"]), ""), http.StatusBadRequest, 400)
	ex = r.run(rs, "import logging\nfor i in range(60): logging.getLogger('x').warning('warning %d', i)", nil)
	records := get[[]struct{ Message string }](r, fmt.Sprintf("/api/script-executions/%v/streams/warning", ex["id"]))
	if len(records) != 50 || !strings.Contains(records[0].Message, "warning 10") || !strings.Contains(records[49].Message, "warning 59") {
		t.Errorf("there are %d warnings: %v", len(records), records)
	}
}

func checkParameters(t *testing.T, r *peer, rs string) {
	t.Helper()
	type list = []object
	for _, c := range []struct {
		script string
		params list
		want   string
	}{
		{"a + 5", list{{"name": "a", "value": 4}}, "9"},
		{"a + 5", list{{"name": "a", "script": "1 + 3"}}, "9"},
		{"a + str(b)", list{{"name": "a", "value": "You"}, {"name": "b", "value": 2}}, "You2"},
		{"a + 5", list{{"name": "a", "value": 2, "script": "argument * 2"}}, "9"},
		{"a is None and b is None", list{{"name": "a", "value": nil}, {"name": "b"}}, "True"},
		{"type(a).__name__ + ' ' + str(len(a['x']))", list{{"name": "a", "value": object{"x": []any{1, 2, 3}}}}, "dict 3"},
		{"first + second", list{{"name": "first", "script": "2"}, {"name": "second", "script": "first * 10"}}, "22"},
	} {
		if got := r.text(rs, c.script, object{"script_parameters": c.params}); got != c.want {
			t.Errorf("%s with %v is %q, want %q", c.script, c.params, got, c.want)
		}
	}
	ex := r.run(rs, "print('it ran')", object{"script_parameters": list{{"name": "broken", "script": "1 / 0"}}})
	if out := r.output(ex["id"]); ex["state"] != "error" || !strings.Contains(fmt.Sprint(ex["reason"]), "broken") || strings.Contains(out[0], "it ran") {
		t.Errorf("it is %v with output %q", ex, out)
	}
}
