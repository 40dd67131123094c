package survive

import (
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/remuda-run/remuda/test/harness"
)

// What happens while no server is there is recorded by the next one, as if one had
// been there all the while: ends, limits, and more output than anybody holds.
func TestMeanwhile(t *testing.T) {
	t.Parallel()
	const (
		up    = "import os, time\nopen('begun', 'w').close()\nopen('wait', 'w').close()\nprint('up', flush=True)\n"
		begin = up + "while os.path.exists('wait'):\n    time.sleep(0.005)\n"
		over  = "open('over', 'w').close()\n" // what comes next happens at once
	)
	cases := []struct {
		name, script string
		timeout      int
		state, by    string
		value, says  string
		output       string
		dies, may    bool // the runspace ends with it, or, on a busy machine, may do so
	}{
		{name: "it ends", script: begin + "print('down')\n" + over + "6 * 7", state: "success", value: "42", output: "up\ndown\n"},
		{name: "it fails", script: begin + over + "1 / 0", state: "error", says: "ZeroDivisionError", output: "up\n"},
		{
			name: "it writes more than is held", script: begin + over + "for n in range(300000):\n    print(n)\nn",
			state: "success", value: "299999", output: "up\n" + numbers(300000),
		},
		{name: "it takes too long", script: up + "try:\n    time.sleep(600)\nfinally:\n    " + over, timeout: 5, state: "timeout", by: "time", output: "up\n", may: true},
		{name: "it takes too much memory", script: begin + over + "hoard = []\nwhile True: hoard.append(bytearray(1 << 20))", state: "error", by: "memory", output: "up\n", dies: true},
		{name: "it leaves", script: begin + over + "os._exit(3)", state: "error", output: "up\n", dies: true},
	}
	w := newWorld(t, len(cases), 0)
	ids := make([]string, len(cases))
	for i, c := range cases {
		body := harness.JSON{"script": c.script, "timeout_s": 600}
		if c.timeout > 0 {
			body["timeout_s"] = c.timeout
		}
		var ex harness.Execution
		w.Call(http.MethodPost, "/v1/runspaces/"+w.spaces[i].id+"/executions", body, &ex)
		ids[i] = ex.ID
	}
	for _, id := range ids {
		w.Eventually("all run", func() bool {
			stdout, _ := w.Output(id)
			return strings.HasPrefix(stdout, "up\n")
		})
	}
	spaces := w.workspaces()
	if len(spaces) != len(cases) {
		t.Fatalf("the workspaces of %d sandboxes are seen, want %d", len(spaces), len(cases))
	}
	w.Kill()
	w.meanwhile(spaces)
	w.Up(w.args...)
	for i, c := range cases {
		ex := &harness.Execution{State: "running"}
		for deadline := time.Now().Add(2 * time.Minute); !ex.Ended() && time.Now().Before(deadline); {
			ex = new(harness.Execution)
			w.Call(http.MethodGet, "/v1/executions/"+ids[i]+"?wait=30s", nil, ex)
		}
		value := ""
		if ex.Value != nil {
			value = ex.Value.Text
		}
		if ex.State != c.state || ex.KilledBy != c.by || value != c.value || !strings.Contains(ex.String(), c.says) {
			t.Errorf("%s: %s, with the value %q", c.name, ex, value)
		}
		if stdout, _ := w.Output(ids[i]); stdout != c.output {
			t.Errorf("%s: of %d bytes of output there are %d: %s", c.name, len(c.output), len(stdout), firstOdd(stdout, c.output))
		}
		if c.dies {
			w.Eventually("the runspace of "+c.name+" has ended", func() bool {
				state, _ := w.settled(w.spaces[i].id)
				return state == "error"
			})
			continue
		}
		if state, _ := w.settled(w.spaces[i].id); c.may && state == "error" {
			continue
		}
		if err := w.holds(w.spaces[i], "(number, pid == os.getpid(), story)", fmt.Sprintf("(%d, True, ['once'])", i)); err != nil {
			t.Errorf("%s: afterwards: %v", c.name, err)
		}
	}
	w.close()
	w.Down()
	w.Untouched()
}

// workspaces are the directories of the sandboxes whose scripts have begun, as the
// machine sees them: nobody can be asked about them without a server.
func (w *world) workspaces() []string {
	w.t.Helper()
	seen := map[uint64]string{}
	for _, p := range w.Processes() {
		dir := fmt.Sprintf("/proc/%d/root/workspace", p.Pid)
		if begun, err := os.Stat(filepath.Join(dir, "begun")); err == nil {
			seen[begun.Sys().(*syscall.Stat_t).Dev] = dir // several processes see the same
		}
	}
	return slices.Collect(maps.Values(seen))
}

// meanwhile lets the scripts go on now that no server is there, and waits until all of
// it has happened.
func (w *world) meanwhile(spaces []string) {
	w.t.Helper()
	for _, dir := range spaces {
		if err := os.Remove(filepath.Join(dir, "wait")); err != nil {
			w.t.Fatal(err)
		}
	}
	w.Eventually("all of it has happened", func() bool {
		return !slices.ContainsFunc(w.workspaces(), func(dir string) bool {
			_, err := os.Stat(filepath.Join(dir, "over"))
			return err != nil
		})
	})
	var used, still int
	w.Eventually("what goes on writing waits for a reader", func() bool {
		still++
		if now := harness.Ticks(w.Processes()); now != used {
			used, still = now, 0
		}
		return still > 20
	})
}

func numbers(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintln(&b, i)
	}
	return b.String()
}

// The time in which nobody uses a runspace goes on counting without a server.
func TestIdleMeanwhile(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1, 0)
	var rs struct{ ID, State, Error string }
	w.Call(http.MethodPost, "/v1/runspaces", harness.JSON{"runtime": "survivor", "idle_timeout_s": 60}, &rs)
	if state, why := w.settled(rs.ID); state != "ready" {
		t.Fatalf("the runspace is %s: %s", state, why)
	}
	w.Kill()
	w.up()
	var brief struct{ ID string }
	w.Call(http.MethodPost, "/v1/runspaces", harness.JSON{"runtime": "survivor", "idle_timeout_s": 2}, &brief)
	if state, why := w.settled(brief.ID); state != "ready" {
		t.Fatalf("the runspace is %s: %s", state, why)
	}
	w.Kill()
	w.up()
	w.Eventually("the one that is idle is closed", func() bool {
		w.Call(http.MethodGet, "/v1/runspaces/"+brief.ID, nil, &rs)
		return rs.State == "closed" && strings.Contains(rs.Error, "idle")
	})
	w.remember()
}
