package enginetest

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/remuda"
)

// streams runs what leaves more than output: messages, objects, values under a name,
// names that are gone afterwards. What a script forges harms its own execution only.
func streams(t *testing.T, e engine.Engine) {
	messages(t, e)
	t.Run("threads", func(t *testing.T) { threads(t, e) })
	t.Run("live", func(t *testing.T) { live(t, e) })
	t.Run("interrupted", func(t *testing.T) { interrupted(t, e) })
	t.Run("scratch", func(t *testing.T) { scratch(t, e) })
	t.Run("hostile", func(t *testing.T) { forgers(t, e) })
}

// told is an execution with its records by stream.
type told struct {
	outcome
	by map[remuda.Stream][]string
}

// tell runs a script and keeps its records apart.
func (b box) tell(req engine.Request) told {
	b.t.Helper()
	req.ID = remuda.NewExecutionID()
	if req.Timeout == 0 {
		req.Timeout = patience
	}
	var mu sync.Mutex
	by := map[remuda.Stream][]string{}
	res, err := b.Execute(b.t.Context(), req, func(r remuda.OutputRecord) error {
		mu.Lock()
		defer mu.Unlock()
		if r.At.IsZero() {
			b.t.Errorf("record %d has no time", r.Seq)
		}
		by[r.Stream] = append(by[r.Stream], string(r.Data))
		return nil
	})
	if err != nil {
		b.t.Fatalf("execute: %v", err)
	}
	return told{outcome{Result: res, t: b.t, d: b.d, out: strings.Join(by[remuda.StreamStdout], ""), err: strings.Join(by[remuda.StreamStderr], "")}, by}
}

// messages runs the same in each language that has it.
func messages(t *testing.T, e engine.Engine) {
	small := remuda.Resources{CPU: 2, MemoryMB: 512, DiskMB: 64, Pids: 64}
	for language, say := range map[remuda.Language]string{
		remuda.LanguagePython: "import logging\nlogging.info('i')\nlogging.warning('w')\nlogging.error('e')\nlogging.debug('d')\nlogging.log(15, 'v')\nprint('out')\n[1, 2]",
		remuda.LanguageNode:   "console.info('i'); console.warn('w'); console.error('e'); console.debug('d'); console.log('out'); [1, 2]",
	} {
		t.Run(string(language), func(t *testing.T) {
			t.Parallel()
			b := create(t, e, language, small)
			got := b.tell(engine.Request{Script: say, Streams: true, Objects: true})
			got.ok()
			for stream, want := range map[remuda.Stream]string{
				remuda.StreamInformation: "i", remuda.StreamWarning: "w", remuda.StreamError: "e", remuda.StreamDebug: "d", remuda.StreamStdout: "out\n", remuda.StreamStderr: "",
			} {
				if text := strings.Join(got.by[stream], ""); text != want {
					t.Errorf("%s is %q, want %q", stream, text, want)
				}
			}
			var values []any
			for _, text := range got.by[remuda.StreamObject] {
				var object struct{ Value any }
				if err := json.Unmarshal([]byte(text), &object); err != nil {
					t.Errorf("object %s: %v", text, err)
				}
				values = append(values, object.Value)
			}
			if !slices.Equal(values, []any{1.0, 2.0}) {
				t.Errorf("objects %v", values)
			}
			// Without the flags nothing is left of them.
			if got := b.tell(engine.Request{Script: say}); len(got.by[remuda.StreamStdout]) == 0 || len(got.by) > 2 {
				t.Errorf("without streams: %v", got.by)
			}
			b.tell(engine.Request{Script: "40 + 2", Assign: "answer"}).ok()
			if got := b.tell(engine.Request{Script: "answer"}); got.Value == nil || string(got.Value.JSON) != "42" {
				t.Errorf("the assigned value is %+v", got.Value)
			}
		})
	}
	t.Run("bash", func(t *testing.T) {
		t.Parallel()
		b := create(t, e, remuda.LanguageBash, small)
		b.tell(engine.Request{Script: "echo 42; echo no >&2", Assign: "answer", Streams: true, Objects: true}).ok()
		b.tell(engine.Request{Script: "echo $answer"}).ok().says("42\n")
	})
}

// threads has many write at once, in an instance that children are forked from too.
func threads(t *testing.T, e engine.Engine) {
	t.Parallel()
	b := create(t, e, remuda.LanguagePython, resources)
	got := b.tell(engine.Request{Streams: true, Script: `
import logging, os, threading
def say(n):
    for i in range(200):
        logging.info("%d %d %s", n, i, "x" * (i * 37 % 9000))
threads = [threading.Thread(target=say, args=(n,)) for n in range(8)]
for t in threads: t.start()
for _ in range(5):
    if not os.fork():
        logging.getLogger("child").info("never seen")
        os._exit(0)
    os.wait()
for t in threads: t.join()
`})
	got.ok()
	next := map[string]int{}
	for _, text := range got.by[remuda.StreamInformation] {
		var n string
		var i int
		rest := ""
		if _, err := fmt.Sscanf(text+" .", "%s %d %s", &n, &i, &rest); err != nil || next[n] != i || i%200 > 0 && len(rest) != max(i*37%9000, 1) {
			t.Fatalf("message %.80q of %d bytes, thread %s is at %d: %v", text, len(text), n, next[n], err)
		}
		next[n]++
	}
	if len(got.by[remuda.StreamInformation]) != 1600 {
		t.Errorf("%d messages", len(got.by[remuda.StreamInformation]))
	}
}

// live has a record arrive while its script runs.
func live(t *testing.T, e engine.Engine) {
	t.Parallel()
	b := create(t, e, remuda.LanguagePython, resources)
	req := engine.Request{ID: remuda.NewExecutionID(), Timeout: patience, Streams: true, Script: "import logging, time\nlogging.info('begun')\ntime.sleep(600)"}
	res, err := b.Execute(t.Context(), req, func(r remuda.OutputRecord) error {
		if r.Stream == remuda.StreamInformation && string(r.Data) == "begun" {
			return b.Interrupt(t.Context(), remuda.KilledByCancel, patience)
		}
		return nil
	})
	if err != nil || res.State != remuda.ExecutionCanceled || res.Dead {
		t.Errorf("ended as %s, dead %v, %v", res.State, res.Dead, err)
	}
}

// interrupted ends scripts in the middle of a flood of records, over and over: the
// instance lives, and its records stay whole.
func interrupted(t *testing.T, e engine.Engine) {
	for language, script := range map[remuda.Language]string{
		remuda.LanguagePython: "import logging\nfor i in range(10**9): logging.info('x' * 5000)",
		remuda.LanguageNode:   "for (;;) console.info('x'.repeat(5000))",
	} {
		t.Run(string(language), func(t *testing.T) {
			t.Parallel()
			b := create(t, e, language, remuda.Resources{CPU: 2, MemoryMB: 512, DiskMB: 64, Pids: 64})
			for round := range 5 {
				count := 0
				res, err := b.Execute(t.Context(), engine.Request{ID: remuda.NewExecutionID(), Timeout: patience, Streams: true, Script: script, OutputLimit: 1 << 40}, func(r remuda.OutputRecord) error {
					if r.Stream == remuda.StreamInformation && len(r.Data) != 5000 {
						t.Errorf("a record has %d bytes", len(r.Data))
					}
					if count++; count == 300*(round+1) {
						return b.Interrupt(t.Context(), remuda.KilledByCancel, patience)
					}
					return nil
				})
				if err != nil || res.State != remuda.ExecutionCanceled || res.Dead {
					t.Fatalf("round %d ended as %s by %q (%s), dead %v, %v", round, res.State, res.KilledBy, res.Reason, res.Dead, err)
				}
			}
			b.tell(engine.Request{Script: "1"}).ok()
		})
	}
}

// forgers write what they like where records go.
func forgers(t *testing.T, e engine.Engine) {
	const find = `
import os, socket, sys
print("forging", flush=True)
fds = [int(f) for f in os.listdir("/proc/self/fd")]
def links():
    for fd in fds:
        try:
            if fd > 2 and "socket" in os.readlink("/proc/self/fd/%d" % fd): yield fd
        except OSError: pass
def forge(data):
    for fd in links(): os.write(fd, data)
def record(kind, data): return (len(data) + 9).to_bytes(4, "big") + b"\x08\0\0\0\x01" + kind + len(data).to_bytes(4, "big") + data
`
	for name, tt := range map[string]struct {
		script  string
		streams bool
		by      remuda.KilledBy
	}{
		"a record nobody asked for": {script: "forge(record(b'3', b'x'))", by: remuda.KilledByPolicy},
		"an object without asking":  {script: "forge(record(b'8', b'1'))", streams: true, by: remuda.KilledByPolicy},
		"a kind that is not there":  {script: "forge(record(b'9', b'x'))", streams: true, by: remuda.KilledByPolicy},
		"a huge message":            {script: "forge(record(b'3', b'x' * 40000))", streams: true, by: remuda.KilledByPolicy},
		"half a record":             {script: "forge(record(b'3', b'x' * 40)[:20])\nimport logging\nfor i in range(100): logging.info('y')", streams: true, by: remuda.KilledByPolicy},
		"a flood of empty messages": {script: "r = record(b'3', b'') * 1000\nwhile True: forge(r)", streams: true, by: remuda.KilledByOutput},
		"a flood of messages":       {script: "import logging\nwhile True: logging.info('x' * 30000)", streams: true, by: remuda.KilledByOutput},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := create(t, e, remuda.LanguagePython, resources)
			got := b.tell(engine.Request{Script: find + tt.script + "\nimport time\ntime.sleep(600)", Streams: tt.streams, OutputLimit: 1 << 20})
			got.says("forging").wants(remuda.ExecutionError, tt.by)
			size := 0
			for _, texts := range got.by {
				for _, text := range texts {
					size += len(text) + 64
				}
			}
			if size > 2<<20 {
				t.Errorf("%d bytes of records were kept", size)
			}
		})
	}
}

// canary is a secret that is passed to a script whose names are scratch, and sought
// by the next one. No script holds it in one piece.
const canary = "canary-4711-hush-0815"

// search looks for the secret wherever a script can look, its own memory included.
const search = `
import ctypes, gc, os, sys
want = (ctypes.c_ubyte * %[2]d)()  # whose text nobody sees
for i, b in enumerate(%[1]s): want[i] = b ^ 0x55
own, length = ctypes.addressof(want), len(want)
libc = ctypes.CDLL(None)
libc.memmem.restype = ctypes.c_void_p
libc.memmem.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p, ctypes.c_size_t]
found = []
def look(where, text):
    if isinstance(text, str): text = text.encode("utf-8", "surrogatepass")
    if libc.memmem(text, len(text), own, length): found.append(where)
for name, value in list(globals().items()):
    look("global " + name, repr(value))
for o in gc.get_objects():
    for r in gc.get_referents(o):
        if isinstance(r, (str, bytes)): look("object in a " + type(o).__name__, r)
for name, value in os.environ.items(): look("environment", value)
for file in ("environ", "cmdline", "comm", "stat", "status", "auxv"):
    try: look(file, open("/proc/self/" + file, "rb").read())
    except OSError: pass
look("stdin", sys.stdin.read())
for folder in ("/workspace", "/tmp", "/var/tmp", "/dev/shm"):
    for path, _, files in os.walk(folder):
        for file in files:
            look(os.path.join(path, file), open(os.path.join(path, file), "rb").read())
frame = sys._getframe()
while frame:
    look("frame", repr(frame.f_locals))
    frame = frame.f_back
looked = 0
for line in open("/proc/self/maps"):
    place, mode, _, _, _, *name = line.split()
    if mode[0] != "r" or name and name[0].startswith("[v"): continue
    start, end = (int(n, 16) for n in place.split("-"))
    looked += end - start
    while start < end:
        hit = libc.memmem(start, end - start, own, length)
        if not hit: break
        if hit != own: found.append("memory at %%x of %%s" %% (hit, line.strip()))
        start = hit + 1
print(found)
found == [] and looked > 1 << 20
`

// scratch passes a secret to a script and has the next one look for it.
func scratch(t *testing.T, e engine.Engine) {
	t.Parallel()
	var coded []string
	for _, b := range []byte(canary) {
		coded = append(coded, fmt.Sprint(b^0x55))
	}
	credentials := map[string]json.RawMessage{"credentials": json.RawMessage(`{"user":"u","password":"` + canary + `"}`)}
	b := create(t, e, remuda.LanguagePython, resources)
	seek := engine.Request{Script: fmt.Sprintf(search, "["+strings.Join(coded, ",")+"]", len(canary))}
	// The search finds what is there: a secret that was no scratch.
	open := create(t, e, remuda.LanguagePython, resources)
	open.tell(engine.Request{Script: "len(credentials['password'])", Parameters: credentials}).ok()
	if got := open.tell(seek).ok(); got.Value == nil || got.Value.Text != "False" || !strings.Contains(got.out, "global credentials") || !strings.Contains(got.out, "memory at") {
		t.Fatalf("the search does not find an open secret: %s", got.out)
	}
	for _, script := range []string{
		"login = lambda user, password: len(password)\nlogin(**credentials)",
		"1/0 if credentials['password'] else 0",
		"import hashlib\nhashlib.sha256((credentials['user'] + ':' + credentials['password']).encode()).hexdigest()",
	} {
		b.tell(engine.Request{Script: script, Parameters: credentials, Scratch: []string{"credentials"}})
		if got := b.tell(seek).ok(); got.Value == nil || got.Value.Text != "True" {
			t.Errorf("after %q the secret is still there: %s", script, got.out)
		}
	}
	for language, script := range map[remuda.Language]string{
		remuda.LanguageNode: "credentials", remuda.LanguageBash: "[[ ! -v credentials ]] && ! env | grep -q canary && ! declare -p | grep -v BASH_ | grep -q canary-",
	} {
		other := create(t, e, language, remuda.Resources{CPU: 2, MemoryMB: 512, DiskMB: 64, Pids: 64})
		use := map[remuda.Language]string{remuda.LanguageNode: "credentials.password.length", remuda.LanguageBash: "echo ${#credentials}"}[language]
		other.tell(engine.Request{Script: use, Parameters: credentials, Scratch: []string{"credentials"}}).ok()
		got := other.tell(engine.Request{Script: script})
		if gone := got.State == remuda.ExecutionSuccess; gone == (language == remuda.LanguageNode) {
			t.Errorf("%s: the name ends as %s: %s", language, got.State, got.Reason)
		}
	}
}
