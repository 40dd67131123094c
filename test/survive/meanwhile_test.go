package survive

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/remuda-run/remuda/test/harness"
)

// What happens while no server is there is recorded by the next one, as if one had
// been there all the while: ends, limits, and more output than anybody holds.
func TestMeanwhile(t *testing.T) {
	t.Parallel()
	const begin = "import time\nprint('up', flush=True)\ntime.sleep(1)\n"
	cases := []struct {
		name, script string
		timeout      int
		state, by    string
		value, says  string
		output       string
		dies, may    bool // the runspace ends with it, or, on a busy machine, may do so
	}{
		{name: "it ends", script: begin + "print('down')\n6 * 7", state: "success", value: "42", output: "up\ndown\n"},
		{name: "it fails", script: begin + "1 / 0", state: "error", says: "ZeroDivisionError", output: "up\n"},
		{
			name: "it writes more than is held", script: begin + "for n in range(300000):\n    print(n)\nn",
			state: "success", value: "299999", output: "up\n" + numbers(300000),
		},
		{name: "it takes too long", script: begin + "time.sleep(600)", timeout: 2, state: "timeout", by: "time", output: "up\n", may: true},
		{name: "it takes too much memory", script: begin + "hoard = []\nwhile True: hoard.append(bytearray(1 << 20))", state: "error", by: "memory", output: "up\n", dies: true},
		{name: "it leaves", script: begin + "import os\nos._exit(3)", state: "error", output: "up\n", dies: true},
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
	w.Kill()
	time.Sleep(3 * time.Second) // in which all of it happens
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
