package runspaces_test

import (
	"context"
	"sync/atomic"
	"testing"

	"github.com/remuda-run/remuda/internal/remuda"
	"github.com/remuda-run/remuda/internal/runspaces"
)

// late is executions that do not know what runs until it was asked for some times.
type late struct {
	runspaces.Runner
	unknown atomic.Int64
	asked   atomic.Int64
	meets   func() // on every question
}

func (l *late) CancelExecution(_ context.Context, _ remuda.Principal, id remuda.ExecutionID) (remuda.Execution, error) {
	l.asked.Add(1)
	if l.meets != nil {
		l.meets()
	}
	if l.unknown.Add(-1) >= 0 {
		return remuda.Execution{}, remuda.NotFound("execution", string(id))
	}
	return remuda.Execution{ID: id}, nil
}

// TestInterruptOfWhatBegins interrupts an execution that has its runspace and is not
// known to the executions yet.
func TestInterruptOfWhatBegins(t *testing.T) {
	t.Parallel()
	const always = 1 << 40
	for name, c := range map[string]struct {
		unknown int64
		meets   func(hold *runspaces.Hold, cancel func())
		asked   int64 // at least
		want    remuda.Code
	}{
		"it becomes known":       {unknown: 3, asked: 4},
		"it ends meanwhile":      {unknown: always, asked: 1, meets: func(hold *runspaces.Hold, _ func()) { hold.Release(runspaces.Outcome{}) }},
		"it never becomes known": {unknown: always, asked: 2, want: remuda.CodeUnavailable},
		"the caller has gone":    {unknown: always, asked: 1, want: remuda.CodeCanceled, meets: func(_ *runspaces.Hold, cancel func()) { cancel() }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := open(t, runspaces.Settings{})
			rs := h.ready(t, remuda.RunspaceRequest{})
			hold, err := h.Acquire(t.Context(), deployer, rs.ID, "exe_1")
			if err != nil {
				t.Fatal(err)
			}
			defer hold.Release(runspaces.Outcome{})
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			l := &late{}
			l.unknown.Store(c.unknown)
			if c.meets != nil {
				l.meets = func() { c.meets(hold, cancel) }
			}
			h.SetRunner(l)
			got, err := h.InterruptRunspace(ctx, deployer, rs.ID)
			if code := remuda.CodeOf(err); code != c.want {
				t.Errorf("%v, want code %q", err, c.want)
			}
			if err == nil && got.ID != rs.ID {
				t.Errorf("the runspace is %+v", got)
			}
			if n := l.asked.Load(); n < c.asked {
				t.Errorf("it was asked for %d times, want %d", n, c.asked)
			}
		})
	}
}
