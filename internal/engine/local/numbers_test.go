package local

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/remuda"
)

// takeAll attempts to take every inotify instance and every place of asynchronous
// I/O that the machine has, in processes of its own, and keeps what it gets.
const takeAll = `
import ctypes, errno, os
libc = ctypes.CDLL(None, use_errno=True)
got = [libc.inotify_init1(0) for _ in range(1000)]
assert ctypes.get_errno() == errno.ENOSYS, ctypes.get_errno()
assert max(got) == -1, "an inotify instance was had"
context = ctypes.c_ulong(0)
assert libc.syscall({"x86_64": 206, "aarch64": 0}[os.uname().machine], 60000, ctypes.byref(context)) == -1, "asynchronous I/O was had"
assert ctypes.get_errno() == errno.ENOSYS, ctypes.get_errno()
`

// TestNumbersOfTheMachine has a script try to take what all share, and looks that
// something is left.
func TestNumbersOfTheMachine(t *testing.T) {
	e := open(t, Options{})
	for name, spec := range map[string]engine.Spec{"forked": upTemplate(t, e, templateSpec()), "started": templateSpec()} {
		t.Run(name, func(t *testing.T) {
			inst := create(t, e, spec)
			if res := execute(t, inst, takeAll); res.State != remuda.ExecutionSuccess {
				t.Errorf("%+v", res.Error)
			}
			fd, err := unix.InotifyInit1(unix.IN_CLOEXEC)
			if err != nil {
				t.Fatalf("while the instance lives, outside: %v", err)
			}
			_ = unix.Close(fd)
		})
	}
}

// takeOwn takes every POSIX timer (each is a pending signal's place), message
// queue and locked page of shared memory that it gets, keeps them, and says how
// many those are.
const takeOwn = `
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
timer, timers = ctypes.c_void_p(), 0
while timers < 5000 and libc.timer_create(1, None, ctypes.byref(timer)) == 0:
    timers += 1
attributes, queues = (ctypes.c_long * 8)(0, 4, 8192), 0
while queues < 200 and libc.mq_open(b"/q%d" % queues, 0o102, 0o600, attributes) >= 0:
    queues += 1
locked = 0
while locked < 1024 and libc.shmctl(libc.shmget(0, 4096, 0o600), 11, None) == 0: # SHM_LOCK
    locked += 1
[timers, queues, locked]
`

// TestNumbersOfAnInstance has instances take all that each of them has of the
// kernel's numbers: what one has taken is not missing in another. Message queues
// are apart only where the launcher could raise the limit that it started with.
func TestNumbersOfAnInstance(t *testing.T) {
	e := open(t, Options{})
	var machine unix.Rlimit
	if err := unix.Prlimit(e.launcher.Pid(), unix.RLIMIT_MSGQUEUE, nil, &machine); err != nil {
		t.Fatal(err)
	}
	apart := machine.Cur == unix.RLIM_INFINITY
	t.Logf("message queues are looked at: %v (the launcher has %d bytes)", apart, machine.Cur)
	for name, spec := range map[string]engine.Spec{"forked": upTemplate(t, e, templateSpec()), "started": templateSpec()} {
		t.Run(name, func(t *testing.T) {
			for n := range 3 {
				inst := create(t, e, spec)
				if inst.blank.forked != (name == "forked") {
					t.Fatal("it was not made as wanted")
				}
				res := execute(t, inst, takeOwn)
				var got [3]int
				if res.Value == nil || json.Unmarshal(res.Value.JSON, &got) != nil {
					t.Fatalf("%+v", res)
				}
				if timers, locked := got[0], got[2]; timers < 1000 || timers > 1024 || locked != 256 {
					t.Errorf("instance %d got %d timers and %d locked pages", n, timers, locked)
				}
				if queues := got[1]; apart && queues < 8 || queues > 64 {
					t.Errorf("instance %d got %d message queues", n, queues)
				}
			}
		})
	}
}

// TestLimitsOfForks wants a fork to have the limits of a started instance, to
// the last one.
func TestLimitsOfForks(t *testing.T) {
	e := open(t, Options{})
	for language, script := range map[remuda.Language]string{
		remuda.LanguagePython: "print(open('/proc/self/limits').read())",
		remuda.LanguageNode:   "console.log(require('fs').readFileSync('/proc/self/limits', 'utf8'))",
		remuda.LanguageBash:   "cat /proc/$$/limits",
	} {
		t.Run(string(language), func(t *testing.T) {
			started := templateSpec()
			started.Language, started.Generation = language, remuda.GenerationKey{}
			forked := templateSpec()
			forked.Language = language
			want := say(t, create(t, e, started), script)
			if !strings.Contains(want, "Max pending signals       1024                 1024") {
				t.Fatalf("a started instance has\n%s", want)
			}
			inst := create(t, e, upTemplate(t, e, forked))
			if !inst.blank.forked {
				t.Fatal("it was not forked")
			}
			if got := say(t, inst, script); got != want {
				t.Errorf("a fork has\n%sa started instance\n%s", got, want)
			}
		})
	}
}

// say is what a script writes.
func say(t *testing.T, inst engine.Instance, script string) string {
	t.Helper()
	var out []byte
	res, err := inst.Execute(t.Context(), engine.Request{ID: remuda.NewExecutionID(), Script: script, Timeout: 30 * time.Second}, func(r remuda.OutputRecord) error {
		out = append(out, r.Data...)
		return nil
	})
	if err != nil || res.State != remuda.ExecutionSuccess {
		t.Fatalf("%+v %v", res, err)
	}
	return string(out)
}
