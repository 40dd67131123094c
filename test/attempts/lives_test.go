package attempts

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/remuda-run/remuda/test/harness"
)

// next is a number that no other attempt has.
func (h *house) next() int64 { return h.counter.Add(1) }

// named lists the machine's processes that have a word in their command line.
func named(word string) []string {
	var found []string
	paths, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		return nil
	}
	for _, p := range paths {
		if line, err := os.ReadFile(p); err == nil && bytes.Contains(line, []byte(word)) {
			found = append(found, strings.TrimSuffix(strings.TrimPrefix(p, "/proc/"), "/cmdline"))
		}
	}
	return found
}

// end ends the cell's instance: one-shot instances have ended by themselves.
func (b *box) end() {
	b.Helper()
	if b.runspace != "" {
		b.by.must(b.T, http.MethodDelete, "/v1/runspaces/"+b.runspace, nil, nil)
	}
}

// survivors waits until no process has the word any more. On the way it proves
// that the machine can see such processes at all.
func (c *cell) survivors(word string) int {
	c.Helper()
	eventually(c, "the processes of "+word+" have ended", func() bool { return len(named(word)) == 0 })
	return len(named(word))
}

// processLives are rows P01 to P04: processes that want to stay, or to end others.
func processLives() []row {
	return []row{
		daemonRow("python", "double fork and setsid", `
import os
r, w = os.pipe()
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.write(w, b"up")
        os.closerange(0, 100)
        os.execv("/usr/bin/sleep", ["%[1]s", "10000"])
    os._exit(0)
print(os.read(r, 2).decode())
os.wait()
`),
		daemonRow("bash", "setsid nohup in the background", `
(setsid nohup bash -c "exec -a %[1]s sleep 10000" >/dev/null 2>&1 </dev/null &)
sleep 0.5
echo up
`),
		daemonRow("node", "detached child", `
const c = require('child_process').spawn('sleep', ['10000'], {argv0: '%[1]s', detached: true, stdio: 'ignore'});
c.unref();
console.log('up');
`),
		{id: "P02", attempt: "leave thousands of zombies and orphans", expected: "the first process reaps them, their numbers return", places: everywhere(), try: func(c *cell) {
			n := count(10000, 1000)
			if c.place.class == gvisor { // where a fork takes ten times as long
				n = min(n, 1000)
			}
			c.open("python", roomy).script(fmt.Sprintf(`
import os
for _ in range(%d):
    pid = os.fork()
    if pid == 0:
        if os.fork() == 0: os._exit(0)
        os._exit(0)
    os.waitpid(pid, 0)
import time
for _ in range(600):
    left = len([p for p in os.listdir("/proc") if p.isdigit()])
    if left < 8: break
    time.sleep(0.05)
assert left < 8, f"{left} are left"
print("reaped")
`, n)).ok().says("reaped")
			c.holds(true, "reaped")
		}},
		{id: "P04", attempt: "kill(-1, SIGKILL)", expected: "ends no more than the own instance; the server and others go on", places: everywhere(), try: func(c *cell) {
			o := c.open("python", roomy).script("import os\nprint('killing', flush=True)\nos.kill(-1, 9)\nprint('alive')").says("killing")
			if !o.Ended() || o.State == "lost" {
				c.escape("ended as %s", o)
			}
			finish(c.T, c.house.b, "/v1/executions", harness.JSON{"runtime": "python", "script": "print('well')"}).ok()
			c.holds(true, "the other organization runs on")
		}},
		{id: "P13", attempt: "write into every descriptor of the driver", expected: "ends no more than the own instance", places: everywhere(), try: func(c *cell) {
			o := c.open("python", roomy).script("import os\nprint('writing', flush=True)\nfor fd in range(3, 1024):\n    try: os.write(fd, os.urandom(65536))\n    except OSError: pass\n").says("writing")
			c.channelHolds(o)
		}},
		{id: "P13", attempt: "close every descriptor of the driver", expected: "ends no more than the own instance", places: everywhere(), try: func(c *cell) {
			o := c.open("python", roomy).script("import os\nprint('closing', flush=True)\nos.closerange(3, 4096)\n").says("closing")
			c.channelHolds(o)
		}},
		{id: "P13", attempt: "replace the driver's standard streams and descriptors", expected: "ends no more than the own instance", places: everywhere(), try: func(c *cell) {
			o := c.open("python", roomy).script("import os\nprint('replacing', flush=True)\nn = os.open('/dev/null', os.O_RDWR)\nfor fd in range(0, 64):\n    if fd != n: os.dup2(n, fd)\n").says("replacing")
			c.channelHolds(o)
		}},
		{id: "P13", attempt: "say the end of the execution in the driver's place", expected: "ends no more than the own instance", places: everywhere(), try: func(c *cell) {
			o := c.open("python", roomy).script("import os, struct\nprint('forging', flush=True)\nfor fd in range(3, 64):\n  for kind in range(0, 32):\n    try: os.write(fd, struct.pack('<IB', 5, kind) + b'\\0' * 5)\n    except OSError: break\n").says("forging")
			c.channelHolds(o)
		}},
	}
}

// channelHolds checks that whatever a script did to its own driver, it ended
// only itself.
func (c *cell) channelHolds(o *outcome) {
	c.Helper()
	if !o.Ended() || o.State == "lost" {
		c.escape("ended as %s", o)
	}
	finish(c.T, c.house.b, "/v1/executions", harness.JSON{"runtime": "python", "script": "print('well')"}).ok().says("well")
	c.holds(true, "the other organization runs on")
}

// daemonRow leaves a process behind that has let go of everything.
func daemonRow(language, how, script string) row {
	return row{id: "P01", attempt: language + ": leave a daemon behind, by " + how, expected: "dies with the instance", places: everywhere(), try: func(c *cell) {
		word := c.token()
		b := c.open(language, roomy)
		o := b.script(fmt.Sprintf(script, word)).says("up")
		if b.runspace != "" && c.place.class == process && o.State == "success" {
			// It says up before it executes what has the word.
			eventually(c, "the daemon is seen on the machine", func() bool { return len(named(word)) > 0 })
		}
		b.end()
		c.holds(c.survivors(word) == 0, "no process left")
	}}
}
