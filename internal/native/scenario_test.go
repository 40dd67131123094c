package native

import (
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/remuda-run/remuda/internal/httpapi"
	"github.com/remuda-run/remuda/internal/remuda"
	"github.com/remuda-run/remuda/internal/runspaces"
)

// scenario is one exchange: what is sent, what must and must not come back and
// what the service was asked.
type scenario struct {
	name    string
	stage   stage
	request string // "METHOD URL"
	header  []string
	body    string
	status  int
	want    []string
	never   []string
	asked   []any // if not nil
}

func runScenarios(t *testing.T, o httpapi.Options, scenarios []scenario) {
	t.Helper()
	for i := range scenarios {
		sc := &scenarios[i]
		t.Run(sc.name, func(t *testing.T) {
			t.Parallel()
			method, url, _ := strings.Cut(sc.request, " ")
			w := do(sc.stage.handler(t, o), method, url, sc.body, sc.header...)
			answer := w.Body.String()
			if w.Code != sc.status {
				t.Fatalf("answers %d, want %d\n%s", w.Code, sc.status, answer)
			}
			for name, values := range w.Header() {
				answer += name + ": " + strings.Join(values, " | ") + "\n"
			}
			for _, want := range sc.want {
				if !strings.Contains(answer, want) {
					t.Errorf("the answer does not contain %q\n%s", want, answer)
				}
			}
			for _, never := range append(sc.never, "hash-of-it", "argon-hash", "secret-of-the-server", "env-secret") {
				if strings.Contains(answer, never) {
					t.Errorf("the answer contains %q\n%s", never, answer)
				}
			}
			if sc.asked != nil && !reflect.DeepEqual(sc.stage.last(), sc.asked) {
				t.Errorf("the service was asked %#v, want %#v", sc.stage.last(), sc.asked)
			}
		})
	}
}

func fail(code remuda.Code) stage {
	return stage{err: &remuda.Error{Code: code, Message: "scripted", Cause: "because", Remedy: "do better", Err: errSecret{}}}
}

func TestExecutions(t *testing.T) {
	t.Parallel()
	runScenarios(t, httpapi.Options{}, []scenario{
		{
			name: "submit", request: "POST /v1/executions", body: `{"runtime":"python","script":"1+1"}`, status: 202,
			want:  []string{`"id":"ex_1"`, `"state":"queued"`, `"runspace":null`, `"exit_code":null`, `"value":null`, `"killed_by":null`, `"timings_us":{}`, "Location: /v1/executions/ex_1", `"created_at":"2026-11-22T08:00:00.123456Z"`},
			asked: []any{remuda.ExecutionRequest{Runtime: "python", Script: "1+1"}, time.Duration(0)},
		},
		{
			name: "submit and wait", stage: stage{final: true}, request: "POST /v1/executions?wait=30s", body: `{"runtime":"python","script":"1+1"}`, status: 200,
			want:  []string{`"state":"error"`, `"exit_code":1`, `"value":{"json":{"a":1},"rich":{"image/png":"AA=="},"text":"{'a': 1}"}`, `"killed_by":"memory"`, `"run":1,`, `"total":1000000`, `"peak_memory_mb":1.5`, `"cpu_s":0.001`, `"fresh":true`},
			asked: []any{remuda.ExecutionRequest{Runtime: "python", Script: "1+1"}, 30 * time.Second},
		},
		{
			name: "everything", request: "POST /v1/executions?wait=0.5", status: 202,
			body: `{"runtime":"python","code_file":"a/b.py","args":["x",""],"parameters":{"n":12345678901234567890,"o":{"k":[null]}},"stdin_base64":"/wA=","env":{"A":"b"},"timeout_s":1.5,"files":[{"path":"in.csv","content":"é"},{"path":"b/c","content_base64":""}]}`,
			asked: []any{remuda.ExecutionRequest{
				Runtime: "python", CodeFile: "a/b.py", Args: []string{"x", ""}, Parameters: map[string]rawJSON{"n": rawJSON("12345678901234567890"), "o": rawJSON(`{"k":[null]}`)},
				Stdin: []byte{0xff, 0}, Env: map[string]string{"A": "b"}, Timeout: 1500 * time.Millisecond,
				Files: []remuda.File{{Path: "in.csv", Content: []byte("é")}, {Path: "b/c", Content: []byte{}}},
			}, 500 * time.Millisecond},
		},
		{
			name: "idempotency key", request: "POST /v1/executions", body: `{"runtime":"python","script":"1+1"}`, header: []string{"Idempotency-Key", "9f1c-a"}, status: 202,
			asked: []any{remuda.ExecutionRequest{Runtime: "python", Script: "1+1", IdempotencyKey: "9f1c-a"}, time.Duration(0)},
		},
		{name: "idempotency key that is none", request: "POST /v1/executions", body: `{"runtime":"python","script":"1+1"}`, header: []string{"Idempotency-Key", "a b"}, status: 400, want: []string{`"field":"Idempotency-Key"`}},
		{name: "long idempotency key", request: "POST /v1/executions", body: `{"runtime":"python","script":"1+1"}`, header: []string{"Idempotency-Key", strings.Repeat("k", 201)}, status: 400, want: []string{`"field":"Idempotency-Key"`}},
		{name: "empty script", request: "POST /v1/executions", body: `{"runtime":"python","script":""}`, status: 202, asked: []any{remuda.ExecutionRequest{Runtime: "python", Script: "\n"}, time.Duration(0)}},
		{
			name: "every wrong field", request: "POST /v1/executions?wait=1s", status: 400, asked: nil,
			body: `{"scrpt":"x","args":"x","timeout_s":0,"env":{"1A":"b","B":2},"files":[{"content":"x"},{"path":"p","mode":1}]}`,
			want: []string{`"code":"invalid"`, `"field":"scrpt","message":"is not a known field; known are runtime, script`, `"field":"args","message":"must be array, not string"`, `"field":"timeout_s","message":"must be more than 0, not 0"`,
				`"field":"env.1A"`, `"field":"env.B"`, `"field":"files[0].path","message":"is required"`, `"field":"files[1].mode"`, `"field":"runtime","message":"is required"`},
		},
		{
			name: "contradictions", request: "POST /v1/executions", status: 400,
			body: `{"runtime":"p","script":"x","code_file":"y","stdin":"a","stdin_base64":"","files":[{"path":"../x","content":"","content_base64":""},{"path":"/abs"}]}`,
			want: []string{`"field":"code_file"`, `"field":"stdin_base64"`, `"field":"files[0].content_base64"`, `"field":"files[0].path"`, `"field":"files[1].path"`, `"field":"files[1].content"`},
		},
		{name: "no program", request: "POST /v1/executions", body: `{"runtime":"p"}`, status: 400, want: []string{`"field":"script"`}},
		{name: "no JSON", request: "POST /v1/executions", body: "{\n\"runtime\":", status: 400, want: []string{"line 2, column 10", "unexpected end"}},
		{name: "no body", request: "POST /v1/executions", header: []string{"Content-Type", "application/json"}, status: 400, want: []string{"the body is empty"}},
		{name: "two values", request: "POST /v1/executions", body: `{"runtime":"p","script":"x"} {}`, status: 400},
		{name: "twice", request: "POST /v1/executions", body: `{"runtime":"p","script":"x","script":"y"}`, status: 400, want: []string{`"field":"script","message":"is given twice"`}},
		{name: "no UTF-8", request: "POST /v1/executions", body: "{\"runtime\":\"p\",\"script\":\"\xff\"}", status: 400, want: []string{"is not UTF-8"}},
		{name: "other case", request: "POST /v1/executions", body: `{"runtime":"p","Script":"x"}`, status: 400, want: []string{`"field":"Script"`}},
		{name: "no JSON type", request: "POST /v1/executions", body: `x`, header: []string{"Content-Type", "text/plain"}, status: 415},
		{name: "no type", request: "POST /v1/executions", body: `x`, header: []string{"Content-Type", ""}, status: 415},
		{name: "charset", request: "POST /v1/executions", body: `{"runtime":"p","script":"x"}`, header: []string{"Content-Type", "application/json; charset=UTF-8"}, status: 202},
		{name: "other charset", request: "POST /v1/executions", body: `{}`, header: []string{"Content-Type", "application/json; charset=latin1"}, status: 415},
		{name: "encoded", request: "POST /v1/executions", body: `{}`, header: []string{"Content-Encoding", "gzip"}, status: 415},
		{name: "too large", request: "POST /v1/runtimes", body: `{"name":"` + strings.Repeat("x", bodyLimit) + `"}`, status: 413},
		{name: "wait too long", request: "POST /v1/executions?wait=301", body: `{}`, status: 400, want: []string{`"field":"wait"`}},
		{name: "unknown parameter", request: "POST /v1/executions?wiat=1", body: `{}`, status: 400, want: []string{`"field":"wiat","message":"is not a parameter of this operation; known are wait"`}},
		{name: "parameter twice", request: "GET /v1/executions?limit=1&limit=2", status: 400, want: []string{"more than once"}},
		{name: "bad query", request: "GET /v1/executions?a;b", status: 400},
		{name: "unknown runtime", stage: stage{err: remuda.NotFound("runtime", "x")}, request: "POST /v1/executions", body: `{"runtime":"x","script":"1"}`, status: 422, want: []string{`"code":"not_found"`, `"field":"runtime"`}},
		{name: "unknown runspace", stage: stage{err: remuda.NotFound("runspace", "x")}, request: "POST /v1/runspaces/rs_9/executions", body: `{"script":"1"}`, status: 404},
		{
			name: "narrowed", request: "POST /v1/executions", status: 202, want: []string{`"warm":false`, `"narrowed":[]`, `"cold_reason":null`},
			body: `{"runtime":"python","script":"1","limits":{"cpu":0.5,"memory_mb":64,"disk_mb":8,"pids":9},"egress":{"cidrs":["10.1.0.0/16"],"names":["a.example"]},"identity":{"subject":"ada","labels":{"team":"x"}}}`,
			asked: []any{remuda.ExecutionRequest{
				Runtime: "python", Script: "1", Limits: remuda.Resources{CPU: 0.5, MemoryMB: 64, DiskMB: 8, Pids: 9},
				Egress:   &remuda.Egress{CIDRs: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16")}, Names: []string{"a.example"}},
				Identity: &remuda.Identity{Subject: "ada", Labels: map[string]string{"team": "x"}},
			}, time.Duration(0)},
		},
		{name: "no egress", request: "POST /v1/executions", body: `{"runtime":"python","script":"1","egress":{}}`, status: 202, asked: []any{remuda.ExecutionRequest{Runtime: "python", Script: "1", Egress: &remuda.Egress{}}, time.Duration(0)}},
		{name: "narrowed wrongly", request: "POST /v1/executions", body: `{"runtime":"python","script":"1","egress":{"cidrs":["10.1.0.1"]},"limits":{"gpu":1},"identity":{}}`, status: 400, want: []string{`"field":"limits.gpu"`, `"field":"identity"`}},
		{name: "no range", request: "POST /v1/executions", body: `{"runtime":"python","script":"1","egress":{"cidrs":["10.0.0.0/8","10.1.0.1"]}}`, status: 400, want: []string{`"field":"egress.cidrs[1]"`, "192.0.2.7/32"}},
		{name: "narrowed in a runspace", request: "POST /v1/runspaces/rs_9/executions", body: `{"script":"1","limits":{"cpu":0.1},"egress":{}}`, status: 400, want: []string{`"field":"limits"`, `"field":"egress"`}},
		{name: "identity in a runspace", request: "POST /v1/runspaces/rs_9/executions", body: `{"script":"1","identity":{"subject":"ada"}}`, status: 202, asked: []any{remuda.ExecutionRequest{Runspace: "rs_9", Script: "1", Identity: &remuda.Identity{Subject: "ada"}}, time.Duration(0)}},
		{name: "in a runspace", request: "POST /v1/runspaces/rs_9/executions", body: `{"script":"1"}`, status: 202, want: []string{`"runspace":"rs_9"`}, asked: []any{remuda.ExecutionRequest{Runspace: "rs_9", Script: "1"}, time.Duration(0)}},
		{name: "in a runspace with a runtime", request: "POST /v1/runspaces/rs_9/executions", body: `{"runtime":"x","script":"1"}`, status: 400, want: []string{`"field":"runtime"`}},
		{
			name: "all of a runspace's", request: "POST /v1/runspaces/rs_9/executions", status: 202,
			body: `{"script":"a","name":"nightly","queue":true,"streams":true,"objects":true,"parameters":{"b":1},"parameter_scripts":[{"name":"a","script":"argument * 2","value":21},{"name":"c","script":"","value":null}]}`,
			asked: []any{remuda.ExecutionRequest{
				Runspace: "rs_9", Script: "a", Name: "nightly", Queue: true, Streams: true, Objects: true, Parameters: map[string]rawJSON{"b": rawJSON("1")},
				ParameterScripts: []remuda.ParameterScript{{Name: "a", Script: "argument * 2", Value: rawJSON("21")}, {Name: "c", Value: rawJSON("null")}},
			}, time.Duration(0)},
		},
		{name: "name, streams and objects of one", request: "POST /v1/executions", body: `{"runtime":"p","script":"1","name":"n","streams":true,"objects":true}`, status: 202, asked: []any{remuda.ExecutionRequest{Runtime: "p", Script: "1", Name: "n", Streams: true, Objects: true}, time.Duration(0)}},
		{name: "a queue of one", request: "POST /v1/executions", body: `{"runtime":"p","script":"1","queue":true,"parameter_scripts":[]}`, status: 400, want: []string{`"field":"queue"`, `"field":"parameter_scripts"`}},
		{
			name: "wrong parameters", request: "POST /v1/runspaces/rs_9/executions", status: 400,
			body: `{"script":"a","parameters":{"a":1},"parameter_scripts":[{"name":"a","script":"1"},{"name":"b","script":"1"},{"name":"b","script":"2"}]}`,
			want: []string{`"field":"parameter_scripts[0].name","message":"names \"a\", which is also in parameters; give a value that the script shall see as argument here as ` + "`value`" + `"`, `"field":"parameter_scripts[2].name","message":"names \"b\", which is also in parameter_scripts[1]"`},
		},
		{
			name: "parameters that are none", request: "POST /v1/runspaces/rs_9/executions", body: `{"script":"a","queue":"yes","name":7,"parameter_scripts":[{"name":"1a","script":"1"},{"script":1},{"name":"x","script":"","default":1}]}`, status: 400,
			want: []string{`"field":"queue","message":"must be boolean, not string"`, `"field":"name"`, `"field":"parameter_scripts[0].name"`, `"field":"parameter_scripts[1].script"`, `"field":"parameter_scripts[1].name","message":"is required"`, `"field":"parameter_scripts[2].default"`},
		},
		{name: "list without the system's", request: "GET /v1/executions?system=false", status: 200, asked: []any{remuda.ExecutionFilter{NoSystem: true}, remuda.Page{}}},
		{name: "list with the system's", request: "GET /v1/executions?system=true", status: 200, asked: []any{remuda.ExecutionFilter{}, remuda.Page{}}},
		{name: "list perhaps with the system's", request: "GET /v1/executions?system=1", status: 400, want: []string{`"field":"system","message":"must be true or false"`}},
		{name: "get", request: "GET /v1/executions/ex_1", status: 200, asked: []any{remuda.ExecutionID("ex_1")}},
		{name: "head", request: "HEAD /v1/executions/ex_1", status: 200},
		{name: "get and wait", request: "GET /v1/executions/ex_1?wait=2m", status: 200, asked: []any{remuda.ExecutionID("ex_1"), 2 * time.Minute}},
		{name: "list", request: "GET /v1/executions?state=lost&runspace=rs_1&limit=7&cursor=abc", status: 200, want: []string{`"items":[{`, `"next":null`}, asked: []any{remuda.ExecutionFilter{Runspace: "rs_1", State: "lost"}, remuda.Page{Limit: 7, Cursor: "abc"}}},
		{name: "list by runtime name", request: "GET /v1/executions?runtime=python", status: 200, asked: []any{remuda.ExecutionFilter{Runtime: "rt_1"}, remuda.Page{}}},
		{name: "list by unknown runtime", request: "GET /v1/executions?runtime=absent", status: 422, want: []string{`"field":"runtime"`}},
		{name: "list with a wrong state", request: "GET /v1/executions?state=x&limit=0", status: 400, want: []string{`"field":"state"`, `"field":"limit","message":"must be at least 1, not 0"`}},
		{name: "cancel", request: "POST /v1/executions/ex_1/cancel", status: 202, asked: []any{remuda.ExecutionID("ex_1")}},
		{name: "cancel an ended one", stage: fail(remuda.CodeConflict), request: "POST /v1/executions/ex_1/cancel", status: 409, want: []string{`"cause":"because"`, `"remedy":"do better"`, `"title":"scripted"`}},
	})
}

func TestRuntimesRunspacesAccounts(t *testing.T) {
	t.Parallel()
	minute, name := time.Minute, "n"
	runScenarios(t, httpapi.Options{}, []scenario{
		{
			name: "define", request: "POST /v1/runtimes", status: 201, want: []string{"Location: /v1/runtimes/rt_1", `"global":true`, `"exec_timeout_s":30`, `"env":{}`, `"generation":3`},
			body: `{"name":"p","language":"python","description":"d","version":"3.11","environment":"host","resources":{"cpu":0.5,"memory_mb":128,"disk_mb":64,"pids":32},"exec_timeout_s":60,"pool":{"min_cached":1,"max_cached":2},"env":{"A":""},"preload":["json"],"isolation":"gvisor","egress":{"cidrs":["2001:db8::/32"],"names":["*.a.example"]}}`,
			asked: []any{remuda.Definition{Name: "p", Language: "python", Description: "d", Version: "3.11", Environment: "host", Resources: remuda.Resources{CPU: 0.5, MemoryMB: 128, DiskMB: 64, Pids: 32}, ExecTimeout: minute, Pool: remuda.PoolBounds{MinCached: 1, MaxCached: 2}, Env: map[string]string{"A": ""},
				Preload: []string{"json"}, Isolation: remuda.IsolationGVisor, Egress: remuda.Egress{CIDRs: []netip.Prefix{netip.MustParsePrefix("2001:db8::/32")}, Names: []string{"*.a.example"}}}},
		},
		{name: "define the least", request: "POST /v1/runtimes", body: `{"name":"p","language":"node"}`, status: 201, asked: []any{remuda.Definition{Name: "p", Language: "node"}}},
		{name: "define wrongly", request: "POST /v1/runtimes", body: `{"name":"","language":"perl","resources":{"cpu":-1,"memory_mb":1.5,"gpu":1},"exec_timeout_s":0,"pool":{"min_cached":-1}}`, status: 400,
			want: []string{`"field":"name","message":"must not be empty"`, `"field":"language","message":"must be one of python, node, bash, not \"perl\""`, `"field":"resources.cpu"`, `"field":"resources.memory_mb","message":"must be a whole number`, `"field":"resources.gpu"`, `"field":"exec_timeout_s"`, `"field":"pool.min_cached"`}},
		{name: "name taken", stage: fail(remuda.CodeConflict), request: "POST /v1/runtimes", body: `{"name":"p","language":"node"}`, status: 409},
		{name: "list", request: "GET /v1/runtimes?name=python&limit=200", status: 200, want: []string{`"next":"more"`}, asked: []any{"python", remuda.Page{Limit: 200}}},
		{name: "get", request: "GET /v1/runtimes/python", status: 200, asked: []any{"python"}},
		{name: "change", request: "PATCH /v1/runtimes/python", body: `{"name":"n","resources":{"pids":7},"exec_timeout_s":60,"env":{}}`, status: 200, asked: []any{"python", remuda.RuntimePatch{Name: &name, Pids: new(7), ExecTimeout: &minute, Env: map[string]string{}}}},
		{name: "change the egress", request: "PATCH /v1/runtimes/python", body: `{"egress":{},"preload":[],"isolation":"process"}`, status: 200, asked: []any{"python", remuda.RuntimePatch{Egress: &remuda.Egress{}, Preload: &[]string{}, Isolation: new(remuda.IsolationProcess)}}},
		{name: "change to no range", request: "PATCH /v1/runtimes/python", body: `{"egress":{"cidrs":["all"]}}`, status: 400, want: []string{`"field":"egress.cidrs[0]"`}},
		{name: "change to no class", request: "PATCH /v1/runtimes/python", body: `{"isolation":"none"}`, status: 400, want: []string{`"field":"isolation"`}},
		{name: "change the connection script", request: "PATCH /v1/runtimes/python", body: `{"connection_script":"log in","disconnect_script":""}`, status: 200, want: []string{`"connection_script":""`}, asked: []any{"python", remuda.RuntimePatch{ConnectionScript: new("log in"), DisconnectScript: new("")}}},
		{name: "define with a connection script", request: "POST /v1/runtimes", body: `{"name":"p","language":"node","connection_script":"a","disconnect_script":"b"}`, status: 201, asked: []any{remuda.Definition{Name: "p", Language: "node", ConnectionScript: "a", DisconnectScript: "b"}}},
		{name: "change nothing", request: "PATCH /v1/runtimes/python", body: `{}`, status: 400, want: []string{"at least 1 of the fields"}},
		{name: "delete", request: "DELETE /v1/runtimes/python", status: 204, asked: []any{"python", remuda.Deletion{}}},
		{name: "delete if idle", request: "DELETE /v1/runtimes/python?refuse_if_busy=true", status: 204, asked: []any{"python", remuda.Deletion{RefuseIfBusy: true}}},
		{name: "delete and drain", request: "DELETE /v1/runtimes/python?drain=30s", status: 204, asked: []any{"python", remuda.Deletion{Drain: 30 * time.Second}}},
		{name: "drain too long", request: "DELETE /v1/runtimes/python?drain=6m", status: 400, want: []string{`"field":"drain"`}},
		{name: "refuse perhaps", request: "DELETE /v1/runtimes/python?refuse_if_busy=perhaps", status: 400, want: []string{`"field":"refuse_if_busy"`}},
		{name: "delete a busy one", stage: fail(remuda.CodeConflict), request: "DELETE /v1/runtimes/python?refuse_if_busy=true", status: 409},
		{name: "wait for a runtime", request: "GET /v1/runtimes/python?wait=2s", status: 200, asked: []any{"python", 2 * time.Second}},
		{name: "versions", request: "GET /v1/versions", status: 200, want: []string{`"language":"python"`, `"language":"node"`, `"language":"bash"`}},
		{name: "versions of one", request: "GET /v1/versions?language=node", status: 200, never: []string{`"python"`}},
		{name: "versions of none", request: "GET /v1/versions?language=perl", status: 400},

		{name: "open", request: "POST /v1/runspaces", body: `{"runtime":"python","name":"lab","idle_timeout_s":0,"env":{"A":"b"},"init_script":"x=1"}`, status: 202, want: []string{"Location: /v1/runspaces/rs_1", `"instance":null`, `"error":null`},
			asked: []any{remuda.RunspaceRequest{Runtime: "python", Name: "lab", IdleTimeout: new(time.Duration(0)), Env: map[string]string{"A": "b"}, InitScript: "x=1"}}},
		{name: "open and wait", stage: stage{final: true}, request: "POST /v1/runspaces?wait=1", body: `{"runtime":"python"}`, status: 200, want: []string{`"state":"ready"`, `"idle_timeout_s":60`}, asked: []any{remuda.RunspaceID("rs_1"), time.Second}},
		{
			name: "open with everything", request: "POST /v1/runspaces", status: 202, never: []string{"canary"},
			body:  `{"runtime":"python","active_timeout_s":90.5,"memory_mb":64,"connection":true,"credentials":{"token":"canary"}}`,
			want:  []string{`"active_timeout_s":3600`, `"memory_mb":64`, `"connection":true`, `"connection_execution":"ex_9"`, `"resets":2`, `"error_code":null`},
			asked: []any{remuda.RunspaceRequest{Runtime: "python", ActiveTimeout: new(90500 * time.Millisecond), MemoryMB: 64, RunConnection: true, Credentials: remuda.Credentials{"token": "canary"}}},
		},
		{name: "credentials for nothing", request: "POST /v1/runspaces", body: `{"runtime":"python","credentials":{"token":"canary"}}`, status: 400, want: []string{`"field":"credentials"`, "connection: true"}, never: []string{"canary"}},
		{
			name: "wrong credentials", request: "POST /v1/runspaces", status: 400, never: []string{"canary"},
			body: `{"runtime":"python","connection":true,"memory_mb":0,"active_timeout_s":-1,"credentials":{"a b":"canary","n":["canary"]}}`,
			want: []string{`"field":"credentials.a b"`, `"field":"credentials.n","message":"must be string, not array"`, `"field":"memory_mb"`, `"field":"active_timeout_s"`},
		},
		{name: "no credentials", request: "POST /v1/runspaces", body: `{"runtime":"python","connection":true,"credentials":{}}`, status: 400, want: []string{`"field":"credentials"`}},
		{name: "open on an unknown runtime", stage: stage{err: remuda.NotFound("runtime", "x")}, request: "POST /v1/runspaces", body: `{"runtime":"x"}`, status: 422},
		{name: "get a runspace", request: "GET /v1/runspaces/rs_1", status: 200},
		{name: "get a runspace and wait", request: "GET /v1/runspaces/rs_1?wait=1", status: 200, asked: []any{remuda.RunspaceID("rs_1"), time.Second}},
		{name: "list runspaces", request: "GET /v1/runspaces", status: 200},
		{name: "interrupt", request: "POST /v1/runspaces/rs_1/interrupt", status: 202, want: []string{`"id":"rs_1"`}, asked: []any{remuda.RunspaceID("rs_1")}},
		{name: "interrupt none", stage: stage{err: remuda.NotFound("runspace", "rs_1")}, request: "POST /v1/runspaces/rs_1/interrupt", status: 404},
		{name: "reset", request: "POST /v1/runspaces/rs_1/reset", status: 202, want: []string{`"state":"creating"`}, asked: []any{remuda.RunspaceID("rs_1"), runspaces.ResetRequest{}}},
		{name: "reset with an empty body", request: "POST /v1/runspaces/rs_1/reset", body: `{}`, status: 202, asked: []any{remuda.RunspaceID("rs_1"), runspaces.ResetRequest{}}},
		{
			name: "reset with credentials", request: "POST /v1/runspaces/rs_1/reset", body: `{"credentials":{"token":"canary"}}`, status: 202, never: []string{"canary"},
			asked: []any{remuda.RunspaceID("rs_1"), runspaces.ResetRequest{Credentials: remuda.Credentials{"token": "canary"}}},
		},
		{name: "reset and wait", stage: stage{final: true}, request: "POST /v1/runspaces/rs_1/reset?wait=2s", status: 200, want: []string{`"state":"ready"`}, asked: []any{remuda.RunspaceID("rs_1"), 2 * time.Second}},
		{name: "reset wrongly", request: "POST /v1/runspaces/rs_1/reset?wait=x", body: `{}`, status: 400, want: []string{`"field":"wait"`}},
		{name: "reset with a wrong body", request: "POST /v1/runspaces/rs_1/reset", body: `{"credentials":"canary","runtime":"x"}`, status: 400, want: []string{`"field":"credentials","message":"must be object, not string"`, `"field":"runtime"`}, never: []string{"canary"}},
		{name: "reset without its credentials", stage: fail(remuda.CodeConflict), request: "POST /v1/runspaces/rs_1/reset", status: 409},
		{name: "close", request: "DELETE /v1/runspaces/rs_1", status: 204},

		{name: "make an organization", request: "POST /v1/organizations", body: `{"name":"acme"}`, status: 201},
		{name: "list organizations", request: "GET /v1/organizations", status: 200},
		{name: "get an organization", request: "GET /v1/organizations/acme", status: 200},
		{
			name: "change an organization", request: "PATCH /v1/organizations/acme", body: `{"policy":{"isolations":["gvisor"],"network_allow":["10.0.0.0/8"],"network_forbid":[],"max_instances":3}}`, status: 200,
			asked: []any{"acme", remuda.PolicyPatch{
				Isolations: &[]remuda.Isolation{remuda.IsolationGVisor}, Allow: &[]netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, Forbid: new([]netip.Prefix(nil)), MaxInstances: new(3),
			}},
		},
		{name: "change an organization wrongly", request: "PATCH /v1/organizations/acme", body: `{"policy":{"network_allow":["10/8"],"network_forbid":["x"]}}`, status: 400, want: []string{`"field":"policy.network_allow[0]"`, `"field":"policy.network_forbid[0]"`}},
		{name: "change nothing of an organization", request: "PATCH /v1/organizations/acme", body: `{"policy":{}}`, status: 400},
		{
			name: "limits", request: "GET /v1/organizations/acme/limits", status: 200, asked: []any{"acme"},
			want: []string{`"max_runspaces":20`, `"idle_timeout_s":null`, `"keep_for_s":3600`, `"in_force":{"active_timeout_s":null,"idle_timeout_s":90,"keep_executions":null,"keep_for_s":3600,"max_runspaces":20,"max_runspaces_per_user":null,"memory_mb":null}`},
		},
		{name: "limits of nobody", stage: stage{err: remuda.NotFound("organization", "x")}, request: "GET /v1/organizations/x/limits", status: 404},
		{
			name: "change the limits", request: "PATCH /v1/organizations/acme/limits", status: 200,
			body: `{"max_runspaces":20,"max_runspaces_per_user":0,"idle_timeout_s":60,"active_timeout_s":0,"memory_mb":64,"keep_executions":30,"keep_for_s":432000}`,
			asked: []any{"acme", remuda.LimitsPatch{
				MaxRunspaces: new(20), MaxRunspacesPerUser: new(0), IdleTimeout: &minute, ActiveTimeout: new(time.Duration(0)), MemoryMB: new(64), KeepExecutions: new(30), KeepFor: new(120 * time.Hour),
			}},
		},
		{
			name: "change the limits wrongly", request: "PATCH /v1/organizations/acme/limits", body: `{"max_runspaces":-1,"idle_timeout_s":1.5,"memory_mb":null,"keep_for":1}`, status: 400,
			want: []string{`"field":"max_runspaces","message":"must be at least 0, not -1"`, `"field":"idle_timeout_s","message":"must be a whole number`, `"field":"memory_mb","message":"must be integer, not null"`, `"field":"keep_for","message":"is not a known field`},
		},
		{name: "change no limit", request: "PATCH /v1/organizations/acme/limits", body: `{}`, status: 400},
		{name: "list members", request: "GET /v1/organizations/acme/members", status: 200},
		{name: "put a member", request: "PUT /v1/organizations/acme/members/ada", body: `{"role":"monitor"}`, status: 200, asked: []any{"acme", "ada", remuda.RoleMonitor}},
		{name: "put a member with a wrong role", request: "PUT /v1/organizations/acme/members/ada", body: `{"role":"king"}`, status: 400},
		{name: "remove a member", request: "DELETE /v1/organizations/acme/members/ada", status: 204},
		{name: "make a user", request: "POST /v1/users", body: `{"name":"ada","password":"pw"}`, status: 201, never: []string{`"password`}, asked: []any{"ada", "pw", false}},
		{name: "list users", request: "GET /v1/users", status: 200},
		{name: "get a user", request: "GET /v1/users/ada", status: 200},
		{name: "change a user", request: "PATCH /v1/users/ada", body: `{"disabled":true}`, status: 200, asked: []any{"ada", "", true}},
	})
}

func TestScripts(t *testing.T) {
	t.Parallel()
	runScenarios(t, httpapi.Options{}, []scenario{
		{
			name: "store", request: "POST /v1/scripts", status: 201, want: []string{"Location: /v1/scripts/scr_1", `"revision":2`, `"runtime":null`, `"value":"db"`, `"value":null`},
			body: `{"name":"log in","content":"connect($host)","folder":"f","description":"d","runtime":"python","variables":[{"name":"host","value":"db","editable":false,"required":true},{"name":"key","kind":"secret","id":"V2","tag":"x"}]}`,
			asked: []any{remuda.ScriptDefinition{
				Name: "log in", Content: "connect($host)", Folder: "f", Description: "d", Kind: remuda.ScriptPython, Runtime: "rt_1",
				Variables: []remuda.ScriptVariable{{Name: "host", Kind: remuda.VariableText, Value: "db", Required: true}, {ID: "V2", Name: "key", Kind: remuda.VariableSecret, Editable: true, Tag: "x"}},
			}},
		},
		{name: "store on an unknown runtime", request: "POST /v1/scripts", body: `{"name":"a","content":"","runtime":"absent"}`, status: 422, want: []string{`"field":"runtime"`}},
		{name: "store nothing", request: "POST /v1/scripts", body: `{"name":"","kind":"bash","variables":[{"name":"1"},{"value":1}]}`, status: 400, want: []string{`"field":"name"`, `"field":"kind"`, `"field":"content","message":"is required"`, `"field":"variables[0].name"`, `"field":"variables[1].value"`, `"field":"variables[1].name","message":"is required"`}},
		{name: "name taken", stage: fail(remuda.CodeConflict), request: "POST /v1/scripts", body: `{"name":"a","content":""}`, status: 409},
		{name: "list", request: "GET /v1/scripts?name=log%20in&limit=3", status: 200, want: []string{`"next":"more"`, `"name":"log in"`}, never: []string{`"content"`, `"variables"`}, asked: []any{"log in", remuda.Page{Limit: 3}}},
		{name: "get", request: "GET /v1/scripts/scr_1", status: 200, want: []string{`"content":"connect($host)"`, `"updated_at":"2026-11-22T08:00:00.123456Z"`}, asked: []any{"scr_1"}},
		{
			name: "change", request: "PATCH /v1/scripts/scr_1", body: `{"content":"x","kind":"python","runtime":"","variables":[]}`, status: 200,
			asked: []any{"scr_1", remuda.ScriptPatch{Content: new("x"), Kind: new(remuda.ScriptPython), Runtime: new(remuda.RuntimeID("")), Variables: new([]remuda.ScriptVariable{})}},
		},
		{name: "change nothing", request: "PATCH /v1/scripts/scr_1", body: `{}`, status: 400},
		{name: "change what is not there", request: "PATCH /v1/scripts/scr_1", body: `{"revision":3}`, status: 400, want: []string{`"field":"revision"`}},
		{name: "delete", request: "DELETE /v1/scripts/scr_1", status: 204, asked: []any{"scr_1"}},
	})
}

func TestArgumentTemplates(t *testing.T) {
	t.Parallel()
	runScenarios(t, httpapi.Options{}, []scenario{
		{name: "list", request: "GET /v1/argument-templates", status: 200, want: []string{`"next":null`, `"id":"vm-by-id-server-name","placeholders":["id","server"],"result_type":"VMware.VimAutomation.Types.VirtualMachine","runtime":"PowerCLI"`, `"id":"bash-word"`}},
		{name: "list without a token", request: "GET /v1/argument-templates", header: []string{"Authorization", ""}, status: 401},
		{name: "get", request: "GET /v1/argument-templates/python-int-by-string", status: 200, want: []string{`"template":"int(<value>)"`, `"runtime":"python"`}},
		{name: "get none", request: "GET /v1/argument-templates/vm", status: 404, want: []string{`"title":"no argument template \"vm\""`}},
		{name: "fill", request: "POST /v1/argument-templates/vm-by-id-server-name/fill", body: `{"values":[{"id":["vm-1","v'2"],"server":["s"]}]}`, status: 200, want: []string{`{"script":"Get-VM -Id 'vm-1','v''2' -Server 's'"}`}},
		{name: "fill none", request: "POST /v1/argument-templates/vm/fill", body: `{"values":[{}]}`, status: 404},
		{
			name: "fill wrongly", request: "POST /v1/argument-templates/python-int-by-string/fill", body: `{"values":[{},{"value":["1","2"]},{"other":["1"],"value":["1"]}]}`, status: 400,
			want: []string{`"field":"values[0].value","message":"needs a value"`, `"field":"values[1].value","message":"takes exactly one value`, `"field":"values[2]","message":"has a value for \"other\", which is no placeholder of python-int-by-string; it has value"`},
		},
		{name: "fill with nothing", request: "POST /v1/argument-templates/python-literal/fill", body: `{"values":[]}`, status: 400, want: []string{`"field":"values","message":"must have between 1 and 1000 entries"`}},
		{name: "fill with what is no list", request: "POST /v1/argument-templates/python-literal/fill", body: `{"values":[{"value":"x"}],"template":"y"}`, status: 400, want: []string{`"field":"values[0].value","message":"must be array, not string"`, `"field":"template"`}},
	})
}
