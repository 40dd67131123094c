package attempts

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/remuda-run/remuda/test/harness"
)

// poolRows are rows S.
func poolRows() []row {
	var list []row
	for _, canary := range canaries {
		list = append(list, row{id: "S01", attempt: "leave behind, in " + canary.what, expected: "0 found in the next instances", places: everywhere(), try: func(c *cell) { c.canary(canary.plant, canary.find) }})
	}
	return append(list, []row{
		{id: "S01", attempt: "leave canaries of all kinds, in thousands of claims", expected: "0 found", places: only(place{process, warm}, place{gvisor, warm}), alone: true, try: manyClaims},
		{id: "S02", attempt: "open and close 15 runspaces in a loop", expected: "nothing shared", places: each(runspace), try: manyRunspaces},
		{id: "S04", attempt: "many clients claim at once", expected: "never the same instance twice", places: only(place{process, cold}, place{process, warm}, place{gvisor, warm}), alone: true, try: claimAtOnce},
		{id: "S05", attempt: "kill warm instances while they are claimed", expected: "none lost whose script never began", places: only(place{process, warm}, place{gvisor, warm}), alone: true, try: killWarm},
		{id: "S06", attempt: "change a runtime, then claim", expected: "no instance of the old generation", places: each(warm), try: newGeneration},
		{id: "S07", attempt: "look for a secret of an execution in the log, processes and spool", expected: "absent", places: only(place{process, warm}, place{gvisor, warm}), alone: true, try: secretLeft},
		{id: "S07", attempt: "look for the administrator's password in the environment of every process", expected: "absent from all but the server", places: atServerOnly(), try: passwordLeft},
		{id: "S08", attempt: "claim a warm instance with variables of its own", expected: "applied, and gone with it", places: each(warm), try: warmEnv},
		{id: "S08", attempt: "claim a warm instance with lower limits", expected: "applied", places: each(warm), try: warmLimits},
		{id: "S09", attempt: "kill -9 the server while scripts run", expected: "reported as lost, nothing left, nothing run twice", places: only(place{process, cold}, place{gvisor, cold}), alone: true, try: killServer},
		{id: "S10", attempt: "fill the server's disk, set the clock", expected: "clean recovery", places: atServerOnly(), try: func(c *cell) {
			c.cannot("a full disk is tried by internal/executions (TestFullDisk...), the clock of a machine is not set by a test")
		}},
		{id: "S11", attempt: "claim more than the pool has", expected: "cold starts, no error", places: each(warm), try: dryPool},
		{id: "S12", attempt: "turn a used runspace into a template", expected: "there is no such operation", places: atServerOnly(), try: func(c *cell) {
			got := c.house.a.ask(c.T, http.MethodPost, "/v1/runspaces/x/template", harness.JSON{})
			c.holds(got.Status == http.StatusNotFound || got.Status == http.StatusMethodNotAllowed, "%s", got)
		}},
		{id: "S13", attempt: "be busy for longer than the idle timeout", expected: "not collected", places: each(runspace), try: busyIsNotIdle},
	}...)
}

// parallel makes n calls by some clients and fails with the first errors.
func (c *cell) parallel(clients, n int, f func(int) error) {
	c.Helper()
	var next atomic.Int64
	var wg sync.WaitGroup
	for range clients {
		wg.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= n || c.Failed() {
					return
				}
				if err := f(i); err != nil {
					c.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

func manyRunspaces(c *cell) {
	runtime := c.house.runtime(c.T, c.house.a, c.place.class, cold, "python", roomy)
	n := 15
	if c.place.class == gvisor {
		n = 6
	}
	for i := range n {
		id := openRunspace(c.T, c.house.a, runtime)
		path := "/v1/runspaces/" + id + "/executions"
		finish(c.T, c.house.a, path, harness.JSON{"script": "assert 'mine' not in globals()\nimport os\nassert not os.listdir('/workspace')\nmine = 1\nopen('mine', 'w').close()"}).ok()
		finish(c.T, c.house.a, path, harness.JSON{"script": "assert mine == 1 and os.listdir('/workspace') == ['mine']"}).ok()
		if i%2 == 0 {
			closeRunspace(c.house.a, id)
		}
	}
	c.holds(true, "nothing shared")
}

// claimAtOnce lets many clients ask at the same time, of both organizations.
func claimAtOnce(c *cell) {
	n := count(10000, 200)
	if c.place.class == gvisor {
		n = count(100, 8)
	}
	runtimes := map[*tenant]string{}
	for _, by := range []*tenant{c.house.a, c.house.b} {
		runtimes[by] = c.openAs(by, "bash", roomy).runtime
	}
	var mu sync.Mutex
	holders := map[string]string{}
	c.parallel(16, n, func(i int) error {
		by := c.house.a
		if i%2 == 1 {
			by = c.house.b
		}
		ex := new(execution)
		if err := by.get(c.T, http.MethodPost, "/v1/executions?wait=60s", harness.JSON{"runtime": runtimes[by], "script": "x=${x:-0}; echo $((x + 1)); x=1"}, ex); err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		if other, taken := holders[ex.Instance]; taken || ex.Instance == "" || !ex.Fresh {
			return fmt.Errorf("instance %q of %s was handed out before, to %s (fresh %v)", ex.Instance, ex.ID, other, ex.Fresh)
		}
		holders[ex.Instance] = ex.ID
		return nil
	})
	c.holds(!c.Failed() && len(holders) == n, "%d claims, %d instances", n, len(holders))
}

func newGeneration(c *cell) {
	by := c.house.a
	name := fmt.Sprintf("gen-%s-%d", c.place.class, c.house.next())
	definition := harness.JSON{"name": name, "language": "python", "resources": sizes[roomy], "pool": harness.JSON{"min_cached": 1, "max_cached": 2}, "env": map[string]string{"GEN": "1"}}
	if c.place.class != process {
		definition["isolation"] = c.place.class
	}
	var rt struct{ ID string }
	by.must(c.T, http.MethodPost, "/v1/runtimes", definition, &rt)
	for generation := 2; generation <= count(12, 4); generation++ {
		eventually(c, "an instance is warm", func() bool { return c.house.idle(c, rt.ID) > 0 })
		by.must(c.T, http.MethodPatch, "/v1/runtimes/"+name, harness.JSON{"env": map[string]string{"GEN": fmt.Sprint(generation)}}, nil)
		o := finish(c.T, by, "/v1/executions", harness.JSON{"runtime": name, "script": "import os\nprint(os.environ['GEN'])"}).ok()
		if o.stdout != fmt.Sprintln(generation) {
			c.escape("generation %s was handed out after generation %d was acknowledged", strings.TrimSpace(o.stdout), generation)
		}
	}
	by.must(c.T, http.MethodDelete, "/v1/runtimes/"+name, nil, nil)
	c.holds(true, "never an old one")
}

func warmEnv(c *cell) {
	b := c.open("python", roomy)
	b.run(harness.JSON{"script": "import os\nprint(os.environ['OWN'])", "env": map[string]string{"OWN": "mine"}}).ok().says("mine")
	o := b.script("import os\nprint(os.environ.get('OWN'))").ok()
	c.holds(o.stdout == "None\n", "applied warm, gone with it")
}

func warmLimits(c *cell) {
	b := c.open("python", roomy)
	got := b.by.ask(c.T, http.MethodPost, "/v1/executions?wait=60s", harness.JSON{"runtime": b.runtime, "script": "print('eating', flush=True)\nheld = bytearray(200 << 20)\nprint('ate')", "limits": harness.JSON{"memory_mb": 64}})
	if got.Status == http.StatusBadRequest && strings.Contains(string(got.Body), "limits") {
		c.cannot("this version of the API has no limits of one execution")
	}
	var ex execution
	got.decode(c.T, http.StatusOK, &ex)
	o := &outcome{t: c.T, execution: ex}
	if err := o.read(b.by); err != nil {
		c.Fatal(err)
	}
	o.says("eating")
	c.holds(ex.State == "error" && ex.KilledBy == "memory", "%s, %s", o.how(), map[bool]string{true: "warm", false: "cold"}[ex.wasWarm()])
	b.script("held = bytearray(200 << 20)\nprint('ate')").ok().says("ate") // without them it may
}

func dryPool(c *cell) {
	b := c.open("python", roomy)
	n := 12
	if c.place.class == gvisor {
		n = 6
	}
	var colds atomic.Int64
	c.parallel(n, n, func(int) error {
		o, err := tryFinish(c.T, b.by, "/v1/executions", harness.JSON{"runtime": b.runtime, "script": "import time\ntime.sleep(0.3)\nprint('ran')"})
		if err == nil && o.stdout != "ran\n" {
			err = fmt.Errorf("%s", o)
		}
		if err == nil && !o.wasWarm() {
			colds.Add(1)
		}
		return err
	})
	c.Logf("%d of %d were cold", colds.Load(), n)
	c.holds(!c.Failed() && colds.Load() > 0, "all ran, some of them cold")
}

func busyIsNotIdle(c *cell) {
	runtime := c.house.runtime(c.T, c.house.a, c.place.class, cold, "python", roomy)
	var rs struct{ ID, State string }
	c.house.a.must(c.T, http.MethodPost, "/v1/runspaces?wait=60s", harness.JSON{"runtime": runtime, "idle_timeout_s": 1}, &rs)
	c.Cleanup(func() { closeRunspace(c.house.a, rs.ID) })
	var ex execution
	c.house.a.must(c.T, http.MethodPost, "/v1/runspaces/"+rs.ID+"/executions", harness.JSON{"script": "import time\ntime.sleep(4)\nprint('done')"}, &ex)
	// Nobody asks while it runs: the state is looked up after the end.
	var after struct{ State string }
	var done execution
	eventually(c, "it has ended", func() bool {
		time.Sleep(time.Second)
		c.house.a.must(c.T, http.MethodGet, "/v1/executions/"+ex.ID, nil, &done)
		return done.Ended()
	})
	eventually(c, "the idle runspace is closed", func() bool {
		c.house.a.must(c.T, http.MethodGet, "/v1/runspaces/"+rs.ID, nil, &after)
		return after.State == "closed"
	})
	c.holds(done.State == "success", "%s; closed when it was idle", done.State)
}

// sorted decodes a JSON list of words.
func sorted(text string) []string {
	var list []string
	if json.Unmarshal([]byte(text), &list) != nil {
		return nil
	}
	slices.Sort(list)
	return list
}
