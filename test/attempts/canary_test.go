package attempts

import (
	"fmt"
	"strings"
	"syscall"

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

// canary plants, proves that it is found where it was planted, and looks for it
// in the next instances.
func (c *cell) canary(plant, find string) {
	word := fmt.Sprintf("cnry%d", c.house.next())
	named := func(s string) string { return strings.ReplaceAll(s, "CANARY", word) }
	look := named(fmt.Sprintf("niceness = %d\n", c.niceness()) + "import atexit\nbefore_callbacks = globals().get('before_callbacks', atexit._ncallbacks())\ntry: found = bool(" + find + ")\nexcept LookupError: found = False\nimport os\nos.write(1, b'found %d\\n' % found)")
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
	script := fmt.Sprintf("niceness = %d\n", c.niceness()) + "import atexit\nbefore_callbacks = atexit._ncallbacks()\nfound = []\ndef look(n, text):\n    try:\n        if eval(text): found.append(n)\n    except LookupError: pass\n" + find.String() + plant.String() + "import os\nos.write(1, b'found %d\\n' % len(found))\nos.write(1, repr(found).encode())\nNone"
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

// niceness is what a script of the place begins with.
func (c *cell) niceness() int {
	if c.place.class == gvisor {
		return 0 // its own kernel knows nothing of the machine's
	}
	return niceness()
}

// niceness is that of this test, which the server and all sandboxes inherit.
func niceness() int {
	n, err := syscall.Getpriority(syscall.PRIO_PROCESS, 0)
	if err != nil {
		return 0
	}
	return 20 - n // the system call's own form
}
