package srs_test

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/remuda-run/remuda/internal/compat/compattest"
)

// stored keeps a script in the user's organization. Scripts are stored at another door.
func (r *peer) stored(name, source string) {
	r.t.Helper()
	const library = "/MicroStrategyLibrary/api"
	plain := *r
	plain.http, plain.header = &http.Client{}, nil
	reply := plain.send(http.MethodPost, library+"/auth/login", fmt.Sprintf(`{"username":%q,"password":%q}`, r.user, compattest.Password))
	plain.want(reply, http.StatusNoContent)
	plain.header = http.Header{"X-Mstr-Authtoken": {reply.Header.Get("X-MSTR-AuthToken")}, "X-Mstr-Projectid": {strings.Repeat("0", 32)}}
	plain.want(plain.send(http.MethodPost, library+"/scripts", fmt.Sprintf(`{"name":%q,"scriptContent":%q}`, name, base64.StdEncoding.EncodeToString([]byte(source)))), http.StatusCreated)
}

// names are those of executions, of a runspace unless that is "".
func names(list []object, runspace string) []string {
	var out []string
	for _, ex := range list {
		if runspace == "" || ex["runspace_id"] == runspace {
			out = append(out, fmt.Sprint(ex["name"]))
		}
	}
	slices.Sort(out)
	return out
}

// TestConnectionScript makes the checks S16 and S22, and tries what a connection script
// gets and what is left of that.
func TestConnectionScript(t *testing.T) {
	t.Parallel()
	r := startReal(t, "compat_srs_connection_script: connect", "compat_srs_disconnect_script: disconnect")
	ada := r.member("ada", "administrator", "default")
	ada.stored("connect", "import os, time\nwhile not os.path.exists('/tmp/go'):\n    time.sleep(0.005)\n    if 'wait' not in credentials:\n        break\nconnected_to = credentials['server']")
	ada.stored("disconnect", "print('bye')")
	const canary = "canary-7d1f0b"

	t.Run("S16 not ready", func(t *testing.T) {
		r := ada.in(t)
		id := fmt.Sprint(r.post("/api/runspaces", object{"run_vc_connection_script": true, "credentials": object{"server": "vc1", "wait": "yes"}})["id"])
		e := r.refused(r.send(http.MethodPost, "/api/script-executions", `{"runspace_id":"`+id+`","script":"1"}`), http.StatusInternalServerError, 2031)
		if want := "Runspace '" + id + "' is not ready to run script. Runspace state is: Creating"; e.Message != want {
			t.Errorf("says %q, want %q", e.Message, want)
		}
		if got := get[object](r, "/api/runspaces/"+id); got["state"] != "creating" {
			t.Errorf("it is %v", got)
		}
		r.want(r.send(http.MethodDelete, "/api/runspaces/"+id, ""), http.StatusOK)
	})
	t.Run("S22 system executions", func(t *testing.T) {
		r := ada.in(t)
		id := fmt.Sprint(r.with("X-Request-Id", "carrier").post("/api/runspaces", object{"run_vc_connection_script": true, "credentials": object{"server": "vc1", "secret": canary}})["id"])
		rs := r.until("/api/runspaces/"+id, "creating")
		if rs["state"] != "ready" || !uuid.MatchString(fmt.Sprint(rs["vc_connection_script_id"])) {
			t.Fatalf("it is %v", rs)
		}
		if ex := r.ended(fmt.Sprint(rs["vc_connection_script_id"])); ex["state"] != "success" || ex["name"] != "powerclivclogin" {
			t.Errorf("the connection script is %v", ex)
		}
		if got := r.text(id, "connected_to", object{"name": "mine"}); got != "vc1" {
			t.Errorf("what it has left is %q", got)
		}
		hunt := "import gc, os\nhit = [str(type(o)) for o in gc.get_objects() if isinstance(o, dict) and any('" + canary[:6] + "' + '" + canary[6:] + "' == v for v in list(o.values()) if isinstance(v, str))]\n" +
			"hit += [k for k, v in os.environ.items() if '" + canary[:6] + "' + '" + canary[6:] + "' in v]\nhit += ['credentials'] if 'credentials' in globals() else []\nhit"
		if got := r.text(id, hunt, nil); got != "[]" {
			t.Errorf("a later script finds the credentials in %s", got)
		}
		r.want(r.send(http.MethodDelete, "/api/runspaces/"+id, ""), http.StatusOK)
		var all []string
		for clock := compattest.Deadline(); clock.Left() && !slices.Contains(all, "disconnectallservers"); {
			all = names(get[[]object](r, "/api/script-executions?skipSystemExecutions=false"), id)
		}
		if want := []string{"<nil>", "disconnectallservers", "mine", "powerclivclogin"}; !slices.Equal(all, want) {
			t.Errorf("the executions are %v, want %v", all, want)
		}
		if got := names(get[[]object](r, "/api/script-executions?skipSystemExecutions=True"), id); !slices.Equal(got, []string{"<nil>", "mine"}) {
			t.Errorf("without the server's own, they are %v", got)
		}
		if got := names(get[[]object](r, "/api/script-executions"), id); !slices.Equal(got, all) {
			t.Errorf("without saying, they are %v", got)
		}
		if strings.Contains(r.server.For(t).LogWith("request_id=carrier"), canary) {
			t.Error("the log has the credentials")
		}
	})
	t.Run("ready although it failed", func(t *testing.T) {
		r := ada.in(t)
		id := fmt.Sprint(r.post("/api/runspaces", object{"run_vc_connection_script": 1})["id"]) // credentials lack the server
		rs := r.until("/api/runspaces/"+id, "creating")
		if ex := r.ended(fmt.Sprint(rs["vc_connection_script_id"])); rs["state"] != "ready" || ex["state"] != "error" || !strings.Contains(fmt.Sprint(ex["reason"]), "KeyError") {
			t.Errorf("the runspace is %v, the script %v", rs, ex)
		}
		r.text(id, "1", nil)
	})
}
