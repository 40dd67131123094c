package attempts

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/remuda-run/remuda/test/harness"
)

// hostileChannels are the ways in which two instances that were forked from one
// template could meet: what the hostile package made when it was imported.
var hostileChannels = []struct{ key, what string }{
	{"shared_mapping", "a shared mapping"}, {"memfd", "the descriptor of a memfd"}, {"memfd_mapping", "a mapping of a memfd"}, {"unlinked_file", "the descriptor of a deleted file"},
	{"file_mapping", "a mapping of a deleted file in /dev/shm"}, {"pipe", "a pipe"}, {"socketpair", "a pair of sockets"}, {"sysv", "System V memory"}, {"queue", "a System V message queue"},
	{"eventfd", "an eventfd"}, {"directory", "the descriptor of a directory"}, {"listener", "a socket with an abstract name"}, {"private_global", "a global of the package"},
	{"late_pair", "a pair of sockets that is made when the template serves"}, {"kept_pair", "a pair of sockets that is made when the template serves, and that forks do not close"},
}

// variant is a hostile package: hostile.py and what it does besides.
//
// only is the one channel that it makes and nothing else, "" for all of it: a
// template that is refused for one thing does not show what becomes of another.
type variant struct{ name, only, more string }

var (
	plain    = variant{name: "all"}
	threads  = variant{name: "threads", more: "import threading\nthreading.Thread(target=time.sleep, args=(10**6,), daemon=True).start()\n"}
	patches  = variant{name: "patches", more: "os.fork = os.unshare = None\nctypes.CDLL = None\njson.dumps = lambda *a, **k: 'hostile'\nsocket.socket.send = lambda *a: 0\nos.write = os.read = os._exit = lambda *a: 0\nos.close = lambda *a: None\nsys.stdout.write = lambda *a: 0\nsys.meta_path.clear()\nsignal.signal = lambda *a: None\nos.getpid = lambda: 1\n"}
	daemon   = variant{name: "daemon", more: "if os.fork() == 0:\n    os.setsid()\n    os.closerange(0, 3)\n    while True:\n        for p in os.listdir('/proc'):\n            if p.isdigit() and p != str(os.getpid()):\n                try: os.kill(int(p), 19)\n                except OSError: pass\n        time.sleep(0.01)\n"}
	exits    = variant{name: "exits", more: "os._exit(3)\n"}
	raises   = variant{name: "raises", more: "raise SystemExit('no')\n"}
	eats     = variant{name: "eats", more: "held = []\nwhile True: held.append(bytearray(8 << 20))\n"}
	forks    = variant{name: "forks", more: "while True:\n    try: os.fork()\n    except OSError: time.sleep(0.01)\n"}
	sleeps   = variant{name: "sleeps", more: "time.sleep(10**6)\n"}
	alarms   = variant{name: "alarms", more: "signal.signal(signal.SIGALRM, lambda *a: os._exit(9))\nsignal.setitimer(signal.ITIMER_REAL, 0.2, 0.2)\nsignal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())\nfor s in signal.valid_signals() - {9, 19}:\n    try: signal.signal(s, signal.SIG_IGN)\n    except OSError: pass\n"}
	keepsFDs = variant{name: "descriptors", more: "held = [os.dup(0) for _ in range(600)]\nos.umask(0o777)\nos.chdir('/tmp')\nos.environ['HOSTILE'] = 'x'\nos.nice(5)\nimport resource\nresource.setrlimit(resource.RLIMIT_CPU, (1, 1))\nsys.setrecursionlimit(60)\n"}
)

// hide keeps from a template's driver what it would look for.
const hide = "import posix\nposix.readlink = lambda *a, **k: ''\nposix.listdir = lambda *a, **k: ['1']\n"

// hostileRows are the rows of a package that attacks the template.
func hostileRows() []row {
	var list []row
	for _, ch := range hostileChannels {
		list = append(list, row{id: "S01", attempt: "hostile preloaded package: meet in " + ch.what, expected: "two instances never meet", places: everywhere(), try: func(c *cell) {
			c.meet(variant{name: ch.key, only: ch.key}, ch.key)
		}})
	}
	for _, key := range []string{"pipe", "unlinked_file"} {
		list = append(list, row{id: "S01", attempt: "hostile preloaded package: meet in a hidden " + strings.ReplaceAll(key, "_", " ") + ", with patched functions of os", expected: "two instances never meet", places: everywhere(), try: func(c *cell) {
			c.meet(variant{"hidden_" + key, key, hide}, key)
		}})
	}
	for _, key := range []string{
		"mount", "unshare user", "unshare mount", "unshare network", "unshare pid", "setns", "ptrace the parent", "pidfd_getfd of the parent", "read the parent's environment",
		"read the parent's memory", "kill the first process", "setuid 0", "connect out", "write to /etc", "write to /usr",
	} {
		list = append(list, row{id: "S07", attempt: "hostile preloaded package, at import: " + key, expected: "refused", places: everywhere(), try: func(c *cell) { c.atImport(key) }})
	}
	lives := func(v variant, attempt string) row {
		return row{id: "S01", attempt: "hostile preloaded package: " + attempt, expected: "instances work and are clean, or the runtime fails with a reason; others go on", places: each(warm), try: func(c *cell) { c.endures(v) }}
	}
	return slices.Concat(list, []row{
		lives(threads, "starts threads"), lives(patches, "patches what the driver uses"), lives(daemon, "forks a process that stops every other"), lives(exits, "ends the interpreter"),
		lives(raises, "raises SystemExit"), lives(eats, "eats all memory"), lives(forks, "forks without end"), lives(sleeps, "never comes to an end"), lives(alarms, "sets timers, handlers and signal masks"),
		lives(keepsFDs, "keeps 600 descriptors and changes umask, directory, environment, limits"),
	}, childRows())
}

// sitePackages is a directory of the machine from which the interpreter of a
// sandbox imports.
func (h *house) sitePackages(c *cell) string {
	c.Helper()
	dir, err := shared(h, "site packages", func() (string, error) {
		o := finish(c.T, h.a, "/v1/executions", harness.JSON{"runtime": "python", "script": "import json, sys\nprint(json.dumps([p for p in sys.path if p.endswith('-packages')]))"}).ok()
		for _, dir := range sorted(o.stdout) {
			if st, err := os.Stat(dir); err == nil && st.IsDir() {
				return dir, clearPackages(dir)
			}
		}
		return "", nil
	})
	if err != nil {
		c.Fatal(err)
	}
	if dir == "" {
		c.cannot("the interpreter has no directory of packages on this machine")
	}
	return dir
}

// packagePrefix begins the names of packages that are placed on the machine.
const packagePrefix = "remuda_attempt_"

// clearPackages removes what tests have left that were killed.
func clearPackages(dir string) error {
	left, err := filepath.Glob(filepath.Join(dir, packagePrefix+"*.py"))
	if err != nil {
		return err
	}
	for _, file := range left {
		var pid int
		if _, err := fmt.Sscanf(filepath.Base(file), packagePrefix+"%d_", &pid); err == nil && syscall.Kill(pid, 0) != nil {
			if err := os.Remove(file); err != nil {
				return err
			}
		}
	}
	return nil
}

// hostile places a variant of the package on the machine, until the end of all
// rows, and returns its name.
func (c *cell) hostile(v variant) string {
	c.Helper()
	dir := c.house.sitePackages(c)
	name := fmt.Sprintf("%s%d_%s", packagePrefix, os.Getpid(), v.name)
	_, err := shared(c.house, "package "+name, func() (string, error) {
		text, err := programs.ReadFile("programs/hostile.py")
		if err != nil {
			return "", err
		}
		nr, err := json.Marshal(numbers())
		if err != nil {
			return "", err
		}
		file := filepath.Join(dir, name+".py")
		c.house.cleanup(func() { _ = os.Remove(file) })
		return file, os.WriteFile(file, []byte("NR = "+string(nr)+"\nONLY = \""+v.only+"\"\n"+string(text)+v.more), 0o644)
	})
	if err != nil {
		c.Fatal(err)
	}
	return name
}

// preloading opens the cell's place on a runtime that preloads a module.
func (c *cell) preloading(by *tenant, module string) (*box, *answer) {
	c.Helper()
	kind := c.place.kind
	if kind == runspace {
		kind = cold
	}
	name := strings.Join([]string{c.place.class, kind, "pre", module}, "-")
	name = name[max(0, len(name)-60):]
	name = strings.TrimLeft(name, "-_.")
	c.house.mu.Lock()
	key := by.name + "/" + name
	if c.house.runtimes[key] == "" {
		pool := harness.JSON{"min_cached": 0, "max_cached": 0}
		if kind == warm {
			pool = harness.JSON{"min_cached": 1, "max_cached": 4}
		}
		definition := harness.JSON{"name": name, "language": "python", "resources": sizes[roomy], "exec_timeout_s": 60, "pool": pool, "preload": []string{module}}
		if c.place.class != process {
			definition["isolation"] = c.place.class
		}
		got := by.ask(c.T, http.MethodPost, "/v1/runtimes", definition)
		if got.Status != http.StatusCreated {
			c.house.mu.Unlock()
			return nil, got
		}
		var made struct{ ID string }
		if err := json.Unmarshal(got.Body, &made); err != nil {
			c.house.mu.Unlock()
			c.Fatal(err)
		}
		c.house.runtimes[key] = made.ID
	}
	c.house.mu.Unlock()
	b := &box{cell: c, by: by, runtime: name}
	if c.place.kind == runspace {
		b.runspace = openRunspace(c.T, by, name)
	}
	return b, nil
}

func (c *cell) mustPreload(by *tenant, module string) *box {
	c.Helper()
	b, refused := c.preloading(by, module)
	if b == nil {
		c.Fatalf("a runtime that preloads %s: %s", module, refused.Body)
	}
	return b
}

// meet lets one instance put a word into a channel, and the next look for it.
func (c *cell) meet(v variant, key string) {
	module := c.hostile(v)
	word := fmt.Sprintf("meet%d", c.house.next())
	first := c.mustPreload(c.house.a, module)
	script := func(body string) string {
		return "import " + module + " as hostile\nif " + fmt.Sprintf("%q", key) + " not in hostile.CHANNELS:\n    print('none', hostile.LOG)\nelse:\n    put, get = hostile.CHANNELS[" + fmt.Sprintf("%q", key) + "]\n" + body
	}
	o := first.script(script(fmt.Sprintf("    try:\n        put(b'%s')\n        got = get()\n        print('same', got)\n    except OSError as e: print('closed', e.errno)\n", word))).ok()
	switch {
	case strings.HasPrefix(o.stdout, "none"):
		c.cannot("the package could not make it: %s", o.stdout)
	case strings.HasPrefix(o.stdout, "closed"):
		c.Logf("it was closed before the instance got it: %s", o.stdout)
	case key != "eventfd" && !strings.Contains(o.stdout, word):
		c.Logf("it was cut off before the instance got it: %s", o.stdout)
	}
	for range count(5, 2) {
		next := c.mustPreload(c.house.a, module)
		got := next.script(script("    try: print('next', get())\n    except OSError as e: print('closed', e.errno)\n")).ok()
		if strings.Contains(got.stdout, word) || key == "eventfd" && strings.Contains(got.stdout, "b'n") {
			c.escape("the next instance got it: %s", short(got.stdout))
			return
		}
	}
	c.holds(true, "not met")
}

// atImport asks what came of the attempts at import time.
func (c *cell) atImport(key string) {
	module := c.hostile(plain)
	log, err := shared(c.house, "import "+c.place.String(), func() (map[string]string, error) {
		o := c.mustPreload(c.house.a, module).script("import json\nimport " + module + " as hostile\nprint(json.dumps(hostile.LOG))").ok()
		seen := map[string]string{}
		o.lastJSON(&seen)
		return seen, nil
	})
	if err != nil {
		c.Fatal(err)
	}
	seen, made := log[key]
	if !made {
		c.Fatalf("the package did not come to %q", key)
	}
	ok := no.re.MatchString(seen)
	if c.place.class == gvisor && !strings.HasPrefix(key, "write") && key != "connect out" {
		ok = true // a grant of the sandbox's own kernel reaches no other
	}
	c.holds(ok, "%s", seen)
}

// endures runs in instances of a runtime whose package does its worst.
func (c *cell) endures(v variant) {
	module := c.hostile(v)
	b, refused := c.preloading(c.house.a, module)
	if b == nil {
		c.holds(refused.Status == http.StatusBadRequest || refused.Status == http.StatusUnprocessableEntity, "the runtime is refused: %s", refused)
		return
	}
	defer c.house.forget(c, b)
	said := ""
	for i := range 2 {
		request := harness.JSON{"runtime": b.runtime, "script": "print('state', 'planted' in globals())\nplanted = 1\nprint('works')", "timeout_s": 20}
		ex := new(execution)
		got := b.by.ask(b.T, http.MethodPost, "/v1/executions?wait=120s", request)
		switch {
		case got.Status >= 500 && got.Status != http.StatusServiceUnavailable && got.Status != http.StatusGatewayTimeout:
			c.Logf("%s", got.Body)
			said = "refused: " + got.String()
		case got.Status >= http.StatusBadRequest:
			said = "refused: " + got.String()
		default:
			got.decode(c.T, got.Status, ex)
			o := &outcome{t: c.T, execution: *ex}
			if !ex.Ended() {
				c.escape("after two minutes execution %d is %s", i, ex.State)
				return
			}
			if err := o.read(b.by); err != nil {
				c.Fatal(err)
			}
			if strings.Contains(o.stdout, "state True") {
				c.escape("execution %d found the state of the one before", i)
			}
			switch {
			case strings.Contains(o.stdout, "works"):
				said = "works"
			case ex.State == "success":
				said = "mute"
			case ex.Reason == "" && o.Error == nil:
				c.escape("it ended as %s without a reason", o.how())
			default:
				said = o.how() + " with a reason"
			}
		}
		// The other organization notices nothing.
		finish(c.T, c.house.b, "/v1/executions", harness.JSON{"runtime": "python", "script": "print('well')"}).ok().says("well")
	}
	c.holds(true, "%s; the others go on", said)
}

// forget deletes a box's runtime, so that its pool does not go on trying.
func (h *house) forget(c *cell, b *box) {
	b.by.ask(c.T, http.MethodDelete, "/v1/runtimes/"+b.runtime, nil)
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.runtimes, b.by.name+"/"+b.runtime)
}
