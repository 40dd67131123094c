package local

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/engine/enginetest/leftover"
	"github.com/remuda-run/remuda/internal/remuda"
)

// placeModule puts a module where sandboxes can import it, until the end of the
// test, and returns its name.
func placeModule(t *testing.T, e *Engine, source string) string {
	t.Helper()
	in, err := e.versions.interpreter(t.Context(), remuda.LanguagePython, "")
	if err != nil {
		t.Fatal(err)
	}
	version := strings.Join(strings.SplitN(in.Version, ".", 3)[:2], ".")
	dir := "/usr/local/lib/python" + version + "/dist-packages"
	for d := dir; ; d = filepath.Dir(d) { // what is missing of it
		if _, err := os.Stat(d); err == nil {
			break
		}
		t.Cleanup(func() { _ = os.Remove(d) })
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	name, err := leftover.Module(randomHex(8))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, name+".py")
	if err := os.WriteFile(path, []byte(source), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.Remove(path); err != nil {
			t.Error(err)
		}
	})
	return name
}

// used is a module that has used, in the template, all that must be fresh in an
// instance.
const used = `
import multiprocessing.process, random, secrets, ssl, tempfile, uuid
random.random(), secrets.token_hex(16), uuid.uuid1(), uuid.uuid4(), ssl.RAND_bytes(16)
next(tempfile._get_candidate_names()), bytes(multiprocessing.process.current_process().authkey)
try:
    import numpy
    numpy.random.rand()
except ImportError:
    pass
`

// sees prints what an instance has found, and leaves a canary wherever it can.
const sees = `
import builtins, json, locale, multiprocessing.process, os, random, secrets, signal, ssl, sys, tempfile, time, uuid
places = ("/tmp", "/var/tmp", "/dev/shm", "/workspace")
state = {
    "fds": sorted(int(n) for n in os.listdir("/proc/self/fd") if os.path.exists("/proc/self/fd/" + n)),
    "environ": {os.fsdecode(n): os.fsdecode(v) for n, v in os.environb.items()},
    "cwd": os.getcwd(), "umask": os.umask(0o022), "signals": [str(signal.getsignal(n)).split(" at ")[0] for n in range(1, signal.NSIG)],
    "mask": [int(n) for n in signal.pthread_sigmask(signal.SIG_BLOCK, ())],
    "timers": [signal.getitimer(n) for n in (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF)],
    "zone": time.tzname, "locale": locale.setlocale(locale.LC_CTYPE), "all": locale.setlocale(locale.LC_ALL), "files": [os.listdir(p) for p in places],
    "threads": len(os.listdir("/proc/self/task")), "trace": [sys.gettrace(), sys.getprofile()],
    "limits": open("/proc/self/limits").read(), "ids": [os.getresuid(), os.getresgid(), os.getgroups(), os.getpgrp() == os.getpid()],
    "canaries": sorted(n for space in (globals(), vars(builtins), sys.modules, os.environ) for n in space if "yranac" in n),
}
modules = sorted(sys.modules)
fresh = {
    "random": random.random(), "secrets": secrets.token_hex(16), "uuid4": str(uuid.uuid4()), "uuid1": str(uuid.uuid1()), "node": uuid.getnode(),
    "ssl": ssl.RAND_bytes(16).hex(), "urandom": os.urandom(16).hex(), "tempfile": next(tempfile._get_candidate_names()),
    "authkey": bytes(multiprocessing.process.current_process().authkey).hex(), "boot": open("/proc/sys/kernel/random/uuid").read(),
}
try:
    import numpy
    fresh["numpy"] = numpy.random.rand()
except ImportError:
    pass
canary = "canary"[::-1] + secrets.token_hex(16)
globals()[canary] = os.environ[canary] = canary
setattr(builtins, canary, canary)
sys.modules[canary] = sys
builtins.len = lambda x, len=len: len(x)
os.getcwd = None
for p in places:
    open(p + "/" + canary, "w").write(canary)
os.chdir("/")
print(json.dumps({"state": state, "fresh": fresh, "modules": modules, "hash": hash("remuda")}), flush=True)
`

// seen is what an instance prints.
type seen struct {
	State   map[string]any
	Fresh   map[string]any
	Modules []string
	Hash    int64
}

func look(t *testing.T, output string) seen {
	t.Helper()
	var s seen
	if err := json.Unmarshal([]byte(output), &s); err != nil {
		t.Fatalf("%v in %q", err, output)
	}
	return s
}

// TestHygiene forks a thousand instances from one template. Nothing that must be
// an instance's own may be shared, and nothing of one be seen in another.
func TestHygiene(t *testing.T) {
	const atOnce = 4
	children := 1000
	if testing.Short() { // in the emulated machine, whose kernel is what is new there
		children = 20
	}
	e := open(t, Options{})
	preload := []string{"random", "secrets", "uuid", "ssl", "tempfile", "multiprocessing.process"}
	if exec.CommandContext(t.Context(), "/usr/bin/python3", "-c", "import numpy").Run() == nil {
		preload = append(preload, "numpy")
	} else if !testing.Short() {
		t.Error("numpy's generator was not tried: scripts/install.sh run test installs numpy")
	}
	spec := templateSpec(append(preload, placeModule(t, e, used))...)
	spec.Env = map[string]string{"OWN": "wörd"}
	plain := spec
	plain.Generation = remuda.GenerationKey{}
	want := look(t, printed(t, create(t, e, plain), sees)) // started the ordinary way
	spec = upTemplate(t, e, spec)

	var mu sync.Mutex
	var all []seen
	var wg sync.WaitGroup
	for range atOnce {
		wg.Go(func() {
			for range children / atOnce {
				res, out := runOnce(t, e, spec, sees)
				if res.State != remuda.ExecutionSuccess {
					t.Errorf("%+v", res)
					return
				}
				s := look(t, out)
				mu.Lock()
				all = append(all, s)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if len(all) != children {
		t.Fatalf("%d of %d instances have spoken", len(all), children)
	}
	judge(t, all, want)
	hidden(t, e, spec)

	other := upTemplate(t, e, templateSpec())
	if _, out := runOnce(t, e, other, sees); look(t, out).Hash == all[0].Hash {
		t.Error("two generations hash alike")
	}
}

// compare looks for a difference in what concerns the process.
func compare(t *testing.T, whose string, s, want seen) {
	t.Helper()
	for name, v := range s.State {
		if !reflect.DeepEqual(v, want.State[name]) {
			t.Errorf("%s %s is %v, and %v in one that was not forked", name, whose, v, want.State[name])
		}
	}
}

func judge(t *testing.T, all []seen, want seen) {
	t.Helper()
	values := map[string]map[any]bool{}
	for n, s := range all {
		for name, v := range s.Fresh {
			if values[name] == nil {
				values[name] = map[any]bool{}
			}
			if values[name][v] {
				t.Errorf("%s: %v comes twice", name, v)
			}
			values[name][v] = true
		}
		compare(t, fmt.Sprintf("of instance %d", n), s, want)
		if !slices.Equal(s.Modules, all[0].Modules) {
			t.Errorf("instance %d has other modules", n)
		}
		// What PROTOCOL.md says: CPython cannot change it once it runs.
		if s.Hash != all[0].Hash {
			t.Error("instances of a template hash differently: PROTOCOL.md is not true any more")
		}
		if t.Failed() {
			return
		}
	}
	if len(values) < 10 || len(all[0].State) < 10 {
		t.Errorf("too little was looked at: %v", slices.Collect(maps.Keys(values)))
	}
	s := want.State
	if got := fmt.Sprintf("%v %v %v %v %v %v %v", s["fds"], s["cwd"], s["umask"], s["zone"], s["locale"], s["canaries"], s["threads"]); got != "[0 1 2 1000] /workspace 18 [UTC UTC] C.UTF-8 [] 1" {
		t.Errorf("an instance that was not forked has %v", s)
	}
	env := environment(map[string]string{"OWN": "wörd"}, nil)
	if own := s["environ"].(map[string]any); len(own) != len(env) || own["OWN"] != "wörd" || own["HOME"] != env["HOME"] {
		t.Errorf("its environment is %v", own)
	}
}

// printed runs a script and returns its output.
func printed(t *testing.T, inst engine.Instance, script string) string {
	t.Helper()
	var out []byte
	res, err := inst.Execute(t.Context(), engine.Request{ID: remuda.NewExecutionID(), Script: script}, func(r remuda.OutputRecord) error {
		out = append(out, r.Data...)
		return nil
	})
	if err != nil || res.State != remuda.ExecutionSuccess {
		t.Fatalf("%v %+v %s", err, res, out)
	}
	return string(out)
}

// hidden looks for the instances' canaries in the template's memory.
func hidden(t *testing.T, e *Engine, spec engine.Spec) {
	t.Helper()
	inst := create(t, e, spec)
	printed(t, inst, sees)
	if mem := memory(t, inst.blank.group.Pids); !bytes.Contains(mem, []byte("yranac")) {
		t.Error("not even an instance's own memory shows its canary")
	}
	mem := memory(t, e.templates.of(t.Context(), spec).blank.group.Pids)
	if !bytes.Contains(mem, []byte("become_template")) {
		t.Error("the template's memory was not read")
	}
	if bytes.Contains(mem, []byte("yranac")) {
		t.Error("the template's memory holds a canary")
	}
}

// memory is all memory of the interpreters of a group.
func memory(t *testing.T, processes func() ([]int, error)) []byte {
	t.Helper()
	pids, err := processes()
	if err != nil {
		t.Fatal(err)
	}
	var all []byte
	for _, pid := range pids {
		if name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid)); err == nil && strings.HasPrefix(string(name), "python") {
			all = append(all, written(t, pid)...)
		}
	}
	return all
}

// written is the memory that a process can write to.
func written(t *testing.T, pid int) (all []byte) {
	t.Helper()
	mem, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = mem.Close() }()
	regions, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(regions)) {
		var from, to uint64
		var mode string
		if _, err := fmt.Sscanf(line, "%x-%x %s", &from, &to, &mode); err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(mode, "rw") {
			b := make([]byte, to-from)
			n, _ := mem.ReadAt(b, int64(from)) // a region may have holes
			all = append(all, b[:n]...)
		}
	}
	return all
}

// TestUsersComeBackLate wants no instance to get the users of another one that
// has just ended: files or processes of theirs may not be forgotten yet.
func TestUsersComeBackLate(t *testing.T) {
	e := open(t, Options{})
	spec := upTemplate(t, e, templateSpec())
	seen := map[int]bool{}
	for range 20 {
		inst := create(t, e, spec)
		if !inst.blank.forked || seen[inst.blank.owner] {
			t.Errorf("forked %v, user %d, used before %v", inst.blank.forked, inst.blank.owner, seen)
		}
		seen[inst.blank.owner] = true
		if err := inst.Destroy(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}
