package attempts

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"github.com/remuda-run/remuda/test/harness"
)

// sandboxes are the processes of the machine that are children of a process of
// the server's, deepest last.
func descendants(pid int) []int {
	children := map[int][]int{}
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil
	}
	for _, p := range stats {
		b, err := os.ReadFile(p)
		if err != nil {
			continue
		}
		text := string(b)
		var id, parent int
		var state string
		if _, err := fmt.Sscan(text, &id); err != nil {
			continue
		}
		if _, err := fmt.Sscan(text[strings.LastIndex(text, ")")+1:], &state, &parent); err != nil {
			continue
		}
		children[parent] = append(children[parent], id)
	}
	var all []int
	for queue := []int{pid}; len(queue) > 0; queue = queue[1:] {
		all = append(all, children[queue[0]]...)
		queue = append(queue, children[queue[0]]...)
	}
	return all
}

// interpreters are the Pythons below a process: templates, first processes of
// instances and what runs in them.
func interpreters(pid int) (all []int) {
	for _, pid := range descendants(pid) {
		if comm, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid)); err == nil && strings.HasPrefix(string(comm), "python") {
			all = append(all, pid)
		}
	}
	return all
}

// massacre is what became of scripts whose instances were killed as they came.
type massacre struct {
	mu        sync.Mutex
	killed    int // processes
	ran       int // scripts that ended well
	elsewhere int // of these, on another instance than their first
	cut       int // scripts that were killed, having begun
	unknown   int // interpreters that were killed having taken their script and said nothing
}

// killWarm kills, on a server of its own, the interpreters of all that wait, while
// clients come to claim them.
func killWarm(c *cell) {
	h := furnish(c.T, harness.Start(c.T))
	var rt struct{ ID string }
	definition := harness.JSON{"name": "doomed", "language": "python", "resources": sizes[roomy], "isolation": c.place.class, "pool": harness.JSON{"min_cached": 6, "max_cached": 6}}
	h.a.must(c.T, http.MethodPost, "/v1/runtimes", definition, &rt)
	eventually(c, "instances are warm", func() bool { return h.idle(c, rt.ID) >= 4 })
	if len(interpreters(h.server.Pid())) == 0 {
		c.cannot("the warm interpreter of this class is no process of the machine that could be told by its name")
	}
	var m massacre
	rounds := 0
	for least := count(60, 6); !c.Failed() && (rounds < least || m.elsewhere == 0 && rounds < 100); rounds++ {
		eventually(c, "instances are warm", func() bool { return h.idle(c, rt.ID) >= 4 })
		m.round(c, h)
	}
	figures := fmt.Sprintf("%d rounds, %d processes killed: %d scripts ran, %d of them on another instance than the one that was killed; %d were cut off, %d said nothing", rounds, m.killed, m.ran, m.elsewhere, m.cut, m.unknown)
	c.Log(figures)
	if m.elsewhere == 0 {
		c.Fatalf("no kill met a claim: %s", figures)
	}
	c.holds(!c.Failed(), "none lost that had not begun, others in their place")
}

// round kills all that is warm while clients claim it.
func (m *massacre) round(c *cell, h *house) {
	victims := interpreters(h.server.Pid())
	var claims sync.WaitGroup
	for range 6 {
		claims.Go(func() {
			o, err := tryFinish(c.T, h.a, "/v1/executions", harness.JSON{"runtime": "doomed", "script": "import os, time\nos.write(1, b'begun')\ntime.sleep(0.05)"})
			if err != nil {
				c.Error(err)
				return
			}
			m.count(c, o)
		})
	}
	for _, pid := range victims {
		if syscall.Kill(pid, syscall.SIGKILL) == nil {
			m.killed++
		}
	}
	claims.Wait()
}

// count looks at one execution.
func (m *massacre) count(c *cell, o *outcome) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case o.State == "success":
		m.ran++
		if strings.Contains(o.ColdReason, "had died") {
			m.elsewhere++
		}
		if o.stdout != "begun" {
			c.Errorf("a script that was placed again wrote %q", o.stdout)
		}
	case o.Reason == "":
		c.Errorf("ended without a reason: %s", o)
	case o.stdout != "":
		m.cut++
	case o.State == "lost":
		c.escape("a script that never began is lost: %s", o)
	default: // it has died with the script in its hands: nobody can know how far it came
		m.unknown++
	}
}

func killServer(c *cell) {
	h := furnish(c.T, harness.Start(c.T))
	if why := h.refusal(c.place.class); why != "" {
		c.cannot("%s", why)
	}
	word := c.token()
	runtime := h.runtime(c.T, h.a, c.place.class, cold, "python", roomy)
	var ex execution
	h.a.must(c.T, http.MethodPost, "/v1/executions", harness.JSON{"runtime": runtime, "script": fmt.Sprintf("import os, subprocess\nprint('up', flush=True)\nsubprocess.run(['sleep', '1000'], executable='/usr/bin/sleep') if False else os.execv('/usr/bin/sleep', ['%s', '1000'])", word)}, &ex)
	eventually(c, "the script runs", func() bool {
		return strings.Contains(string(h.a.ask(c.T, http.MethodGet, "/v1/executions/"+ex.ID+"/output", nil).Body), "up")
	})
	if c.place.class == process {
		eventually(c, "its process is seen on the machine", func() bool { return len(named(word)) > 0 })
	}
	h.server.Kill()
	h.server.Up()
	var after execution
	h.a.must(c.T, http.MethodGet, "/v1/executions/"+ex.ID, nil, &after)
	c.survivors(word)
	finish(c.T, h.a, "/v1/executions", harness.JSON{"runtime": runtime, "script": "print('again')"}).ok().says("again")
	c.holds(after.State == "lost" && after.Reason != "", "%s with a reason, no process left", after.State)
}
