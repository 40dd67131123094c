package enginetest

import (
	"strings"
	"testing"

	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/remuda"
)

// attempt is a script and what must become of it.
type attempt struct {
	name      string
	resources remuda.Resources
	request   engine.Request
	state     remuda.ExecutionState
	by        remuda.KilledBy
	says      string // proves that it ran
	dead      bool
	check     func(outcome)
}

// small makes limits that are soon reached.
func small(memory, disk, pids int) remuda.Resources {
	return remuda.Resources{CPU: 1, MemoryMB: memory, DiskMB: disk, Pids: pids}
}

// limits attempts to use more than there is.
func limits(t *testing.T, e engine.Engine) {
	for _, a := range limitAttempts() {
		t.Run(a.name, func(t *testing.T) {
			t.Parallel()
			both(t, e, a.resources, func(b box) {
				request := a.request // both places run at once
				if request.Timeout == 0 {
					request.Timeout = patience
				}
				got := b.do(request).wants(a.state, a.by)
				if a.says != "" {
					got.says(a.says)
				}
				if got.Dead != a.dead {
					b.t.Errorf("dead is %v", got.Dead)
				}
				if a.check != nil {
					a.check(got)
				}
				if got.Dead {
					if exit := b.gone(); exit.KilledBy != a.by {
						b.t.Errorf("the instance ended by %q (%s)", exit.KilledBy, exit.Reason)
					}
					return
				}
				b.run("print('alive')").ok().says("alive")
			})
		})
	}
}

const memoryBomb = `
print("eating", flush=True)
held = []
while True: held.append(bytearray(8 << 20))
`

// A child eats; the script itself would live and say that all is well.
const childBomb = `
import os, time
print("eating", flush=True)
pid = os.fork()
if pid == 0:
    held = []
    while True: held.append(bytearray(8 << 20))
os.waitpid(pid, 0)
time.sleep(0.2)
print("survived")
`

const shmBomb = `
print("eating", flush=True)
import os
while True: # one alone meets the limit of a file's size
    fd = os.memfd_create("x")
    for _ in range(8): os.write(fd, bytes(1 << 20))
`

const sharedBomb = `
print("eating", flush=True)
import mmap
m = mmap.mmap(-1, 1 << 30)
for at in range(0, 1 << 30, 4096): m[at] = 1
`

const forkBomb = `
import os, time
n = 0
print("forking", flush=True)
try:
    while True:
        if os.fork() == 0: time.sleep(1000)
        n += 1
except OSError as e:
    print("stopped", e.errno, n, flush=True)
    raise
`

const threadBomb = `
import threading, time
print("forking", flush=True)
n = 0
try:
    while True:
        threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()
        n += 1
except RuntimeError as e:
    print("stopped", 11, n, flush=True)
    raise
`

const diskBomb = `
import os
n = 0
print("writing", flush=True)
try:
    with open("big", "wb", buffering=0) as f:
        while True: n += f.write(bytes(1 << 20))
except OSError as e:
    print("stopped", e.errno, n >> 20, flush=True)
    raise
`

// All places that can be written to are one file system.
const diskBombTwo = `
import os
n = 0
print("writing", flush=True)
try:
    for name in "/tmp/a", "/workspace/b", "/var/tmp/c", "/dev/shm/d", "e", "f":
        with open(name, "wb", buffering=0) as f:
            for _ in range(12): n += f.write(bytes(1 << 20))
except OSError as e:
    print("stopped", e.errno, n >> 20, flush=True)
    raise
`

const inodeBomb = `
n = 0
print("making", flush=True)
try:
    while True:
        open(f"f{n}", "w").close()
        n += 1
except OSError as e:
    print("stopped", e.errno, n, flush=True)
    raise
`

const descriptorBomb = `
import os
held = []
try:
    while True: held.append(os.dup(0))
except OSError as e:
    for fd in held: os.close(fd)
    print("stopped", e.errno, len(held))
`

const sparse = `
import os, errno
fd = os.open("s", os.O_CREAT | os.O_RDWR)
got = []
for f in (lambda: os.posix_fallocate(fd, 0, 1 << 40), lambda: os.ftruncate(fd, 1 << 50), lambda: os.pwrite(fd, b"x", 1 << 41)):
    try: f(); got.append(0)
    except OSError as e: got.append(errno.errorcode[e.errno])
print(got)
`

func limitAttempts() []attempt {
	const out = 1 << 20
	memory := func(name, script string) attempt {
		return attempt{name: name, resources: small(64, 16, 32), request: engine.Request{Script: script},
			state: remuda.ExecutionError, by: remuda.KilledByMemory, says: "eating", dead: true, check: func(o outcome) {
				if o.Usage.PeakMemory < 32<<20 || o.Usage.PeakMemory > 80<<20+o.d.MemoryOverhead {
					o.t.Errorf("peak memory is %d", o.Usage.PeakMemory)
				}
			}}
	}
	return []attempt{
		memory("memory bomb", memoryBomb), memory("memory bomb in a child", childBomb),
		memory("memfd", shmBomb), memory("shared memory", sharedBomb),
		{name: "fork bomb", resources: small(256, 16, 24), request: engine.Request{Script: forkBomb}, state: remuda.ExecutionError, by: remuda.KilledByPids, says: "stopped 11"},
		{name: "fork bomb that goes on", resources: small(256, 16, 24), request: engine.Request{Script: strings.TrimSuffix(forkBomb, "    raise\n")}, state: remuda.ExecutionSuccess, says: "stopped 11", check: func(o outcome) {
			if !o.d.Unseen && !strings.Contains(o.Reason, "its 24 processes") {
				o.t.Errorf("its success has the reason %q", o.Reason)
			}
		}},
		{name: "thread bomb", resources: small(256, 16, 24), request: engine.Request{Script: threadBomb}, state: remuda.ExecutionError, by: remuda.KilledByPids, says: "stopped 11"},
		{name: "disk in memory", resources: small(256, 16, 24), request: engine.Request{Script: diskBombTwo}, state: remuda.ExecutionError, by: remuda.KilledByDisk, says: "stopped 28"},
		{name: "disk image", resources: small(128, 100, 24), request: engine.Request{Script: diskBombLarge}, state: remuda.ExecutionError, by: remuda.KilledByDisk, says: "stopped 28"},
		{name: "one file", resources: small(256, 16, 24), request: engine.Request{Script: diskBomb}, state: remuda.ExecutionError, by: remuda.KilledByDisk, says: "stopped 28"},
		{name: "inodes in memory", resources: small(256, 16, 24), request: engine.Request{Script: inodeBomb}, state: remuda.ExecutionError, by: remuda.KilledByDisk, says: "stopped 28"},
		{name: "inodes on an image", resources: small(128, 100, 24), request: engine.Request{Script: inodeBomb}, state: remuda.ExecutionError, by: remuda.KilledByDisk, says: "stopped 28"},
		{name: "sparse file", resources: small(256, 16, 24), request: engine.Request{Script: sparse}, state: remuda.ExecutionSuccess, says: "['EFBIG', 'EFBIG', 'EFBIG']"},
		{name: "descriptors", resources: small(256, 16, 24), request: engine.Request{Script: descriptorBomb}, state: remuda.ExecutionSuccess, says: "stopped 24"},
		{name: "output flood", resources: small(128, 16, 24), request: engine.Request{Script: "while True: print('x' * 1000)", OutputLimit: out}, state: remuda.ExecutionError, by: remuda.KilledByOutput, dead: true, check: atLimit(out)},
		{name: "long line", resources: small(256, 16, 24), request: engine.Request{Script: "import sys\nfor _ in range(1 << 10): sys.stdout.write('x' * (1 << 20))", OutputLimit: out}, state: remuda.ExecutionError, by: remuda.KilledByOutput, dead: true, check: atLimit(out)},
		{name: "binary", resources: small(256, 16, 24), request: engine.Request{Script: "import sys\nfor _ in range(40): sys.stdout.buffer.write(bytes(range(256)))"}, state: remuda.ExecutionSuccess, check: func(o outcome) {
			if len(o.out) != 40*256 || o.out[:3] != "\x00\x01\x02" || o.out[254:256] != "\xfe\xff" {
				o.t.Errorf("binary output came as %d bytes", len(o.out))
			}
		}},
	}
}

// diskBombLarge fills an image with several files.
const diskBombLarge = `
import os
n = 0
print("writing", flush=True)
try:
    for name in range(8):
        with open(f"f{name}", "wb", buffering=0) as f:
            for _ in range(40): n += f.write(bytes(1 << 20))
except OSError as e:
    print("stopped", e.errno, n >> 20, flush=True)
    print(os.statvfs("."), flush=True)
    assert 95 <= n >> 20 <= 105, n
    raise
`

func atLimit(limit int) func(outcome) {
	return func(o outcome) {
		if len(o.out) != limit || o.OutputCut == 0 {
			o.t.Errorf("%d bytes were kept, %d cut", len(o.out), o.OutputCut)
		}
	}
}
