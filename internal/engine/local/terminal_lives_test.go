package local

import (
	"context"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/remuda"
)

var bash = []string{"bash", "--norc", "-i"}

// named counts the processes of an instance whose command line has a word.
func named(t *testing.T, inst *Instance, word string) int {
	t.Helper()
	pids, err := inst.blank.group.Pids()
	if err != nil {
		return 0 // the group has gone
	}
	n := 0
	for _, pid := range pids {
		line, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cmdline")
		if err == nil && strings.Contains(string(line), word) {
			n++
		}
	}
	return n
}

// TestTerminalCloses hangs up on programs that do not want to end.
func TestTerminalCloses(t *testing.T) {
	inBoth(t, func(t *testing.T, inst *Instance) {
		s := openScreen(t, inst, engine.TerminalSpec{Command: bash})
		s.wait("$ ")
		s.typeIn("trap '' HUP TERM; (trap '' HUP; exec sleep 3611) & nohup sleep 3612 & sleep 3613 & jobs; echo be''gun\r")
		s.wait("begun")
		for _, word := range []string{"3611", "3612", "3613"} {
			for deadline := time.Now().Add(time.Minute); named(t, inst, word) == 0; time.Sleep(time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatalf("%s does not run: %q", word, s.text())
				}
			}
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		s.exits()
		if left := named(t, inst, "sleep") + named(t, inst, "bash"); left > 0 {
			t.Errorf("%d of its processes are left", left)
		}
		if err := s.Close(); err != nil {
			t.Errorf("a second time: %v", err)
		}
		if _, err := s.Write([]byte("x")); err == nil {
			t.Error("what is closed can be written to")
		}
		if res := execute(t, inst, "6*7"); res.State != remuda.ExecutionSuccess {
			t.Errorf("the script ended with its neighbor: %+v", res)
		}
		again := openScreen(t, inst, engine.TerminalSpec{Command: bash})
		again.wait("$ ")
		again.typeIn("kill -TERM $$; kill -KILL $$\r")
		if code := again.exits(); code != 128+9 {
			t.Errorf("killed by SIGKILL it ends with %d", code)
		}
	})
}

// TestTerminalCloseUnread closes a terminal whose program does not read what is
// written, and one whose output nobody reads.
func TestTerminalCloseUnread(t *testing.T) {
	e := open(t, Options{Blanks: -1})
	inst := create(t, e, templateSpec())
	opened, err := inst.OpenTerminal(t.Context(), engine.TerminalSpec{Command: []string{"sh", "-c", "stty raw -echo; echo ready; exec sleep 1000"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := opened.Read(make([]byte, 16)); err != nil {
		t.Fatal(err)
	}
	blocked := make(chan error, 1)
	go func() {
		for {
			if _, err := opened.Write(make([]byte, 1<<16)); err != nil {
				blocked <- err
				return
			}
		}
	}()
	loud, err := inst.OpenTerminal(t.Context(), engine.TerminalSpec{Command: []string{"yes"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, terminal := range []engine.Terminal{opened, loud} {
		if err := terminal.Close(); err != nil {
			t.Error(err)
		}
		select {
		case <-terminal.Done():
		default:
			t.Error("what is closed is not done")
		}
	}
	<-blocked
}

// TestTerminalEndsWithInstance ends instances under terminals, also while they
// are opened. At the end of the test nothing may be left on the machine.
func TestTerminalEndsWithInstance(t *testing.T) {
	inBoth(t, func(t *testing.T, inst *Instance) {
		s := openScreen(t, inst, engine.TerminalSpec{Command: bash})
		s.wait("$ ")
		s.typeIn("trap '' HUP; setsid sleep 3621 & echo be''gun\r")
		s.wait("begun")
		var opening sync.WaitGroup
		for range 4 {
			opening.Go(func() {
				for range 20 {
					late, err := inst.OpenTerminal(t.Context(), engine.TerminalSpec{Command: bash})
					if err != nil {
						if code := remuda.CodeOf(err); code != remuda.CodeUnavailable {
							t.Errorf("%s: %v", code, err)
						}
						return
					}
					<-late.Done()
					if err := late.Close(); err != nil {
						t.Error(err)
					}
				}
			})
		}
		s.wait("$ ")
		if err := inst.Destroy(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
		if code := s.exits(); code != 128+9 {
			t.Errorf("it ends with %d", code)
		}
		opening.Wait()
		if err := s.Resize(10, 10); err != nil {
			t.Logf("resize of what has ended: %v", err)
		}
	})
}

// TestTerminalCounts has terminals meet the limits of their instance.
func TestTerminalCounts(t *testing.T) {
	e := open(t, Options{Blanks: -1})
	spec := templateSpec()
	spec.Resources.Pids, spec.Resources.MemoryMB = 8, 96
	inst := create(t, e, spec)
	s := openScreen(t, inst, engine.TerminalSpec{Command: []string{"python3", "-q"}})
	s.wait(">>> ")
	s.typeIn("x = bytearray(200 << 20)\r")
	if code := s.exits(); code != 128+9 {
		t.Errorf("200 MiB in a sandbox of 96: it ends with %d", code)
	}
	inst = create(t, e, spec)
	var refused error
	for range 40 {
		opened, err := inst.OpenTerminal(t.Context(), engine.TerminalSpec{Command: []string{"sleep", "1000"}})
		if err != nil {
			refused = err
			break
		}
		t.Cleanup(func() { _ = opened.Close() })
	}
	if remuda.CodeOf(refused) != remuda.CodeExhausted || !strings.Contains(refused.Error(), "process") {
		t.Errorf("terminals in a sandbox with 8 processes: %v", refused)
	}
}

// TestTerminalsOfOthers has a program take every pseudo-terminal that it can get: it
// has none left, and others still do.
func TestTerminalsOfOthers(t *testing.T) {
	inBoth(t, func(t *testing.T, inst *Instance) {
		s := openScreen(t, inst, engine.TerminalSpec{Command: []string{"python3", "-q"}})
		s.wait(">>> ")
		s.typeIn("import os, itertools, errno\r")
		s.typeIn("def take(n):\r try: os.open('/dev/ptmx', os.O_RDWR | os.O_NOCTTY)\r except OSError as e: return errno.errorcode[e.errno]\r\r")
		s.typeIn("n, why = next((n, why) for n in itertools.count(1) if (why := take(n)))\r")
		s.typeIn("print('took', n < 100, why)\r")
		s.wait("took True ENOSPC")
		_, err := inst.OpenTerminal(t.Context(), engine.TerminalSpec{Command: []string{"true"}, Rows: 24, Cols: 80})
		if remuda.CodeOf(err) != remuda.CodeExhausted || !strings.Contains(err.Error(), "pseudo-terminal") {
			t.Errorf("a terminal where none is left: %v", err)
		}
	})
}
