package local

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/remuda"
)

// screen is a terminal with all that it has shown.
type screen struct {
	engine.Terminal
	t *testing.T

	mu    sync.Mutex
	shown []byte
	over  chan struct{} // closed at the end of what it shows
	seen  int           // up to where was waited for
}

// openScreen opens a terminal that is closed at the end of the test.
func openScreen(t *testing.T, inst *Instance, spec engine.TerminalSpec) *screen {
	t.Helper()
	opened, err := inst.OpenTerminal(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	s := &screen{Terminal: opened, t: t, over: make(chan struct{})}
	go s.read()
	t.Cleanup(func() {
		if err := opened.Close(); err != nil {
			t.Error(err)
		}
		<-s.over
	})
	return s
}

func (s *screen) read() {
	defer close(s.over)
	b := make([]byte, 4096)
	for {
		n, err := s.Read(b)
		s.mu.Lock()
		s.shown = append(s.shown, b[:n]...)
		s.mu.Unlock()
		if err != nil {
			if !errors.Is(err, io.EOF) {
				s.t.Error(err)
			}
			return
		}
	}
}

func (s *screen) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return string(s.shown)
}

// wait waits until text is shown, after what was waited for before, and returns
// what came up to its end.
func (s *screen) wait(text string) string {
	s.t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		s.mu.Lock()
		from := s.seen
		at := bytes.Index(s.shown[from:], []byte(text))
		if at >= 0 {
			s.seen = from + at + len(text)
			found := string(s.shown[from:s.seen])
			s.mu.Unlock()
			return found
		}
		s.mu.Unlock()
		select {
		case <-s.over:
			if at = strings.Index(s.text()[from:], text); at < 0 {
				s.t.Fatalf("the terminal has ended (%d) without showing %q: %q", s.ExitCode(), text, s.text())
			}
		default:
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("the terminal does not show %q: %q", text, s.text())
		}
	}
}

func (s *screen) typeIn(text string) {
	s.t.Helper()
	if _, err := s.Write([]byte(text)); err != nil {
		s.t.Fatal(err)
	}
}

// exits waits for the program's end and returns its code.
func (s *screen) exits() int {
	s.t.Helper()
	select {
	case <-s.Done():
	case <-time.After(time.Minute):
		s.t.Fatalf("the program does not end: %q", s.text())
	}
	<-s.over
	return s.ExitCode()
}

// inBoth runs a test in a forked and in a started instance of Python.
func inBoth(t *testing.T, test func(*testing.T, *Instance)) {
	e := open(t, Options{})
	forked := upTemplate(t, e, templateSpec())
	started := templateSpec()
	started.Generation = remuda.GenerationKey{}
	for name, spec := range map[string]engine.Spec{"forked": forked, "started": started} {
		t.Run(name, func(t *testing.T) {
			inst := create(t, e, spec)
			if inst.blank.forked != (name == "forked") {
				t.Fatal("the instance was not made as wanted")
			}
			test(t, inst)
		})
	}
}

func TestTerminal(t *testing.T) {
	inBoth(t, func(t *testing.T, inst *Instance) {
		s := openScreen(t, inst, engine.TerminalSpec{Rows: 40, Cols: 100})
		s.wait(">>> ")
		s.typeIn("6*7\r")
		s.wait("42\r\n>>> ")
		s.typeIn("import os; print(os.get_terminal_size(), os.getcwd(), os.getuid(), os.ttyname(0))\r")
		s.wait("os.terminal_size(columns=100, lines=40) /workspace 1000 /dev/pts/")
		if err := s.Resize(50, 132); err != nil {
			t.Fatal(err)
		}
		s.typeIn("os.get_terminal_size()\r")
		s.wait("os.terminal_size(columns=132, lines=50)")
		// The instance runs scripts all the while.
		if res := execute(t, inst, "6*7"); res.State != remuda.ExecutionSuccess {
			t.Errorf("%+v", res)
		}
		s.typeIn("while True: pass\r\r")
		s.wait("...")
		for !strings.Contains(s.text(), "KeyboardInterrupt") { // one that comes while Python is at its prompt may be lost
			s.typeIn("\x03")
			time.Sleep(100 * time.Millisecond)
		}
		s.typeIn("import sys; sys.exit(7)\r")
		if code := s.exits(); code != 7 {
			t.Errorf("the program exits with %d", code)
		}
		if !inst.Alive() {
			t.Error("the instance ended with its terminal")
		}
	})
}

// TestTerminalRefuses has what cannot be opened.
func TestTerminalRefuses(t *testing.T) {
	e := open(t, Options{Blanks: -1})
	inst := create(t, e, templateSpec())
	for name, c := range map[string]struct {
		spec engine.TerminalSpec
		code remuda.Code
		says string
	}{
		"rows":         {engine.TerminalSpec{Rows: -1, Cols: 80}, remuda.CodeInvalid, "rows"},
		"cols":         {engine.TerminalSpec{Rows: 24, Cols: 70000}, remuda.CodeInvalid, "cols must"},
		"no program":   {engine.TerminalSpec{Command: []string{"no-such-program"}}, remuda.CodeInvalid, "no-such-program"},
		"no file":      {engine.TerminalSpec{Command: []string{"/etc/passwd"}}, remuda.CodeInvalid, "permission denied"},
		"empty":        {engine.TerminalSpec{Command: []string{""}}, remuda.CodeInvalid, "program"},
		"a zero":       {engine.TerminalSpec{Command: []string{"a\x00b"}}, remuda.CodeInvalid, "zero"},
		"a zero (env)": {engine.TerminalSpec{Env: map[string]string{"A": "\x00"}}, remuda.CodeInvalid, "zero"},
	} {
		t.Run(name, func(t *testing.T) {
			opened, err := inst.OpenTerminal(t.Context(), c.spec)
			if err == nil {
				_ = opened.Close()
				t.Fatal("it is open")
			}
			if remuda.CodeOf(err) != c.code || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v", err)
			}
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := inst.OpenTerminal(ctx, engine.TerminalSpec{}); remuda.CodeOf(err) != remuda.CodeCanceled {
		t.Errorf("canceled: %v", err)
	}
	for n := range 60 { // at any moment: nothing may stay, not even a number to be waited for
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(n)*200*time.Microsecond)
		if opened, err := inst.OpenTerminal(ctx, engine.TerminalSpec{}); err == nil {
			_ = opened.Close()
		}
		cancel()
	}
	if err := inst.Destroy(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := inst.OpenTerminal(t.Context(), engine.TerminalSpec{}); remuda.CodeOf(err) != remuda.CodeUnavailable {
		t.Errorf("ended: %v", err)
	}
}
