package local

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/remuda"
)

// words is what an engine logs.
type words struct {
	mu   sync.Mutex
	text strings.Builder
}

func (w *words) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.Write(p)
}

func (w *words) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.String()
}

// listenTo gives the engine, which has made nothing yet, a log that can be read.
func listenTo(e *Engine) *words {
	w := &words{}
	e.log = slog.New(slog.NewTextHandler(w, nil))
	return w
}

// settle makes the generation's template, and waits until there is one or will
// be none.
func settle(t *testing.T, e *Engine, spec engine.Spec) (refused bool) {
	t.Helper()
	first := spec
	first.Background = true // it is made at once
	create(t, e, first)
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		e.templates.mu.Lock()
		refused := e.templates.refused[spec.Generation]
		e.templates.mu.Unlock()
		if refused {
			return true
		}
		if e.templates.of(t.Context(), spec) != nil {
			return false
		}
		if time.Now().After(deadline) {
			t.Fatal("the template is neither there nor refused after a minute")
		}
	}
}

// TestTemplateRefused preloads modules that leave something behind that every
// instance would share. Instances start the ordinary way then.
func TestTemplateRefused(t *testing.T) {
	e := open(t, Options{})
	log := listenTo(e)
	for name, c := range map[string]struct{ source, why string }{
		"thread":  {"import threading, time\nthreading.Thread(target=time.sleep, args=(1000,), daemon=True).start()", "has started a thread"},
		"socket":  {"import socket\ns = socket.socket(socket.AF_UNIX)", "descriptor"},
		"pipe":    {"import os\np = os.pipe()", "descriptor"},
		"memfd":   {"import os\nm = os.memfd_create('x')", "memfd:x"},
		"eventfd": {"import ctypes\nn = ctypes.CDLL(None).eventfd(0, 0)\nassert n > 2", "eventfd"},
		"file":    {"f = open('/etc/passwd')", "/etc/passwd"},
		"process": {"import subprocess\np = subprocess.Popen(['sleep', '1000'])", "has started a process"},
		"daemon":  {"import os\nif os.fork() == 0:\n    if os.fork() == 0:\n        os.setsid()\n        import time\n        time.sleep(1000)\n    os._exit(0)\nos.wait()", "runs: a package has started it"},
		"shared":  {"import mmap\nm = mmap.mmap(-1, 4096)", "memory is shared"},
		"raises":  {"1 / 0", "ZeroDivisionError"},
		"exits":   {"raise SystemExit(0)", "SystemExit"},
		"ends":    {"import os\nos._exit(0)", "exited with status 0"},
		"missing": {"import remuda_test_missing", "remuda_test_missing"},
		"stays": {`
import os, posix
posix.chdir("/proc")
posix.chdir = lambda *a: None`, "a package has gone elsewhere"},
		"hides": {`
import posix
s = posix.open("/etc/passwd", posix.O_RDONLY)
posix.readlink = lambda *a: ""`, "a package has left it behind"},
	} {
		module := placeModule(t, e, c.source)
		spec := templateSpec("json", module)
		if !settle(t, e, spec) {
			t.Errorf("%s: there is a template", name)
			continue
		}
		said := log.String()
		said = said[strings.LastIndex(said, "a runtime has no template"):]
		if !strings.Contains(said, c.why) || !strings.Contains(said, string(spec.Generation.Runtime)) {
			t.Errorf("%s: the log says %q", name, said)
		}
		inst := create(t, e, spec)
		if res := execute(t, inst, "6 * 7"); res.Value == nil || res.Value.Text != "42" || inst.blank.forked {
			t.Errorf("%s: %+v", name, res)
		}
		e.templates.mu.Lock()
		if e.templates.byKey[spec.Generation] != nil {
			t.Errorf("%s: it is tried again", name)
		}
		e.templates.mu.Unlock()
	}
}

// TestTemplateUndoes preloads a module that changes what children inherit.
func TestTemplateUndoes(t *testing.T) {
	e := open(t, Options{})
	module := placeModule(t, e, `
import locale, os, signal, sys, time
os.umask(0); os.chdir("/tmp"); open("/tmp/left", "w").close(); open("/workspace/left", "w").close()
os.environ["LEFT"] = "x"; os.environ["TZ"] = "Asia/Tokyo"; del os.environ["USER"]; os.putenv("HOME", "/"); time.tzset()
for n in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT, signal.SIGCHLD, signal.SIGPIPE):
    signal.signal(n, lambda *a: os._exit(9))
signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 60))
for n in (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF):
    signal.setitimer(n, 3600, 3600)
locale.setlocale(locale.LC_ALL, "C")
sys.settrace(lambda *a: None); sys.setprofile(lambda *a: None)
`)
	spec := templateSpec(module)
	plain := spec
	plain.Generation, plain.Preload = remuda.GenerationKey{}, nil
	want := look(t, printed(t, create(t, e, plain), sees))
	upTemplate(t, e, spec)
	_, out := runOnce(t, e, spec, "import sys\nassert "+strJSON(module)+" in sys.modules\n"+sees)
	got := look(t, out)
	compare(t, "of a template that was changed", got, want)
	if _, out := runOnce(t, e, spec, "import os, subprocess\nprint(subprocess.check_output(['env', '-0']).decode().count('LEFT'), os.getenv('USER'), subprocess.check_output('echo $HOME', shell=True).decode(), end='')"); out != "0 user /workspace\n" {
		t.Errorf("a program of the script has %q", out)
	}
}

func strJSON(s string) string {
	b, _ := json.Marshal(s)
	return string(b)
}

// calls is the first part of modules that try system calls: got[what] is the
// error's number, or 0.
const calls = `
import ctypes, errno, os, posix, sys
libc = ctypes.CDLL(None, use_errno=True)
got = {}
def attempt(what, *args):
    args = [ctypes.c_long(a) if isinstance(a, int) else a for a in args]
    ctypes.set_errno(0)
    n = libc.syscall(*args)
    if n == 0 and "clone" in what: os._exit(0)
    got[what] = 0 if n >= 0 else ctypes.get_errno()
    return n
`

// powers tries what no template may do.
const powers = calls + `
buffer = ctypes.create_string_buffer(256)
attempt("getpid, which may be called", 39)
attempt("mount", 165, b"none", b"/tmp", b"tmpfs", 0, None)
attempt("bind", 165, b"/usr", b"/tmp", None, 4096, None)
attempt("umount", 166, b"/proc", 2)
attempt("sethostname", 170, b"x", 1)
attempt("pivot_root", 155, b"/", b"/tmp")
attempt("chroot", 161, b"/tmp")
for name, flag in (("user", 0x10000000), ("mount", 0x20000), ("net", 0x40000000), ("pid", 0x20000000), ("ipc", 0x08000000), ("uts", 0x04000000), ("cgroup", 0x02000000)):
    attempt("unshare " + name, 272, flag)
    attempt("clone " + name, 56, flag | 17, 0, 0, 0, 0)
attempt("clone user and net", 56, 0x10000000 | 0x40000000 | 17, 0, 0, 0, 0)
attempt("clone3", 435, buffer, 88)
attempt("setns", 308, os.open("/proc/self/ns/mnt", 0), 0)
os.close(3)
attempt("ptrace traceme", 101, 0, 0, 0, 0)
attempt("ptrace keeper", 101, 16, 1, 0, 0)
attempt("read the keeper's memory", 310, 1, buffer, 1, buffer, 1, 0)
attempt("write the keeper's memory", 311, 1, buffer, 1, buffer, 1, 0)
attempt("pidfd_getfd", 438, 0, 0, 0)
attempt("kill the keeper", 62, 1, 9)
attempt("bpf", 321, 0, buffer, 72)
attempt("perf_event_open", 298, buffer, 0, -1, -1, 0)
attempt("keyctl", 250, 0, -3, 0)
attempt("io_uring_setup", 425, 8, buffer)
attempt("userfaultfd", 323, 0)
attempt("seccomp strict", 317, 0, 0, None)
attempt("setuid", 105, 0)
attempt("capset", 126, buffer, buffer)
attempt("open the keeper's proc", 2, b"/run/remuda/keeper/own/proc", 0)
attempt("open the keeper's memory", 2, b"/proc/1/mem", 2)
attempt("write to the root", 2, b"/usr/left", 66, 0o644)
attempt("packet socket", 41, 17, 3, 0)
`

// TestTemplateHasNoPowers tries, while the template is made, what nothing in it
// may do. The kernel's answers are seen in a fork.
func TestTemplateHasNoPowers(t *testing.T) {
	if runtime.GOARCH != "amd64" {
		t.Skip("the numbers of its calls are those of amd64")
	}
	e := open(t, Options{})
	module := placeModule(t, e, powers)
	spec := upTemplate(t, e, templateSpec(module))
	_, out := runOnce(t, e, spec, "import json, sys\nprint(json.dumps(sys.modules["+strJSON(module)+"].got))")
	var got map[string]int
	if err := json.Unmarshal([]byte(out), &got); err != nil {
		t.Fatal(err)
	}
	if len(got) < 40 || got["getpid, which may be called"] != 0 {
		t.Errorf("not all was tried: %v", got)
	}
	for what, errno := range got {
		if errno == 0 && !strings.HasPrefix(what, "getpid") {
			t.Errorf("the template may: %s", what)
		}
	}
}

// taken is the first part of modules that take over the driver: turn is called
// with the number of forks asked for so far whenever one is wanted, in the
// template, after it was inspected, with the driver's own names.
const taken = calls + `
asked = 0
def read(fd, n, read=posix.read):
    global asked
    got = read(fd, n)
    if n == 5 and got:
        asked += 1
        turn(asked, sys._getframe(1).f_globals)
    return got
posix.read = read
`

// byWords is the begin of a turn that has children made by the driver's own words
// instead of its machine code.
const byWords = `g["start"] = g["by_words"](g["parts"][:7]); `

// endsAt is a turn that ends a list of the machine code's plan before a call, skips
// one that leaves out all calls of a number.
func endsAt(list int, number string) string { return changes(list, number, "-1") }

func skips(list int, number string) string { return changes(list, number, "39") }

func changes(list int, number, to string) string {
	n := map[string]int{"SYS_SOCKET": unix.SYS_SOCKET, "SYS_MOVE_MOUNT": unix.SYS_MOVE_MOUNT, "SYS_SECCOMP": unix.SYS_SECCOMP, "SYS_SETRESGID": unix.SYS_SETRESGID, "SYS_PRLIMIT64": unix.SYS_PRLIMIT64, "SYS_CLOSE_RANGE": unix.SYS_CLOSE_RANGE}[number]
	return fmt.Sprintf(`start = g["start"]
    plan = start.__closure__[start.__code__.co_freevars.index("plan")].cell_contents
    at = ctypes.c_long.from_address(plan + 8 * %d).value
    while (call := ctypes.c_long.from_address(at)).value != -1:
        if call.value == %d: call.value = got["changed"] = %s
        at += 80
    assert got["changed"] == %s`, list, n, to, to)
}

// swaps is a turn that has the last call of a number, in a list of the plan, put a
// socket that the template holds the other end of in the place of a descriptor. One
// of dup3 is that which makes this descriptor.
func swaps(list, number, fd int) string {
	return fmt.Sprintf(`import socket
    for fd, end in enumerate(socket.socketpair(), 900):
        posix.dup2(end.fileno(), fd)
        end.close()
    start = g["start"]
    plan = start.__closure__[start.__code__.co_freevars.index("plan")].cell_contents
    at, last = ctypes.c_long.from_address(plan + 8 * %[1]d).value, None
    while (call := (ctypes.c_long * 10).from_address(at))[0] != -1:
        if call[0] == %[2]d and (%[2]d != %[4]d or call[2] == %[3]d): last = call
        at += 80
    last[:5] = [%[4]d, 900, %[3]d, 0, 0]`, list, number, fd, unix.SYS_DUP3)
}

// TestTemplateTakenOver has a module run code in a template that serves. Only its
// own generation may suffer, and instances are started without it then.
func TestTemplateTakenOver(t *testing.T) {
	e := open(t, Options{Blanks: -1}) // turns are counted: no forks ahead
	listenTo(e)
	innocent := upTemplate(t, e, templateSpec())
	bystander := create(t, e, innocent)
	execute(t, bystander, "x = 20")
	var all sync.WaitGroup
	for name, turn := range map[string]string{
		"names process 1":         `g["send"](7, (b"1",))`,
		"names itself":            `g["send"](7, (b"%d" % posix.getpid(),))`,
		"names no process":        `g["send"](7, (b"99999",))`,
		"names no number":         `g["send"](7, (b"x",))`,
		"speaks out of turn":      `g["send"](5, (b"",))`,
		"says what none says":     `g["send"](77, (b"",))`,
		"sends garbage":           `posix.write(1000, b"\xff" * 4096)`,
		"sends without end":       "while True: posix.write(1000, b'\\x01\\xff\\xff\\xff\\x07' + b'x' * 65536)",
		"exits":                   `posix._exit(0)`,
		"kills itself":            `posix.kill(posix.getpid(), 9)`,
		"names a plain fork":      "p = posix.fork()\n    if p == 0:\n        import time; time.sleep(1000)\n    g['send'](7, (b'%d' % p,))",
		"closes the channel":      `posix.close(1000)`,
		"never answers":           "while True: import time; time.sleep(1000)",
		"forks no instance":       byWords + "g['born'] = lambda *a: __import__('time').sleep(1000)",
		"child never connects":    byWords + "g['born'] = lambda *a: posix._exit(0)",
		"child is not fenced":     byWords + "g['make'] = lambda *a: None",
		"code does not begin":     endsAt(3, "SYS_SOCKET"),
		"code does not fence":     endsAt(3, "SYS_MOVE_MOUNT"),
		"code takes no filter":    endsAt(3, "SYS_SECCOMP"),
		"code stays user 0":       endsAt(4, "SYS_SETRESGID"),
		"code keeps its power":    endsAt(5, "SYS_SETRESGID"),
		"code has no limits":      skips(5, "SYS_PRLIMIT64"),
		"code keeps what is open": skips(5, "SYS_CLOSE_RANGE"),
		"code swaps stdin":        swaps(4, unix.SYS_DUP3, 0),
		"code swaps stderr":       swaps(4, unix.SYS_DUP3, 2),
		"code swaps the door":     swaps(3, unix.SYS_UMASK, 0),
		"first shares memory": byWords + `import mmap
    g["shared"] = mmap.mmap(-1, 4096)
    g["refresh"] = g["shared"].close`,
		"child stays silent": "g['refresh'] = lambda: __import__('time').sleep(1000)",
		"child takes memory": "g['refresh'] = lambda: [bytearray(1 << 20) for _ in range(10000)]",
	} {
		module := placeModule(t, e, taken+"def turn(n, g):\n    if n < 2: return\n    "+turn+"\n")
		spec := upTemplate(t, e, templateSpec(module))
		first := create(t, e, spec)
		if res := execute(t, first, "x = 20"); res.State != remuda.ExecutionSuccess || !first.blank.forked {
			t.Errorf("%s: the first fork: %+v", name, res)
			continue
		}
		all.Go(func() { // those that wait for an answer do so together
			spec.ID = remuda.NewInstanceID()
			second, err := e.Create(t.Context(), spec)
			if err != nil {
				t.Errorf("%s: nothing was started instead: %v", name, err)
				return
			}
			if res := execute(t, second, "6 * 7"); res.Value == nil || res.Value.Text != "42" || second.(*Instance).blank.forked {
				t.Errorf("%s: forked %v, %+v", name, second.(*Instance).blank.forked, res)
			}
			if res := execute(t, first, "x += 1; x * 2"); res.Value == nil || res.Value.Text != "42" {
				t.Errorf("%s: the earlier instance: %+v", name, res)
			}
			if err := second.Destroy(context.WithoutCancel(t.Context())); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if res := execute(t, bystander, "x += 1; x * 2"); res.Value == nil || res.Value.Text != "42" {
		t.Errorf("another generation's instance: %+v", res)
	}
	if res, out := runOnce(t, e, innocent, "print('there')"); res.State != remuda.ExecutionSuccess || out != "there\n" {
		t.Errorf("another generation's template: %+v", res)
	}
}

// spies tries, in a template that serves while an instance of it runs, to see
// this. The numbers of its processes are known to be small.
const spies = taken + `
import socket
def tell(what, f):
    try:
        got[what] = repr(f() or "")
    except OSError as e:
        got[what] = e.errno
def turn(n, g):
    if n != 2: return
    buffer = ctypes.create_string_buffer(256)
    tell("/proc", lambda: posix.listdir("/proc"))
    tell("/tmp", lambda: posix.listdir("/tmp"))
    tell("/workspace", lambda: posix.listdir("/workspace"))
    for where in ("/workspace/x", "/tmp/x", "/dev/shm/x", "/run/remuda/keeper/x", "/x"):
        tell("write " + where, lambda: posix.open(where, posix.O_CREAT | posix.O_WRONLY))
    tell("the keeper's place", lambda: posix.listdir("/run/remuda/keeper/own"))
    seen = 0
    for pid in range(2, 64):
        try:
            posix.kill(pid, 0)
            seen += 1
        except PermissionError:
            seen += 1
        except OSError:
            continue
        if pid == posix.getpid(): continue
        attempt("read memory of %d" % pid, 310, pid, buffer, 1, buffer, 1, 0)
        attempt("trace %d" % pid, 101, 0x4206, pid, 0, 0)
        attempt("attach to %d" % pid, 101, 16, pid, 0, 0)
        tell("look at %d" % pid, lambda: posix.open("/proc/%d/mem" % pid, posix.O_RDONLY))
    got["seen"] = seen
    door = socket.socket(socket.AF_UNIX)
    door.connect("/run/remuda/keeper/door")
    got["door"] = len(door.recv(1))
    door.close()
`

// TestTemplateSpies proves that a template that was taken over does not see its
// instances' processes, files or memory.
func TestTemplateSpies(t *testing.T) {
	if runtime.GOARCH != "amd64" {
		t.Skip("the numbers of its calls are those of amd64")
	}
	e := open(t, Options{Blanks: -1}) // turns are counted: no forks ahead
	module := placeModule(t, e, spies)
	spec := upTemplate(t, e, templateSpec(module))
	first := create(t, e, spec)
	execute(t, first, "secret = 'seen'; import subprocess; p = subprocess.Popen(['sleep', '1000']); open('/workspace/x', 'w').write(secret)")
	_, out := runOnce(t, e, spec, "import json, sys\nprint(json.dumps(sys.modules["+strJSON(module)+"].got))")
	var got map[string]any
	if err := json.Unmarshal([]byte(out), &got); err != nil {
		t.Fatal(err)
	}
	seen, _ := got["seen"].(float64)
	if seen < 4 || len(got) < 9+4*3 { // itself, and of the instance its first process, interpreter and program
		t.Errorf("not all was tried: %v", got)
	}
	for what, v := range got {
		switch n, isNumber := v.(float64); {
		case what == "seen":
		case what == "door":
			if n != 0 {
				t.Error("the keeper speaks with the template through the door")
			}
		case what == "/proc" || what == "/tmp" || what == "/workspace":
			if v != "[]" && v != `''` {
				t.Errorf("%s holds %v", what, v)
			}
		case !isNumber || n == 0:
			t.Errorf("the template may: %s: %v", what, v)
		}
	}
}
