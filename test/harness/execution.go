package harness

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

// JSON is an object of the wire.
type JSON = map[string]any

// Execution is what the API says of an execution.
type Execution struct {
	ID       string `json:"id"`
	State    string `json:"state"`
	Instance string `json:"instance"`
	Fresh    bool   `json:"fresh"`
	ExitCode *int   `json:"exit_code"`
	Value    *struct {
		JSON json.RawMessage `json:"json"`
		Text string          `json:"text"`
	} `json:"value"`
	Error *struct {
		Type      string `json:"type"`
		Message   string `json:"message"`
		Traceback string `json:"traceback"`
	} `json:"error"`
	KilledBy string `json:"killed_by"`
	Reason   string `json:"reason"`
	Usage    struct {
		CPUSeconds   float64 `json:"cpu_s"`
		WallSeconds  float64 `json:"wall_s"`
		PeakMemoryMB float64 `json:"peak_memory_mb"`
	} `json:"usage"`
	TimingsUS map[string]int64 `json:"timings_us"`
}

// Ended reports whether the execution is in an end state.
func (e *Execution) Ended() bool { return e.State != "queued" && e.State != "running" }

// String says how the execution ended.
func (e *Execution) String() string {
	s := e.State
	if e.ExitCode != nil {
		s += fmt.Sprintf(", exit code %d", *e.ExitCode)
	}
	if e.KilledBy != "" {
		s += ", killed by " + e.KilledBy
	}
	if e.Reason != "" {
		s += ": " + e.Reason
	}
	if e.Error != nil {
		s += fmt.Sprintf(": %s: %s\n%s", e.Error.Type, e.Error.Message, e.Error.Traceback)
	}
	return s
}

// Runtime makes a runtime and returns its name.
func (s *Server) Runtime(definition JSON) string {
	s.t.Helper()
	var made struct {
		Name string `json:"name"`
	}
	s.Call(http.MethodPost, "/v1/runtimes", definition, &made)
	return made.Name
}

// Runspace opens a runspace on a runtime, waits until it is ready and returns
// its id. The test's end closes it.
func (s *Server) Runspace(runtime string) string {
	s.t.Helper()
	var rs struct{ ID, State, Error string }
	s.Call(http.MethodPost, "/v1/runspaces", JSON{"runtime": runtime}, &rs)
	for deadline := time.Now().Add(2 * time.Minute); rs.State == "creating" && time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		s.Call(http.MethodGet, "/v1/runspaces/"+rs.ID, nil, &rs)
	}
	if rs.State != "ready" {
		s.t.Fatalf("the runspace is %s: %s", rs.State, rs.Error)
	}
	s.t.Cleanup(func() {
		if s.cmd != nil {
			_, _ = s.call(http.MethodDelete, "/v1/runspaces/"+rs.ID, nil, nil) // may be closed already
		}
	})
	return rs.ID
}

// Run runs one script on a fresh instance and waits for its end.
func (s *Server) Run(request JSON) *Execution {
	s.t.Helper()
	return s.wait("/v1/executions", request)
}

// RunIn runs one script in a runspace and waits for its end.
func (s *Server) RunIn(runspace string, request JSON) *Execution {
	s.t.Helper()
	return s.wait("/v1/runspaces/"+runspace+"/executions", request)
}

func (s *Server) wait(path string, request JSON) *Execution {
	s.t.Helper()
	ex := new(Execution)
	s.Call(http.MethodPost, path+"?wait=30s", request, ex)
	for deadline := time.Now().Add(10 * time.Minute); !ex.Ended(); {
		if time.Now().After(deadline) {
			s.t.Fatalf("execution %s is still %s after ten minutes", ex.ID, ex.State)
		}
		id := ex.ID
		ex = new(Execution)
		s.Call(http.MethodGet, "/v1/executions/"+id+"?wait=30s", nil, ex)
	}
	return ex
}

// Output returns what an execution wrote, read page by page. Gaps in the
// numbers of the records fail the test.
func (s *Server) Output(id string) (stdout, stderr string) {
	s.t.Helper()
	var after int64
	var out, errs []byte
	for {
		var page struct {
			Records []struct {
				Seq    int64
				Stream string
				Data   string
				Base64 string `json:"data_base64"`
			}
			Next  int64
			Ended bool
		}
		s.Call(http.MethodGet, fmt.Sprintf("/v1/executions/%s/output?after=%d", id, after), nil, &page)
		for _, r := range page.Records {
			if r.Seq != after+1 {
				s.t.Fatalf("output record %d follows %d", r.Seq, after)
			}
			after = r.Seq
			data := []byte(r.Data)
			if r.Base64 != "" {
				decoded, err := base64.StdEncoding.DecodeString(r.Base64)
				if err != nil {
					s.t.Fatal(err)
				}
				data = decoded
			}
			if r.Stream == "stdout" {
				out = append(out, data...)
			} else {
				errs = append(errs, data...)
			}
		}
		if page.Ended || len(page.Records) == 0 {
			return string(out), string(errs)
		}
	}
}

// Success runs one script that must succeed and returns its standard output.
func (s *Server) Success(request JSON) (*Execution, string) {
	s.t.Helper()
	ex := s.Run(request)
	stdout, stderr := s.Output(ex.ID)
	if ex.State != "success" {
		s.t.Fatalf("the script ended as %s\nstdout: %s\nstderr: %s", ex, stdout, stderr)
	}
	return ex, stdout
}
