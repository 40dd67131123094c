package native

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/remuda-run/remuda/internal/httpapi"
	"github.com/remuda-run/remuda/internal/remuda"
)

type errSecret struct{}

func (errSecret) Error() string { return "secret-of-the-server" }

func TestErrors(t *testing.T) {
	t.Parallel()
	busy := stage{err: &remuda.Error{Code: remuda.CodeExhausted, Message: "busy", RetryAfterSeconds: 7}}
	runScenarios(t, httpapi.Options{}, []scenario{
		{name: "exhausted", stage: busy, request: "GET /v1/runspaces", status: 429, want: []string{"Retry-After: 7"}},
		{
			name: "with a reason", stage: stage{err: &remuda.Error{Code: remuda.CodeConflict, Message: "busy", Reason: remuda.ReasonRunspaceBusy, Object: "ex_7"}},
			request: "POST /v1/runspaces/rs_1/executions", body: `{"script":"1"}`, status: 409, want: []string{`"code":"conflict"`, `"reason":"runspace_busy"`, `"object":"ex_7"`},
		},
		{name: "without a reason", stage: fail(remuda.CodeConflict), request: "POST /v1/runspaces/rs_1/executions", body: `{"script":"1"}`, status: 409, never: []string{`"reason"`, `"object"`}},
		{name: "unavailable", stage: fail(remuda.CodeUnavailable), request: "GET /v1/runspaces", status: 503, want: []string{"Retry-After: 1"}},
		{name: "canceled", stage: fail(remuda.CodeCanceled), request: "GET /v1/runspaces", status: 503},
		{name: "deadline", stage: fail(remuda.CodeDeadline), request: "GET /v1/runspaces", status: 504},
		{name: "forbidden", stage: fail(remuda.CodeForbidden), request: "GET /v1/runspaces", status: 403},
		{name: "unsupported", stage: fail(remuda.CodeUnsupported), request: "POST /v1/runtimes", body: `{"name":"x","language":"bash"}`, status: 422, want: []string{`"code":"unsupported"`}},
		{name: "internal", stage: fail(remuda.CodeInternal), request: "GET /v1/runspaces", status: 500},
		{name: "foreign error", stage: stage{err: errSecret{}}, request: "GET /v1/runspaces", status: 500, want: []string{`"code":"internal"`}},
		{name: "panic", stage: stage{panics: true}, request: "GET /v1/runspaces", status: 500, want: []string{`"code":"internal"`}},
		{name: "no such path", request: "GET /v1/nothing", status: 404, want: []string{`"code":"not_found"`}},
		{name: "root", request: "GET /", status: 404},
		{name: "slash at the end", request: "GET /v1/runtimes/", status: 404},
		{name: "method", request: "DELETE /v1/executions", status: 405, want: []string{"Allow: GET, HEAD, POST", `"code":"method_not_allowed"`}},
		{name: "options", request: "OPTIONS /v1/users/x", status: 405, want: []string{"Allow: GET, HEAD, PATCH"}},
		{name: "odd method", request: "BREW /healthz", status: 405},
		{name: "double slash", request: "GET /v1//runtimes", status: 400},
		{name: "dots", request: "GET /v1/../v1/runtimes", status: 400},
		{name: "own request id", request: "GET /v1/runspaces", header: []string{"X-Request-Id", "abc-1.2_3"}, status: 200, want: []string{"X-Request-Id: abc-1.2_3"}},
		{name: "own request id in a problem", request: "GET /v1/nothing", header: []string{"X-Request-Id", "abc"}, status: 404, want: []string{`"request_id":"abc"`}},
		{name: "insane request id", request: "GET /v1/runspaces", header: []string{"X-Request-Id", "a b\""}, status: 200, never: []string{"a b"}},
		{name: "other site", request: "POST /v1/executions/x/cancel", header: []string{"Sec-Fetch-Site", "cross-site"}, status: 403},
	})
}

func TestCredentials(t *testing.T) {
	t.Parallel()
	const basic = "Basic YWRhOnBhc3M6d29yZA==" // ada, pass:word
	token := `{"name":"laptop","scope":"read","expires_at":"2027-01-01T00:00:00+01:00"}`
	expires := time.Date(2027, 1, 1, 0, 0, 0, 0, time.FixedZone("", 3600))
	runScenarios(t, httpapi.Options{}, []scenario{
		{name: "none", request: "GET /v1/runtimes", header: []string{"Authorization", ""}, status: 401, want: []string{`Www-Authenticate: Bearer realm="remuda"`}, never: []string{"Basic realm"}},
		{name: "unknown token", request: "GET /v1/runtimes", header: []string{"Authorization", "Bearer bad"}, status: 401, want: []string{"Www-Authenticate: Bearer"}},
		{name: "before the body is looked at", request: "POST /v1/runtimes", body: "{", header: []string{"Authorization", "Bearer bad"}, status: 401},
		{name: "store is down", request: "GET /v1/runtimes", header: []string{"Authorization", "Bearer broken"}, status: 500},
		{name: "password elsewhere", request: "GET /v1/runtimes", header: []string{"Authorization", basic}, status: 401, never: []string{"Basic realm"}},
		{name: "password", request: "POST /v1/tokens", body: token, header: []string{"Authorization", basic, "Remuda-Organization", "acme"}, status: 201, want: []string{`"token":"the-secret"`, `"expires_at":"2026-12-31T23:00:00Z"`}},
		{name: "own password", request: "PATCH /v1/users/ada", body: `{"password":"of my own choice"}`, header: []string{"Authorization", basic}, status: 200, want: []string{`"name":"ada"`}},
		{name: "wrong organization", request: "POST /v1/tokens", body: token, header: []string{"Authorization", basic, "Remuda-Organization", "other"}, status: 401, want: []string{"Basic realm"}},
		{name: "wrong password", request: "POST /v1/tokens", body: token, header: []string{"Authorization", "Basic YWRhOng="}, status: 401, want: []string{"Bearer realm", "Basic realm"}},
		{name: "token with a token", request: "POST /v1/tokens", body: `{"name":"x","expires_at":null}`, status: 201, want: []string{`"expires_at":null`, `"scope":"write"`}, asked: []any{"x", remuda.ScopeWrite, (*time.Time)(nil)}},
		{name: "expiry is passed on", request: "POST /v1/tokens", body: token, status: 201},
		{name: "bad expiry", request: "POST /v1/tokens", body: `{"name":"x","expires_at":"tomorrow"}`, status: 400, want: []string{`"field":"expires_at","message":"must be a time`}},
		{name: "list", request: "GET /v1/tokens", status: 200, want: []string{`"next":"more"`}, never: []string{`"token":`}},
		{name: "revoke", request: "DELETE /v1/tokens/tok_2", status: 204, asked: []any{remuda.TokenID("tok_2")}},
		{name: "whoami", request: "GET /v1/whoami", status: 200, want: []string{`"user_name":"ada"`, `"role":"administrator"`, `"token":"tok_1"`}},
		{name: "metrics without a token", request: "GET /metrics", header: []string{"Authorization", ""}, status: 401},
		{name: "metrics with a weak token", request: "GET /metrics", header: []string{"Authorization", "Bearer weak"}, status: 403},
		{name: "metrics", request: "GET /metrics", status: 200, want: []string{"up 1"}},
		{name: "health", request: "GET /healthz", header: []string{"Authorization", ""}, status: 200, want: []string{`"status":"ok"`, `"version":"test"`}},
		{name: "ready", request: "GET /readyz", header: []string{"Authorization", ""}, status: 200},
	})
	runScenarios(t, httpapi.Options{MetricsOpen: true, Ready: func(ctxt) error {
		return &remuda.Error{Code: remuda.CodeInternal, Message: "the store does not answer", Err: errSecret{}}
	}}, []scenario{
		{name: "metrics on loopback", request: "GET /metrics", header: []string{"Authorization", ""}, status: 200},
		{name: "not ready", request: "GET /readyz", header: []string{"Authorization", ""}, status: 503, want: []string{`"cause":"the store does not answer"`}},
	})
	_ = expires
}

// TestEveryServiceErrorIsDocumented makes every operation of /v1 fail with every
// code that services use there; apitest fails for an undocumented status.
func TestEveryServiceErrorIsDocumented(t *testing.T) {
	t.Parallel()
	bodies := map[string]string{
		"createExecution": `{"runtime":"p","script":"x"}`, "createRunspaceExecution": `{"script":"x"}`, "createRunspace": `{"runtime":"p"}`,
		"createRuntime": `{"name":"p","language":"bash"}`, "updateRuntime": `{"name":"p"}`, "rebuildRuntime": `{}`, "createToken": `{"name":"x"}`, "createOrganization": `{"name":"x"}`,
		"updateOrganization": `{"policy":{"max_instances":1}}`, "updateLimits": `{"max_runspaces":1}`, "createScript": `{"name":"a","content":""}`, "updateScript": `{"name":"a"}`,
		"putMember": `{"role":"monitor"}`, "createUser": `{"name":"x","password":"y"}`, "updateUser": `{"disabled":true}`,
	}
	for _, rt := range routes {
		method, path, _ := strings.Cut(rt.pattern, " ")
		if !strings.HasPrefix(path, "/v1/") || rt.operation == "whoami" || strings.Contains(path, "/argument-templates") {
			continue // there is no service behind it
		}
		t.Run(rt.operation, func(t *testing.T) {
			t.Parallel()
			codes := []remuda.Code{remuda.CodeInvalid, remuda.CodeForbidden, remuda.CodeExhausted, remuda.CodeUnavailable, remuda.CodeCanceled, remuda.CodeDeadline, remuda.CodeInternal}
			if strings.Contains(path, "{") {
				codes = append(codes, remuda.CodeNotFound)
			}
			if method != http.MethodGet {
				codes = append(codes, remuda.CodeConflict)
			}
			for _, code := range codes {
				st := fail(code)
				if code == remuda.CodeConflict && rt.operation == "revokeToken" {
					continue // revoking has no state to be in conflict with
				}
				w := do(st.handler(t, httpapi.Options{}), method, strings.NewReplacer("{", "", "}", "", "...", "").Replace(path), bodies[rt.operation])
				if w.Code < 400 {
					t.Errorf("%s with %s answers %d", rt.operation, code, w.Code)
				}
			}
		})
	}
}
