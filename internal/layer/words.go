package layer

import (
	"strings"
	"sync"
)

// words passes an installer's output on and keeps its end, in which the reason of
// a failure stands. The gateway's goroutines write to it too.
type words struct {
	mu       sync.Mutex
	progress Progress
	tail     []byte
	notes    []string // of the gateway
}

// maxTail is how much of the output is searched for a reason.
const maxTail = 256 << 10

func newWords(p Progress) *words { return &words{progress: p} }

func (w *words) add(b []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.tail = append(w.tail, b...)
	if len(w.tail) > 2*maxTail {
		w.tail = append([]byte(nil), w.tail[len(w.tail)-maxTail:]...)
	}
	w.progress.Log(b)
}

// note adds a word of the gateway.
func (w *words) note(line string) {
	const most = 100
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.notes) < most {
		w.notes = append(w.notes, strings.TrimSpace(line))
		w.progress.Log([]byte(line))
	}
}

// say adds a word of ours.
func (w *words) say(line string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.progress.Log([]byte(line + "\n"))
}

func (w *words) state(one asked, now packageNow) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.progress.Package(one.Name, now.state, now.resolved, now.message)
}

// end is what the installer said last, and what the gateway said.
func (w *words) end() (tail string, notes []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return string(w.tail), append([]string(nil), w.notes...)
}
