package srs_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/remuda-run/remuda/internal/compat/compattest"
)

// TestKilled kills the server in the middle of a script: the session, the runspace with
// its variables, the script and all of its output are there afterwards.
func TestKilled(t *testing.T) {
	t.Parallel()
	server := startReal(t)
	r := server.member("ada", "operator", "default")
	rs := r.runspace()
	r.text(rs, "kept = 41", nil)
	reply := r.send(http.MethodPost, "/api/webconsoles?wait=true", "")
	r.want(reply, http.StatusOK)
	console := fmt.Sprintf("/api/webconsoles/%v", compattest.Decoded[object](t, reply.Body)["id"])
	const lines = 3000
	id := r.submit(rs, fmt.Sprintf("import logging, time\nfor i in range(%d):\n    print('line', i)\n    time.sleep(0.001)\nlogging.getLogger('x').warning('done')\nkept += 1", lines), nil)
	for clock := compattest.Deadline(); ; {
		if out := r.output(id); len(out) == 1 && strings.Contains(out[0], "line 20") {
			break
		}
		if !clock.Left() {
			t.Fatal("the script writes nothing")
		}
	}
	r.server.Kill()
	r.server.Up(r.args...)
	if got := get[object](r, "/api/runspaces/"+rs); got["state"] != "active" && got["state"] != "ready" {
		t.Errorf("the runspace is %v", got)
	}
	if ex := r.ended(id); ex["state"] != "success" {
		t.Fatalf("the script is %v", ex)
	}
	out := strings.Split(r.output(id)[0], "\n")
	for i, line := range out {
		if line != fmt.Sprint("line ", i) {
			t.Fatalf("line %d is %q", i, line)
		}
	}
	if len(out) != lines {
		t.Errorf("there are %d lines, want %d", len(out), lines)
	}
	if got := get[[]struct{ Message string }](r, "/api/script-executions/"+id+"/streams/warning"); len(got) != 1 || got[0].Message != "done" {
		t.Errorf("the warnings are %v", got)
	}
	if got := r.text(rs, "kept", nil); got != "42" {
		t.Errorf("the variable is %s", got)
	}
	if got := get[object](r, console); got["state"] != "available" { // with a terminal of this server's
		t.Errorf("the console is %v", got)
	}
	r.want(r.send(http.MethodDelete, console, ""), http.StatusOK)
	r.want(r.send(http.MethodDelete, "/api/runspaces/"+rs, ""), http.StatusOK)
}

// TestCrowd has many clients at once, in runspaces of their own and in one that they
// share, where each script either runs or is refused with the id of the one that does.
func TestCrowd(t *testing.T) {
	t.Parallel()
	ada := startReal(t).member("ada", "operator", "default")
	shared := ada.runspace()
	var all sync.WaitGroup
	var mu sync.Mutex
	ran := map[string]bool{}
	for n := range 8 {
		all.Go(func() {
			r := ada.in(t)
			rs := r.runspace()
			for i := range 10 {
				if got, want := r.text(rs, fmt.Sprintf("x = globals().get('x', 0) + %d\nx", n+1), nil), fmt.Sprint((n+1)*(i+1)); got != want {
					t.Errorf("client %d gets %s, want %s", n, got, want)
				}
				reply := r.send(http.MethodPost, "/api/script-executions", fmt.Sprintf(`{"runspace_id":%q,"script":"import time\ntime.sleep(0.05)"}`, shared))
				if reply.Status == http.StatusAccepted {
					id := fmt.Sprint(compattest.Decoded[object](t, reply.Body)["id"])
					mu.Lock()
					ran[id] = true
					mu.Unlock()
					r.ended(id)
					continue
				}
				r.refused(reply, http.StatusInternalServerError, 1310, "Another script with id '", "' is running")
			}
			r.want(r.send(http.MethodDelete, "/api/runspaces/"+rs, ""), http.StatusOK)
		})
	}
	all.Wait()
	listed := 0
	for _, ex := range get[[]object](ada, "/api/script-executions") {
		if ex["runspace_id"] == shared {
			listed++
			if !ran[fmt.Sprint(ex["id"])] || ex["state"] != "success" {
				t.Errorf("nobody was told of %v", ex)
			}
		}
	}
	if listed != len(ran) || listed == 0 {
		t.Errorf("%d scripts are listed, and %d were accepted", listed, len(ran))
	}
}
