package native

import (
	"testing"
	"time"

	"github.com/remuda-run/remuda/internal/httpapi"
	"github.com/remuda-run/remuda/internal/remuda"
)

func TestBuilds(t *testing.T) {
	t.Parallel()
	events := []string{"Accept", "text/event-stream"}
	runScenarios(t, httpapi.Options{}, []scenario{
		{
			name: "define with packages", request: "POST /v1/runtimes", status: 201,
			body: `{"name":"lab","language":"python","version":"3.10.5","version_policy":"compatible","packages":[{"name":"numpy","version":"latest","description":"d"},{"name":"jq","manager":"apt"}],"others":"x"}`,
			want: []string{`"status":"ready"`, `"reason":null`, `"serving_generation":3`, `"version_resolved":"3.11.2"`, `"layer":null`, `"packages":[]`, `"instances":{"active":0,"ready":0,"starting":0}`},
			asked: []any{remuda.Definition{
				Name: "lab", Language: remuda.LanguagePython, Version: "3.10.5", VersionPolicy: remuda.VersionCompatible, Others: "x",
				Packages: []remuda.Package{{Name: "numpy", Version: "latest", Description: "d"}, {Name: "jq", Manager: remuda.ManagerApt}},
			}},
		},
		{
			name: "packages in a wrong form", request: "POST /v1/runtimes", status: 400,
			body: `{"name":"lab","language":"python","version_policy":"any","packages":[{"version":"1"},{"name":"x","manager":"cargo"},{"name":"y","hash":"z"}],"others":5}`,
			want: []string{`"field":"packages[0].name","message":"is required"`, `"field":"packages[1].manager"`, `"field":"packages[2].hash"`, `"field":"version_policy"`, `"field":"others"`},
		},
		{name: "change packages", request: "PATCH /v1/runtimes/lab", body: `{"packages":[{"name":"numpy"}]}`, status: 200, asked: []any{"lab", remuda.RuntimePatch{Packages: &[]remuda.Package{{Name: "numpy"}}}}},
		{name: "no packages any more", request: "PATCH /v1/runtimes/lab", body: `{"packages":[],"others":"","version_policy":"exact"}`, status: 200, asked: []any{"lab", remuda.RuntimePatch{Packages: new([]remuda.Package(nil)), Others: new(""), VersionPolicy: new(remuda.VersionExact)}}},
		{
			name: "build again", request: "POST /v1/runtimes/lab/rebuild", body: `{"refresh":true}`, status: 202, asked: []any{"lab", true},
			want: []string{`"status":"busy"`, `"serving_generation":3`, `"packages":[{"description":"","manager":"pip","message":null,"name":"numpy","resolved":"2.3","status":"installing","version":"latest"}]`},
		},
		{name: "build again as it was", request: "POST /v1/runtimes/lab/rebuild", body: `{}`, status: 202, asked: []any{"lab", false}},
		{name: "build again wrongly", request: "POST /v1/runtimes/lab/rebuild", body: `{"refresh":"yes","force":true}`, status: 400, want: []string{`"field":"refresh"`, `"field":"force"`}},
		{name: "build again what is being built", stage: fail(remuda.CodeConflict), request: "POST /v1/runtimes/lab/rebuild", body: `{}`, status: 409},
		{name: "list", request: "GET /v1/runtimes/lab/builds?limit=2", status: 200, want: []string{`"next":"more"`, `"generation":4`, `"ended_at":null`, `"lock":[]`}, asked: []any{"lab", remuda.Page{Limit: 2}}},
		{
			name: "get a failed one", stage: stage{final: true}, request: "GET /v1/runtimes/lab/builds/4", status: 200, asked: []any{"lab", 4},
			want: []string{`"status":"error"`, `"reason":"no such package"`, `"status":"not_installed"`, `"message":"gone"`, `"ended_at":"2026-11-22T08:00:00.123456Z"`, `"hashes":["sha256:1"]`},
		},
		{name: "generation that is none", request: "GET /v1/runtimes/lab/builds/0", status: 400},
		{name: "generation that is a word", request: "GET /v1/runtimes/lab/builds/latest", status: 400},
		{name: "generation in another form", request: "GET /v1/runtimes/lab/builds/04", status: 404},
		{name: "absent build", stage: fail(remuda.CodeNotFound), request: "GET /v1/runtimes/lab/builds/9/log", header: events, status: 404},
		{
			name: "log", request: "GET /v1/runtimes/lab/builds/4/log?after=2&wait=1s&limit=9", status: 200, asked: []any{"lab", 4, int64(2), 9, time.Second},
			want: []string{`{"cut_bytes":0,"ended":false,"next":3,"records":[{"data":"Collecting numpy\n","seq":3,"stream":"stdout"}],"truncated":false}`},
		},
		{
			name: "log as it comes", stage: stage{final: true}, request: "GET /v1/runtimes/lab/builds/4/log", header: events, status: 200,
			want: []string{"event: build\ndata: {", "id: 1\nevent: output\ndata: {", "id: 2\nevent: output", "event: end\ndata: {", "text/event-stream"},
		},
		{name: "log goes on", stage: stage{final: true}, request: "GET /v1/runtimes/lab/builds/4/log?after=1", header: append([]string{"Last-Event-ID", "7"}, events...), status: 200, want: []string{"id: 8\n"}, never: []string{"id: 2\n", "id: 7\n"}},
	})
}
