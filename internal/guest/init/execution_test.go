package guestinit_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/remuda-run/remuda/internal/guest/protocol"
	"github.com/remuda-run/remuda/internal/remuda"
)

func TestTimeLimit(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, script string
		final, dead  bool
	}{
		{"interrupted", "import time\ntime.sleep(60)", false, false},
		{"in a C loop", "sum(range(10**12))", false, true}, // no signal is handled in there
		{"ignores the interrupt", "import time\nwhile True:\n  try: time.sleep(60)\n  except KeyboardInterrupt: pass", false, true},
		{"last run", "import time\ntime.sleep(60)", true, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := ready(t, remuda.LanguagePython)
			r := s.exec(protocol.Execute{Script: "print('before', flush=True)\n" + c.script, TimeoutMS: 200, KillOnTimeout: c.final})
			if r.State != "timeout" || r.KilledBy != "time" || r.Reason == "" || r.stdout != "before\n" {
				t.Errorf("state %s, killed by %q, reason %q, stdout %q", r.State, r.KilledBy, r.Reason, r.stdout)
			}
			if c.dead {
				if !r.Dead {
					t.Error("the interpreter was killed and End does not say dead")
				}
				s.gone()
				return
			}
			if r.Dead || r.ErrType != "KeyboardInterrupt" {
				t.Errorf("dead %v, error %q, want KeyboardInterrupt", r.Dead, r.ErrType)
			}
			if r := s.exec(script("1")); string(r.ValueJSON) != "1" {
				t.Errorf("the next script gives %+v", r.End)
			}
		})
	}
}

func TestInterrupt(t *testing.T) {
	t.Parallel()
	for language, sc := range map[remuda.Language]string{
		remuda.LanguagePython: "print('go')\nimport time\ntime.sleep(60)",
		remuda.LanguageNode:   "console.log('go'); for (;;);",
		remuda.LanguageBash:   "x=4; echo go; sleep 60; echo no",
	} {
		t.Run(string(language), func(t *testing.T) {
			t.Parallel()
			s := ready(t, language)
			for round := range 3 {
				s.send(protocol.TypeExecute, protocol.Execute{ID: "e", Script: sc})
				r, err := s.tryCollect("e", func(int64, []byte) {
					s.send(protocol.TypeInterrupt, protocol.Interrupt{ID: "e", By: "cancel", GraceMS: 5000})
					s.send(protocol.TypeInterrupt, protocol.Interrupt{ID: "other", By: "cancel"})
				})
				if err != nil {
					t.Fatalf("%v (round %d, stdout %q)", err, round, r.stdout)
				}
				if r.State != "canceled" || r.KilledBy != "cancel" || r.Dead || r.stdout != "go\n" {
					t.Fatalf("state %s, killed by %q, dead %v, stdout %q, stderr %q, reason %q, code %v, wall %d", r.State, r.KilledBy, r.Dead, r.stdout, r.stderr, r.Reason, r.ExitCode, r.WallUS)
				}
			}
			if language == remuda.LanguageBash {
				if r := s.exec(script("echo $x")); r.stdout != "4\n" {
					t.Errorf("after an interrupt x is %q", r.stdout)
				}
			}
			// An interrupt that comes too late must not hit the next script.
			for range 50 {
				s.send(protocol.TypeExecute, protocol.Execute{ID: "quick", Script: "1"})
				s.send(protocol.TypeInterrupt, protocol.Interrupt{ID: "quick", By: "cancel", GraceMS: 5000})
				s.collect("quick")
				if r := s.exec(script("1")); r.State == "canceled" || r.ErrType == "KeyboardInterrupt" {
					t.Fatalf("a late interrupt hit the next script: %+v", r.End)
				}
			}
		})
	}
}

func TestInterruptWithoutGrace(t *testing.T) {
	t.Parallel()
	s := ready(t, remuda.LanguagePython)
	s.send(protocol.TypeExecute, protocol.Execute{ID: "e", Script: "print('go')\nimport time\ntime.sleep(60)"})
	r, err := s.tryCollect("e", func(int64, []byte) { s.send(protocol.TypeInterrupt, protocol.Interrupt{ID: "e", By: "cancel"}) })
	if err != nil || r.State != "canceled" || !r.Dead || r.ExitCode != nil {
		t.Errorf("state %s, dead %v, exit code %v, %v", r.State, r.Dead, r.ExitCode, err)
	}
	s.gone()
}

func TestDeath(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		script, state, reason string
		code                  int
	}{
		{"import os\nprint('x', flush=True)\nos._exit(0)", "success", "", 0},
		{"import os\nprint('x', flush=True)\nos._exit(9)", "error", "status 9", 9},
		{"import os\nprint('x', flush=True)\nos.kill(os.getpid(), 11)", "error", "signal 11 (SIGSEGV)", 139},
		{"import os\nprint('x', flush=True)\nos.kill(os.getpid(), 31)", "error", "SIGSYS", 159},
		{"import os\nprint('x', flush=True)\nos.fork() or os.execv('/bin/sleep', ['sleep', '60'])\nos._exit(3)", "error", "status 3", 3},
	} {
		t.Run(c.script, func(t *testing.T) {
			t.Parallel()
			s := ready(t, remuda.LanguagePython)
			r := s.exec(script(c.script))
			if r.State != c.state || !strings.Contains(r.Reason, c.reason) || !r.Dead || r.stdout != "x\n" || r.ExitCode == nil || *r.ExitCode != c.code {
				t.Errorf("state %s, reason %q, dead %v, stdout %q, exit code %v", r.State, r.Reason, r.Dead, r.stdout, r.ExitCode)
			}
			if sys := strings.Contains(c.reason, "SIGSYS"); sys != (r.KilledBy == "policy") {
				t.Errorf("killed by %q", r.KilledBy)
			}
			s.gone()
		})
	}
}

func TestIdleDeathEndsTheKeeper(t *testing.T) {
	t.Parallel()
	s := ready(t, remuda.LanguagePython)
	s.exec(script("import threading, os\nthreading.Timer(0.05, os._exit, [1]).start()"))
	s.send(protocol.TypeAck, protocol.Ack{ID: "none", Seq: 1})
	s.gone()
}

// A script can neither end nor stop its keeper.
func TestKeeperIgnoresTheScript(t *testing.T) {
	t.Parallel()
	s := ready(t, remuda.LanguagePython)
	r := s.exec(script("import os, signal\nout = []\nfor n in range(1, 65):\n  try: os.kill(1, n); out.append(n)\n  except OSError: pass\nout"))
	if string(r.ValueJSON) != "[]" {
		t.Errorf("signals %s could be sent to the keeper", r.ValueJSON)
	}
	if r := s.exec(script("1")); string(r.ValueJSON) != "1" {
		t.Errorf("the next script gives %+v", r.End)
	}
}

func TestOrphansAreReapedAndEndWithTheSandbox(t *testing.T) {
	t.Parallel()
	s := ready(t, remuda.LanguagePython)
	s.exec(script(`import os, time, subprocess
for i in range(50):
    if not os.fork():
        if not os.fork():
            os.setsid()
            os._exit(0)
        os._exit(0)
    os.wait()
end = time.time() + 10
while time.time() < end and len([p for p in os.listdir('/proc') if p.isdigit()]) > 1: time.sleep(0.01)`))
	if r := s.exec(script("[p for p in os.listdir('/proc') if p.isdigit() and int(p) != os.getpid()]")); string(r.ValueJSON) != "[]" {
		t.Errorf("processes %s are left", r.ValueJSON)
	}
	// A daemon stays with its runspace and ends with it.
	s.exec(script("subprocess.Popen(['sleep', '3600'], start_new_session=True).pid"))
	_ = s.conn.Close() // linger 0
	s.gone()
}

func TestForkBombCannotBreakTheKeeper(t *testing.T) {
	t.Parallel()
	const limit = 6 // RLIMIT_NPROC counts the interpreter's user in this sandbox
	s := ready(t, remuda.LanguagePython, func(set *protocol.Setup) {
		set.Limits = append(set.Limits, protocol.Rlimit{Resource: limit, Value: 60})
	})
	r := s.exec(script("import os, time\nn = 0\nwhile True:\n  try:\n    if not os.fork(): time.sleep(3600)\n    n += 1\n  except OSError: break\nprint('x' * 3000000)\nn"))
	if r.State != "success" || len(r.stdout) != 3000001 {
		t.Errorf("state %s with %d bytes: %s %s", r.State, len(r.stdout), r.ErrText, r.Reason)
	}
	s.send(protocol.TypeFile, protocol.FileRequest{Req: 1, Op: "list", Path: ""})
	expect[protocol.FileReply](s.client, protocol.TypeFileReply)
	if r := s.exec(protocol.Execute{Script: "while True: pass", TimeoutMS: 50, KillOnTimeout: true}); r.State != "timeout" {
		t.Errorf("state %s, want timeout", r.State)
	}
	s.gone()
}

func TestOutputIsNumberedAndLossless(t *testing.T) {
	t.Parallel()
	s := ready(t, remuda.LanguagePython)
	r := s.exec(script("import os, sys\nfor i in range(2000): print(i)\nos.write(2, bytes(range(256)) * 4000)\nfor i in range(2000, 4000): print(i)"))
	var want strings.Builder
	for i := range 4000 {
		want.WriteString(itoa(i) + "\n")
	}
	if r.stdout != want.String() || len(r.stderr) != 256*4000 {
		t.Errorf("%d bytes of stdout, want %d; %d of stderr", len(r.stdout), want.Len(), len(r.stderr))
	}
	for i, seq := range r.seqs {
		if seq != int64(i+1) {
			t.Fatalf("record %d has number %d", i, seq)
		}
	}
	if r.LastSeq != int64(r.records) || r.records > 3000 {
		t.Errorf("last number %d of %d records for 4000 lines", r.LastSeq, r.records)
	}
}

func TestOutputComesWhileTheScriptRuns(t *testing.T) {
	t.Parallel()
	s := ready(t, remuda.LanguagePython)
	s.send(protocol.TypeExecute, protocol.Execute{ID: "e", Script: "import time, os\nprint('early')\nwhile not os.path.exists('go'): time.sleep(0.005)"})
	first := true
	if _, err := s.tryCollect("e", func(int64, []byte) {
		if first {
			s.send(protocol.TypeFile, protocol.FileRequest{Req: 1, Op: "write", Path: "go", Limit: 1})
			if err := protocol.Write(s.conn, protocol.TypeFileData, protocol.AppendFileData(nil, 1, nil)); err != nil {
				t.Error(err)
			}
			expect[protocol.FileReply](s.client, protocol.TypeFileReply)
			first = false
		}
	}); err != nil {
		t.Fatal(err)
	}
}

func TestOutputLimit(t *testing.T) {
	t.Parallel()
	s := ready(t, remuda.LanguagePython)
	r := s.exec(protocol.Execute{Script: "print('x' * 1999)\n5", OutputLimit: 1000})
	if r.State != "success" || len(r.stdout) != 1000 || r.OutputCut != 1000 {
		t.Errorf("state %s, %d bytes kept, %d cut", r.State, len(r.stdout), r.OutputCut)
	}
	r = s.exec(protocol.Execute{Script: "while True: print('x' * 1000)", OutputLimit: 100_000})
	if r.State != "error" || r.KilledBy != "output" || len(r.stdout) != 100_000 || !r.Dead || r.Reason == "" {
		t.Errorf("state %s, killed by %q, %d bytes kept, dead %v", r.State, r.KilledBy, len(r.stdout), r.Dead)
	}
	s.gone()
}

func TestFlowControl(t *testing.T) {
	t.Parallel()
	s := ready(t, remuda.LanguagePython)
	s.acks = false
	s.send(protocol.TypeExecute, protocol.Execute{ID: "e", Script: "import os\nfor i in range(64): os.write(1, b'x' * 65536)\nprint('end')"})
	// Without acknowledgements about 1 MiB comes and then nothing.
	got, last := 0, int64(0)
	for {
		_ = s.conn.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
		typ, p, err := protocol.Read(s.conn, nil, protocol.MaxFrame)
		if err != nil {
			break
		}
		if typ != protocol.TypeOutput {
			t.Fatalf("frame %d", typ)
		}
		seq, _, data, _ := protocol.ParseOutput(p)
		got, last = got+len(data), seq
	}
	if got < 1<<20 || got > 1<<20+128<<10 {
		t.Fatalf("%d bytes came unacknowledged, want about 1 MiB", got)
	}
	s.acks = true
	s.send(protocol.TypeAck, protocol.Ack{ID: "e", Seq: last})
	r := s.collect("e")
	if total := got + len(r.stdout); total != 64*65536+4 || r.State != "success" {
		t.Errorf("%d bytes, state %s", total, r.State)
	}
}

func TestDiskFullIsSaid(t *testing.T) {
	t.Parallel()
	s := ready(t, remuda.LanguagePython)
	for _, sc := range []string{
		"f = open('big', 'wb', buffering=0)\nwhile True: f.write(b'x' * 1000000)",
		"import os\nos.remove('big')\nfor i in range(10**6): open('/tmp/%d' % i, 'w').close()",
	} {
		if r := s.exec(script(sc)); r.State != "error" || !r.DiskFull || r.ErrType != "OSError" {
			t.Errorf("state %s, disk full %v, %s %s", r.State, r.DiskFull, r.ErrType, r.ErrText)
		}
	}
}

func TestGarbageFromTheDriverEndsTheInstance(t *testing.T) {
	t.Parallel()
	for name, bytes := range map[string]string{
		"unknown type":   `b'\0\0\0\0\x09'`,
		"oversize":       `b'\xff\xff\xff\xff\x03'`,
		"second ready":   `b'\0\0\0\x05\x02\0\0\0\x01x'`,
		"broken end":     `b'\0\0\0\x04\x03\0\0\0\x09'`,
		"end with holes": `b'\0\0\0\x04\x03\0\0\0\0'`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := ready(t, remuda.LanguagePython)
			r := s.exec(script("import os, time\nprint('x')\nos.write(1000, " + bytes + ")\ntime.sleep(60)"))
			if r.State != "error" || r.KilledBy != "policy" || !r.Dead || r.stdout != "x\n" {
				t.Errorf("state %s, killed by %q, dead %v, stdout %q", r.State, r.KilledBy, r.Dead, r.stdout)
			}
			s.gone()
		})
	}
	t.Run("between runs", func(t *testing.T) {
		t.Parallel()
		s := ready(t, remuda.LanguagePython)
		s.exec(script("import threading, os\nthreading.Timer(0.05, os.write, [1000, b'garbage']).start()"))
		s.gone()
	})
	t.Run("line", func(t *testing.T) {
		t.Parallel()
		s := ready(t, remuda.LanguageBash)
		r := s.exec(script("echo x; echo garbage >&10; sleep 60"))
		if r.State != "error" || r.KilledBy != "policy" || !r.Dead || r.stdout != "x\n" {
			t.Errorf("state %s, killed by %q, dead %v, stdout %q", r.State, r.KilledBy, r.Dead, r.stdout)
		}
		s.gone()
	})
}

// A forged end ends the script's own execution, and nothing else.
func TestForgedEnd(t *testing.T) {
	t.Parallel()
	s := ready(t, remuda.LanguagePython)
	r := s.exec(script("import os\nf = [b'ok', b'0', b'v', b'not json', b'mine', b'', b'', b'']\np = b''.join(len(x).to_bytes(4, 'big') + x for x in f)\nos.write(1000, len(p).to_bytes(4, 'big') + b'\\x03' + p)"))
	if r.State != "success" || r.ValueText != "mine" || r.ValueJSON != nil {
		t.Errorf("state %s, value %q %s", r.State, r.ValueText, r.ValueJSON)
	}
	s.gone() // the true end is out of turn
}

// TestRunThatIsNotTaken ends an interpreter that has not read its script, and one
// that has: only of the first may be said that nothing has run.
func TestRunThatIsNotTaken(t *testing.T) {
	for _, language := range remuda.Languages() {
		for name, size := range map[string]int{"small": 10, "more than the channel holds": 4 << 20} {
			t.Run(string(language)+" "+name, func(t *testing.T) {
				t.Parallel()
				s := ready(t, language)
				pid := s.interpreter()
				if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
					t.Fatal(err)
				}
				e := protocol.Execute{ID: remuda.NewID("ex"), Script: strings.Repeat("\n", size)}
				s.send(protocol.TypeExecute, e)
				if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
					t.Fatal(err)
				}
				if got := s.collect(e.ID); got.State != "lost" || !got.Dead || got.Reason == "" || got.ExitCode != nil || got.LastSeq != 0 {
					t.Errorf("ended as %+v", got.End)
				}
				s.gone()
			})
		}
		t.Run(string(language)+" taken", func(t *testing.T) {
			t.Parallel()
			s := ready(t, language)
			e := protocol.Execute{ID: remuda.NewID("ex"), Script: map[remuda.Language]string{
				remuda.LanguagePython: "print('begun', flush=True)\nimport time\ntime.sleep(60)",
				remuda.LanguageBash:   "echo begun\nwhile :; do :; done",
				remuda.LanguageNode:   "console.log('begun')\nawait new Promise(r => setTimeout(r, 60000))",
			}[language]}
			s.send(protocol.TypeExecute, e)
			got, err := s.tryCollect(e.ID, func(int64, []byte) { _ = syscall.Kill(s.interpreter(), syscall.SIGKILL) })
			if err != nil || got.State != "error" || !got.Dead || got.stdout != "begun\n" {
				t.Errorf("ended as %+v, %v", got.End, err)
			}
		})
	}
}

// interpreter is the number, outside, of the keeper's first child.
func (s *sandbox) interpreter() int {
	s.t.Helper()
	lists, err := filepath.Glob("/proc/" + itoa(s.cmd.Process.Pid) + "/task/*/children")
	if err != nil {
		s.t.Fatal(err)
	}
	for _, list := range lists {
		if children, err := os.ReadFile(list); err == nil && len(children) > 0 {
			return atoi(strings.Fields(string(children))[0])
		}
	}
	s.t.Fatal("the keeper has no child")
	return 0
}
