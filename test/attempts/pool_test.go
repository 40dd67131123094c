package attempts

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/remuda-run/remuda/test/harness"
)

// canaries are what an execution leaves behind where a careless pool would find
// it again, and how the next one looks for it. CANARY is the word.
var canaries = []struct{ what, plant, find string }{
	{"globals", "CANARY_global = 'CANARY'", "'CANARY_global' in globals()"},
	{"builtins", "import builtins\nbuiltins.CANARY = 1", "hasattr(__import__('builtins'), 'CANARY')"},
	{"sys.modules", "import sys, types\nsys.modules['CANARY'] = types.ModuleType('CANARY')", "'CANARY' in __import__('sys').modules"},
	{"a patched function of a module", "import json\njson.dumps = lambda *a, **k: 'CANARY'", "__import__('json').dumps(1) != '1'"},
	{"sys.path", "import sys\nsys.path.insert(0, '/tmp/CANARY')", "any('CANARY' in p for p in __import__('sys').path)"},
	{"a hook of imports", "import sys\nclass CANARY:\n    def find_spec(self, *a): return None\nsys.meta_path.insert(0, CANARY())", "any('CANARY' in repr(type(f)) for f in __import__('sys').meta_path)"},
	{"an audit hook", "import sys\nsys.addaudithook(lambda *a: setattr(sys, 'CANARY', 1))\nopen('/dev/null').close()", "hasattr(__import__('sys'), 'CANARY')"},
	{"a trace function", "import sys\nsys.setprofile(lambda *a: None)", "__import__('sys').getprofile() is not None"},
	{"sys.excepthook", "import sys\nsys.excepthook = lambda *a: None", "'lambda' in repr(__import__('sys').excepthook)"},
	{"the environment", "import os\nos.environ['CANARY'] = 'x'", "'CANARY' in __import__('os').environ"},
	{"the working directory", "import os\nos.makedirs('/tmp/CANARYd', exist_ok=True)\nos.chdir('/tmp/CANARYd')", "'CANARY' in __import__('os').getcwd()"},
	{"the umask", "import os\nos.umask(0o741)", "(lambda o, m: (o.umask(m), m)[1])(__import__('os'), __import__('os').umask(0)) == 0o741"},
	{"the locale", "import locale\nlocale.setlocale(locale.LC_NUMERIC, 'C')\nimport os\nos.environ['LC_ALL'] = 'CANARY'", "__import__('os').environ.get('LC_ALL') == 'CANARY'"},
	{"the time zone", "import os, time\nos.environ['TZ'] = 'CANARY'\ntime.tzset()", "'CANARY' in __import__('time').tzname or __import__('os').environ.get('TZ') == 'CANARY'"},
	{"a signal handler", "import signal\nsignal.signal(signal.SIGUSR1, lambda *a: None)", "__import__('signal').getsignal(10) is not __import__('signal').SIG_DFL"},
	{"a blocked signal", "import signal\nsignal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2})", "12 in __import__('signal').pthread_sigmask(0, ())"},
	{"a timer", "import signal\nsignal.signal(signal.SIGALRM, lambda *a: None)\nsignal.setitimer(signal.ITIMER_REAL, 1000)", "__import__('signal').getitimer(0)[0] != 0"},
	{"a thread", "import threading, time\nthreading.Thread(target=time.sleep, args=(1000,), name='CANARY', daemon=True).start()", "any(t.name == 'CANARY' for t in __import__('threading').enumerate())"},
	{"an open file", "import os\nos.dup2(os.open('/tmp/CANARY', os.O_CREAT | os.O_RDWR), 77)", "__import__('os').path.exists('/proc/self/fd/77')"},
	{"an open socket", "import socket, os\ns = socket.socket()\nos.dup2(s.fileno(), 78)", "__import__('os').path.exists('/proc/self/fd/78')"},
	{"files", "open('/tmp/CANARY', 'w').close()\nopen('/dev/shm/CANARY', 'w').close()\nopen('CANARY', 'w').close()", "any(__import__('os').path.exists(p) for p in ('/tmp/CANARY', '/dev/shm/CANARY', '/workspace/CANARY'))"},
	{"a resource limit", "import resource\nresource.setrlimit(resource.RLIMIT_NOFILE, (123, 123))", "__import__('resource').getrlimit(7)[0] == 123"},
	{"the niceness", "import os\nos.nice(7)", "__import__('os').getpriority(0, 0) >= niceness + 7"},
	{"the recursion limit", "import sys\nsys.setrecursionlimit(4321)", "__import__('sys').getrecursionlimit() == 4321"},
	{"the state of random", "import random\nrandom.seed('CANARY')", "__import__('random').random() == __import__('random').Random('CANARY').random()"},
	{"a warning filter", "import warnings\nwarnings.filterwarnings('error', 'CANARY')", "any('CANARY' in repr(f) for f in __import__('warnings').filters)"},
	{"a codec", "import codecs\ncodecs.register(lambda n: codecs.lookup('utf-8') if n == 'canary' else None)", "(lambda: [0 for _ in [0] if __import__('codecs').lookup('canary')])() == [0]"},
	{"an atexit handler", "import atexit\natexit.register(print, 'CANARY')", "__import__('atexit')._ncallbacks() > before_callbacks"},
	{"interned memory", "import sys\nheld = [['CANARY%d' % i] for i in range(1000)]", "any(isinstance(o, list) and o == ['CANARY7'] for o in __import__('gc').get_objects())"},
}

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
		{id: "S05", attempt: "kill a warm instance, then claim", expected: "never handed out", places: only(place{process, warm}, place{gvisor, warm}), alone: true, try: killWarm},
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

// canary plants, proves that it is found where it was planted, and looks for it
// in the next instances.
func (c *cell) canary(plant, find string) {
	word := fmt.Sprintf("cnry%d", c.house.next())
	named := func(s string) string { return strings.ReplaceAll(s, "CANARY", word) }
	look := named(fmt.Sprintf("niceness = %d\n", niceness()) + "import atexit\nbefore_callbacks = globals().get('before_callbacks', atexit._ncallbacks())\ntry: found = bool(" + find + ")\nexcept LookupError: found = False\nimport os\nos.write(1, b'found %d\\n' % found)")
	if strings.Contains(find, "json") || strings.Contains(find, "ncallbacks") {
		// What breaks the reporting of the value would also break the next lines.
		look += "\nNone"
	}
	b := c.open("python", roomy)
	planted := b.script("import atexit\nbefore_callbacks = atexit._ncallbacks()\n" + named(plant) + "\n" + look)
	if !strings.Contains(planted.stdout, "found 1") {
		c.Fatalf("the canary is not found where it was planted: %s", planted)
	}
	for range count(10, 2) {
		next := c.open("python", roomy)
		o := next.script(strings.Replace(look, "globals().get('before_callbacks', atexit._ncallbacks())", "atexit._ncallbacks()", 1)).ok()
		if !strings.Contains(o.stdout, "found 0") {
			c.escape("found in the next instance: %s", o.stdout)
			return
		}
	}
	c.holds(true, "0 found")
}

// manyClaims plants all canaries and looks for all of them, again and again.
func manyClaims(c *cell) {
	var plant, find strings.Builder
	for i, canary := range canaries {
		if strings.Contains(canary.plant, "json") || strings.Contains(canary.plant, "NOFILE") || strings.Contains(canary.plant, "audithook") {
			continue // they would disturb the others, and have rows of their own
		}
		word := fmt.Sprint("cnryall", i)
		fmt.Fprintf(&plant, "exec(%q)\n", strings.ReplaceAll(canary.plant, "CANARY", word))
		fmt.Fprintf(&find, "look(%d, %q)\n", i, strings.ReplaceAll(canary.find, "CANARY", word))
	}
	script := fmt.Sprintf("niceness = %d\n", niceness()) + "import atexit\nbefore_callbacks = atexit._ncallbacks()\nfound = []\ndef look(n, text):\n    try:\n        if eval(text): found.append(n)\n    except LookupError: pass\n" + find.String() + plant.String() + "import os\nos.write(1, b'found %d\\n' % len(found))\nos.write(1, repr(found).encode())\nNone"
	n := count(10000, 200)
	if c.place.class == gvisor {
		n = count(200, 10)
	}
	b := c.open("python", roomy)
	c.parallel(4, n, func(int) error {
		o, err := tryFinish(c.T, b.by, "/v1/executions", harness.JSON{"runtime": b.runtime, "script": script})
		if err != nil {
			return err
		}
		if o.State != "success" || !strings.HasPrefix(o.stdout, "found 0\n") {
			return fmt.Errorf("%s", o)
		}
		return nil
	})
	c.holds(!c.Failed(), "0 found in %d claims", n)
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

// killWarm kills, on a server of its own, the interpreters of all that wait.
func killWarm(c *cell) {
	h := furnish(c.T, harness.Start(c.T))
	own := *c
	own.house = h
	b := own.open("python", roomy)
	id := h.runtimes[h.a.name+"/"+b.runtime]
	eventually(c, "an instance is warm", func() bool { return h.idle(c, id) > 0 })
	killed := []int{}
	for _, pid := range descendants(h.server.Pid()) {
		comm, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
		if err == nil && strings.HasPrefix(string(comm), "python") && syscall.Kill(pid, syscall.SIGKILL) == nil {
			killed = append(killed, pid)
		}
	}
	if len(killed) == 0 {
		c.cannot("the warm interpreter of this class is no process of the machine that could be told by its name")
	}
	eventually(c, "their keepers have reaped them", func() bool {
		return !slices.ContainsFunc(killed, func(pid int) bool { return syscall.Kill(pid, 0) == nil })
	})
	// Between the death and the word of it lies a moment in which nobody can know.
	dead, lost := time.Now(), 0
	for well := 0; well < 5; well++ {
		begun := time.Now()
		o := finish(c.T, h.a, "/v1/executions", harness.JSON{"runtime": b.runtime, "script": "print('alive')"})
		if o.State == "success" && o.stdout == "alive\n" {
			continue
		}
		c.Logf("%d killed, %s after: %s", len(killed), begun.Sub(dead), o)
		if o.Reason == "" || begun.Sub(dead) > 2*time.Second {
			c.escape("%s after the kill: %s", begun.Sub(dead).Round(time.Millisecond), o.how())
			return
		}
		well, lost = -1, lost+1
	}
	if lost > 0 {
		c.weak("a claim in the moment after the kill was told that its execution is lost; all after it ran")
		return
	}
	c.holds(true, "5 of 5 run after the kill")
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

// secretLeft runs with a secret and looks for it where it should not stay.
func secretLeft(c *cell) {
	secret := fmt.Sprintf("s3cr3t-%d-%d", c.house.next(), time.Now().UnixNano())
	b := c.open("python", roomy)
	o := b.run(harness.JSON{
		"script": "import os\nprint(len(os.environ['SECRET']), len(given))\nheld = [os.environ['SECRET'] + str(i) for i in range(100)]",
		"env":    map[string]string{"SECRET": secret}, "parameters": harness.JSON{"given": secret}, "stdin": secret,
	}).ok().says(fmt.Sprint(len(secret)))
	eventually(c, "the next instance is warm", func() bool { return c.house.idle(c, c.house.runtimes[b.by.name+"/"+b.runtime]) > 0 })
	if strings.Contains(c.house.server.Log(), secret) {
		c.escape("the server's log has it")
	}
	if got := b.by.ask(c.T, http.MethodGet, "/v1/executions/"+o.ID, nil); strings.Contains(string(got.Body), secret) {
		c.escape("the answer about the execution has it")
	}
	var looked int
	var holders []int
	// What has just ended goes in its own time; what stays must not have it.
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		looked, holders = 0, nil
		for _, pid := range descendants(c.house.server.Pid()) {
			found, ok := memoryHas(pid, secret)
			if ok {
				looked++
			}
			if found {
				holders = append(holders, pid)
			}
		}
		if len(holders) == 0 || time.Now().After(deadline) {
			break
		}
	}
	for _, pid := range holders {
		if line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)); strings.HasPrefix(string(line), "remuda-init") {
			c.weak("a keeper that serves the instances of this runtime still has it in freed memory, as the server may; no interpreter has")
			continue
		}
		c.escape("the memory of a process has it: %s", describe(pid))
	}
	if looked < 2 {
		c.Fatalf("looked into the memory of %d processes only", looked)
	}
	found, files := filesWith(c, c.house.server.Data, secret)
	if len(found) > 0 {
		c.escape("%v have it", found)
	}
	c.Logf("looked into %d processes and %d files", looked, files)
	if !c.isWeak {
		c.holds(true, "absent: log, answer, database, keepers, launchers, waiting interpreters")
	}
}

// describe tells what a process is.
func describe(pid int) string {
	line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)) // it may have ended
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	return strings.ReplaceAll(string(line), "\x00", " ") + " " + short(strings.ReplaceAll(string(status), "\n", " "))
}

// memoryHas looks for a word in the writable memory of a process.
func memoryHas(pid int, word string) (found, ok bool) {
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		return false, false
	}
	mem, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
	if err != nil {
		return false, false
	}
	defer mem.Close()
	for line := range strings.Lines(string(maps)) {
		var from, to int64
		var mode string
		if _, err := fmt.Sscanf(line, "%x-%x %s", &from, &to, &mode); err != nil || !strings.HasPrefix(mode, "rw") || to-from > 256<<20 {
			continue
		}
		piece := make([]byte, to-from)
		n, err := mem.ReadAt(piece, from)
		if err != nil && n == 0 {
			continue
		}
		ok = true
		if strings.Contains(string(piece[:n]), word) {
			return true, true
		}
	}
	return false, ok
}

func passwordLeft(c *cell) {
	env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", c.house.server.Pid()))
	if err != nil {
		c.Fatal(err)
	}
	_, password, ok := strings.Cut(string(env), "REMUDA_ADMIN_PASSWORD=")
	password, _, _ = strings.Cut(password, "\x00")
	if !ok || password == "" {
		c.Fatal("the server was started without the password in its environment")
	}
	looked := 0
	for _, pid := range descendants(c.house.server.Pid()) {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
		if err != nil {
			continue
		}
		looked++
		if strings.Contains(string(b), password) {
			c.escape("process %d has it in its environment", pid)
		}
		if found, _ := memoryHas(pid, password); found {
			c.escape("process %d has it in its memory", pid)
		}
	}
	if looked == 0 {
		c.Fatal("the server has no other process")
	}
	c.holds(true, "absent from environment and memory")
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

// niceness is that of this test, which the server and all sandboxes inherit.
func niceness() int {
	n, err := syscall.Getpriority(syscall.PRIO_PROCESS, 0)
	if err != nil {
		return 0
	}
	return 20 - n // the system call's own form
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

// filesWith lists the files below a directory that hold a word.
func filesWith(c *cell, dir, word string) (found []string, looked int) {
	c.Helper()
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return nil //nolint:nilerr // what ends while we look has nothing left to find
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return nil //nolint:nilerr // likewise
		}
		looked++
		if strings.Contains(string(content), word) {
			found = append(found, strings.TrimPrefix(path, dir))
		}
		return nil
	})
	if err != nil {
		c.Error(err)
	}
	return found, looked
}
