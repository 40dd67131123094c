package srs_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/remuda-run/remuda/internal/compat/compattest"
	"github.com/remuda-run/remuda/test/harness"
)

// rawAnswer sends bytes and returns the answer's.
func rawAnswer(t *testing.T, r *peer, request string) string {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(r.server.Base, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(conn)
	if err != nil {
		t.Fatal(err)
	}
	return string(answer)
}

// acceptRest makes the checks of templates, ends of sessions, bad requests and limits.
func acceptRest(t *testing.T, ada *peer) {
	t.Helper()
	check := func(number int, what string, f func(t *testing.T, r *peer)) {
		t.Run(fmt.Sprintf("S%02d %s", number, what), func(t *testing.T) { f(t, ada.in(t)) })
	}
	check(23, "argument scripts", func(t *testing.T, r *peer) { checkTemplates(t, r) })
	check(24, "logout", func(t *testing.T, r *peer) {
		leaver := r.member("leaver", "operator", "default")
		rs := leaver.runspace()
		ex := leaver.run(rs, "1", nil)
		reply := leaver.send(http.MethodPost, "/api/auth/logout", "")
		leaver.want(reply, http.StatusOK)
		if len(reply.Body) != 0 {
			t.Errorf("it answers %q", reply.Body)
		}
		leaver.refused(leaver.send(http.MethodGet, "/api/runspaces", ""), http.StatusUnauthorized, 401)
		back := leaver.as("leaver")
		for clock := compattest.Deadline(); len(get[[]object](back, "/api/runspaces")) > 0; {
			if !clock.Left() {
				t.Fatal("the runspace of a session that has ended stays")
			}
		}
		if list := get[[]object](back, "/api/script-executions"); len(list) != 1 || list[0]["id"] != ex["id"] {
			t.Errorf("the executions are %v", list)
		}
	})
	check(25, "bad requests", func(_ *testing.T, r *peer) {
		for _, body := range []string{`{"runspace_id":`, `{}`, `{"runspace_id":"x"}`, `{"script":"1"}`, `[]`, `{"runspace_id":"x","script":""}`, `{"runspace_id":"x","script":"1","output_objects_format":"xml"}`} {
			r.refused(r.send(http.MethodPost, "/api/script-executions", body), http.StatusBadRequest, 400)
		}
		r.refused(r.send(http.MethodPost, "/api/runspaces", ""), http.StatusBadRequest, 400)
		r.refused(r.with("Content-Type", "text/plain").send(http.MethodPost, "/api/runspaces", `{}`), http.StatusUnsupportedMediaType, 415)
		r.refused(r.send(http.MethodGet, "/api/nothing", ""), http.StatusNotFound, 404)
		r.refused(r.send(http.MethodPut, "/api/runspaces", `{}`), http.StatusMethodNotAllowed, 405)
		r.want(r.with("Content-Type", "application/json").send(http.MethodGet, "/api/runspaces", `{"x":1}`), http.StatusOK) // a body on GET
	})
	check(27, "history", func(t *testing.T, r *peer) {
		historian := r.member("hal", "administrator", "historic")
		rs := historian.runspace()
		oldest := historian.run(rs, "0", nil)
		for range 30 {
			historian.run(rs, "1", nil)
		}
		historian.want(historian.admin().send(http.MethodPatch, "/admin/script-executions/retention-policy", `{"max_number_of_scripts_per_user":30}`), http.StatusOK)
		for clock := compattest.Deadline(); len(get[[]object](historian, "/api/script-executions")) != 30; {
			if !clock.Left() {
				t.Fatal("31 executions stay")
			}
		}
		historian.refused(historian.send(http.MethodGet, fmt.Sprintf("/api/script-executions/%v", oldest["id"]), ""), http.StatusNotFound, 1040)
	})
	check(26, "limits of time", func(t *testing.T, r *peer) { checkTimes(t, r) })
}

func checkTemplates(t *testing.T, r *peer) {
	t.Helper()
	known := map[any]bool{}
	for _, v := range get[[]object](r, "/api/argument-scripts/templates") {
		known[v["id"]] = true
	}
	if !known["vm-by-id-server-name"] || !known["vm-by-id-server-instance-uuid"] {
		t.Errorf("the templates are %v", known)
	}
	list := func(id ...string) string {
		return fmt.Sprintf(`{"values":[{"placeholder_name":"id","value":["%s"]},{"placeholder_name":"server","value":["s"]}]}`, strings.Join(id, `","`))
	}
	fill := func(template string, lists ...string) compattest.Reply {
		return r.send(http.MethodPost, "/api/argument-scripts/script", `{"template_id":"`+template+`","template_placeholder_value_list":[`+strings.Join(lists, ",")+`]}`)
	}
	for want, lists := range map[string][]string{
		`Get-VM -Id 'vm-1','vm-2' -Server 's'`:                                   {list("vm-1", "vm-2")},
		"Get-VM -Id 'vm-1' -Server 's'" + "\n" + "Get-VM -Id 'vm-2' -Server 's'": {list("vm-1"), list("vm-2")},
		`Get-VM -Id 'a''b' -Server 's'`:                                          {list("a'b")},
	} {
		reply := fill("vm-by-id-server-name", lists...)
		r.want(reply, http.StatusOK)
		if got := compattest.Decoded[object](t, reply.Body); got["script"] != want || got["template_id"] != "vm-by-id-server-name" {
			t.Errorf("got %v, want the script %q", got, want)
		}
	}
	e := r.refused(fill("bogus", list("x")), http.StatusNotFound, 4010)
	if want := "Argument transformation script not found for 'bogus'"; e.Message != want {
		t.Errorf("says %q, want %q", e.Message, want)
	}
	r.refused(r.send(http.MethodGet, "/api/argument-scripts/templates/bogus", ""), http.StatusNotFound, 4010, "'bogus'")
}

// checkTimes sets limits in seconds, which /v1 can and the administrator's service
// cannot.
func checkTimes(t *testing.T, r *peer) {
	t.Helper()
	timed := r.member("timothy", "administrator", "timed")
	limits := func(l harness.JSON) { timed.server.Call(http.MethodPatch, "/v1/organizations/timed/limits", l, nil) }
	rs := timed.runspace()
	limits(harness.JSON{"idle_timeout_s": 1})
	for clock := compattest.Deadline(); timed.send(http.MethodGet, "/api/runspaces/"+rs, "").Status == http.StatusOK; {
		if !clock.Left() {
			t.Fatal("an idle runspace stays")
		}
	}
	limits(harness.JSON{"idle_timeout_s": 0, "active_timeout_s": 1})
	rs = timed.runspace()
	ex := timed.run(rs, "import time\ntime.sleep(600)", nil)
	if ex["state"] != "error" || ex["reason"] == nil || ex["reason"] == "" {
		t.Errorf("it ends as %v", ex)
	}
	t.Logf("the reason is %q", ex["reason"])
}
