package enginetest

import (
	"bufio"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"testing"

	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/remuda"
)

// ServeToSurvive is the part of a server that is there to be killed while scripts
// run that go on without it: it makes an instance of each spec, has it keep
// something, and then has them all count. What it would store it writes to standard
// output before it is acknowledged. It returns only on an error.
func ServeToSurvive(e engine.Engine, s Survival, specs ...engine.Spec) error {
	ctx := context.Background()
	var made []engine.Instance
	for _, spec := range specs {
		inst, err := e.Create(ctx, spec)
		if err != nil {
			return err
		}
		if _, err := inst.Execute(ctx, engine.Request{ID: remuda.NewExecutionID(), Script: s.Set}, nil); err != nil {
			return err
		}
		made = append(made, inst)
	}
	for _, inst := range made { // all at about the same time, however long the others took
		id := remuda.NewExecutionID()
		go func() {
			_, _ = inst.Execute(ctx, engine.Request{ID: id, Script: s.Count, HoldOutput: true}, func(r remuda.OutputRecord) error {
				// One write: what is read of it is whole.
				fmt.Printf("record %s %s %d %s\n", inst.ID(), id, r.Seq, base64.StdEncoding.EncodeToString(r.Data))
				inst.(engine.Acknowledger).Acknowledge(id, r.Seq)
				return nil
			})
		}()
	}
	select {}
}

// Killed is what a server had stored of an instance when it was killed.
type Killed struct {
	Execution remuda.ExecutionID
	records   []remuda.OutputRecord
}

// KillCounting starts this test's binary with env, which is to make it call
// ServeToSurvive, and kills it with SIGKILL when all of its n instances count.
func KillCounting(t *testing.T, n int, env ...string) map[remuda.InstanceID]*Killed {
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
	found := map[remuda.InstanceID]*Killed{}
	const some = 50 // records of each
	counting, killed := 0, false
	lines := bufio.NewReader(out)
	for {
		line, err := lines.ReadString('\n')
		if errors.Is(err, io.EOF) { // and what it had begun to write
			break
		}
		var inst remuda.InstanceID
		var r remuda.OutputRecord
		var id remuda.ExecutionID
		var data string
		if _, err := fmt.Sscanf(line, "record %s %s %d %s\n", &inst, &id, &r.Seq, &data); err != nil {
			t.Fatalf("the server said %q: %v", line, err)
		}
		if r.Data, err = base64.StdEncoding.DecodeString(data); err != nil {
			t.Fatal(err)
		}
		if found[inst] == nil {
			found[inst] = &Killed{Execution: id}
		}
		found[inst].records = append(found[inst].records, r)
		if len(found[inst].records) == some {
			counting++
		}
		if counting == n && !killed {
			killed = true
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	_ = cmd.Wait() // killed
	if !killed {
		t.Fatalf("the server ended by itself when %d of %d instances counted", counting, n)
	}
	return found
}

// GoesOn resumes what the killed server ran in an instance, expects every number to
// be there once, and what the instance had kept.
func (k *Killed) GoesOn(t *testing.T, inst engine.Instance, s Survival) {
	t.Helper()
	p := newTape(t)
	for _, r := range k.records {
		if err := p.sink(r); err != nil {
			t.Fatal(err)
		}
	}
	before := p.last()
	l := &life{t: t, box: box{Instance: inst, t: t}}
	l.pending(k.Execution)
	res := l.resume(k.Execution, p)
	if res.State != remuda.ExecutionSuccess || res.Value == nil || string(res.Value.JSON) != "42" {
		t.Errorf("the script that had lost its server ended as %+v", res)
	}
	Counted(t, p.text())
	if before == 0 || before == p.last() {
		t.Errorf("%d of %d records came before the server was killed", before, p.last())
	}
	if got := l.box.run(s.Get).ok(); got.out != "kept\n" {
		t.Errorf("state came back as %q", got.out)
	}
}
