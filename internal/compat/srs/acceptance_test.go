package srs_test

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/remuda-run/remuda/internal/compat/compattest"
)

var (
	uuid       = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)
	runspaceID = regexp.MustCompile(`^pcli-[0-9a-f-]{36}$`)
)

// TestAcceptance makes the numbered checks of compat/srs.md A10, in their order, against
// a server with real sandboxes. What they try in PowerShell is tried in Python. S28, that
// every answer is as documented, is what the client does with each.
func TestAcceptance(t *testing.T) {
	t.Parallel()
	r := startReal(t)
	ada := r.member("ada", "administrator", "default")
	check := func(number int, what string, f func(t *testing.T, r *peer)) {
		t.Run(fmt.Sprintf("S%02d %s", number, what), func(t *testing.T) { f(t, ada.in(t)) })
	}
	check(1, "about", func(t *testing.T, r *peer) {
		r.header = nil
		about := get[map[string]string](r, "/api/about")
		if about["name"] == "" || about["vendor"] == "" || about["version"] == "" || about["api_version"] != "1.0.0" {
			t.Errorf("it is %v", about)
		}
	})
	check(2, "login", func(t *testing.T, r *peer) {
		r.header = http.Header{"Authorization": {basic("ada", compattest.Password)}}
		reply := r.send(http.MethodPost, "/api/auth/login", "")
		r.want(reply, http.StatusOK)
		if len(reply.Body) != 0 || !uuid.MatchString(reply.Header.Get(headerKey)) {
			t.Errorf("got %v %q", reply.Header, reply.Body)
		}
		if raw := rawAnswer(t, r, "POST /api/auth/login HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nAuthorization: "+basic("ada", compattest.Password)+"\r\nConnection: close\r\n\r\n"); !strings.Contains(raw, "\r\nX-SRS-API-KEY: ") {
			t.Errorf("the header is spelled otherwise:\n%s", raw)
		}
	})
	check(3, "login without credentials", func(t *testing.T, r *peer) { checkChallenge(t, r, "") })
	check(4, "login with a wrong password", func(t *testing.T, r *peer) { checkChallenge(t, r, basic("ada", "wrong")) })
	check(5, "no key, or a wrong one", func(_ *testing.T, r *peer) {
		r.header = nil
		r.refused(r.send(http.MethodGet, "/api/runspaces", ""), http.StatusUnauthorized, 401)
		r.refused(r.with(headerKey, "8c0b4bd4-5a36-4bd1-9d5e-3f6f0a1b2c3d").send(http.MethodGet, "/api/runspaces", ""), http.StatusUnauthorized, 401)
	})
	check(6, "create", func(t *testing.T, r *peer) {
		rs := r.post("/api/runspaces", object{"run_vc_connection_script": false})
		if _, err := time.Parse(time.RFC3339Nano, fmt.Sprint(rs["creation_time"])); err != nil || !runspaceID.MatchString(fmt.Sprint(rs["id"])) || rs["state"] != "creating" {
			t.Errorf("it is %v (%v)", rs, err)
		}
		if _, named := rs["name"]; named {
			t.Errorf("it has a name: %v", rs)
		}
	})
	check(7, "create with a text for a boolean", func(t *testing.T, r *peer) {
		if rs := r.post("/api/runspaces", object{"run_vc_connection_script": "true"}); rs["run_vc_connection_script"] != true {
			t.Errorf("it is %v", rs)
		}
	})
	check(8, "until it is ready", func(t *testing.T, r *peer) { checkTenancy(t, r) })
	check(9, "a runspace that is not there", func(t *testing.T, r *peer) {
		for _, id := range []string{missingSpace, absent, "pcli-8c0b4bd4-5a36-4bd1-9d5e-3f6f0a1b2c3d"} {
			e := r.refused(r.send(http.MethodGet, "/api/runspaces/"+id, ""), http.StatusNotFound, 2030)
			if want := "Runspace with id '" + id + "' not found"; e.Message != want {
				t.Errorf("says %q, want %q", e.Message, want)
			}
		}
	})
	check(10, "delete", func(t *testing.T, r *peer) {
		id := r.runspace()
		reply := r.send(http.MethodDelete, "/api/runspaces/"+id, "")
		r.want(reply, http.StatusOK)
		if len(reply.Body) != 0 {
			t.Errorf("it answers %q", reply.Body)
		}
		for _, rs := range get[[]object](r, "/api/runspaces") {
			if rs["id"] == id {
				t.Errorf("it is still listed: %v", rs)
			}
		}
		r.refused(r.send(http.MethodGet, "/api/runspaces/"+id, ""), http.StatusNotFound, 2030)
		r.refused(r.send(http.MethodDelete, "/api/runspaces/"+id, ""), http.StatusInternalServerError, 2040)
	})
	check(11, "the limit", func(_ *testing.T, r *peer) {
		full := r.member("felix", "administrator", "full")
		full.want(full.admin().send(http.MethodPatch, "/admin/runspaces/provider-settings", `{"max_number_of_runspaces":2}`), http.StatusOK)
		first := full.runspace()
		full.runspace()
		full.refused(full.send(http.MethodPost, "/api/runspaces", `{}`), http.StatusInternalServerError, 2020, "Maximum number of running runspaces is reached")
		full.want(full.send(http.MethodDelete, "/api/runspaces/"+first, ""), http.StatusOK)
		full.runspace()
	})
	t.Run("executions", func(t *testing.T) { acceptExecutions(t, ada) })
	t.Run("the rest", func(t *testing.T) { acceptRest(t, ada) })
}

func checkChallenge(t *testing.T, r *peer, authorization string) {
	t.Helper()
	r.header = http.Header{}
	if authorization != "" {
		r.header.Set("Authorization", authorization)
	}
	reply := r.send(http.MethodPost, "/api/auth/login", "")
	r.refused(reply, http.StatusUnauthorized, 401)
	if got := reply.Header.Values("WWW-Authenticate"); len(got) == 0 || got[0] != `Basic realm="SRS endpoint"` || reply.Header.Get(headerKey) != "" {
		t.Errorf("the headers are %v", reply.Header)
	}
}

func checkTenancy(t *testing.T, r *peer) {
	t.Helper()
	id := r.runspace()
	listed := func(r *peer) bool {
		for _, rs := range get[[]object](r, "/api/runspaces") {
			if rs["id"] == id {
				return true
			}
		}
		return false
	}
	if !listed(r) || !listed(r.as("ada")) {
		t.Error("a session of its user does not list it")
	}
	run := r.run(id, "1", nil)
	colleague, stranger := r.member("colleague", "administrator", "default"), r.member("stranger", "administrator", "elsewhere")
	for _, other := range []*peer{colleague, stranger} {
		if listed(other) {
			t.Errorf("%s lists it", other.user)
		}
		other.refused(other.send(http.MethodGet, "/api/runspaces/"+id, ""), http.StatusNotFound, 2030)
		other.refused(other.send(http.MethodDelete, "/api/runspaces/"+id, ""), http.StatusInternalServerError, 2040)
		other.refused(other.send(http.MethodPost, "/api/script-executions", `{"runspace_id":"`+id+`","script":"1"}`), http.StatusNotFound, 2030)
		for _, path := range []string{"", "/output", "/streams/error"} {
			other.refused(other.send(http.MethodGet, fmt.Sprintf("/api/script-executions/%v%s", run["id"], path), ""), http.StatusNotFound, 1040)
		}
		other.refused(other.send(http.MethodPost, fmt.Sprintf("/api/script-executions/%v/cancel", run["id"]), ""), http.StatusNotFound, 1040)
		if list := get[[]object](other, "/api/script-executions"); len(list) != 0 {
			t.Errorf("%s lists executions: %v", other.user, list)
		}
	}
	r.text(id, "1", nil) // nobody has ended it
}
