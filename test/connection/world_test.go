package connection

import (
	_ "embed"
	"fmt"
	"maps"
	"net/http"
	"os"
	"testing"

	"github.com/remuda-run/remuda/internal/engine/enginetest/leftover"
	"github.com/remuda-run/remuda/test/harness"
)

func TestMain(m *testing.M) {
	leftover.Sweep()
	os.Exit(m.Run())
}

//go:embed search.py
var search string

// world is a server with a runtime.
type world struct {
	*harness.Server
	t       *testing.T
	runtime string
}

func newWorld(t *testing.T, definition harness.JSON, args ...string) *world {
	t.Helper()
	w := &world{t: t, Server: harness.Start(t, args...)}
	all := harness.JSON{
		"name": "fixture", "language": "python", "exec_timeout_s": 60, "resources": harness.JSON{"cpu": 1, "memory_mb": 128, "disk_mb": 16, "pids": 16},
		"pool": harness.JSON{"min_cached": 0, "max_cached": 2},
	}
	maps.Copy(all, definition)
	var made struct{ ID string }
	w.Call(http.MethodPost, "/v1/runtimes", all, &made)
	w.runtime = made.ID
	return w
}

// store stores a script for the runtime, with one secret variable if secret is not "".
func (w *world) store(name, content, secret string) {
	w.t.Helper()
	script := harness.JSON{"name": name, "content": content, "runtime": w.runtime}
	if secret != "" {
		script["variables"] = []harness.JSON{{"name": "key", "kind": "secret", "value": secret}}
	}
	w.Call(http.MethodPost, "/v1/scripts", script, nil)
}

// runspace is what /v1 says of one.
type runspace struct {
	ID, State, Error    string
	ConnectionExecution string `json:"connection_execution"`
}

// begin opens a runspace with its connection and waits until its script was started.
func (w *world) begin(request harness.JSON) runspace {
	w.t.Helper()
	request["runtime"], request["connection"] = w.runtime, true
	var rs runspace
	w.Call(http.MethodPost, "/v1/runspaces", request, &rs)
	w.Eventually("the connection script was started", func() bool {
		w.Call(http.MethodGet, "/v1/runspaces/"+rs.ID, nil, &rs)
		return rs.ConnectionExecution != "" || rs.State != "creating"
	})
	return rs
}

// settled waits until a runspace has left creating.
func (w *world) settled(rs runspace) runspace {
	w.t.Helper()
	w.Eventually("the runspace has been created", func() bool {
		w.Call(http.MethodGet, "/v1/runspaces/"+rs.ID, nil, &rs)
		return rs.State != "creating"
	})
	return rs
}

// open opens a runspace with its connection and waits until it is ready.
func (w *world) open(request harness.JSON) runspace {
	w.t.Helper()
	rs := w.settled(w.begin(request))
	if rs.State != "ready" {
		w.t.Fatalf("the runspace is %s: %s", rs.State, rs.Error)
	}
	return rs
}

// looks runs the search in a runspace, and returns how often it found the word and
// among how many objects, and where.
func (w *world) looks(id, word string, more harness.JSON) (found, looked int, where string) {
	w.t.Helper()
	request := harness.JSON{"script": search, "parameters": harness.JSON{"parts": []string{word[:len(word)/2], word[len(word)/2:]}}}
	maps.Copy(request, more)
	ex := w.RunIn(id, request)
	if ex.State != "success" {
		w.t.Fatalf("the search ended as %s", ex)
	}
	stdout, _ := w.Output(ex.ID)
	if _, err := fmt.Sscanf(stdout, "%d %d", &found, &looked); err != nil {
		w.t.Fatalf("the search says %q: %v", stdout, err)
	}
	return found, looked, stdout
}
