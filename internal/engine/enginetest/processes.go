package enginetest

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/remuda"
)

// processes attempts to outlive, end or overhear the sandbox.
func processes(t *testing.T, e engine.Engine) {
	tests := []struct {
		name string
		test func(box)
	}{
		{"daemon", daemon}, {"zombies", zombies}, {"signals to the first process", signalFirst}, {"signals to all", signalAll},
		{"strangers", strangers}, {"the keeper's secrets", keeperSecrets}, {"no privileges to gain", privileges},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			both(t, e, resources, tt.test)
		})
	}
}

// daemon leaves a process behind that has let go of everything.
func daemon(b box) {
	token := "daemon-" + remuda.NewID("x")
	b.run(`
import os, sys, time
r, w = os.pipe()
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.write(w, b"up")
        os.closerange(0, 100)
        os.execv("/usr/bin/python3", ["` + token + `", "-c", "import time; time.sleep(10000) # ` + token + `"])
    os._exit(0)
print(os.read(r, 2).decode())
os.wait()
`).ok().says("up")
	if !b.d.Unseen {
		eventually(b.t, "the daemon is seen on the host", func() bool { return len(named(token)) > 0 || !b.Alive() })
	}
	if !b.Alive() {
		b.t.Fatal("the instance has ended with the daemon's start")
	}
	if err := b.Destroy(b.t.Context()); err != nil {
		b.t.Fatal(err)
	}
	if left := named(token); len(left) > 0 {
		b.t.Errorf("after Destroy these processes are left: %v", left)
	}
}

// named lists the host's processes that have a word in their command line.
func named(word string) []string {
	var found []string
	paths, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		return nil
	}
	for _, p := range paths {
		if line, err := os.ReadFile(p); err == nil && bytes.Contains(line, []byte(word)) {
			found = append(found, p)
		}
	}
	return found
}

func zombies(b box) {
	b.run(`
import os
for _ in range(300):
    pid = os.fork()
    if pid == 0:
        if os.fork() == 0: os._exit(0)
        os._exit(0)
    os.waitpid(pid, 0)
print("done")
`).ok().says("done")
}

func signalFirst(b box) {
	b.run(`
import os, signal
for s in signal.SIGKILL, signal.SIGSTOP, signal.SIGTERM, signal.SIGINT, signal.SIGSEGV, signal.SIGSYS, signal.SIGHUP, signal.SIGQUIT:
    try:
        os.kill(1, s)
        print(s.name, "sent")
    except OSError as e:
        print(s.name, e.errno)
`).ok().says("SIGKILL 1\n")
	b.run("print('alive')").ok().says("alive")
}

func signalAll(b box) {
	got := b.run("import os\nprint('killing', flush=True)\nos.kill(-1, 9)\nprint('alive')")
	got.says("killing")
	if !got.State.Final() || got.State == remuda.ExecutionLost {
		b.t.Errorf("kill -1 ended as %s: %s", got.State, got.Reason)
	}
}

// strangers looks for processes of others.
func strangers(b box) {
	var got struct {
		Pids []int
		Self int
	}
	b.run(`
import os, json
print(json.dumps({"Pids": [int(p) for p in os.listdir("/proc") if p.isdigit()], "Self": os.getpid()}))
`).ok().json(&got)
	if len(got.Pids) > 3 || got.Self > 100 {
		b.t.Errorf("it sees processes %v and is %d", got.Pids, got.Self)
	}
}

func keeperSecrets(b box) {
	got := b.run(`
import os, ctypes
libc = ctypes.CDLL(None, use_errno=True)
for name in "environ", "mem", "maps", "fd", "cwd", "root", "exe", "auxv", "syscall", "stack":
    p = f"/proc/1/{name}"
    try:
        if name == "fd": x = os.listdir(p)
        elif name in ("cwd", "root", "exe"): x = os.readlink(p)
        else: x = open(p, "rb").read(1)
        print("READ", name, x)
    except OSError as e: print(name, e.errno)
print("tried")
`).ok().says("tried")
	if strings.Contains(got.out, "READ") {
		b.t.Errorf("the first process shows:\n%s", got.out)
	}
}

func privileges(b box) {
	var got map[string]string
	b.run(`
import json
print(json.dumps(dict(l.split(":\t", 1) for l in open("/proc/self/status").read().splitlines() if ":\t" in l)))
`).ok().json(&got)
	const none = "0000000000000000"
	for name, want := range map[string]string{
		"CapInh": none, "CapPrm": none, "CapEff": none, "CapBnd": none, "CapAmb": none, "NoNewPrivs": "1", "Seccomp": "2",
		"Uid": "1000\t1000\t1000\t1000", "Gid": "1000\t1000\t1000\t1000",
	} {
		if got[name] != want {
			b.t.Errorf("%s is %q, want %q", name, got[name], want)
		}
	}
}
