package strategy_test

import (
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/remuda-run/remuda/internal/compat/compattest"
)

// What was acknowledged is there after kill -9: the session, ids, scripts, results;
// and what ran then is reported.
func TestRestart(t *testing.T) {
	t.Parallel()
	r := startReal(t).with("X-MSTR-ProjectID", project)
	runtime := r.create("/api/runtimes", `{"name":"kept","runtimeVersion":"3.8"}`, 201)
	script := r.create("/api/scripts", `{"name":"kept","scriptContent":"`+encoded("return $x * 2")+`","scriptRuntimeId":"`+runtime+`","variables":[{"name":"x","type":2,"value":"21"}]}`, 201)
	done := r.create("/api/scripts/"+script+"/evaluation", `{}`, 202)
	if e := r.finish(done); e.output() != "42" {
		t.Fatalf("got %+v", e)
	}
	running := r.create("/api/scripts/evaluation", `{"scriptContent":"`+encoded("import time; time.sleep(600)")+`"}`, 202)
	r.running(running)
	before := r.get("/api/runtimes/" + runtime)
	r.server.Kill()
	r.server.Up()
	r.get("/api/sessions")
	if after := r.get("/api/runtimes/" + runtime); fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("it was %v and is %v", before, after)
	}
	if got := r.get("/api/scripts/" + script); got["scriptRuntimeId"] != runtime {
		t.Errorf("the script is %v", got)
	}
	if e := r.evaluation(done); e.Status != 3 || e.output() != "42" {
		t.Errorf("the evaluation that had ended is %+v", e)
	}
	if e := r.finish(running); e.Status != 4 || e.Message == "" {
		t.Errorf("the evaluation that was running is %+v", e)
	}
	if e := r.finish(r.create("/api/scripts/"+script+"/evaluation", `{"variables":[{"id":"x","value":"1.5"}]}`, 202)); e.output() != "3.0" {
		t.Errorf("got %+v", e)
	}
}

// What the documented example asks for is really there; without an index that has it,
// the runtime is made all the same and says what failed, and so does an evaluation.
func TestPackages(t *testing.T) {
	t.Parallel()
	r := startReal(t)
	id := r.create("/api/runtimes", read(t, "testdata/seed_body.json"), 201)
	r.ready(id)
	on := `,"scriptRuntimeId":"` + id + `"`
	if e := r.evaluate("import mstrio\nreturn mstrio.__version__", on); e.output() != `"11.5.0"` {
		t.Errorf("got %+v", e)
	}
	broken := r.create("/api/runtimes", `{"name":"broken","packages":[{"name":"not-in-the-index","version":""}]}`, 201)
	got := r.ready(broken)
	packages, _ := got["packages"].([]any)
	if got["status"] != "error" || len(packages) != 1 || packages[0].(object)["status"] != "not_installed" || !strings.Contains(fmt.Sprint(packages[0].(object)["message"]), "not-in-the-index") {
		t.Errorf("it is %v", got)
	}
	reply := r.send("POST", "/api/scripts/evaluation", `{"scriptContent":"`+encoded("1")+`","scriptRuntimeId":"`+broken+`"}`)
	if e := r.want(reply, http.StatusServiceUnavailable, "ERR016"); !strings.Contains(e.Message, "broken") {
		t.Errorf("the message is %q", e.Message)
	}
	// A change that cannot be built leaves what serves.
	r.want(r.send("PATCH", "/api/runtimes/"+id, `{"packages":[{"name":"not-in-the-index"}]}`), 204, "")
	if got := r.ready(id); got["status"] != "error" || got["message"] == "" {
		t.Errorf("it is %v", got)
	}
	if e := r.evaluate("import mstrio\nreturn mstrio.__version__", on); e.output() != `"11.5.0"` {
		t.Errorf("after a change that failed: %+v", e)
	}
}

// Versions are taken exactly where the site says so.
func TestExactVersions(t *testing.T) {
	t.Parallel()
	r := startReal(t, "compat_strategy_versions: exact", "compat_strategy_prefix: /MicroStrategyLibrary")
	if e := r.want(r.send("POST", "/api/runtimes", read(t, "testdata/seed_body.json")), 400, "ERR006"); !strings.Contains(e.Message, "runtimeVersion") {
		t.Errorf("the message is %q", e.Message)
	}
	version := fmt.Sprint(r.get("/api/runtimes/versions")["versions"].([]any)[0])
	if got := r.get("/api/runtimes/" + r.create("/api/runtimes", `{"name":"exact","runtimeVersion":"`+version+`"}`, 201)); got["runtimeVersion"] != version {
		t.Errorf("it is %v", got)
	}
}

// Variables of every kind arrive as what they are, by every way of giving them.
func TestVariables(t *testing.T) {
	t.Parallel()
	r := startReal(t).with("X-MSTR-ProjectID", project)
	source := "return [type($t).__name__, $n, $f, $l, $d, $s, $e, f'{$n:03d}', '$n']  # $n"
	script := r.create("/api/scripts", `{"name":"variables","scriptContent":"`+encoded(source)+`","variables":[
		{"id":"1","name":"t","value":"text"},{"id":"2","name":"n","type":2,"value":"7"},{"id":"3","name":"f","type":2,"value":"-0.5e1"},
		{"id":"4","name":"l","type":2,"multiple":true,"value":"[\"1\",\"2\"]"},{"id":"5","name":"d","type":3,"value":"2026-11-22","editable":false},
		{"id":"6","name":"s","type":4,"value":"hidden"},{"id":"7","name":"e","nullable":true},{"id":"8","name":"r","required":true}]}`, 201)
	run := func(body string) compattest.Reply { return r.send("POST", "/api/scripts/"+script+"/evaluation", body) }
	if e := r.want(run(`{}`), 400, "ERR006"); !strings.Contains(e.Message, "$r") {
		t.Errorf("the message is %q", e.Message)
	}
	r.want(run(`{"variables":[{"id":"8","value":"x"},{"id":"5","value":"2027-01-01"}]}`), 400, "ERR006")
	r.want(run(`{"variables":[{"id":"8","value":"x"},{"id":"2","value":"seven"}]}`), 400, "ERR006")
	r.want(run(`{"variables":[{"id":"9","value":"x"}]}`), 400, "ERR006")
	r.want(r.send("POST", "/api/scripts/"+script+"/variables/answers", `{"answers":[{"id":"8","value":"mine"},{"id":"2","value":"8"}]}`), 200, "")
	e := r.finish(r.create("/api/scripts/"+script+"/evaluation", ``, 202))
	if got := fmt.Sprint(compattest.Decoded[[]any](t, []byte(e.output()))); got != "[str 8 -5 [1 2] 2026-11-22 hidden <nil> 008 $n]" {
		t.Errorf("got %s %+v", got, e)
	}
	e = r.finish(r.create("/api/scripts/"+script+"/evaluation", `{"variables":[{"id":"n","value":"9"},{"id":"6","secretValueInput":"other"}]}`, 202))
	if !strings.Contains(e.output(), `9,`) || !strings.Contains(e.output(), `"other"`) {
		t.Errorf("got %s %+v", e.output(), e)
	}
	shown := r.send("GET", "/api/scripts/"+script, "")
	if strings.Contains(string(shown.Body), "hidden") {
		t.Error("a secret is shown")
	}
	// Errors speak of the script as it was written.
	e = r.evaluate("a = 1\n$x.nothing", `,"variables":[{"name":"x"}]`)
	if e.Status != 4 || !strings.Contains(e.Results.Stderr, "$x.nothing") || !strings.Contains(e.Results.Stderr, "line 2") {
		t.Errorf("got %+v", e)
	}
}

// Memory over the limit is said so, and the runtime goes on.
func TestOutOfMemory(t *testing.T) {
	t.Parallel()
	r := startReal(t)
	id := r.create("/api/runtimes", `{"name":"small","resource":{"cpu":"0.5","mem":64}}`, 201)
	on := `,"scriptRuntimeId":"` + id + `"`
	if e := r.evaluate("a = bytearray(512 << 20)\nreturn len(a)", on); e.Status != 4 || !strings.Contains(strings.ToLower(e.Message), "memory") {
		t.Errorf("got %+v", e)
	}
	if e := r.evaluate("return 'well'", on); e.output() != `"well"` {
		t.Errorf("got %+v", e)
	}
}

// TestPeer lets a client of another make, over python-requests, drive the workflow.
func TestPeer(t *testing.T) {
	t.Parallel()
	r := startReal(t)
	python := ""
	for _, candidate := range []string{"/usr/bin/python3", "python3"} {
		if exec.CommandContext(t.Context(), candidate, "-c", "import requests").Run() == nil {
			python = candidate
			break
		}
	}
	if python == "" {
		t.Fatal("no Python has the module requests: run scripts/install.sh test")
	}
	peer, err := filepath.Abs("../../../test/peers/strategy/workflow.py")
	if err != nil {
		t.Fatal(err)
	}
	if out := compattest.Tool(t, nil, python, peer, r.server.Base+prefix, "ada", compattest.Password); !strings.Contains(out, "workflow: done") {
		t.Errorf("the peer says:\n%s", out)
	}
}
