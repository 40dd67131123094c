package survive

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/remuda-run/remuda/internal/engine/enginetest/leftover"
	"github.com/remuda-run/remuda/test/harness"
)

func TestMain(m *testing.M) {
	leftover.Sweep()
	os.Exit(m.Run())
}

// room lets one organization have many runspaces, however few cores there are.
var room = []string{"--slots", "96", "--organization-instances", "90", "--log-level", "warn"}

// world is a server with runspaces that hold what is known.
type world struct {
	*harness.Server
	t      *testing.T
	args   []string
	spaces []*space
}

// space is a runspace with a variable, and a script that may run in it.
type space struct {
	id      string
	number  int
	running string // execution that prints numbered lines until it is told to stop
	seen    int64  // the last record of it that was looked at
}

// lines is a script that prints its numbers until there is a file named stop.
const lines = `import os, time
line = 0
while not os.path.exists("stop"):
    print(line, "of", number)
    line += 1
    time.sleep(0.005)
line`

// newWorld opens so many runspaces and has so many of them run.
func newWorld(t *testing.T, n, running int, args ...string) *world {
	t.Helper()
	w := &world{t: t, args: append(append([]string{}, room...), args...)}
	w.Server = harness.Start(t, w.args...)
	runtime := w.Runtime(harness.JSON{
		"name": "survivor", "language": "python", "exec_timeout_s": 600,
		"resources": harness.JSON{"cpu": 1, "memory_mb": 64, "disk_mb": 16, "pids": 16}, "pool": harness.JSON{"min_cached": 2, "max_cached": 8},
	})
	began := time.Now()
	w.spaces = make([]*space, n)
	w.each(func(i int) error {
		w.spaces[i] = &space{number: i}
		var rs struct{ ID, State, Error string }
		if err := w.Try(http.MethodPost, "/v1/runspaces", harness.JSON{"runtime": runtime, "idle_timeout_s": 3600}, &rs); err != nil {
			return err
		}
		w.spaces[i].id = rs.ID
		if state, why := w.settled(rs.ID); state != "ready" {
			return fmt.Errorf("the runspace is %s: %s", state, why)
		}
		return w.holds(w.spaces[i], fmt.Sprintf("import os\nnumber, pid, story = %d, os.getpid(), ['once']\nnumber", i), fmt.Sprint(i))
	})
	t.Logf("%d runspaces were opened in %s", n, time.Since(began).Round(time.Millisecond))
	for _, s := range w.spaces[:running] {
		var ex harness.Execution
		w.Call(http.MethodPost, "/v1/runspaces/"+s.id+"/executions", harness.JSON{"script": lines, "timeout_s": 600}, &ex)
		s.running = ex.ID
		w.Eventually("the script of "+s.id+" writes", func() bool { return w.writes(s) })
	}
	return w
}

// each does something for every runspace, some at a time, and fails with what went
// wrong.
func (w *world) each(fn func(i int) error) {
	w.t.Helper()
	var working sync.WaitGroup
	todo := make(chan int)
	for range 8 {
		working.Go(func() {
			for i := range todo {
				if err := fn(i); err != nil {
					w.t.Errorf("runspace %d: %v", i, err)
				}
			}
		})
	}
	for i := range w.spaces {
		todo <- i
	}
	close(todo)
	working.Wait()
	if w.t.Failed() {
		w.t.FailNow()
	}
}

// settled waits until a runspace has left creating.
func (w *world) settled(id string) (state, why string) {
	var rs struct{ State, Error string }
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if err := w.Try(http.MethodGet, "/v1/runspaces/"+id, nil, &rs); err != nil {
			return "unknown", err.Error()
		}
		if rs.State != "creating" {
			break
		}
	}
	return rs.State, rs.Error
}

// holds runs a script in a runspace and wants its value.
func (w *world) holds(s *space, script, want string) error {
	var ex harness.Execution
	if err := w.Try(http.MethodPost, "/v1/runspaces/"+s.id+"/executions?wait=60s", harness.JSON{"script": script}, &ex); err != nil {
		return err
	}
	if ex.State != "success" || ex.Value == nil || ex.Value.Text != want {
		return fmt.Errorf("the script ended as %s with %v, want %s", &ex, ex.Value, want)
	}
	return nil
}

// writes reports whether a running script has written anything since this was asked
// last.
func (w *world) writes(s *space) bool {
	var page struct {
		Records []json.RawMessage
		Next    int64
	}
	w.Call(http.MethodGet, fmt.Sprintf("/v1/executions/%s/output?after=%d&limit=4194304", s.running, s.seen), nil, &page)
	s.seen = page.Next
	return len(page.Records) > 0
}

// remember wants every runspace to be what it was: open, with the variables and the
// process of before, and its script running on.
func (w *world) remember() {
	w.t.Helper()
	w.each(func(i int) error {
		s := w.spaces[i]
		if s.running == "" {
			return w.holds(s, "story.append('again')\n(number, pid == os.getpid(), story[0])", fmt.Sprintf("(%d, True, 'once')", s.number))
		}
		var ex harness.Execution
		if err := w.Try(http.MethodGet, "/v1/executions/"+s.running, nil, &ex); err != nil {
			return err
		}
		var rs struct{ State, Error string }
		if err := w.Try(http.MethodGet, "/v1/runspaces/"+s.id, nil, &rs); err != nil {
			return err
		}
		if ex.State != "running" || rs.State != "active" {
			return fmt.Errorf("the execution is %s and its runspace %s %s, want running and active", &ex, rs.State, rs.Error)
		}
		return nil
	})
	for _, s := range w.spaces {
		if s.running != "" {
			w.writes(s)
			w.Eventually("the script of "+s.id+" writes on", func() bool { return w.writes(s) })
		}
	}
}

// finish tells every script to stop and wants each of its lines exactly once.
func (w *world) finish() {
	w.t.Helper()
	w.each(func(i int) error {
		s := w.spaces[i]
		if s.running == "" {
			return nil
		}
		if err := w.Try(http.MethodPut, "/v1/runspaces/"+s.id+"/files/stop", strings.NewReader("now"), nil); err != nil {
			return err
		}
		ex := harness.Execution{State: "running"}
		for !ex.Ended() {
			ex = harness.Execution{}
			if err := w.Try(http.MethodGet, "/v1/executions/"+s.running+"?wait=30s", nil, &ex); err != nil {
				return err
			}
		}
		stdout, stderr := w.Output(s.running)
		var want strings.Builder
		n := strings.Count(stdout, "\n")
		for line := range n {
			fmt.Fprintln(&want, line, "of", s.number)
		}
		switch {
		case ex.State != "success" || ex.Value == nil || ex.Value.Text != fmt.Sprint(n) || stderr != "":
			return fmt.Errorf("the script ended as %s after %d lines, with %v and %q", &ex, n, ex.Value, stderr)
		case stdout != want.String():
			return fmt.Errorf("of %d lines not each is there once:\n%s", n, firstOdd(stdout, want.String()))
		}
		s.running = ""
		return nil
	})
}

// firstOdd is the place at which two texts begin to differ.
func firstOdd(got, want string) string {
	a, b := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return fmt.Sprintf("line %d is %q, want %q", i, a[i], b[i])
		}
	}
	return fmt.Sprintf("%d lines, want %d", len(a), len(b))
}

// up starts the server again, and says how long it took until every runspace was
// there.
func (w *world) up(args ...string) time.Duration {
	w.t.Helper()
	began := time.Now()
	w.Up(append(append([]string{}, w.args...), args...)...)
	ready := time.Since(began)
	w.each(func(i int) error {
		var rs struct{ State, Error string }
		if err := w.Try(http.MethodGet, "/v1/runspaces/"+w.spaces[i].id, nil, &rs); err != nil {
			return err
		}
		if rs.State != "ready" && rs.State != "active" {
			return fmt.Errorf("it is %s: %s", rs.State, rs.Error)
		}
		return nil
	})
	took := time.Since(began)
	w.t.Logf("started again in %s, and all %d runspaces were there after %s; the server says: %s", ready.Round(time.Millisecond), len(w.spaces), took.Round(time.Millisecond), w.said("took over what"))
	return took
}

// said is the last line of the server's log with a text.
func (w *world) said(text string) string {
	last := "nothing"
	for line := range strings.Lines(w.Log()) {
		if strings.Contains(line, text) {
			last = strings.TrimSpace(line)
		}
	}
	return last
}

// close deletes the runspaces.
func (w *world) close() {
	w.t.Helper()
	w.each(func(i int) error { return w.Try(http.MethodDelete, "/v1/runspaces/"+w.spaces[i].id, nil, nil) })
}
