package local

import (
	"encoding/json"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/remuda-run/remuda/internal/remuda"
)

// takeFirst is a script that takes over the first process of its sandbox, whose
// memory it shares: it replaces the code to which that returns when a child has
// ended, and lets it make system calls. first(calls) returns their results.
const takeFirst = `
import ctypes, os, struct, time
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = libc.memmove.restype = ctypes.c_void_p
libc.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long)
room = libc.mmap(None, 1 << 16, 7, 0x22, -1, 0)

def first(calls):
    """Makes the first process do this, and then nothing any more."""
    results = room + (1 << 15)
    code = b""
    for i, call in enumerate(calls):
        call = [a if isinstance(a, int) else ctypes.cast(a, ctypes.c_void_p).value for a in call]
        call += [0] * (6 - len(call))
        ctypes.c_long.from_address(results + 8 * i).value = -12345
        for opcode, value in zip((b"\x48\xb8", b"\x48\xbf", b"\x48\xbe", b"\x48\xba", b"\x49\xba", b"\x49\xb8"), call):
            code += opcode + struct.pack("<q", value)
        code += b"\x0f\x05\x49\xbb" + struct.pack("<q", results + 8 * i) + b"\x49\x89\x03"
    code += b"\x48\xb8" + struct.pack("<q", 34) + b"\x0f\x05\xeb\xf2"  # pause, again and again
    ctypes.memmove(room, code, len(code))
    jump = b"\x48\xb8" + struct.pack("<q", room) + b"\xff\xe0"
    waiting = b"\x0f\x05\x4c\x39\xe8"
    for line in open("/proc/thread-self/maps"):
        addresses, mode, rest = line.split(None, 2)
        begin, end = (int(a, 16) for a in addresses.split("-"))
        if mode != "r-xp" or end - begin != 4096 or "[" in rest: continue
        at = ctypes.string_at(begin, 4096).find(waiting)
        if at < 0: continue
        assert libc.mprotect(ctypes.c_void_p(begin), 4096, 7) == 0
        ctypes.memmove(begin + at + 2, jump, len(jump))
        break
    else:
        return None
    if os.fork() == 0:  # an orphan, which the first process reaps
        if os.fork() == 0: os._exit(0)
        os._exit(0)
    os.wait()
    last = ctypes.c_long.from_address(results + 8 * (len(calls) - 1))
    for _ in range(10000):
        if last.value != -12345: break
        time.sleep(0.001)
    return [ctypes.c_long.from_address(results + 8 * i).value for i in range(len(calls))]
`

// attemptsOfFirst are what it then tries: no more than the script may do itself
// has to succeed, and nothing that would double the script's limits.
const attemptsOfFirst = `
import json
text, room2 = ctypes.c_char_p, ctypes.create_string_buffer(4096)
attempts = {
    "its user": (102,),
    "become user 0": (117, 0, 0, 0), "become the user": (117, 1000, 1000, 1000), "become group 0": (119, 0, 0, 0),
    "take capabilities": (126, ctypes.create_string_buffer(struct.pack("<IIII", 0x20080522, 0, 0, 0)), ctypes.create_string_buffer(b"\xff" * 24)),
    "mount": (165, text(b"none"), text(b"/tmp"), text(b"tmpfs"), 0, 0), "unmount": (166, text(b"/proc"), 2),
    "unshare user": (272, 0x10000000), "clone user": (56, 0x10000011), "fork": (57,), "clone a thread": (56, 0x50f00, room + (1 << 14)), "vfork": (58,),
    "open": (2, text(b"/etc/passwd"), 0), "open its memory": (2, text(b"/proc/1/mem"), 2), "socket": (41, 1, 1, 0), "dup": (32, 0), "pipe": (22, room2), "memfd": (319, text(b"x"), 0),
    "timer": (222, 1, 0, room2), "lock memory": (149, room, 65536), "map memory": (9, 0, 65536, 3, 0x22, -1), "message queue": (240, text(b"/x"), 66, 384, 0),
    "raise limit of descriptors": (302, 0, 7, ctypes.create_string_buffer(struct.pack("<QQ", 64, 64)), 0),
    "raise limit of processes": (302, 0, 6, ctypes.create_string_buffer(struct.pack("<QQ", 64, 64)), 0),
    "kill the interpreter": (62, os.getpid(), 9), "trace the interpreter": (101, 16, os.getpid(), 0, 0),
    "read its memory": (310, os.getpid(), room2, 1, room2, 1, 0), "take a descriptor": (438, 0, 0, 0),
    "filter": (317, 1, 0, room2), "chroot": (161, text(b"/tmp")), "hostname": (170, text(b"x"), 1),
    "write the workspace": (83, text(b"/workspace/x"), 511), "take a file": (92, text(b"/workspace/private"), 65534, 65534),
    "lie": (1, 0, text(b"s\xff\xff\x00\x00"), 5), "lie more": (1, 0, text(b"e" + b"x" * 600), 601), "end": (39,),
}
os.umask(0o077); open("/workspace/private", "w").close(); os.chmod("/workspace", 0o700)
got = first(list(attempts.values()))
print(json.dumps(got and dict(zip(attempts, got))))
`

// TestFirstProcessTakenOver has a script write into the memory of its sandbox's
// first process and run code there: it gains nothing.
func TestFirstProcessTakenOver(t *testing.T) {
	if runtime.GOARCH != "amd64" {
		t.Skip("elsewhere no memory is shared")
	}
	e := open(t, Options{})
	spec := upTemplate(t, e, templateSpec())
	res, out := runOnce(t, e, spec, takeFirst+attemptsOfFirst)
	var got map[string]int
	if err := json.Unmarshal([]byte(out), &got); err != nil || res.State != remuda.ExecutionSuccess {
		t.Fatalf("%v: %q, %+v", err, out, res.Error)
	}
	if got["end"] != 1 || got["its user"] != nobodyInside || len(got) < 35 {
		t.Fatalf("it was not taken over: %v", got)
	}
	for what, n := range got {
		may := what == "its user" || what == "end" || strings.HasPrefix(what, "lie")
		if n == -12345 || n >= 0 && !may {
			t.Errorf("the first process may: %s: %d", what, n)
		}
	}
}

const nobodyInside = 65534

// TestFirstProcessLies has one that was taken over tell how its interpreter ended:
// it is believed no more than the script that could have ended so.
func TestFirstProcessLies(t *testing.T) {
	if runtime.GOARCH != "amd64" {
		t.Skip("elsewhere no memory is shared")
	}
	e := open(t, Options{})
	spec := upTemplate(t, e, templateSpec())
	for name, lie := range map[string]struct {
		message string
		state   remuda.ExecutionState
		code    int
	}{
		"an end with 7":    {`b"s\x00\x07\x00\x00"`, remuda.ExecutionError, 7},
		"an end by 9":      {`b"s\x09\x00\x00\x00"`, remuda.ExecutionError, 137},
		"that it stopped":  {`b"s\x7f\x13\x00\x00"`, remuda.ExecutionSuccess, 0},
		"what is no word":  {`b"s\xff\xff\xff\xff"`, remuda.ExecutionSuccess, 0},
		"that it has gone": {`b""`, remuda.ExecutionSuccess, 0},
	} {
		res, out := runOnce(t, e, spec, takeFirst+"print('taken', flush=True)\nfirst([(1, 0, ctypes.c_char_p("+lie.message+"), len("+lie.message+")), (231, 0)])\ntime.sleep(1000)")
		if out != "taken\n" || !res.Dead || res.State != lie.state || res.ExitCode == nil || *res.ExitCode != lie.code {
			t.Errorf("%s: %q, %+v", name, out, res)
		}
	}
}

// TestFirstProcessSilent has one that was taken over tell nothing, when its
// interpreter has ended.
func TestFirstProcessSilent(t *testing.T) {
	if runtime.GOARCH != "amd64" {
		t.Skip("elsewhere no memory is shared")
	}
	e := open(t, Options{})
	spec := upTemplate(t, e, templateSpec())
	begun := time.Now()
	res, out := runOnce(t, e, spec, takeFirst+"assert first([(39,)]) == [1]\nprint('taken', flush=True)\nos._exit(3)")
	if out != "taken\n" || !res.Dead || res.State != remuda.ExecutionError || res.KilledBy != "" {
		t.Errorf("after %v: %q, %+v", time.Since(begun), out, res)
	}
}

// whole is a script that uses what a C library renews when it forks: signals to a
// thread by its handle, threads, forks, programs, which processor it is on, and
// waiting for the main thread's end.
const whole = `
import ctypes, os, signal, subprocess, threading
got = []
signal.signal(signal.SIGUSR1, lambda *a: got.append("signal"))
main = threading.main_thread()
t = threading.Thread(target=lambda: signal.pthread_kill(main.ident, signal.SIGUSR1))
t.start(); t.join()
assert got == ["signal"] and main.native_id == threading.get_native_id() == os.getpid()
if (pid := os.fork()) == 0: os._exit(signal.raise_signal(signal.SIGUSR1) or len(got))
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 2
assert subprocess.check_output(["echo", "there"]) == b"there\n"
libc = ctypes.CDLL(None)
for processor in os.sched_getaffinity(0) if hasattr(libc, "sched_getcpu") else ():
    os.sched_setaffinity(0, {processor})
    assert libc.sched_getcpu() == processor
def join():
    libc.pthread_join(main.ident, None)
    os.write(1, b"whole\n")
    os._exit(0)
libc.pthread_join.argtypes = ctypes.c_void_p, ctypes.c_void_p
threading.Thread(target=join).start()
libc.syscall(60 if os.uname().machine == "x86_64" else 93, 0)
`

// TestForkIsWhole has a fork do that, whether it shares the memory of its first
// process or not.
func TestForkIsWhole(t *testing.T) {
	e := open(t, Options{})
	byWords := placeModule(t, e, `import sys
frame = sys._getframe()
while "by_code" not in frame.f_globals: frame = frame.f_back
frame.f_globals["by_code"] = lambda *a: None
`)
	for _, preload := range [][]string{nil, {byWords}} {
		spec := upTemplate(t, e, templateSpec(preload...))
		if res, out := runOnce(t, e, spec, whole); out != "whole\n" {
			t.Errorf("%v: %q, %+v", preload, out, res.Error)
		}
		shares := preload == nil && runtime.GOARCH == "amd64"
		if _, out := runOnce(t, e, spec, takeFirst+"print(first([(39,)]))"); out != map[bool]string{true: "[1]\n", false: "None\n"}[shares] {
			t.Errorf("%v: to take over the first process: %q", preload, out)
		}
	}
}
