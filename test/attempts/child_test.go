package attempts

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/remuda-run/remuda/test/harness"
)

// childScript prints what must differ between instances, and what must be the
// same in all of them. It runs where the modules were preloaded, so that what a
// template has seeded would show.
const childScript = `
import json, locale, os, random, resource, secrets, signal, ssl, sys, tempfile, threading, time, uuid
try:
    import numpy
except ImportError:
    numpy = None
modules = sorted(sys.modules) # all that were preloaded are imported by now, also where nothing was
if numpy:
    numbers = {"numpy": repr(numpy.random.random()), "numpy generator": repr(numpy.random.default_rng().random())}
else:
    numbers = {}
def mask():
    m = os.umask(0); os.umask(m); return oct(m)
print(json.dumps({
    "differ": {
        "random": random.random(), "a new Random": random.Random().random(), "SystemRandom": random.SystemRandom().random(), "secrets": secrets.token_hex(16),
        "uuid1": str(uuid.uuid1()), "uuid4": str(uuid.uuid4()), "ssl": ssl.RAND_bytes(16).hex(), "urandom": os.urandom(16).hex(),
        "temporary names": next(tempfile._get_candidate_names()), "shuffle": random.sample(range(10**9), 4), "hash seed": hash("remuda"), **numbers},
    "same": {
        "descriptors": sorted(set(os.readlink(f"/proc/self/fd/{fd}").split(":")[0] for fd in os.listdir("/proc/self/fd") if os.path.lexists(f"/proc/self/fd/{fd}"))),
        "number of descriptors": len(os.listdir("/proc/self/fd")),
        "environment": sorted(os.environ), "working directory": os.getcwd(), "umask": mask(),
        "signal handlers": [str(signal.getsignal(s)).split(" at 0x")[0] for s in sorted(signal.valid_signals())], "blocked signals": sorted(signal.pthread_sigmask(0, ())), "pending signals": sorted(signal.sigpending()),
        "timers": [signal.getitimer(t) for t in (0, 1, 2)], "time zone": time.tzname, "locale": locale.setlocale(locale.LC_ALL, None), "encoding": [sys.stdout.encoding, sys.getfilesystemencoding()],
        "sys.modules": modules, "threads": threading.active_count(), "process threads": len(os.listdir("/proc/self/task")), "limits": [resource.getrlimit(n) for n in range(16)],
        "arguments": sys.argv, "niceness": os.getpriority(0, 0), "user": os.getresuid() + os.getresgid(), "groups": os.getgroups(), "children": open(f"/proc/self/task/{os.getpid()}/children").read() if os.path.exists(f"/proc/self/task/{os.getpid()}/children") else "",
        "recursion limit": sys.getrecursionlimit(), "path": sys.path, "globals": sorted(k for k in globals() if not k.startswith("__")),
    }}))
`

// whatDiffers and whatIsSame are the rows of it.
var (
	whatDiffers = []string{"random", "a new Random", "SystemRandom", "secrets", "uuid1", "uuid4", "ssl", "urandom", "temporary names", "shuffle", "numpy", "numpy generator", "hash seed"}
	whatIsSame  = []string{
		"descriptors", "number of descriptors", "environment", "working directory", "umask", "signal handlers", "blocked signals", "pending signals", "timers", "time zone", "locale", "encoding",
		"sys.modules", "threads", "process threads", "limits", "arguments", "niceness", "user", "groups", "children", "recursion limit", "path", "globals",
	}
)

// children is what many instances said of themselves.
type children struct {
	n      int
	cold   int
	differ map[string]map[string]int
	same   map[string]map[string]int
}

// childRows are rows S01, S03 and the hygiene of forked instances.
func childRows() []row {
	var list []row
	for _, what := range whatDiffers {
		list = append(list, row{id: "S03", attempt: "find the same twice in many instances: " + what, expected: "all distinct", places: each(warm), try: func(c *cell) { c.distinct(what) }})
	}
	for _, what := range whatIsSame {
		list = append(list, row{id: "S01", attempt: "find a trace of another in many instances: " + what, expected: "the same in all, as in a new one", places: each(warm), try: func(c *cell) { c.alike(what) }})
	}
	return list
}

// gather runs the script in many instances, once for all rows of a place.
func (c *cell) gather() *children {
	c.Helper()
	all, err := shared(c.house, "children "+c.place.String(), func() (*children, error) {
		all := &children{n: count(1000, 100), differ: map[string]map[string]int{}, same: map[string]map[string]int{}}
		if c.place.class == gvisor {
			all.n = count(100, 6)
		}
		name := "children-" + c.place.class
		definition := harness.JSON{
			"name": name, "language": "python", "resources": sizes[roomy], "pool": harness.JSON{"min_cached": 8, "max_cached": 16},
			"preload": []string{"json", "random", "secrets", "ssl", "tempfile", "uuid", "locale", "resource", "threading"},
		}
		if exec.CommandContext(c.Context(), "/usr/bin/python3", "-c", "import numpy").Run() == nil {
			definition["preload"] = append(definition["preload"].([]string), "numpy")
		}
		if c.place.class != process {
			definition["isolation"] = c.place.class
		}
		var made struct{ ID string }
		if err := c.house.a.get(c.T, http.MethodPost, "/v1/runtimes", definition, &made); err != nil {
			return nil, err
		}
		var mu sync.Mutex
		c.parallel(2, all.n, func(int) error {
			for range 500 { // the pool may follow: warm instances are what this is about
				if c.house.idle(c, made.ID) > 1 {
					break
				}
				time.Sleep(2 * time.Millisecond)
			}
			o, err := tryFinish(c.T, c.house.a, "/v1/executions", harness.JSON{"runtime": name, "script": childScript})
			if err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			return all.add(o)
		})
		c.house.a.ask(c.T, http.MethodDelete, "/v1/runtimes/"+name, nil)
		if c.Failed() {
			return nil, fmt.Errorf("not all of %d instances answered", all.n)
		}
		return all, nil
	})
	if err != nil {
		c.Fatal(err)
	}
	return all
}

func (all *children) add(o *outcome) error {
	if o.State != "success" {
		return fmt.Errorf("%s", o)
	}
	var said struct{ Differ, Same map[string]json.RawMessage }
	if err := json.Unmarshal([]byte(o.stdout), &said); err != nil {
		return fmt.Errorf("%w: %s", err, o)
	}
	if !o.wasWarm() {
		all.cold++
	}
	note := func(into map[string]map[string]int, from map[string]json.RawMessage) {
		for what, value := range from {
			if into[what] == nil {
				into[what] = map[string]int{}
			}
			into[what][string(value)]++
		}
	}
	note(all.differ, said.Differ)
	note(all.same, said.Same)
	return nil
}

func (c *cell) distinct(what string) {
	all := c.gather()
	values, ok := all.differ[what]
	if !ok {
		c.cannot("numpy is not installed on this machine")
	}
	if what == "hash seed" && len(values) < all.n {
		c.weak("%d distinct in %d instances: a fork shares the seed of str hashes with its template", len(values), all.n)
		return
	}
	c.holds(len(values) == all.n, "%d distinct in %d instances (%d of them warm)", len(values), all.n, all.n-all.cold)
}

func (c *cell) alike(what string) {
	all := c.gather()
	values := slices.Sorted(maps.Keys(all.same[what]))
	if len(values) != 1 {
		c.Logf("%s", strings.Join(values, "\n"))
		c.escape("%d kinds in %d instances: %s", len(values), all.n, short(strings.Join(values, " ")))
		return
	}
	fixed := map[string]string{
		"working directory": `"/workspace"`, "umask": `"0o22"`, "blocked signals": "[]", "pending signals": "[]", "timers": "[[0.0, 0.0], [0.0, 0.0], [0.0, 0.0]]",
		"time zone": `["UTC", "UTC"]`, "threads": "1", "niceness": fmt.Sprint(niceness()), "children": `""`, "user": "[1000, 1000, 1000, 1000, 1000, 1000]",
	}
	if want, ok := fixed[what]; ok && values[0] != want {
		c.escape("it is %s, want %s", short(values[0]), want)
		return
	}
	c.holds(true, "the same in %d instances (%d of them warm)", all.n, all.n-all.cold)
}
