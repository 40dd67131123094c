package enginetest

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/remuda"
)

// CloseAtEnd closes the engine when its test ends; left then lists what it has
// left on the machine, which must be nothing.
func CloseAtEnd(t *testing.T, e engine.Engine, left func() []string) {
	t.Helper()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := e.Close(ctx); err != nil {
			t.Errorf("close: %v", err)
		}
		if found := left(); len(found) > 0 {
			t.Errorf("the engine has left on the machine:\n%s", strings.Join(found, "\n"))
		}
	})
}

// announced begins the line that ServeForKilling writes for each instance.
const announced = "instance "

// ServeForKilling is the part of a server that is there to be killed: it makes an
// instance of each spec, has it run something that forks and does not end, writes
// its id to standard output, and waits. It returns only on an error.
func ServeForKilling(e engine.Engine, script string, specs ...engine.Spec) error {
	ctx := context.Background()
	for _, spec := range specs {
		inst, err := e.Create(ctx, spec)
		if err != nil {
			return err
		}
		go func() {
			_, _ = inst.Execute(ctx, engine.Request{ID: remuda.NewExecutionID(), Script: script}, func(remuda.OutputRecord) error {
				fmt.Println(announced + string(inst.ID()))
				return nil
			})
		}()
	}
	select {}
}

// KillServer starts this test's binary with env, which is to make it call
// ServeForKilling, kills it with SIGKILL when all of its n instances run, and
// returns their ids.
func KillServer(t *testing.T, n int, env ...string) map[remuda.InstanceID]bool {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run=^$")
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ids := map[remuda.InstanceID]bool{}
	for lines := bufio.NewScanner(out); len(ids) < n && lines.Scan(); {
		id, ok := strings.CutPrefix(lines.Text(), announced)
		if !ok {
			t.Fatalf("the server said %q", lines.Text())
		}
		ids[remuda.InstanceID(id)] = true
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // killed
	if len(ids) < n {
		t.Fatalf("the server ended after it had announced %d of %d instances", len(ids), n)
	}
	return ids
}

// RecoverAll has the engine recover, expects it to report exactly ids, closes it,
// and waits until left lists nothing: what was killed may be seen for a moment more.
func RecoverAll(t *testing.T, e engine.Engine, ids map[remuda.InstanceID]bool, left func() []string) {
	t.Helper()
	recovered, err := e.Recover(t.Context(), nil)
	found := recovered.Ended
	got := map[remuda.InstanceID]bool{}
	for _, id := range found {
		got[id] = ids[id]
	}
	if err != nil || len(found) != len(ids) || len(got) != len(ids) {
		t.Errorf("Recover: %v, %v, want %v", found, err, ids)
	}
	for id, known := range got {
		if !known {
			t.Errorf("Recover reports %s, which was not the server's", id)
		}
	}
	if err := e.Close(t.Context()); err != nil {
		t.Error(err)
	}
	deadline := time.Now().Add(patience)
	for len(left()) > 0 && time.Now().Before(deadline) {
		time.Sleep(5 * time.Millisecond)
	}
	if found := left(); len(found) > 0 {
		t.Errorf("left after Recover:\n%s", strings.Join(found, "\n"))
	}
}
