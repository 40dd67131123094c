package apitest_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/remuda-run/remuda/internal/httpapi/apitest"
)

// complaints is a test that remembers why it fails.
type complaints []string

func (*complaints) Helper() {}
func (c *complaints) Errorf(format string, args ...any) {
	*c = append(*c, fmt.Sprintf(format, args...))
}

const problem = `{"type":"x","title":"x","status":404,"code":"not_found","cause":null,"remedy":null,"fields":[],"request_id":"x"}`

// TestFindsWhatIsNotDocumented answers in ways that the document does not have;
// a check that finds nothing would make every other test worthless.
func TestFindsWhatIsNotDocumented(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		request string // "METHOD /path"
		body    string
		status  int
		header  map[string]string
		answer  string
		want    string // "" is no complaint
	}{
		"fine":                  {"GET /healthz", "", 200, nil, `{"status":"ok","version":"x"}`, ""},
		"missing field":         {"GET /healthz", "", 200, nil, `{"status":"ok"}`, "not as documented"},
		"field too many":        {"GET /healthz", "", 200, nil, `{"status":"ok","version":"x","more":1}`, "not as documented"},
		"field too many inside": {"GET /v1/versions", "", 200, nil, `{"items":[{"language":"node","version":"x","path":"x","more":1}],"next":null}`, "not as documented"},
		"wrong type":            {"GET /healthz", "", 200, nil, `{"status":"ok","version":1}`, "not as documented"},
		"no JSON":               {"GET /healthz", "", 200, nil, `{`, "no JSON"},
		"status":                {"GET /healthz", "", 201, nil, `{}`, "which is not documented"},
		"header":                {"GET /healthz", "", 200, map[string]string{"X-Odd": "1"}, `{"status":"ok","version":"x"}`, "X-Odd is not documented"},
		"no request id":         {"GET /healthz", "", 200, map[string]string{"X-Request-Id": ""}, `{"status":"ok","version":"x"}`, "no X-Request-Id"},
		"content type":          {"GET /healthz", "", 200, map[string]string{"Content-Type": "text/plain"}, `x`, "which is not documented"},
		"missing header":        {"GET /v1/whoami", "", 429, map[string]string{"Content-Type": "application/problem+json"}, strings.ReplaceAll(problem, "not_found", "exhausted"), "Retry-After is documented"},
		"unknown path":          {"GET /nothing", "", 200, nil, `{}`, "no such operation"},
		"unknown path, 404":     {"GET /nothing", "", 404, map[string]string{"Content-Type": "application/problem+json"}, problem, ""},
		"unknown path, text":    {"GET /nothing", "", 404, map[string]string{"Content-Type": "application/json"}, `{"error":"x"}`, "not as documented"},
		"bad body is taken":     {"PUT /v1/organizations/x/members/y", `{"role":"king"}`, 200, nil, `{"user":"x","user_name":"x","role":"monitor"}`, "took a body that the document forbids"},
		"greedy path":           {"DELETE /v1/runspaces/x/files/a/b/c", "", 204, nil, "", ""},
		"event":                 {"GET /v1/executions/x/output", "", 200, map[string]string{"Content-Type": "text/event-stream"}, "event: odd\ndata: {}\n\n", `event "odd" is not documented`},
		"event data":            {"GET /v1/executions/x/output", "", 200, map[string]string{"Content-Type": "text/event-stream"}, "event: output\ndata: {\"seq\":1}\n\n", "not as documented"},
		"events":                {"GET /v1/executions/x/output", "", 200, map[string]string{"Content-Type": "text/event-stream"}, ":\n\nid: 1\nevent: output\ndata: {\"seq\":1,\"stream\":\"stdout\",\"data\":\"\"}\n\n", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				w.Header().Set("X-Request-Id", "x")
				for name, value := range tc.header {
					w.Header().Set(name, value)
				}
				if tc.status == http.StatusNoContent {
					w.Header().Del("Content-Type")
				}
				w.WriteHeader(tc.status)
				_, _ = io.WriteString(w, tc.answer)
			})
			method, path, _ := strings.Cut(tc.request, " ")
			var byMiddleware, byTransport complaints
			request := func(url string) *http.Request {
				r, err := http.NewRequest(method, url+path, strings.NewReader(tc.body))
				if err != nil {
					t.Fatal(err)
				}
				if tc.body != "" {
					r.Header.Set("Content-Type", "application/json")
				}
				return r
			}
			apitest.Middleware(&byMiddleware, h).ServeHTTP(httptest.NewRecorder(), request("http://x"))
			srv := httptest.NewServer(h)
			defer srv.Close()
			c := http.Client{Transport: apitest.Transport(&byTransport, srv.Client().Transport)}
			resp, err := c.Do(request(srv.URL))
			if err != nil {
				t.Fatal(err)
			}
			if body, err := io.ReadAll(resp.Body); err != nil || string(body) != tc.answer {
				t.Errorf("the answer is changed to %q (%v)", body, err)
			}
			_ = resp.Body.Close()
			for way, got := range map[string]complaints{"middleware": byMiddleware, "transport": byTransport} {
				all := strings.Join(got, "\n")
				if tc.want == "" && all != "" || !strings.Contains(all, tc.want) {
					t.Errorf("%s complains %q, want %q", way, all, tc.want)
				}
			}
		})
	}
}
