package connection

import (
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"

	"github.com/remuda-run/remuda/internal/engine/enginetest/leftover"
	"github.com/remuda-run/remuda/internal/remuda"
	"github.com/remuda-run/remuda/test/harness"
)

func TestMain(m *testing.M) {
	leftover.Sweep()
	os.Exit(m.Run())
}

//go:embed search.py
var search string

const password = "correct horse ada"

// world is a server with a runtime and a user who stores scripts.
type world struct {
	*harness.Server
	t       *testing.T
	runtime string
	door    http.Header // of a session at the Strategy door, where scripts are stored
}

func newWorld(t *testing.T, definition harness.JSON, args ...string) *world {
	t.Helper()
	w := &world{t: t, Server: harness.Start(t, args...)}
	w.Call(http.MethodPost, "/v1/users", harness.JSON{"name": "ada", "password": password}, nil)
	w.Call(http.MethodPut, "/v1/organizations/default/members/ada", harness.JSON{"role": "administrator"}, nil)
	all := harness.JSON{
		"name": "fixture", "language": "python", "exec_timeout_s": 60, "resources": harness.JSON{"cpu": 1, "memory_mb": 128, "disk_mb": 16, "pids": 16},
		"pool": harness.JSON{"min_cached": 0, "max_cached": 2},
	}
	maps.Copy(all, definition)
	var made struct{ ID string }
	w.Call(http.MethodPost, "/v1/runtimes", all, &made)
	w.runtime = made.ID
	w.login()
	return w
}

const library = "/MicroStrategyLibrary/api"

func (w *world) login() {
	w.t.Helper()
	resp, _ := w.send(http.MethodPost, "/auth/login", url.Values{"username": {"ada"}, "password": {password}, "loginMode": {"1"}}.Encode(), "application/x-www-form-urlencoded")
	w.door = http.Header{"X-Mstr-Authtoken": {resp.Header.Get("X-MSTR-AuthToken")}}
	_, body := w.send(http.MethodGet, "/projects", "", "")
	var projects []struct{ ID string }
	if err := json.Unmarshal(body, &projects); err != nil || len(projects) == 0 {
		w.t.Fatalf("projects %s: %v", body, err)
	}
	w.door.Set("X-MSTR-ProjectID", projects[0].ID)
}

func (w *world) send(method, path, body, kind string) (*http.Response, []byte) {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), method, w.Base+library+path, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	maps.Copy(req.Header, w.door)
	if kind != "" {
		req.Header.Set("Content-Type", kind)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode >= 300 {
		w.t.Fatalf("%s %s: %d %s %v", method, path, resp.StatusCode, raw, err)
	}
	return resp, raw
}

// store stores a script for the runtime, with one secret variable if secret is not "".
func (w *world) store(name, content, secret string) {
	w.t.Helper()
	script := harness.JSON{"name": name, "scriptContent": base64.StdEncoding.EncodeToString([]byte(content)), "scriptRuntimeId": remuda.ShortID(remuda.RuntimeID(w.runtime))}
	if secret != "" {
		script["variables"] = []harness.JSON{{"id": "1", "name": "key", "type": 4, "value": secret}}
	}
	raw, err := json.Marshal(script)
	if err != nil {
		w.t.Fatal(err)
	}
	w.send(http.MethodPost, "/scripts", string(raw), "application/json")
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
