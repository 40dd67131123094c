package attempts

import (
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/remuda-run/remuda/internal/engine/enginetest"
	"github.com/remuda-run/remuda/test/harness"
)

// limitRow runs one of enginetest's programs through the whole product.
func limitRow(id, attempt, program string, s size, killedBy string, dead bool) row {
	p := enginetest.LimitPrograms()[program]
	return bombRow(id, attempt, "python", p.Script, p.Says, s, killedBy, dead)
}

// bombRow is a script that wants more than there is.
func bombRow(id, attempt, language, script, says string, s size, killedBy string, dead bool) row {
	expected := "ends as error, killed_by " + killedBy
	if dead {
		expected += ", the instance with it"
	}
	return row{id: id, attempt: attempt, expected: expected, places: everywhere(), try: func(c *cell) {
		b := c.open(language, s)
		o := b.script(script)
		by := o.KilledBy
		if c.place.class == gvisor && killedBy == "pids" {
			// Its processes are its kernel's, whose memory counts too: whichever limit is met first.
			c.holds(o.State == "error" && o.Reason+by != "" || o.Error != nil, "%s", o.how())
		} else {
			o.says(says)
			c.holds(o.State == "error" && by == killedBy && o.Reason != "", "%s", o.how())
		}
		if dead && b.runspace != "" {
			var rs struct{ State, Error string }
			eventually(c, "the runspace has ended", func() bool {
				b.by.must(b.T, http.MethodGet, "/v1/runspaces/"+b.runspace, nil, &rs)
				return rs.State == "error" || rs.State == "closed"
			})
			if rs.Error == "" {
				c.escape("the runspace ended without a reason")
			}
		}
		// The others go on.
		finish(c.T, c.house.b, "/v1/executions", harness.JSON{"runtime": "python", "script": "print('well')"}).ok().says("well")
	}}
}

// resourceRows are rows R.
func resourceRows() []row {
	return slices.Concat([]row{
		limitRow("R01", "python: fork bomb", "forks", small, "pids", false),
		{id: "R01", attempt: "bash: fork bomb", expected: "EAGAIN at the limit of processes, none left", places: everywhere(), try: bashBomb},
		bombRow("R01", "node: processes without end", "node", "console.log('forking'); const cp = require('child_process'); await new Promise((done, fail) => { const more = () => cp.spawn('sleep', ['100']).on('error', fail).on('spawn', more); more(); });", "forking", roomy, "pids", false),
		limitRow("R02", "python: thread bomb", "threads", small, "pids", false),
		limitRow("R03", "python: memory bomb", "memory", small, "memory", true),
		limitRow("R03", "python: memory bomb in a child", "memory in child", small, "memory", true),
		bombRow("R03", "node: memory bomb outside of its heap", "node", "console.log('eating'); const held = []; for (;;) held.push(Buffer.alloc(8 << 20, 1));", "eating", roomy, "memory", true),
		bombRow("R03", "bash: memory bomb", "bash", "echo eating; x=xxxxxxxxxxxxxxxx; while :; do x=$x$x; done", "eating", small, "memory", true),
		limitRow("R04", "memory in memfds", "memfd", small, "memory", true),
		limitRow("R04", "memory in a shared mapping", "shared mapping", small, "memory", true),
		bombRow("R04", "memory in System V segments", "python", "import ctypes\nlibc = ctypes.CDLL(None)\nlibc.shmat.restype = ctypes.c_void_p\nprint('eating', flush=True)\nfor n in range(64):\n    i = libc.shmget(0, 8 << 20, 0o1600)\n    assert i != -1\n    p = libc.shmat(i, None, 0)\n    ctypes.memset(p, 1, 8 << 20)\nprint('never')", "eating", small, "memory", true),
		limitRow("R06", "fill the disk with one file", "one file", small, "disk", false),
		limitRow("R06", "fill all writable places together", "several places", small, "disk", false),
		limitRow("R06", "fill a disk image", "image", image, "disk", false),
		limitRow("R07", "empty files without end", "inodes", small, "disk", false),
		limitRow("R07", "empty files without end, on an image", "inodes", image, "disk", false),
	}, quietRows(), timeRows(), outputRows(), requestRows())
}

// bashBomb forks on after every refusal; bash itself says what it was told.
func bashBomb(c *cell) {
	word := c.token()
	b := c.open("bash", small)
	o := b.run(harness.JSON{"script": "echo forking; for i in $(seq 80); do (exec -a " + word + " sleep 1000) & done; bomb() { bomb | bomb & }; bomb; sleep 1", "timeout_s": 20}).says("forking")
	refused := strings.Contains(o.stderr, "temporarily unavailable") || strings.Contains(o.stderr, "retry") || o.KilledBy == "pids"
	b.end()
	left := c.survivors(word)
	finish(c.T, c.house.b, "/v1/executions", harness.JSON{"runtime": "python", "script": "print('well')"}).ok().says("well")
	c.holds(refused && left == 0, "refused at the limit, none left")
}

// quietRows are refused or bounded without an end by force.
func quietRows() []row {
	sparse := enginetest.LimitPrograms()["sparse"]
	return []row{
		{id: "R08", attempt: "allocate a terabyte, seek to a petabyte, write at two terabytes", expected: "EFBIG or ENOSPC, no block of the machine used", places: everywhere(), try: func(c *cell) {
			before := freeBytes(c)
			o := c.open("python", image).script(sparse.Script).ok()
			used := before - freeBytes(c)
			c.holds(!strings.Contains(o.stdout, "0") && used < 1<<30, "%s", short(o.stdout))
		}},
		{id: "R10", attempt: "64 threads of C code that spin, with half a processor", expected: "no more than the quota", places: everywhere(), try: func(c *cell) {
			o := c.open("python", half).run(harness.JSON{"script": `
import hashlib, threading, time
end = time.monotonic() + 3
data = bytes(1 << 20)
def spin():
    while time.monotonic() < end: hashlib.sha256(data)
threads = [threading.Thread(target=spin) for _ in range(64)]
for t in threads: t.start()
for t in threads: t.join()
print("spun")
`}).ok().says("spun")
			share := o.Usage.CPUSeconds / o.Usage.WallSeconds
			if o.Usage.CPUSeconds < 0.1 {
				c.Fatalf("it used %g s of processor in %g s: nothing was spun", o.Usage.CPUSeconds, o.Usage.WallSeconds)
			}
			c.holds(share < 0.75, "at most the quota of 0.5")
			c.Logf("share of a processor: %.2f", share)
		}},
		{id: "R18", attempt: "recursion without end", expected: "RecursionError", places: everywhere(), try: func(c *cell) {
			o := c.open("python", roomy).script("def f(): f()\nprint('deep', flush=True)\nf()").says("deep")
			c.holds(o.State == "error" && o.Error != nil && o.Error.Type == "RecursionError", "%s", o.how())
		}},
		{id: "R18", attempt: "smash the stack of the interpreter", expected: "error that names the signal; the others go on", places: everywhere(), try: func(c *cell) {
			o := c.open("python", roomy).script("import ctypes\nprint('smashing', flush=True)\nctypes.memset(ctypes.addressof(ctypes.c_int()) & ~0xfff, 0x41, 64 << 20)").says("smashing")
			finish(c.T, c.house.b, "/v1/executions", harness.JSON{"runtime": "python", "script": "print('well')"}).ok()
			c.holds(o.State == "error" && (strings.Contains(o.Reason, "signal") || strings.Contains(o.Reason, "SIG")), "%s: %s", o.State, short(o.Reason))
		}},
		{id: "R19", attempt: "write to the disk all the time", expected: "bandwidth limited", places: atServerOnly(), try: func(c *cell) {
			c.weak("there is no limit of disk bandwidth")
		}},
	}
}

func freeBytes(c *cell) int64 {
	var st syscall.Statfs_t
	if err := syscall.Statfs(c.house.server.Data, &st); err != nil {
		c.Fatal(err)
	}
	return int64(st.Bfree) * st.Bsize
}

// timeRows want more time than there is.
func timeRows() []row {
	endless := func(id, attempt, language, script, says string) row {
		return row{id: id, attempt: attempt, expected: "timeout, no process left", places: everywhere(), try: func(c *cell) {
			word := c.token()
			b := c.open(language, roomy)
			o := b.run(harness.JSON{"script": fmt.Sprintf("# %s\n%s", word, strings.ReplaceAll(script, "WORD", word)), "timeout_s": 4}).says(says)
			c.holds(o.State == "timeout" && o.KilledBy == "time" && o.Reason != "", "%s", o.how())
			b.end()
			if left := c.survivors(word); left > 0 {
				c.escape("%d processes left", left)
			}
		}}
	}
	loop, regexp := enginetest.LimitPrograms()["loop in C"], enginetest.LimitPrograms()["regexp"]
	return []row{
		endless("R11", "python: sleep for ever", "python", "import time\nprint('on', flush=True)\ntime.sleep(10**6)", "on"),
		endless("R11", "bash: sleep for ever", "bash", "echo on; exec -a WORD sleep 1000000", "on"),
		{id: "R11", attempt: "node: an event loop that never ends", expected: "timeout", places: everywhere(), try: func(c *cell) {
			o := c.open("node", roomy).run(harness.JSON{"script": "console.log('on'); await new Promise(() => setInterval(() => {}, 1000));", "timeout_s": 4}).says("on")
			c.holds(o.State == "timeout" && o.KilledBy == "time", "%s", o.how())
		}},
		{id: "R11", attempt: "node: a loop that never looks at anything", expected: "timeout", places: everywhere(), try: func(c *cell) {
			o := c.open("node", roomy).run(harness.JSON{"script": "require('fs').writeSync(1, 'on\\n'); for (;;);", "timeout_s": 4}).says("on")
			c.holds(o.State == "timeout" && o.KilledBy == "time", "%s", o.how())
		}},
		endless("R12", "python: ignore and block every signal", "python", "import signal, time\nfor s in signal.valid_signals() - {9, 19}: signal.signal(s, signal.SIG_IGN)\nsignal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())\nprint('on', flush=True)\nwhile True:\n    try: time.sleep(1000)\n    except BaseException: pass", "on"),
		endless("R12", "bash: trap every signal", "bash", "trap '' TERM INT HUP QUIT USR1 USR2 ALRM; echo on; while :; do sleep 1000; done", "on"),
		endless("R12", "python: a loop in C that never looks at signals", "python", loop.Script, loop.Says),
		endless("R12", "python: a regular expression without end", "python", regexp.Script, regexp.Says),
		endless("R12", "python: children that fork on and on", "python", "import os, time\nprint('on', flush=True)\nwhile True:\n    try:\n        if os.fork() == 0:\n            time.sleep(0.01)\n            os._exit(0)\n        os.waitpid(-1, os.WNOHANG)\n    except OSError: time.sleep(0.01)", "on"),
	}
}

// outputRows are rows R13 to R15.
func outputRows() []row {
	const limit = 10 << 20 // the default of output_limit_mb
	flood := func(attempt, language, script string) row {
		return row{id: "R13", attempt: attempt, expected: "cut at the limit, killed_by output, the server keeps its size", places: everywhere(), alone: true, try: func(c *cell) {
			before := c.house.memory(c)
			o := c.open(language, roomy).run(harness.JSON{"script": script, "timeout_s": 120})
			grown := c.house.memory(c) - before
			c.Logf("the server grew by %d MiB", grown>>20)
			c.holds(o.State == "error" && o.KilledBy == "output" && o.OutputBytes <= limit && o.OutputCutBytes > 0 && grown < 96<<20, "%s, %d MiB kept", o.how(), o.OutputBytes>>20)
		}}
	}
	exact := func(attempt, script string, wanted string) row {
		return row{id: "R14", attempt: attempt, expected: "comes out byte by byte", places: everywhere(), try: func(c *cell) {
			o := c.open("python", roomy).script(script).ok()
			c.holds(o.stdout == wanted, "%d bytes, all of them", len(o.stdout))
		}}
	}
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	return []row{
		flood("python: print without end", "python", "while True: print('x' * 1000)"),
		flood("bash: yes", "bash", "yes"),
		flood("node: print without end", "node", "for (;;) require('fs').writeSync(1, 'x'.repeat(1000) + '\\n');"),
		flood("python: a line without end, and no newline", "python", "import sys\nfor _ in range(1 << 10): sys.stdout.write('x' * (1 << 20))"),
		exact("binary output", "import sys\nfor _ in range(400): sys.stdout.buffer.write(bytes(range(256)))", strings.Repeat(string(all), 400)),
		exact("output of bad UTF-8, cut in the middle of characters", "import sys, time\nfor _ in range(50):\n    sys.stdout.buffer.write(b'\\xff\\xc3'); sys.stdout.flush()\n    sys.stdout.buffer.write(b'\\xa9'); sys.stdout.flush()", strings.Repeat("\xff\xc3\xa9", 50)),
		exact("output of terminal sequences", "import sys\nsys.stdout.write('\\x1b]0;title\\x07\\x1b[2J\\x1b[6n\\r\\x00')", "\x1b]0;title\x07\x1b[2J\x1b[6n\r\x00"),
		{id: "R15", attempt: "never read 16 MiB of standard input", expected: "ends as usual", places: everywhere(), try: func(c *cell) {
			o := c.open("python", roomy).run(harness.JSON{"script": "print('done')", "stdin": strings.Repeat("x", 16<<20)}).ok().says("done")
			c.holds(true, "%s", o.how())
		}},
		{id: "R15", attempt: "close standard output, and go on", expected: "ends as usual", places: everywhere(), try: func(c *cell) {
			o := c.open("python", roomy).script("import os, sys\nprint('closing', flush=True)\nos.close(1)\ntry: os.write(1, b'x')\nexcept OSError as e: sys.stderr.write(f'refused {e.errno}')").says("closing")
			c.holds(o.Ended() && o.State != "lost", "ended")
		}},
	}
}

// requestRows send more than a request may hold (R22).
func requestRows() []row {
	tooMuch := func(attempt, path string, body any) row {
		return row{id: "R22", attempt: attempt, expected: "413 or 400", places: atServerOnly(), try: func(c *cell) {
			got, err := c.house.a.try(c.T, http.MethodPost, path, body)
			if err != nil { // the server has hung up in the middle of the body
				c.holds(true, "cut off")
				return
			}
			c.holds(got.Status == http.StatusRequestEntityTooLarge || got.Status == http.StatusBadRequest, "%s", got)
		}}
	}
	files := make([]harness.JSON, 1025)
	for i := range files {
		files[i] = harness.JSON{"path": fmt.Sprint("f", i), "content": ""}
	}
	env := map[string]string{}
	for i := range 300 {
		env[fmt.Sprint("V", i)] = "x"
	}
	execution := func(more harness.JSON) harness.JSON {
		body := harness.JSON{"runtime": "python", "script": "1"}
		maps.Copy(body, more)
		return body
	}
	return []row{
		tooMuch("a body of 33 MiB", "/v1/executions", execution(harness.JSON{"stdin": strings.Repeat("x", 33<<20)})),
		tooMuch("a script of 9 MiB", "/v1/executions", execution(harness.JSON{"script": strings.Repeat("#", 9<<20)})),
		tooMuch("1,025 files", "/v1/executions", execution(harness.JSON{"files": files})),
		tooMuch("300 variables", "/v1/executions", execution(harness.JSON{"env": env})),
		tooMuch("a runtime of 2 MiB", "/v1/runtimes", harness.JSON{"name": "big", "language": "python", "description": strings.Repeat("x", 2<<20)}),
		tooMuch("JSON nested 100,000 deep", "/v1/executions", []byte(`{"runtime":"python","script":"1","parameters":{"x":`+strings.Repeat("[", 100000)+strings.Repeat("]", 100000)+`}}`)),
		{id: "R22", attempt: "a file of 65 MiB into a workspace", expected: "413", places: each(runspace), try: func(c *cell) {
			b := c.open("python", image)
			got, err := b.by.try(b.T, http.MethodPut, "/v1/runspaces/"+b.runspace+"/files/big", strings.NewReader(strings.Repeat("x", 65<<20)))
			c.holds(err != nil || got.Status == http.StatusRequestEntityTooLarge, "413 or cut off")
		}},
	}
}

// memory is the resident size of the server.
func (h *house) memory(c *cell) int64 {
	c.Helper()
	b, err := os.ReadFile(filepath.Join("/proc", fmt.Sprint(h.server.Pid()), "statm"))
	if err != nil {
		c.Fatal(err)
	}
	var size, resident int64
	if _, err := fmt.Sscan(string(b), &size, &resident); err != nil {
		c.Fatal(err)
	}
	return resident * int64(os.Getpagesize())
}
