package strategy_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/remuda-run/remuda/internal/compat/compattest"
	"github.com/remuda-run/remuda/internal/layer/indextest"
	"github.com/remuda-run/remuda/test/harness"
)

// peer is a session at the door of a real server.
type peer struct {
	t      *testing.T
	server *harness.Server
	http   *http.Client
	header http.Header
}

// startReal starts a server with real sandboxes and a package index that has what
// the documented example asks for, and logs in as an administrator.
func startReal(t *testing.T, settings ...string) *peer {
	t.Helper()
	index := indextest.NewPython(t)
	index.Wheel(t, indextest.Project{Name: "mstrio-py", Version: "11.5.0", Files: map[string]string{"mstrio/__init__.py": "__version__ = '11.5.0'\n"}})
	settings = append(settings, "packages_pip_index_url: "+index.URL())
	file := filepath.Join(t.TempDir(), "remuda.yaml")
	if err := os.WriteFile(file, []byte(strings.Join(settings, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := harness.Start(t, "--config", file)
	for name, role := range map[string]string{"ada": "administrator", "mona": "monitor", "opal": "operator"} {
		s.Call("POST", "/v1/users", harness.JSON{"name": name, "password": compattest.Password}, nil)
		s.Call("PUT", "/v1/organizations/default/members/"+name, harness.JSON{"role": role}, nil)
	}
	r := &peer{t: t, server: s, http: mustSpec(t).Client(t)}
	return r.as("ada")
}

// as is the same server with a session of another user.
func (r *peer) as(user string) *peer {
	r.t.Helper()
	other := *r
	other.header = nil
	reply := other.send(http.MethodPost, "/api/auth/login", `{"username":"`+user+`","password":"`+compattest.Password+`"}`)
	other.want(reply, http.StatusNoContent, "")
	other.header = http.Header{"X-MSTR-AuthToken": {reply.Header.Get("X-MSTR-AuthToken")}}
	return &other
}

// in is a view for a subtest.
func (r *peer) in(t *testing.T) *peer {
	t.Helper()
	view := *r
	view.t, view.http = t, mustSpec(t).Client(t)
	return &view
}

func (r *peer) with(name, value string) *peer {
	view := *r
	view.header = compattest.With(r.header, name, value)
	return &view
}

func (r *peer) send(method, path, body string) compattest.Reply {
	r.t.Helper()
	return compattest.Send(r.t, r.http, method, r.server.Base+prefix+path, r.header, body)
}

// want fails the test unless a reply has the status and, if one is given, the
// vendor's code.
func (r *peer) want(reply compattest.Reply, status int, code string) vendorError {
	r.t.Helper()
	if reply.Status != status {
		r.t.Fatalf("answers %d, want %d\n%s", reply.Status, status, reply.Body)
	}
	if status < http.StatusBadRequest {
		if status == http.StatusNoContent && len(reply.Body) > 0 {
			r.t.Errorf("204 with a body: %q", reply.Body)
		}
		return vendorError{}
	}
	e, err := errorOf(reply)
	if err != nil || code != "" && e.Code != code {
		r.t.Fatalf("answers %s (%v), want %s", reply.Body, err, code)
	}
	return e
}

type object = map[string]any

func (r *peer) get(path string) object {
	r.t.Helper()
	reply := r.send(http.MethodGet, path, "")
	r.want(reply, http.StatusOK, "")
	return compattest.Decoded[object](r.t, reply.Body)
}

// create posts and returns the id.
func (r *peer) create(path, body string, status int) string {
	r.t.Helper()
	reply := r.send(http.MethodPost, path, body)
	r.want(reply, status, "")
	id := compattest.Decoded[struct{ ID string }](r.t, reply.Body).ID
	if len(id) != 32 {
		r.t.Fatalf("POST %s: the id is %q", path, id)
	}
	return id
}

// evaluation is the answer about one.
type evaluation struct {
	Status  int
	Message string
	Results struct {
		Output         *string
		Stdout, Stderr string
	}
}

func (r *peer) evaluation(id string) evaluation {
	r.t.Helper()
	reply := r.send(http.MethodGet, "/api/scripts/evaluation/"+id, "")
	r.want(reply, http.StatusOK, "")
	return compattest.Decoded[evaluation](r.t, reply.Body)
}

// finish polls an evaluation to its end.
func (r *peer) finish(id string) evaluation {
	r.t.Helper()
	for clock := compattest.Deadline(); clock.Left(); {
		if e := r.evaluation(id); e.Status >= 3 {
			return e
		}
	}
	r.t.Fatalf("evaluation %s does not end", id)
	return evaluation{}
}

// running waits until an evaluation runs.
func (r *peer) running(id string) {
	r.t.Helper()
	for clock := compattest.Deadline(); clock.Left(); {
		if r.evaluation(id).Status == 1 {
			return
		}
	}
	r.t.Fatalf("evaluation %s does not run", id)
}

// evaluate runs a source to its end.
func (r *peer) evaluate(source, more string) evaluation {
	r.t.Helper()
	return r.finish(r.create("/api/scripts/evaluation", `{"scriptContent":"`+encoded(source)+`"`+more+`}`, http.StatusAccepted))
}

func (e evaluation) output() string {
	if e.Results.Output == nil {
		return ""
	}
	return *e.Results.Output
}

// ready waits until no build of a runtime goes on.
func (r *peer) ready(id string) object {
	r.t.Helper()
	for clock := compattest.Deadline(); clock.Left(); {
		if rt := r.get("/api/runtimes/" + id); rt["status"] != "busy" {
			return rt
		}
	}
	r.t.Fatalf("runtime %s does not become ready", id)
	return nil
}
