package local

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/engine/enginetest"
	"github.com/remuda-run/remuda/internal/remuda"
)

// throughTerminals is an engine whose scripts are typed by nobody, but run in
// terminals.
type throughTerminals struct{ *Engine }

func (e throughTerminals) Create(ctx context.Context, spec engine.Spec) (engine.Instance, error) {
	inst, err := e.Engine.Create(ctx, spec)
	if err != nil {
		return nil, err
	}
	return &throughTerminal{Instance: inst.(*Instance)}, nil
}

type throughTerminal struct {
	*Instance

	ran atomic.Int32
}

// Execute runs a Python script as a file of the workspace.
func (i *throughTerminal) Execute(ctx context.Context, req engine.Request, sink engine.Sink) (engine.Result, error) {
	parameters, err := json.Marshal(req.Parameters)
	if err != nil {
		return engine.Result{}, err
	}
	name := fmt.Sprintf("attempt-%d.py", i.ran.Add(1))
	script := fmt.Sprintf("import json\nglobals().update(json.loads(%q) or {})\n%s", parameters, req.Script)
	if _, err := i.Files().Write(ctx, name, strings.NewReader(script), 1<<20); err != nil {
		return engine.Result{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, req.Timeout)
	defer cancel()
	terminal, err := i.OpenTerminal(ctx, engine.TerminalSpec{Command: []string{"python3", name}})
	if err != nil {
		return engine.Result{}, err
	}
	stop := context.AfterFunc(ctx, func() { _ = terminal.Close() })
	defer stop()
	shown, err := io.ReadAll(terminal)
	<-terminal.Done()
	if err != nil {
		return engine.Result{}, err
	}
	if err := terminal.Close(); err != nil {
		return engine.Result{}, err
	}
	res := engine.Result{State: remuda.ExecutionSuccess, LastSeq: 1}
	if code := terminal.ExitCode(); code != 0 {
		res.State, res.ExitCode = remuda.ExecutionError, &code
	}
	return res, sink(remuda.OutputRecord{Seq: 1, Stream: remuda.StreamStdout, Data: bytes.ReplaceAll(shown, []byte("\r\n"), []byte("\n"))})
}

// TestTerminalIsNoWayOut makes the suite's attempts from within terminals, of
// instances that were started and of such that were forked.
func TestTerminalIsNoWayOut(t *testing.T) {
	enginetest.Ways(t, throughTerminals{open(t, Options{})})
}

// selfie is what a process is, as far as it can tell, without what its numbers
// are.
const selfie = `
import json, os, re, resource, signal
status = dict(l.split(":\t", 1) for l in open("/proc/self/status").read().splitlines() if ":\t" in l)
state = {k: status[k] for k in "Uid Gid Groups CapInh CapPrm CapEff CapBnd CapAmb NoNewPrivs Seccomp Umask".split()}
state["ns"] = {n: os.readlink("/proc/self/ns/" + n) for n in os.listdir("/proc/self/ns")}
state["cgroup"] = open("/proc/self/cgroup").read()
state["limits"] = open("/proc/self/limits").read()
state["score"] = open("/proc/self/oom_score_adj").read()
state["mounts"] = open("/proc/self/mountinfo").read()
state["root"], state["cwd"] = os.stat("/").st_ino, os.getcwd()
state["signals"] = [str(signal.getsignal(n)) for n in range(1, signal.NSIG) if n != signal.SIGINT]
state["mask"] = [int(n) for n in signal.pthread_sigmask(signal.SIG_BLOCK, ())]
state["env"] = dict(os.environ)
state["dumpable"] = os.stat("/proc/self").st_uid
print(json.dumps(state))
`

// TestTerminalIsAScript compares a script's process with a terminal's.
func TestTerminalIsAScript(t *testing.T) {
	t.Setenv("REMUDA_TEST_SECRET", "the server's own")
	inBoth(t, func(t *testing.T, inst *Instance) {
		read := func(text string) (state map[string]any) {
			t.Helper()
			if err := json.Unmarshal([]byte(text), &state); err != nil {
				t.Fatalf("%v in %q", err, text)
			}
			return state
		}
		script := read(printed(t, inst, "import subprocess\nprint(subprocess.check_output(['python3', '-c', "+strJSON(selfie)+"]).decode())"))
		through := &throughTerminal{Instance: inst}
		var shown string
		res, err := through.Execute(t.Context(), engine.Request{Script: selfie, Timeout: time.Minute}, func(r remuda.OutputRecord) error {
			shown = string(r.Data)
			return nil
		})
		if err != nil || res.State != remuda.ExecutionSuccess {
			t.Fatalf("%v %+v %s", err, res, shown)
		}
		terminal := read(shown)
		env := terminal["env"].(map[string]any)
		for name, value := range terminalEnv {
			if env[name] != value {
				t.Errorf("%s is %v", name, env[name])
			}
			delete(env, name)
			delete(script["env"].(map[string]any), name)
		}
		if len(terminal) < 15 || terminal["CapBnd"] != "0000000000000000" {
			t.Errorf("too little was looked at: %v", terminal)
		}
		for name, value := range script {
			if a, b := fmt.Sprint(value), fmt.Sprint(terminal[name]); a != b {
				t.Errorf("%s of a script is\n%s\nand of a terminal\n%s", name, a, b)
			}
		}
	})
}

// watcher looks at every process that it comes to see, all the time, and writes
// down what it could open and what program it was.
const watcher = `
import json, os, time
seen, mine, first = {}, os.getpid(), set(os.listdir("/proc"))
open("/workspace/watching", "w").close()
while not os.path.exists("/workspace/enough"):
    for pid in range(2, 400):
        for name in ("exe", "cwd", "root"):
            try: seen.setdefault(name + " " + os.readlink(f"/proc/{pid}/{name}"), pid)
            except OSError as e: pass
        for name in ("mem", "environ", "maps", "auxv"):
            try:
                with open(f"/proc/{pid}/{name}", "rb") as f:
                    what = f.read(1 << 20) if name != "mem" else b""
                    for word in (b"remuda", b"REMUDA", b"join"):
                        if word in what: seen.setdefault(f"{name} has {word} {what[:300]}", pid)
            except OSError: pass
        try:
            for fd in os.listdir(f"/proc/{pid}/fd"):
                link = os.readlink(f"/proc/{pid}/fd/{fd}")
                if not link.startswith(("/dev/pts/", "/usr/", "/dev/null", "/workspace", "/proc")):
                    seen.setdefault(f"fd {fd} {link.split(':')[0]}" + (" of the watcher" if pid == mine else ""), pid)
        except OSError: pass
print(json.dumps(seen))
`

// TestTerminalIsNeverHalfFenced has a script watch while terminals are opened: of
// what enters it may only see what the user's program is in the end.
func TestTerminalIsNeverHalfFenced(t *testing.T) {
	inBoth(t, func(t *testing.T, inst *Instance) {
		var seen map[string]int
		done := make(chan string)
		go func() {
			var out strings.Builder
			res, err := inst.Execute(t.Context(), engine.Request{ID: remuda.NewExecutionID(), Script: watcher, Timeout: 2 * time.Minute}, func(r remuda.OutputRecord) error {
				out.Write(r.Data)
				return nil
			})
			if err != nil || res.State != remuda.ExecutionSuccess {
				t.Errorf("%v %+v", err, res)
			}
			done <- out.String()
		}()
		for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
			if _, content, err := inst.Files().Read(t.Context(), "watching", 1); err == nil {
				_ = content.Close()
				break
			}
			if time.Now().After(deadline) {
				t.Fatal("the watcher does not begin")
			}
		}
		for range 30 {
			s := openScreen(t, inst, engine.TerminalSpec{Command: []string{"sleep", "0.1"}})
			s.exits()
		}
		openScreen(t, inst, engine.TerminalSpec{Command: []string{"sleep", "5"}}).exits() // however slow the watcher is
		if _, err := inst.Files().Write(t.Context(), "enough", strings.NewReader(""), 1); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal([]byte(<-done), &seen); err != nil {
			t.Fatal(err)
		}
		t.Logf("seen: %v", seen)
		if seen["exe /usr/bin/sleep"] == 0 && seen["exe /bin/sleep"] == 0 {
			t.Error("the watcher saw no terminal's program at all, so that it proves nothing")
		}
		for what := range seen {
			if strings.HasPrefix(what, "exe ") && !strings.HasPrefix(what, "exe /usr/") && !strings.HasPrefix(what, "exe /bin/") ||
				strings.Contains(what, "memfd") && !strings.HasSuffix(what, "of the watcher") || strings.Contains(what, " has ") || strings.HasPrefix(what, "root ") && what != "root /" {
				t.Errorf("it saw %s", what)
			}
		}
	})
}
