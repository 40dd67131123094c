package survive

import (
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/remuda-run/remuda/test/harness"
)

// signal sends the server a signal that ends it.
func (w *world) signal() {
	w.t.Helper()
	if err := syscall.Kill(w.Pid(), syscall.SIGTERM); err != nil {
		w.t.Fatal(err)
	}
}

// A second SIGTERM ends what the first would have kept, and leaves nothing.
func TestSecondSignal(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 3, 1, "--runspace-on-stop", "keep", "--drain-timeout", "5m")
	var ex harness.Execution // which the first signal waits for
	w.Call(http.MethodPost, "/v1/executions", harness.JSON{"runtime": "survivor", "script": "import time\ntime.sleep(600)", "timeout_s": 600}, &ex)
	w.Eventually("the script runs", func() bool {
		w.Call(http.MethodGet, "/v1/executions/"+ex.ID, nil, &ex)
		return ex.State == "running"
	})
	w.signal()
	w.Eventually("the server is stopping", func() bool { return w.Try(http.MethodGet, "/readyz", nil, nil) != nil })
	w.Down() // sends the second, and waits
	w.Untouched()
	w.Up(w.args...)
	for _, s := range w.spaces {
		if state, why := w.settled(s.id); state != "closed" || !strings.Contains(why, "shut down") {
			t.Errorf("runspace %d is %s: %s", s.number, state, why)
		}
	}
	for _, id := range []string{ex.ID, w.spaces[0].running} {
		w.Call(http.MethodGet, "/v1/executions/"+id, nil, &ex)
		if ex.State != "canceled" || ex.Reason == "" {
			t.Errorf("execution %s is %s, want canceled with a reason", id, &ex)
		}
	}
}

// Without a time to linger there is nothing to keep: a stop closes, and what a kill
// leaves ends at once.
func TestNoLinger(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2, 1, "--runspace-on-stop", "keep", "--runspace-linger", "0s")
	w.Down()
	w.Untouched()
	w.Up(w.args...)
	if state, why := w.settled(w.spaces[0].id); state != "closed" || why == "" {
		t.Errorf("after a stop the runspace is %s: %s", state, why)
	}
	other := w.Runspace("survivor")
	w.Kill()
	w.Eventually("no process is left", func() bool { return len(w.Processes()) == 0 })
	w.Up(w.args...)
	if state, why := w.settled(other); state != "error" || why == "" {
		t.Errorf("after a kill the runspace is %s: %s", state, why)
	}
}

// A start that fails, or that is stopped before it is done, ends nothing of what is
// open.
func TestFailedStart(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 4, 2, "--runspace-on-stop", "keep")
	w.Kill()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	r := harness.Command(t.Context(), t, nil, "", append([]string{"serve", "--data", w.Data, "--listen", taken.Addr().String()}, w.args...)...)
	if r.Status != 1 || !strings.Contains(r.Stderr, "address already in use") {
		t.Fatalf("a start on a port that is taken ended with %d: %s", r.Status, r.Stderr)
	}
	for range 8 {
		if err := w.StopAfter(rand.N(900*time.Millisecond), w.args...); err != nil {
			t.Logf("a start that was stopped: %v", err)
		}
	}
	w.up("--runspace-on-stop", "close")
	w.remember()
	w.finish()
	w.Down()
	w.Untouched()
}

// A server with fewer slots and smaller shares takes over what is there all the
// same, and gives nothing new until there is room.
func TestSmallerServer(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 4, 1, "--runspace-on-stop", "keep")
	w.Down()
	w.Up("--slots", "2", "--organization-instances", "1", "--runspace-max", "1", "--runspace-on-stop", "close")
	w.remember()
	for _, path := range []string{"/v1/executions", "/v1/runspaces"} {
		body := harness.JSON{"runtime": "survivor"}
		if path == "/v1/executions" {
			body["script"] = "1"
		}
		if p := w.Refuse(http.MethodPost, path, body); p.Code != "exhausted" {
			t.Errorf("POST %s on a server that is more than full: %+v", path, p)
		}
	}
	w.finish()
	w.close()
	var ex harness.Execution
	w.Eventually("there is room again", func() bool { // a warm instance that is being made has none to give
		return w.Try(http.MethodPost, "/v1/executions?wait=30s", harness.JSON{"runtime": "survivor", "script": "6 * 7"}, &ex) == nil
	})
	if ex.State != "success" {
		t.Errorf("with room again: %s", &ex)
	}
	w.Down()
	w.Untouched()
}
