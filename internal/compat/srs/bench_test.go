package srs_test

import (
	"encoding/json"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/remuda-run/remuda/internal/compat/compattest"
	"github.com/remuda-run/remuda/test/harness"
)

// BenchmarkCreateToReady is how long it takes from asking for a runspace to reading that
// it is ready, with warm instances there, over one connection.
func BenchmarkCreateToReady(b *testing.B) {
	s := harness.Start(b, "--compat-srs-runtime=warm")
	const warm = 8
	s.Call(http.MethodPost, "/v1/runtimes", harness.JSON{"name": "warm", "language": "python", "pool": harness.JSON{"min_cached": warm, "max_cached": warm}}, nil)
	s.Call(http.MethodPost, "/v1/users", harness.JSON{"name": "ada", "password": compattest.Password}, nil)
	s.Call(http.MethodPut, "/v1/organizations/default/members/ada", harness.JSON{"role": "operator"}, nil)
	client, key := &http.Client{}, ""
	call := func(method, path, body string) (*http.Response, []byte) {
		req, err := http.NewRequestWithContext(b.Context(), method, s.Base+path, strings.NewReader(body))
		if err != nil {
			b.Fatal(err)
		}
		if key == "" {
			req.Header.Set("Authorization", basic("ada", compattest.Password))
		}
		req.Header.Set(headerKey, key)
		req.Header.Set("Content-Type", "application/json")
		resp, err := client.Do(req)
		if err != nil {
			b.Fatal(err)
		}
		defer resp.Body.Close()
		data, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode >= http.StatusBadRequest {
			b.Fatalf("%s %s: %d %s (%v)", method, path, resp.StatusCode, data, err)
		}
		return resp, data
	}
	resp, _ := call(http.MethodPost, "/api/auth/login", "")
	key = resp.Header.Get(headerKey)
	ready := regexp.MustCompile(`(?m)^remuda_instances\{[^}]*state="ready"[^}]*\} (\d+)$`)
	filled := func() {
		for clock := compattest.Deadline(); clock.Left(); {
			total := 0
			for _, match := range ready.FindAllStringSubmatch(metrics(b, s), -1) {
				n, err := strconv.Atoi(match[1])
				if err != nil {
					b.Fatal(err)
				}
				total += n
			}
			if total >= warm {
				return
			}
		}
		b.Fatal("the pool does not fill")
	}
	var took []time.Duration
	for b.Loop() {
		b.StopTimer()
		filled()
		b.StartTimer()
		begun := time.Now()
		_, data := call(http.MethodPost, "/api/runspaces", `{"run_vc_connection_script":false}`)
		var rs struct{ ID, State string }
		for rs.State != "ready" {
			if err := json.Unmarshal(data, &rs); err != nil {
				b.Fatal(err)
			}
			if rs.State == "creating" {
				_, data = call(http.MethodGet, "/api/runspaces/"+rs.ID, "")
			} else if rs.State != "ready" {
				b.Fatalf("the runspace is %s", data)
			}
		}
		took = append(took, time.Since(begun))
		b.StopTimer()
		call(http.MethodDelete, "/api/runspaces/"+rs.ID, "")
		b.StartTimer()
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(took[len(took)*95/100].Microseconds()), "p95-µs")
	b.Logf("%d runspaces: p50 %s, p95 %s", len(took), took[len(took)/2], took[len(took)*95/100])
}

// metrics is what the server says about itself.
func metrics(b *testing.B, s *harness.Server) string {
	b.Helper()
	req, err := http.NewRequestWithContext(b.Context(), http.MethodGet, s.Base+"/metrics", nil)
	if err != nil {
		b.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+s.Token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		b.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		b.Fatalf("the metrics: %d %s (%v)", resp.StatusCode, text, err)
	}
	return string(text)
}
