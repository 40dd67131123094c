package local

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/remuda"
)

// era is a row of servers on one data directory.
type era struct {
	t    *testing.T
	dir  string
	e    *Engine
	open bool
}

// newEra has nothing left on the machine at the end of the test.
func newEra(t *testing.T) *era {
	t.Helper()
	a := &era{t: t, dir: t.TempDir()}
	t.Cleanup(func() {
		a.close()
		for pid := 1; pid > 0; {
			pid, _ = unix.Wait4(-1, nil, unix.WNOHANG, nil)
		}
		left := leftovers(a.e)
		if len(left) == 0 {
			return
		}
		t.Errorf("left on the machine: %v", left)
		if e, err := New(context.Background(), Options{DataDir: a.dir, Blanks: -1}); err == nil { // what lingers would for an hour
			_, err = e.Recover(context.Background(), nil)
			t.Logf("cleared after the failure: %v, %v", err, e.Close(context.Background()))
		}
	})
	a.next()
	return a
}

// next opens the next server and has it recover.
func (a *era) next(keep ...remuda.InstanceID) engine.Recovered {
	a.t.Helper()
	found, err := a.nextIn(a.t.Context(), keep...)
	if err != nil {
		a.t.Fatal(err)
	}
	return found
}

// nextIn is next for a recovery that may be given up.
func (a *era) nextIn(ctx context.Context, keep ...remuda.InstanceID) (engine.Recovered, error) {
	a.t.Helper()
	a.close()
	e, err := New(a.t.Context(), Options{DataDir: a.dir, Logger: slog.New(slog.NewTextHandler(a.t.Output(), nil)), Blanks: -1})
	if err != nil {
		a.t.Fatal(err)
	}
	a.e, a.open = e, true
	var specs []engine.Spec
	for _, id := range keep {
		specs = append(specs, engine.Spec{ID: id})
	}
	return e.Recover(ctx, specs)
}

func (a *era) close() {
	if !a.open {
		return
	}
	a.open = false
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := a.e.Close(ctx); err != nil {
		a.t.Errorf("close: %v", err)
	}
}

// make makes an instance that can outlive its server.
func (a *era) make(forked bool, diskMB int) *Instance {
	a.t.Helper()
	spec := templateSpec()
	spec.Linger, spec.Resources.DiskMB = time.Hour, diskMB
	if forked {
		spec.Generation = remuda.GenerationKey{Runtime: "rt_era", Number: 1}
		spec.Background = true // waits for its template
	}
	inst, err := a.e.Create(a.t.Context(), spec)
	if err != nil {
		a.t.Fatal(err)
	}
	i := inst.(*Instance)
	if i.blank.forked != forked {
		a.t.Fatalf("forked is %v", i.blank.forked)
	}
	return i
}

// kinds runs a test with started and with forked instances.
func kinds(t *testing.T, test func(*testing.T, bool)) {
	t.Helper()
	for name, forked := range map[string]bool{"started": false, "forked": true} {
		t.Run(name, func(t *testing.T) { test(t, forked) })
	}
}

func until(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !condition(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
	}
}

// leaveRunning has the instance run a script that goes on when its server has gone
// and a file is there. The function returned makes that file and waits until only
// so many processes are left in the sandbox.
func (a *era) leaveRunning(i *Instance, id remuda.ExecutionID, script string) (goOn func(processes int)) {
	return a.leaveScript(i, id, "import os, time\nprint('began', flush=True)\nwhile not os.path.exists('go'): time.sleep(0.002)\nprint('goes on', flush=True)\n"+script)
}

// leaveScript is leaveRunning for a script that does all of that by itself.
func (a *era) leaveScript(i *Instance, id remuda.ExecutionID, script string) (goOn func(processes int)) {
	a.t.Helper()
	dir, err := i.openWorkspace()
	if err != nil {
		a.t.Fatal(err)
	}
	began := make(chan struct{}, 1)
	go func() {
		_, _ = i.Execute(a.t.Context(), engine.Request{ID: id, HoldOutput: true, Script: script}, func(remuda.OutputRecord) error {
			select {
			case began <- struct{}{}:
			default:
			}
			return nil
		})
	}()
	<-began
	group := a.e.herd.Group(i.blank.name)
	if err := i.Detach(a.t.Context()); err != nil {
		a.t.Fatal(err)
	}
	a.close()
	return func(processes int) {
		a.t.Helper()
		err := asUser(i.blank.scriptUser(), func() error {
			fd, err := unix.Openat(int(dir.Fd()), "go", unix.O_CREAT|unix.O_WRONLY|unix.O_CLOEXEC, 0o644)
			if err != nil {
				return err
			}
			return unix.Close(fd)
		})
		_ = dir.Close()
		if err != nil {
			a.t.Fatal(err)
		}
		until(a.t, "the sandbox comes to its end", func() bool {
			pids, err := group.Pids()
			return err == nil && len(pids) <= processes
		})
	}
}

// keepers is how many processes of a sandbox remain when its interpreter has ended.
func keepers(forked bool) int {
	if forked {
		return 0
	}
	return 1
}
