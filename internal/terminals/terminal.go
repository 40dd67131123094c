package terminals

import (
	"sync"
	"time"

	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/remuda"
)

const (
	// ahead is how far a connection may lag behind before the program has to wait.
	// Without a connection it never waits.
	ahead = 128 << 10
	// typed is how many pieces of input wait for a program that does not read.
	typed = 16
)

// terminal is one while it is known. Two goroutines are its own: one reads what
// the program shows, one writes what is typed.
type terminal struct {
	id           remuda.TerminalID
	alias        string
	runspace     remuda.RunspaceID
	organization remuda.OrganizationID
	owner        remuda.UserID
	program      engine.Terminal
	input        chan []byte
	ended        chan struct{} // closed when the program has ended and all is read
	ending       sync.Once
	endErr       error

	mu       sync.Mutex
	info     remuda.Terminal
	kept     ring
	attached *Attachment
	changed  chan struct{} // closed and replaced when something happens
}

func newTerminal(info remuda.Terminal, program engine.Terminal, scrollback int) *terminal {
	return &terminal{
		id: info.ID, alias: info.Alias, runspace: info.Runspace, organization: info.Organization, owner: info.Owner,
		program: program, input: make(chan []byte, typed), ended: make(chan struct{}),
		info: info, kept: ring{max: scrollback}, changed: make(chan struct{}),
	}
}

// show is the terminal as others see it.
func (t *terminal) show() remuda.Terminal {
	t.mu.Lock()
	defer t.mu.Unlock()
	info := t.info
	info.Attached = t.attached != nil
	return info
}

// wake tells everybody who waits to look again. It needs mu.
func (t *terminal) wake() {
	close(t.changed)
	t.changed = make(chan struct{})
}

// read keeps what the program shows, until it has ended.
func (t *terminal) read() {
	p := make([]byte, 32<<10)
	for {
		n, err := t.program.Read(p)
		t.add(p[:n])
		if err != nil {
			break
		}
	}
	// It may run on with nobody to talk to.
	_ = t.end()
	<-t.program.Done()
	t.mu.Lock()
	defer t.mu.Unlock()
	now, code := remuda.Now(), t.program.ExitCode()
	t.info.EndedAt, t.info.ExitCode = &now, &code
	close(t.ended)
	t.wake()
}

// add keeps p, and waits for a connection that lags behind.
func (t *terminal) add(p []byte) {
	if len(p) == 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.kept.write(p)
	t.wake()
	for t.attached != nil && t.kept.end-t.attached.from > ahead {
		changed := t.changed
		t.mu.Unlock()
		select {
		case <-changed:
		case <-t.program.Done(): // what is left is read at once, and bounded
			t.mu.Lock()
			return
		}
		t.mu.Lock()
	}
}

// typeIn writes what is typed, until the program has ended.
func (t *terminal) typeIn() {
	for {
		select {
		case p := <-t.input:
			// An error is the end, which ended tells.
			_, _ = t.program.Write(p)
		case <-t.ended:
			return
		}
	}
}

// end ends the program and all of its session.
func (t *terminal) end() error {
	t.ending.Do(func() { t.endErr = t.program.Close() })
	return t.endErr
}

// over says whether the program has ended.
func (t *terminal) over() bool {
	_, ended := t.endedAt()
	return ended
}

func (t *terminal) endedAt() (time.Time, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.info.EndedAt == nil {
		return time.Time{}, false
	}
	return *t.info.EndedAt, true
}

// attachment is the connection, nil when there is none.
func (t *terminal) attachment() *Attachment {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.attached
}
