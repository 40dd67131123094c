package fake

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/remuda"
)

var _ engine.Terminaler = (*Instance)(nil)

// OpenTerminal implements engine.Terminaler with a program that shows in capitals
// what is typed. A carriage return ends a line; the line "exit N" ends the
// program. It shows its size as [ROWSxCOLS] at the start and when that changes.
func (i *Instance) OpenTerminal(_ context.Context, spec engine.TerminalSpec) (engine.Terminal, error) {
	if !i.Alive() {
		return nil, remuda.Errorf(remuda.CodeUnavailable, "the sandbox has ended")
	}
	t := &terminal{done: make(chan struct{})}
	t.shown = sync.NewCond(&t.mu)
	t.show(spec.Rows, spec.Cols)
	go func() {
		select {
		case <-i.Done():
			t.end(128 + 9)
		case <-t.done:
		}
	}()
	return t, nil
}

type terminal struct {
	done chan struct{}

	mu    sync.Mutex
	shown *sync.Cond
	out   bytes.Buffer
	line  string
	ended bool
	code  int
}

func (t *terminal) show(rows, cols int) { fmt.Fprintf(&t.out, "[%dx%d]\r\n", rows, cols) }

// Read implements io.Reader.
func (t *terminal) Read(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for t.out.Len() == 0 {
		if t.ended {
			return 0, io.EOF
		}
		t.shown.Wait()
	}
	return t.out.Read(p)
}

// Write implements io.Writer.
func (t *terminal) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, c := range p {
		if t.ended {
			return 0, io.ErrClosedPipe
		}
		if c != '\r' {
			t.line += string(rune(c))
			t.out.WriteString(strings.ToUpper(string(rune(c))))
			continue
		}
		t.out.WriteString("\r\n")
		var code int
		if n, _ := fmt.Sscanf(t.line, "exit %d", &code); n == 1 {
			t.endLocked(code)
		}
		t.line = ""
	}
	t.shown.Broadcast()
	return len(p), nil
}

// Resize implements engine.Terminal.
func (t *terminal) Resize(rows, cols int) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.show(rows, cols)
	t.shown.Broadcast()
	return nil
}

// Done implements engine.Terminal.
func (t *terminal) Done() <-chan struct{} { return t.done }

// ExitCode implements engine.Terminal.
func (t *terminal) ExitCode() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.code
}

// Close implements io.Closer.
func (t *terminal) Close() error {
	t.end(128 + 1)
	return nil
}

func (t *terminal) end(code int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.endLocked(code)
}

func (t *terminal) endLocked(code int) {
	if !t.ended {
		t.ended, t.code = true, code
		close(t.done)
	}
	t.shown.Broadcast()
}
