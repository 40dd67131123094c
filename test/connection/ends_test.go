package connection

import (
	"crypto/rand"
	"net/http"
	"strings"
	"testing"

	"github.com/remuda-run/remuda/test/harness"
)

// ends are the ways in which a connection script can end other than well, with its
// secrets in the variables of functions that never return.
var ends = map[string]struct{ last, state string }{
	"an exception":          {`raise RuntimeError("refused")`, "error"},
	"one after another":     {"try:\n        raise ValueError(len(kept))\n    except ValueError as e:\n        raise RuntimeError('refused') from e", "error"},
	"an exit":               {"raise SystemExit(3)", "error"},
	"a wrong name":          {"return nowhere", "error"},
	"an interrupt":          {"import time; time.sleep(60)", "canceled"},
	"an exception in a try": {"try:\n        raise KeyError(len(kept))\n    finally:\n        [][1]", "error"},
}

// TestSecretsOfScriptsThatFail looks for the secrets of connection scripts that ended in
// the middle of using them.
func TestSecretsOfScriptsThatFail(t *testing.T) {
	w := newWorld(t, nil)
	secret, key := "given-"+rand.Text(), "stored-"+rand.Text()
	for name, end := range ends {
		script := strings.ReplaceAll(name, " ", "-")
		w.store(script, "print('connected as', len(credentials))\ndef log_in(password, key):\n    kept = [password, {'k': key}]\n    "+end.last+"\nlog_in(credentials['password'], $key)", key)
		w.Call(http.MethodPatch, "/v1/runtimes/"+w.runtime, harness.JSON{"connection_script": script}, nil)
		rs := w.begin(harness.JSON{"credentials": harness.JSON{"password": secret}})
		if end.state == "canceled" {
			w.Eventually("the script waits", func() bool {
				stdout, _ := w.Output(rs.ConnectionExecution)
				return stdout != ""
			})
			w.Call(http.MethodPost, "/v1/executions/"+rs.ConnectionExecution+"/cancel", nil, nil)
		}
		rs = w.settled(rs)
		var ex harness.Execution
		w.Call(http.MethodGet, "/v1/executions/"+rs.ConnectionExecution, nil, &ex)
		if end.state == "canceled" && ex.State == end.state && strings.Contains(rs.Error, "it was canceled") {
			continue // a busy machine did not end it gently in the time that it had for that
		}
		if rs.State != "ready" || ex.State != end.state {
			t.Errorf("%s: the runspace is %s (%s), the script %s", name, rs.State, rs.Error, &ex)
			continue
		}
		for what, word := range map[string]string{"credentials": secret, "stored secret": key} {
			if found, looked, where := w.looks(rs.ID, word, nil); found != 0 || looked < 1000 {
				t.Errorf("after %s a later script finds the %s: %s", name, what, where)
			}
		}
		w.Call(http.MethodDelete, "/v1/runspaces/"+rs.ID, nil, nil)
	}
	w.onTheMachine(map[string]string{"credentials": secret})
}

// TestKilledWhileConnecting kills the server in the middle of a connection script: what
// the script needed was kept nowhere, so the runspace has ended and says so.
func TestKilledWhileConnecting(t *testing.T) {
	w := newWorld(t, harness.JSON{"connection_script": "connect"})
	secret := "given-" + rand.Text()
	w.store("connect", "import time\nprint('connected as', len(credentials), flush=True)\ntime.sleep(600)", "")
	rs := w.begin(harness.JSON{"credentials": harness.JSON{"password": secret}})
	w.Eventually("the script runs", func() bool {
		stdout, _ := w.Output(rs.ConnectionExecution)
		return strings.HasPrefix(stdout, "connected as")
	})
	w.Kill()
	w.Up()
	rs = w.settled(rs)
	if rs.State != "error" || !strings.Contains(rs.Error, "the server was restarted while it was being prepared") {
		t.Errorf("it is %s: %s", rs.State, rs.Error)
	}
	var ex harness.Execution
	w.Call(http.MethodGet, "/v1/executions/"+rs.ConnectionExecution, nil, &ex)
	if ex.State != "lost" || ex.Reason == "" {
		t.Errorf("its connection script is %s", &ex)
	}
	w.onTheMachine(map[string]string{"credentials": secret})
	w.Down()
	w.Untouched()
}
