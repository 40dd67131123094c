package executions

import (
	"testing"
	"time"

	"github.com/remuda-run/remuda/internal/engine/fake"
	"github.com/remuda-run/remuda/internal/remuda"
)

// TestInterruptThatIsNotTaken comes to insist on an interrupt while the first one is still
// being sent: the sandbox is killed, and nobody waits for it who only looks at the run.
func TestInterruptThatIsNotTaken(t *testing.T) {
	t.Parallel()
	r := newRun(remuda.Principal{}, remuda.ExecutionRequest{}, time.Now())
	r.inst = &fake.Instance{}
	r.sending.Lock()
	killed, looked := make(chan struct{}), make(chan struct{})
	go r.insist(r.inst, time.Hour, func(error) { close(killed) })
	late := time.After(20 * time.Second)
	select {
	case <-killed:
	case <-late:
		t.Fatal("it is not killed")
	}
	go func() {
		defer close(looked)
		r.snapshot()
	}()
	select {
	case <-looked:
	case <-late:
		t.Error("nobody can look at it")
	}
}
