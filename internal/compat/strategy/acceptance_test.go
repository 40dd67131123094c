package strategy_test

import (
	"fmt"
	"net/http"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/remuda-run/remuda/internal/compat/compattest"
)

// TestAcceptance makes the numbered checks of shared/compat/strategy.md, section 2.5,
// in their order, against a server with real sandboxes.
func TestAcceptance(t *testing.T) {
	t.Parallel()
	r := startReal(t)
	seed := read(t, "testdata/seed_body.json")
	id := ""
	check := func(number int, what string, f func(t *testing.T, r *peer)) {
		t.Run(fmt.Sprintf("%02d %s", number, what), func(t *testing.T) { f(t, r.in(t)) })
	}

	check(1, "login with JSON", func(t *testing.T, r *peer) {
		r.header = nil
		reply := r.send("POST", "/api/auth/login", `{"username":"ada","password":"`+compattest.Password+`"}`)
		r.want(reply, 204, "")
		if reply.Header.Get("X-MSTR-AuthToken") == "" || !strings.HasPrefix(reply.Header.Get("Set-Cookie"), "JSESSIONID=") || len(reply.Body) != 0 {
			t.Errorf("got %v %q", reply.Header, reply.Body)
		}
	})
	check(2, "login with a form", func(_ *testing.T, r *peer) {
		r.header = http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}
		r.want(r.send("POST", "/api/auth/login", "loginMode=1&applicationType=35&username=ada&password="+strings.ReplaceAll(compattest.Password, " ", "+")), 204, "")
	})
	check(3, "bad password", func(_ *testing.T, r *peer) {
		r.header = nil
		r.want(r.send("POST", "/api/auth/login", `{"username":"ada","password":"bad"}`), 401, "ERR003")
	})
	check(4, "no token", func(_ *testing.T, r *peer) {
		r.header = nil
		r.want(r.send("GET", "/api/runtimes", ""), 401, "ERR009")
	})
	check(5, "status", func(t *testing.T, r *peer) {
		r.header = nil
		if v := r.get("/api/status")["iServerVersion"]; !regexp.MustCompile(`^\d+\.\d+\.\d{4}`).MatchString(fmt.Sprint(v)) {
			t.Errorf("the version is %v", v)
		}
	})
	check(6, "session and logout", func(t *testing.T, r *peer) {
		r = r.as("ada")
		timeout, ok := r.get("/api/sessions")["timeout"].(float64)
		if !ok || timeout != float64(int(timeout)) || timeout < 1 {
			t.Errorf("the timeout is %v", timeout)
		}
		r.want(r.send("PUT", "/api/sessions", ""), 204, "")
		r.want(r.send("POST", "/api/auth/logout", ""), 204, "")
		r.want(r.send("GET", "/api/sessions", ""), 401, "ERR009")
	})
	check(7, "default runtime", func(t *testing.T, r *peer) {
		reply := r.send("GET", "/api/runtimes", "")
		r.want(reply, 200, "")
		for _, rt := range compattest.Decoded[struct{ Runtimes []object }](t, reply.Body).Runtimes {
			if rt["id"] == known {
				if rt["status"] != "ready" || rt["packages"].([]any)[0].(object)["status"] != "installed" {
					t.Errorf("it is %v", rt)
				}
				return
			}
		}
		t.Errorf("it is not in %s", reply.Body)
	})
	check(8, "create as documented", func(t *testing.T, r *peer) {
		reply := r.send("POST", "/api/runtimes", seed)
		r.want(reply, 201, "")
		if !regexp.MustCompile(`^\{"id":"[0-9A-F]{32}"\}\s*$`).Match(reply.Body) {
			t.Fatalf("got %s", reply.Body)
		}
		id = compattest.Decoded[struct{ ID string }](t, reply.Body).ID
	})
	check(9, "detail", func(t *testing.T, r *peer) { checkDetail(t, r.ready(id), seed) })
	check(10, "create nothing", func(_ *testing.T, r *peer) { r.want(r.send("POST", "/api/runtimes", `{}`), 400, "ERR007") })
	check(11, "broken JSON", func(_ *testing.T, r *peer) {
		r.want(r.send("POST", "/api/runtimes", read(t, "testdata/seed_curl.txt")), 400, "ERR006")
	})
	check(12, "whitelist", func(_ *testing.T, r *peer) {
		for _, wrong := range []string{`["10.10.10.0/33"]`, `["foo"]`, `["10.10.10.0/24","foo"]`, `"10.10.10.0/24"`, `[1]`} {
			r.want(r.send("POST", "/api/runtimes", `{"name":"w","whitelist":`+wrong+`}`), 400, "ERR006")
		}
		r.create("/api/runtimes", `{"name":"whitelisted","whitelist":["10.10.10.0/24","2001:db8::/32"]}`, 201)
	})
	check(13, "bounds", func(_ *testing.T, r *peer) {
		r.want(r.send("POST", "/api/runtimes", `{"name":"b","execTimeout":-1}`), 400, "ERR006")
		r.want(r.send("POST", "/api/runtimes", `{"name":"b","minCachedInstances":-1}`), 400, "ERR006")
		r.create("/api/runtimes", `{"name":"zero","execTimeout":0,"minCachedInstances":0,"maxCachedInstances":0}`, 201)
	})
	check(14, "resource", func(_ *testing.T, r *peer) {
		r.want(r.send("POST", "/api/runtimes", `{"name":"m","resource":{"mem":"512"}}`), 400, "ERR006")
		r.create("/api/runtimes", `{"name":"number","resource":{"cpu":0.2}}`, 201)
		r.create("/api/runtimes", `{"name":"text","resource":{"cpu":"0.2"}}`, 201)
	})
	check(15, "min above max", func(_ *testing.T, r *peer) {
		r.want(r.send("POST", "/api/runtimes", `{"name":"mm","minCachedInstances":3,"maxCachedInstances":2}`), 400, "ERR006")
	})
	check(16, "packages", func(_ *testing.T, r *peer) {
		r.want(r.send("POST", "/api/runtimes", `{"name":"p","packages":[{"version":"1"}]}`), 400, "ERR007")
		r.create("/api/runtimes", `{"name":"packaged","packages":[{"name":"mstrio-py","version":""}]}`, 201)
	})
	check(17, "unknown version", func(_ *testing.T, r *peer) {
		r.want(r.send("POST", "/api/runtimes", `{"name":"v","runtimeVersion":"9.9.9"}`), 400, "ERR006")
		r.want(r.send("POST", "/api/runtimes", `{"name":"v","runtimeVersion":"2.7.18"}`), 400, "ERR006")
	})
	check(18, "versions", func(t *testing.T, r *peer) {
		list, ok := r.get("/api/runtimes/versions")["versions"].([]any)
		if !ok || len(list) == 0 || !strings.HasPrefix(fmt.Sprint(list[0]), "3.") {
			t.Errorf("got %v", list)
		}
	})
	check(19, "patch", func(t *testing.T, r *peer) {
		before := r.get("/api/runtimes/" + id)
		r.want(r.send("PATCH", "/api/runtimes/"+id, `{"name":"Patched Runtime","minCachedInstances":2}`), 204, "")
		after := r.get("/api/runtimes/" + id)
		for key, was := range before {
			changes := key == "name" || key == "minCachedInstances" || key == "version" || key == "dateModified"
			if changes == reflect.DeepEqual(was, after[key]) {
				t.Errorf("%s was %v and is %v", key, was, after[key])
			}
		}
		if after["name"] != "Patched Runtime" || after["minCachedInstances"] != 2.0 {
			t.Errorf("it is %v", after)
		}
	})
	check(20, "patch an unknown one", func(t *testing.T, r *peer) {
		if e := r.want(r.send("PATCH", "/api/runtimes/"+absent, `{"name":"x"}`), 404, "ERR004"); e.Message == "HTTP 404 Not Found" {
			t.Error("clients take that for a path that is not there")
		}
	})
	check(21, "delete", func(_ *testing.T, r *peer) {
		gone := r.create("/api/runtimes", `{"name":"gone"}`, 201)
		r.want(r.send("DELETE", "/api/runtimes/"+gone+"?userComments=why", ""), 204, "")
		r.want(r.send("GET", "/api/runtimes/"+gone, ""), 404, "ERR004")
		r.want(r.send("DELETE", "/api/runtimes/"+gone, ""), 404, "ERR004")
	})
	check(22, "delete the default", func(_ *testing.T, r *peer) { r.want(r.send("DELETE", "/api/runtimes/"+known, ""), 403, "ERR017") })
	check(23, "fields", func(t *testing.T, r *peer) {
		if got := r.get("/api/runtimes/" + id + "?fields=name,status"); len(got) != 2 || got["name"] == nil || got["status"] == nil {
			t.Errorf("got %v", got)
		}
	})
	check(24, "project header on runtimes", func(_ *testing.T, r *peer) {
		for _, id := range []string{"", "x", project} {
			r.with("X-MSTR-ProjectID", id).get("/api/runtimes/" + known)
		}
	})
	check(25, "without the privilege", func(_ *testing.T, r *peer) {
		r.as("mona").want(r.as("mona").send("POST", "/api/runtimes", seed), 403, "ERR014")
		r.as("opal").want(r.as("opal").send("POST", "/api/runtimes", seed), 403, "ERR014")
	})
	t.Run("scripts", func(t *testing.T) { acceptScripts(t, r.in(t)) })
}

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// checkDetail compares a runtime with the body that it was made of.
func checkDetail(t *testing.T, got object, body string) {
	t.Helper()
	for key, sent := range compattest.Decoded[object](t, []byte(body)) {
		if key == "packages" {
			continue
		}
		if !reflect.DeepEqual(got[key], sent) {
			t.Errorf("%s is %v, was sent as %v", key, got[key], sent)
		}
	}
	packages, _ := got["packages"].([]any)
	if len(packages) != 1 || packages[0].(object)["name"] != "mstrio-py" || packages[0].(object)["version"] != "" || packages[0].(object)["status"] != "installed" {
		t.Errorf("the packages are %v", packages)
	}
	if got["type"] != 80.0 || got["subtype"] != 20480.0 || got["acg"] != 255.0 || got["status"] != "ready" || got["owner"].(object)["id"] == "" || len(fmt.Sprint(got["version"])) != 32 {
		t.Errorf("it is %v", got)
	}
	for _, key := range []string{"dateCreated", "dateModified"} {
		if !regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.000\+0000$`).MatchString(fmt.Sprint(got[key])) {
			t.Errorf("%s is %v", key, got[key])
		}
	}
}

// acceptScripts makes the checks of scripts and evaluations.
func acceptScripts(t *testing.T, r *peer) {
	t.Helper()
	check := func(number int, what string, f func(t *testing.T, r *peer)) {
		t.Run(fmt.Sprintf("%02d %s", number, what), func(t *testing.T) { f(t, r.in(t)) })
	}
	runtime := r.create("/api/runtimes", `{"name":"for scripts","execTimeout":30}`, 201)
	script := ""
	check(26, "store a script", func(t *testing.T, r *peer) {
		body := `{"name":"stored","scriptContent":"` + encoded("return 1+1") + `","scriptRuntimeId":"` + runtime + `"}`
		r.want(r.send("POST", "/api/scripts", body), 400, "ERR007")
		r = r.with("X-MSTR-ProjectID", project)
		script = r.create("/api/scripts", body, 201)
		if got := r.get("/api/scripts/" + script); got["scriptContent"] != encoded("return 1+1") || got["scriptRuntimeId"] != runtime {
			t.Errorf("it is %v", got)
		}
	})
	check(27, "evaluate", func(t *testing.T, r *peer) {
		if e := r.evaluate("return 1+1", ""); e.Status != 3 || e.output() != "2" {
			t.Errorf("got %+v", e)
		}
	})
	check(28, "output and exceptions", func(t *testing.T, r *peer) {
		e := r.evaluate("import sys\nprint('out')\nprint('err', file=sys.stderr)", "")
		if e.Status != 3 || e.Results.Stdout != "out\n" || e.Results.Stderr != "err\n" || e.Results.Output != nil {
			t.Errorf("got %+v", e)
		}
		e = r.evaluate("print('before')\nraise ValueError('no')", "")
		if e.Status != 4 || e.Message != "ValueError: no" || !strings.Contains(e.Results.Stderr, "ValueError: no") || e.Results.Stdout != "before\n" {
			t.Errorf("got %+v", e)
		}
	})
	check(29, "timeout", func(t *testing.T, r *peer) {
		short := r.create("/api/runtimes", `{"name":"short","execTimeout":1}`, 201)
		if e := r.evaluate("import time; time.sleep(600)", `,"scriptRuntimeId":"`+short+`"`); e.Status != 5 || e.Message == "" {
			t.Errorf("got %+v", e)
		}
	})
	check(30, "cancel", func(t *testing.T, r *peer) {
		id := r.create("/api/scripts/evaluation", `{"scriptContent":"`+encoded("import time\nprint('on')\ntime.sleep(600)")+`"}`, 202)
		r.running(id)
		r.want(r.send("DELETE", "/api/scripts/evaluation/"+id, ""), 204, "")
		if e := r.evaluation(id); e.Status != 6 {
			t.Errorf("right after, it is %+v", e)
		}
		r.want(r.send("DELETE", "/api/scripts/evaluation/"+id, ""), 204, "")
	})
	check(31, "unknown runtime", func(_ *testing.T, r *peer) {
		r.want(r.send("POST", "/api/scripts/evaluation", `{"scriptContent":"`+encoded("1")+`","scriptRuntimeId":"`+absent+`"}`), 404, "ERR004")
	})
	check(32, "history", func(t *testing.T, r *peer) {
		r = r.with("X-MSTR-ProjectID", project)
		if e := r.finish(r.create("/api/scripts/"+script+"/evaluation", `{}`, 202)); e.output() != "2" {
			t.Errorf("got %+v", e)
		}
		list, _ := r.get("/api/scripts/history?scriptids=" + script)["history"].([]any)
		if len(list) != 1 || list[0].(object)["lastStatus"] != "succeeded" || list[0].(object)["id"] != script || !strings.HasSuffix(fmt.Sprint(list[0].(object)["executionTime"]), "Z") {
			t.Errorf("got %v", list)
		}
	})
	check(33, "delete a runtime that a script names", func(_ *testing.T, r *peer) {
		r = r.with("X-MSTR-ProjectID", project)
		r.want(r.send("DELETE", "/api/runtimes/"+runtime, ""), 204, "")
		r.get("/api/scripts/" + script)
		r.want(r.send("POST", "/api/scripts/"+script+"/evaluation", `{}`), 404, "ERR004")
	})
}
