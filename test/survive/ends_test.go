package survive

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/remuda-run/remuda/test/harness"
)

// A sandbox that dies while no server is there is reported, with the reason, and so
// is what ran in it: lost, if its keeper died with it, and as it ended, if that is a
// template's, which lives on to tell. The others live on.
func TestDiedMeanwhile(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 3, 2)
	dead, other := w.spaces[0], w.spaces[1:]
	var rs struct{ State, Error, Instance string }
	w.Call(http.MethodGet, "/v1/runspaces/"+dead.id, nil, &rs)
	raw, err := os.ReadFile(filepath.Join(w.Data, "run", instanceOf(t, w, dead)+".json"))
	if err != nil {
		t.Fatal(err)
	}
	var metadata struct {
		Pid    int
		Shared *struct{} // its keeper is a template's
	}
	if err := json.Unmarshal(raw, &metadata); err != nil || metadata.Pid <= 1 {
		t.Fatalf("metadata %s: %v", raw, err)
	}
	w.Kill()
	if !slices.ContainsFunc(w.Processes(), func(p harness.Process) bool { return p.Pid == metadata.Pid }) {
		t.Fatalf("process %d is none of the sandboxes'", metadata.Pid)
	}
	if err := syscall.Kill(metadata.Pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	w.spaces = other
	w.up()
	w.remember()
	w.Call(http.MethodGet, "/v1/runspaces/"+dead.id, nil, &rs)
	why, state, reason := "restarted", "lost", ""
	if metadata.Shared != nil {
		why, state, reason = "SIGKILL", "error", "SIGKILL"
	}
	if rs.State != "error" || !strings.Contains(rs.Error, why) || !strings.Contains(rs.Error, "sandbox") {
		t.Errorf("the runspace is %s: %s", rs.State, rs.Error)
	}
	var ex harness.Execution
	w.Call(http.MethodGet, "/v1/executions/"+dead.running, nil, &ex)
	if ex.State != state || ex.Reason == "" || !strings.Contains(ex.Reason, reason) {
		t.Errorf("what ran in it is %s, want %s with a reason", &ex, state)
	}
	if stdout, _ := w.Output(dead.running); !strings.HasPrefix(stdout, "0 of 0\n1 of 0\n") {
		t.Errorf("of its output there is %.40q", stdout)
	}
	t.Logf("the runspace: %s; its execution: %s", rs.Error, ex.Reason)
	w.finish()
	w.close()
	w.Down()
	w.Untouched()
}

// instanceOf is the instance of an open runspace.
func instanceOf(t *testing.T, w *world, s *space) string {
	t.Helper()
	var ex harness.Execution
	w.Call(http.MethodGet, "/v1/executions/"+s.running, nil, &ex)
	if ex.Instance == "" {
		t.Fatalf("execution %s has no instance", s.running)
	}
	return ex.Instance
}

// What nobody takes over ends by itself when its time has come: no process stays,
// and the next start clears what processes cannot, and says what is lost.
func TestLingerEnds(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 4, 2, "--runspace-linger", "2s")
	w.Runtime(harness.JSON{"name": "outward", "language": "python", "egress": harness.JSON{"cidrs": []string{"192.0.2.0/24"}}})
	connected := w.Runspace("outward")
	before := w.Processes()
	if len(before) < 5 {
		t.Fatalf("%d processes are seen in the sandboxes of 5 runspaces", len(before))
	}
	w.Kill()
	w.Eventually("no process is left", func() bool {
		return !slices.ContainsFunc(before, harness.Process.Lives) && len(w.Processes()) == 0
	})
	kinds := map[string]int{}
	for _, left := range w.Left() {
		kind, _, _ := strings.Cut(left, " ")
		kinds[kind]++
	}
	if kinds["process"] > 0 || kinds["cgroup"] == 0 { // what waits needs no processor and hardly any memory
		t.Errorf("without a server there is %v", kinds)
	}
	t.Logf("for the next start: %v", kinds)
	w.Up(w.args...)
	for _, id := range []string{w.spaces[0].id, w.spaces[3].id, connected} {
		if state, why := w.settled(id); state != "error" || !strings.Contains(why, "restarted") {
			t.Errorf("runspace %s is %s: %s", id, state, why)
		}
	}
	w.Down()
	w.Untouched()
}

// With the network of its runtime a runspace keeps what it has open, and one-shot
// executions do not outlive their server.
func TestOneShotsEnd(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1, 0)
	var ex harness.Execution
	w.Call(http.MethodPost, "/v1/executions", harness.JSON{"runtime": "survivor", "script": "print('up', flush=True)\nimport time\ntime.sleep(600)"}, &ex)
	w.Eventually("the script runs", func() bool {
		stdout, _ := w.Output(ex.ID)
		return stdout == "up\n"
	})
	all := w.Processes()
	w.Kill()
	w.Eventually("what was one-shot, or waited, has ended", func() bool { return len(w.Processes()) < len(all) })
	w.up()
	w.remember()
	w.Call(http.MethodGet, "/v1/executions/"+ex.ID, nil, &ex)
	if ex.State != "lost" || ex.Reason == "" {
		t.Errorf("the one-shot execution is %s, want lost with a reason", &ex)
	}
	w.close()
	w.Down()
	w.Untouched()
}
