package srs_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/remuda-run/remuda/internal/compat/compattest"
	"github.com/remuda-run/remuda/test/harness"
)

// peer is a session at the door of a real server.
type peer struct {
	t      *testing.T
	server *harness.Server
	http   *http.Client
	header http.Header
	user   string
	args   []string // of the server
}

type object = map[string]any

// startReal starts a server with real sandboxes. Users are made by member.
func startReal(t *testing.T, settings ...string) *peer {
	t.Helper()
	file := filepath.Join(t.TempDir(), "remuda.yaml")
	if err := os.WriteFile(file, []byte(strings.Join(settings, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{"--config", file}
	return &peer{t: t, server: harness.Start(t, args...), http: mustSpec(t).Client(t), args: args}
}

// member makes a user of an organization, which is made if it is not there, and logs
// in.
func (r *peer) member(user, role, organization string) *peer {
	r.t.Helper()
	var orgs struct{ Items []struct{ Name string } }
	r.server.Call(http.MethodGet, "/v1/organizations?limit=200", nil, &orgs)
	known := false
	for _, o := range orgs.Items {
		known = known || o.Name == organization
	}
	if !known {
		r.server.Call(http.MethodPost, "/v1/organizations", harness.JSON{"name": organization}, nil)
	}
	r.server.Call(http.MethodPost, "/v1/users", harness.JSON{"name": user, "password": compattest.Password}, nil)
	r.server.Call(http.MethodPut, "/v1/organizations/"+organization+"/members/"+user, harness.JSON{"role": role}, nil)
	return r.as(user)
}

// as is the same server with a new session of a user.
func (r *peer) as(user string) *peer {
	r.t.Helper()
	other := *r
	other.user = user
	other.header = http.Header{"Authorization": {basic(user, compattest.Password)}}
	reply := other.send(http.MethodPost, "/api/auth/login", "")
	other.want(reply, http.StatusOK)
	other.header = http.Header{http.CanonicalHeaderKey(headerKey): {reply.Header.Get(headerKey)}}
	return &other
}

// key is that of the session.
func (r *peer) key() string { return r.header.Get(headerKey) }

// in is a view for a subtest.
func (r *peer) in(t *testing.T) *peer {
	t.Helper()
	view := *r
	view.t, view.http = t, mustSpec(t).Client(t)
	return &view
}

// admin is a view with the user's password, for the administrator's service.
func (r *peer) admin() *peer {
	view := *r
	view.header = http.Header{"Authorization": {basic(r.user, compattest.Password)}}
	return &view
}

func (r *peer) with(name, value string) *peer {
	view := *r
	view.header = compattest.With(r.header, name, value)
	return &view
}

func (r *peer) send(method, path, body string) compattest.Reply {
	r.t.Helper()
	return compattest.Send(r.t, r.http, method, r.server.Base+path, r.header, body)
}

// want fails the test unless a reply has the status.
func (r *peer) want(reply compattest.Reply, status int) {
	r.t.Helper()
	if reply.Status != status {
		r.t.Fatalf("answers %d, want %d\n%s", reply.Status, status, reply.Body)
	}
}

// refused fails the test unless a reply is an error with the status and the vendor's
// code. Its message has all of words.
func (r *peer) refused(reply compattest.Reply, status, code int, words ...string) vendorError {
	r.t.Helper()
	r.want(reply, status)
	e, err := errorOf(reply)
	if err != nil || e.Code != code {
		r.t.Fatalf("answers %s (%v), want code %d", reply.Body, err, code)
	}
	for _, w := range words {
		if !strings.Contains(e.Message, w) {
			r.t.Errorf("says %q, which lacks %q", e.Message, w)
		}
	}
	return e
}

// get is the answer to a GET that must succeed.
func get[T any](r *peer, path string) T {
	r.t.Helper()
	reply := r.send(http.MethodGet, path, "")
	r.want(reply, http.StatusOK)
	return compattest.Decoded[T](r.t, reply.Body)
}

// post is the answer to a POST that begins something.
func (r *peer) post(path string, body object) object {
	r.t.Helper()
	data, err := json.Marshal(body)
	if err != nil {
		r.t.Fatal(err)
	}
	reply := r.send(http.MethodPost, path, string(data))
	r.want(reply, http.StatusAccepted)
	got := compattest.Decoded[object](r.t, reply.Body)
	if want := path + "/" + fmt.Sprint(got["id"]); reply.Header.Get("Location") != want {
		r.t.Errorf("Location is %q, want %q", reply.Header.Get("Location"), want)
	}
	return got
}

// until polls an object until its state is not one of those that pass.
func (r *peer) until(path string, passing ...string) object {
	r.t.Helper()
	var got object
	for clock := compattest.Deadline(); clock.Left(); {
		got = get[object](r, path)
		if passes := strings.Contains(strings.Join(passing, " "), fmt.Sprint(got["state"])); !passes {
			return got
		}
	}
	r.t.Fatalf("%s stays %v", path, got)
	return nil
}

// runspace opens one and waits until it is ready.
func (r *peer) runspace() string {
	r.t.Helper()
	id := fmt.Sprint(r.post("/api/runspaces", object{"run_vc_connection_script": false})["id"])
	if got := r.until("/api/runspaces/"+id, "creating"); got["state"] != "ready" {
		r.t.Fatalf("the runspace is %v", got)
	}
	return id
}

// submit begins a script and returns its id.
func (r *peer) submit(runspace, script string, more object) string {
	r.t.Helper()
	body := object{"runspace_id": runspace, "script": script}
	maps.Copy(body, more)
	return fmt.Sprint(r.post("/api/script-executions", body)["id"])
}

// run runs a script to its end.
func (r *peer) run(runspace, script string, more object) object {
	r.t.Helper()
	return r.ended(r.submit(runspace, script, more))
}

func (r *peer) ended(id string) object {
	r.t.Helper()
	return r.until("/api/script-executions/"+id, "running")
}

func (r *peer) output(id any) []string {
	r.t.Helper()
	return get[[]string](r, fmt.Sprintf("/api/script-executions/%v/output", id))
}

// text is the output of a script that must succeed.
func (r *peer) text(runspace, script string, more object) string {
	r.t.Helper()
	ex := r.run(runspace, script, more)
	out := r.output(ex["id"])
	if ex["state"] != "success" || len(out) != 1 {
		r.t.Fatalf("it is %v with output %q", ex, out)
	}
	return out[0]
}
