package enginetest

import (
	"context"
	"encoding/json"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/remuda"
)

// patience bounds every wait. It is generous: machines that run this are slow,
// shared, and sometimes emulated.
const patience = 3 * time.Minute

// resources of instances whose limits are not the matter.
var resources = remuda.Resources{CPU: 2, MemoryMB: 256, DiskMB: 64, Pids: 64}

// Differences are where an engine's sandboxes are another kind of thing than
// processes of the machine in namespaces. The zero value is no difference.
type Differences struct {
	// MemoryOverhead is what the machine's kernel lets a sandbox have beside its
	// limit, in bytes, because a part of it is no script's.
	MemoryOverhead int64
	// Unseen says that processes of a sandbox are no processes of the machine.
	Unseen bool
	// UnmarkedRoot says that the read-only parts of the root do not tell that
	// they hold neither programs of other users nor devices.
	UnmarkedRoot bool
}

// Run runs the whole suite. open makes an engine for the test it is given and
// checks at that test's end that nothing is left on the machine.
func Run(t *testing.T, open func(*testing.T) engine.Engine) { RunDifferent(t, open, Differences{}) }

// RunDifferent is Run for an engine with differences.
func RunDifferent(t *testing.T, open func(*testing.T) engine.Engine, d Differences) {
	t.Run("contract", func(t *testing.T) { Contract(t, open, Python()) })
	e := engine.Engine(different{open(t), d})
	t.Run("languages", func(t *testing.T) { languages(t, e) })
	t.Run("streams", func(t *testing.T) { streams(t, e) })
	t.Run("limits", func(t *testing.T) { limits(t, e) })
	t.Run("loops", func(t *testing.T) { loops(t, e) })
	t.Run("processes", func(t *testing.T) { processes(t, e) })
	t.Run("kernel", func(t *testing.T) { kernel(t, e) })
	t.Run("sight", func(t *testing.T) { sight(t, e) })
	t.Run("network", func(t *testing.T) { network(t, e) })
	t.Run("files", func(t *testing.T) { filesAttempts(t, e) })
	t.Run("channel", func(t *testing.T) { channel(t, e) })
}

// different carries an engine's differences to where they matter.
type different struct {
	engine.Engine

	Differences Differences
}

func differencesOf(e engine.Engine) Differences {
	d, _ := e.(different)
	return d.Differences
}

// box is an instance under test.
type box struct {
	engine.Instance
	t *testing.T
	d Differences
}

// create makes an instance that is destroyed with the test.
func create(t *testing.T, e engine.Engine, language remuda.Language, r remuda.Resources) box {
	t.Helper()
	return createFrom(t, e, spec(language, r))
}

// createFrom is create with a spec of the test's own.
func createFrom(t *testing.T, e engine.Engine, s engine.Spec) box {
	t.Helper()
	inst, err := e.Create(t.Context(), s)
	if err != nil {
		t.Fatalf("create: %v", err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := inst.Destroy(ctx); err != nil {
			t.Errorf("destroy: %v", err)
		}
	})
	return box{Instance: inst, t: t, d: differencesOf(e)}
}

func spec(language remuda.Language, r remuda.Resources) engine.Spec {
	return engine.Spec{
		ID: remuda.NewInstanceID(), Generation: remuda.GenerationKey{Runtime: "rt_test", Number: 1},
		Language: language, Environment: remuda.EnvironmentHost, Resources: r,
	}
}

// both runs an attempt in a cold instance and in one that was made in the
// background, as pools do, and waited while another one lived and died.
func both(t *testing.T, e engine.Engine, r remuda.Resources, attempt func(box)) {
	t.Helper()
	t.Run("cold", func(t *testing.T) {
		t.Parallel()
		attempt(create(t, e, remuda.LanguagePython, r))
	})
	t.Run("warm", func(t *testing.T) {
		t.Parallel()
		s := spec(remuda.LanguagePython, r)
		s.Background = true
		waiting := createFrom(t, e, s)
		other := create(t, e, remuda.LanguagePython, resources)
		other.run("print(1)").wants(remuda.ExecutionSuccess, remuda.KilledByNothing)
		if err := other.Destroy(t.Context()); err != nil {
			t.Fatal(err)
		}
		attempt(waiting)
	})
}

// outcome is a result and its output.
type outcome struct {
	engine.Result
	t        *testing.T
	d        Differences
	out, err string
}

// run runs a script to its end.
func (b box) run(script string) outcome {
	b.t.Helper()
	return b.do(engine.Request{Script: script, Timeout: patience})
}

func (b box) do(req engine.Request) outcome {
	b.t.Helper()
	o, err := b.try(req)
	if err != nil {
		b.t.Fatalf("execute: %v", err)
	}
	return o
}

// try is do for what may fail.
func (b box) try(req engine.Request) (outcome, error) {
	b.t.Helper()
	if req.ID == "" {
		req.ID = remuda.NewExecutionID()
	}
	var mu sync.Mutex
	var out, errs strings.Builder
	var last int64
	res, err := b.Execute(b.t.Context(), req, func(r remuda.OutputRecord) error {
		mu.Lock()
		defer mu.Unlock()
		if r.Seq != last+1 {
			b.t.Errorf("record %d after %d", r.Seq, last)
		}
		last = r.Seq
		if r.Stream == remuda.StreamStderr {
			errs.Write(r.Data)
		} else {
			out.Write(r.Data)
		}
		return nil
	})
	if err == nil && res.LastSeq != last {
		b.t.Errorf("the result's last record is %d, the output's %d", res.LastSeq, last)
	}
	return outcome{Result: res, t: b.t, d: b.d, out: out.String(), err: errs.String()}, err
}

// wants checks how an execution ended.
func (o outcome) wants(state remuda.ExecutionState, by remuda.KilledBy) outcome {
	o.t.Helper()
	if o.State != state || o.KilledBy != by {
		o.t.Fatalf("ended as %s by %q (%s), want %s by %q\nerror: %+v\nstdout: %.2000s\nstderr: %.2000s",
			o.State, o.KilledBy, o.Reason, state, by, o.Error, o.out, o.err)
	}
	if by != remuda.KilledByNothing && o.Reason == "" {
		o.t.Errorf("killed by %s without a reason", by)
	}
	return o
}

// ok checks that an execution succeeded.
func (o outcome) ok() outcome {
	o.t.Helper()
	return o.wants(remuda.ExecutionSuccess, remuda.KilledByNothing)
}

// says checks a part of stdout.
func (o outcome) says(part string) outcome {
	o.t.Helper()
	if !strings.Contains(o.out, part) {
		o.t.Fatalf("stdout lacks %q:\n%.4000s\nstderr: %.2000s", part, o.out, o.err)
	}
	return o
}

// json reads the last line of stdout.
func (o outcome) json(into any) {
	o.t.Helper()
	lines := strings.Split(strings.TrimSpace(o.out), "\n")
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), into); err != nil {
		o.t.Fatalf("the last line of stdout is no JSON: %v\n%.4000s", err, o.out)
	}
}

// gone waits for the end of the instance.
func (b box) gone() engine.Exit {
	b.t.Helper()
	select {
	case <-b.Done():
	case <-time.After(patience):
		b.t.Fatal("the instance has not ended")
	}
	if b.Alive() {
		b.t.Error("an instance that has ended is alive")
	}
	return b.Exit()
}

// eventually polls a condition.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !condition(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
	}
}
