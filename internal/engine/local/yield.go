package local

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"github.com/remuda-run/remuda/internal/engine"
)

var _ engine.Yielder = (*Engine)(nil)

// Yield implements engine.Yielder.
func (e *Engine) Yield(on bool) {
	if err := e.herd.Yield(on); err != nil {
		e.log.Warn("the weight of all sandboxes could not be changed", "yield", on, "error", err)
	}
	if sid, err := unix.Getsid(0); err != nil || sid != os.Getpid() {
		return // other programs of the session that we were started in would gain by it too
	}
	if err := raiseSession("/proc/self/autogroup", on); err != nil {
		e.log.Warn("the weight of the server could not be changed", "yield", on, "error", err)
	}
}

// raisedNice is what a server has that comes first: about nine times the usual weight.
const raisedNice = -10

// raiseSession gives a session of which nobody else has said anything a greater weight,
// or the usual one again. Where Linux groups processes by session, one processor's part
// of a session's weight gets small when its threads were busy on another one, and what
// is woken on the first may then wait for ten and more milliseconds beside sandboxes
// that compute. Where it does not, nothing changes.
func raiseSession(file string, on bool) error {
	b, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // a kernel without
	}
	if err != nil {
		return err
	}
	var group, nice int
	if _, err := fmt.Sscanf(string(b), "/autogroup-%d nice %d", &group, &nice); err != nil {
		return fmt.Errorf("understand %s, %q: %w", file, b, err)
	}
	was, want := raisedNice, 0
	if on {
		was, want = 0, raisedNice
	}
	if nice != was {
		return nil // it is so already, or somebody wants it otherwise
	}
	err = os.WriteFile(file, fmt.Append(nil, want), 0)
	if errors.Is(err, fs.ErrPermission) {
		return nil // without CAP_SYS_NICE
	}
	return err
}
