package enginetest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/remuda"
)

// Dialect is how to say simple things in an engine's script language.
type Dialect struct {
	Language remuda.Language
	Print    string // prints "hello" and a newline to stdout
	Complain string // prints "oops" and a newline to stderr
	Stdin    string // prints stdin
	Value    string // evaluates to the JSON number 42
	Raise    string // ends with an exception of type ValueError
	Exit     string // ends with exit code 3
	Set, Get string // keep "kept" and print it, with a newline
	Block    string // waits until it is interrupted
	Stubborn string // makes interrupts do nothing, prints something, waits
	Flood    string // prints 3 MiB of 'x'
	Write    string // writes "text" to the file f of the workspace
}

// Python is the dialect of real engines.
func Python() Dialect {
	return Dialect{
		Language: remuda.LanguagePython,
		Print:    "print('hello')",
		Complain: "import sys; print('oops', file=sys.stderr)",
		Stdin:    "import sys; sys.stdout.write(sys.stdin.read())",
		Value:    "40 + 2",
		Raise:    "raise ValueError('no')",
		Exit:     "import sys; sys.exit(3)",
		Set:      "x = 'kept'", Get: "print(x)",
		Block: "print('on', flush=True)\nimport time; time.sleep(1000)",
		Stubborn: "import signal, time\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nsignal.pthread_sigmask(signal.SIG_BLOCK, range(1, 60))\n" +
			"print('on', flush=True)\nwhile True:\n  try: time.sleep(1000)\n  except BaseException: pass",
		Flood: "import sys\nfor _ in range(48): sys.stdout.write('x' * 65536)",
		Write: "open('f', 'w').write('text')\nNone",
	}
}

// Contract checks what the code above relies on.
func Contract(t *testing.T, open func(*testing.T) engine.Engine, d Dialect) {
	e := open(t)
	for _, tt := range []struct {
		name string
		test func(*testing.T, engine.Engine, Dialect)
	}{
		{"results", results}, {"state", keepsState}, {"one at a time", oneAtATime}, {"interrupt", interrupt},
		{"kill after grace", killAfterGrace}, {"timeout", timeout}, {"caller goes away", callerGoesAway}, {"slow sink", slowSink},
		{"failing sink", failingSink}, {"output limit", outputLimit}, {"files", fileBasics}, {"destroy", destroy},
		{"versions", versions}, {"wrong specs", wrongSpecs},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.test(t, e, d)
		})
	}
}

func results(t *testing.T, e engine.Engine, d Dialect) {
	b := create(t, e, d.Language, resources)
	if got := b.run(d.Print).ok(); got.out != "hello\n" || got.LastSeq == 0 {
		t.Errorf("stdout is %q, last record %d", got.out, got.LastSeq)
	}
	if got := b.run(d.Complain).ok(); got.err != "oops\n" || got.out != "" {
		t.Errorf("stderr is %q, stdout %q", got.err, got.out)
	}
	if got := b.do(engine.Request{Script: d.Stdin, Stdin: []byte("line\nand rest")}).ok(); got.out != "line\nand rest" {
		t.Errorf("stdin came back as %q", got.out)
	}
	if got := b.run(d.Value).ok(); got.Value == nil || string(got.Value.JSON) != "42" {
		t.Errorf("value is %+v", got.Value)
	}
	if got := b.run(d.Raise).wants(remuda.ExecutionError, remuda.KilledByNothing); got.Error == nil || got.Error.Type != "ValueError" || got.Dead {
		t.Errorf("error is %+v, dead %v", got.Error, got.Dead)
	}
	got := b.run(d.Exit).wants(remuda.ExecutionError, remuda.KilledByNothing)
	if got.ExitCode == nil || *got.ExitCode != 3 {
		t.Errorf("exit code is %v", got.ExitCode)
	}
	if got.Usage.Wall <= 0 || got.Timings["run"] <= 0 {
		t.Errorf("usage is %+v, timings %v", got.Usage, got.Timings)
	}
	for _, stage := range []string{"create", "fence", "interpreter"} {
		if b.Timings()[stage] <= 0 {
			t.Errorf("creation does not tell stage %q: %v", stage, b.Timings())
		}
	}
}

func keepsState(t *testing.T, e engine.Engine, d Dialect) {
	b, other := create(t, e, d.Language, resources), create(t, e, d.Language, resources)
	b.run(d.Set).ok()
	if got := b.run(d.Get).ok(); got.out != "kept\n" {
		t.Errorf("state came back as %q", got.out)
	}
	if got := other.run(d.Get).wants(remuda.ExecutionError, remuda.KilledByNothing); got.Error == nil || got.Error.Type != "NameError" {
		t.Errorf("another instance has the state: %q, %+v", got.out, got.Error)
	}
}

// background runs a script and tells when its first output has come.
func (b box) background(req engine.Request) (started <-chan struct{}, ended <-chan outcome) {
	first, end := make(chan struct{}), make(chan outcome, 1)
	req.ID = remuda.NewExecutionID()
	go func() {
		var once atomic.Bool
		res, err := b.Execute(b.t.Context(), req, func(remuda.OutputRecord) error {
			if !once.Swap(true) {
				close(first)
			}
			return nil
		})
		if err != nil {
			b.t.Errorf("execute: %v", err)
		}
		if !once.Load() {
			close(first)
		}
		end <- outcome{Result: res, t: b.t}
	}()
	return first, end
}

func oneAtATime(t *testing.T, e engine.Engine, d Dialect) {
	b := create(t, e, d.Language, resources)
	started, ended := b.background(engine.Request{Script: d.Print + "\n" + d.Block})
	<-started
	if _, err := b.try(engine.Request{Script: d.Print}); remuda.CodeOf(err) != remuda.CodeConflict {
		t.Errorf("a second execution: %v", err)
	}
	if !b.Alive() {
		t.Error("a busy instance is not alive")
	}
	if err := b.Interrupt(t.Context(), remuda.KilledByCancel, patience); err != nil {
		t.Fatal(err)
	}
	(<-ended).wants(remuda.ExecutionCanceled, remuda.KilledByCancel)
	b.run(d.Print).ok()
}

func interrupt(t *testing.T, e engine.Engine, d Dialect) {
	b := create(t, e, d.Language, resources)
	if err := b.Interrupt(t.Context(), remuda.KilledByCancel, 0); err != nil {
		t.Errorf("interrupt of nothing: %v", err)
	}
	b.run(d.Set).ok()
	started, ended := b.background(engine.Request{Script: d.Print + "\n" + d.Block})
	<-started
	if err := b.Interrupt(t.Context(), remuda.KilledByCancel, patience); err != nil {
		t.Fatal(err)
	}
	if got := (<-ended).wants(remuda.ExecutionCanceled, remuda.KilledByCancel); got.Dead {
		t.Error("an instance that could be interrupted is dead")
	}
	if got := b.run(d.Get).ok(); got.out != "kept\n" {
		t.Errorf("state after an interrupt is %q", got.out)
	}
}

func killAfterGrace(t *testing.T, e engine.Engine, d Dialect) {
	b := create(t, e, d.Language, resources)
	started, ended := b.background(engine.Request{Script: d.Stubborn})
	<-started
	begun := time.Now()
	const grace = 300 * time.Millisecond
	if err := b.Interrupt(t.Context(), remuda.KilledByCancel, grace); err != nil {
		t.Fatal(err)
	}
	got := (<-ended).wants(remuda.ExecutionCanceled, remuda.KilledByCancel)
	if took := time.Since(begun); !got.Dead || took < grace || took > patience/3 {
		t.Errorf("a stubborn script ended after %s, dead %v", took, got.Dead)
	}
}

func timeout(t *testing.T, e engine.Engine, d Dialect) {
	b := create(t, e, d.Language, resources)
	// Whether an interrupted script ends in time to be spared depends on the
	// machine; what is said to live must live.
	if got := b.do(engine.Request{Script: d.Block, Timeout: 500 * time.Millisecond}).wants(remuda.ExecutionTimeout, remuda.KilledByTime); got.Dead {
		b.gone()
		b = create(t, e, d.Language, resources)
	}
	b.run(d.Print).ok()
	got := b.do(engine.Request{Script: d.Block, Timeout: 200 * time.Millisecond, KillOnTimeout: true}).wants(remuda.ExecutionTimeout, remuda.KilledByTime)
	if !got.Dead {
		t.Error("the instance is not dead after a kill for time")
	}
	b.gone()
	if _, err := b.try(engine.Request{Script: d.Print}); remuda.CodeOf(err) != remuda.CodeUnavailable {
		t.Errorf("execute on a dead instance: %v", err)
	}
	b = create(t, e, d.Language, resources)
	got = b.do(engine.Request{Script: d.Stubborn, Timeout: 500 * time.Millisecond}).wants(remuda.ExecutionTimeout, remuda.KilledByTime)
	if !got.Dead {
		t.Error("a stubborn script has survived its time limit")
	}
}

func callerGoesAway(t *testing.T, e engine.Engine, d Dialect) {
	b := create(t, e, d.Language, resources)
	ctx, cancel := context.WithCancel(t.Context())
	res, err := b.Execute(ctx, engine.Request{ID: remuda.NewExecutionID(), Script: d.Print + "\n" + d.Block}, func(remuda.OutputRecord) error {
		cancel()
		return nil
	})
	if err != nil || res.State != remuda.ExecutionCanceled || !res.Dead {
		t.Errorf("got %+v, %v", res, err)
	}
	b.gone()
	cancel()
	if _, err := e.Create(ctx, spec(d.Language, resources)); err == nil {
		t.Error("an instance was made for a caller that has gone")
	}
}

// slowSink holds the sink and expects all output, in order, afterwards.
func slowSink(t *testing.T, e engine.Engine, d Dialect) {
	b := create(t, e, d.Language, resources)
	hold := make(chan struct{})
	time.AfterFunc(300*time.Millisecond, func() { close(hold) })
	var total int
	res, err := b.Execute(t.Context(), engine.Request{ID: remuda.NewExecutionID(), Script: d.Flood}, func(r remuda.OutputRecord) error {
		<-hold
		total += len(r.Data)
		return nil
	})
	if err != nil || res.State != remuda.ExecutionSuccess || total != 3<<20 {
		t.Errorf("%d bytes, %+v, %v", total, res, err)
	}
}

func failingSink(t *testing.T, e engine.Engine, d Dialect) {
	b := create(t, e, d.Language, resources)
	full := errors.New("full")
	_, err := b.Execute(t.Context(), engine.Request{ID: remuda.NewExecutionID(), Script: d.Flood}, func(remuda.OutputRecord) error { return full })
	if !errors.Is(err, full) {
		t.Errorf("the sink's error came back as %v", err)
	}
}

func outputLimit(t *testing.T, e engine.Engine, d Dialect) {
	b := create(t, e, d.Language, resources)
	const limit = 1 << 20
	got := b.do(engine.Request{Script: d.Flood, OutputLimit: limit}).ok()
	if len(got.out) != limit || got.OutputCut != 2<<20 || strings.Trim(got.out, "x") != "" {
		t.Errorf("kept %d, cut %d", len(got.out), got.OutputCut)
	}
}

func fileBasics(t *testing.T, e engine.Engine, d Dialect) {
	b := create(t, e, d.Language, resources)
	f, ctx := b.Files(), t.Context()
	content := bytes.Repeat([]byte("0123456789abcdef"), 200_000) // several pieces
	info, err := f.Write(ctx, "d/e/big", bytes.NewReader(content), 16<<20)
	if err != nil || info.Size != int64(len(content)) || info.Path != "d/e/big" {
		t.Fatalf("write: %+v, %v", info, err)
	}
	_, r, err := f.Read(ctx, "d/e/big", 16<<20)
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(r)
	if err = errors.Join(err, r.Close()); err != nil || !bytes.Equal(got, content) {
		t.Errorf("read %d bytes back, %v", len(got), err)
	}
	b.run(d.Write).ok()
	if _, r, err = f.Read(ctx, "f", 100); err != nil {
		t.Fatal(err)
	}
	if got, err = io.ReadAll(r); err != nil || string(got) != "text" {
		t.Errorf("a script's file reads %q, %v", got, err)
	}
	list, err := f.List(ctx, "d/e", 10)
	if err != nil || len(list) != 1 || list[0].Path != "d/e/big" {
		t.Errorf("list: %+v, %v", list, err)
	}
	_, tooLarge := f.Write(ctx, "g", bytes.NewReader(content), 100)
	_, _, tooMuch := f.Read(ctx, "d/e/big", 100)
	_, _, absent := f.Read(ctx, "absent", 100)
	_, full := f.Write(ctx, "h", io.LimitReader(zeros{}, 80<<20), 100<<20)
	_, absolute := f.Write(ctx, "/etc/x", strings.NewReader(""), 100)
	_, outside := f.Write(ctx, "d/../../x", strings.NewReader(""), 100)
	for name, c := range map[string]struct {
		err  error
		want remuda.Code
	}{
		"write over the limit": {tooLarge, remuda.CodeTooLarge}, "read over the limit": {tooMuch, remuda.CodeTooLarge},
		"absent": {absent, remuda.CodeNotFound}, "over the quota": {full, remuda.CodeTooLarge},
		"absolute": {absolute, remuda.CodeInvalid}, "outside": {outside, remuda.CodeInvalid},
	} {
		if got := remuda.CodeOf(c.err); got != c.want {
			t.Errorf("%s: %s (%v), want %s", name, got, c.err, c.want)
		}
	}
	if err := f.Remove(ctx, "d/e/big"); err != nil {
		t.Error(err)
	}
	if _, _, err := f.Read(ctx, "d/e/big", 16<<20); remuda.CodeOf(err) != remuda.CodeNotFound {
		t.Errorf("a removed file: %v", err)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func destroy(t *testing.T, e engine.Engine, d Dialect) {
	b := create(t, e, d.Language, resources)
	started, ended := b.background(engine.Request{Script: d.Print + "\n" + d.Block})
	<-started
	if err := b.Destroy(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := <-ended; !got.Dead || !got.State.Final() {
		t.Errorf("what ran ended as %+v", got.Result)
	}
	b.gone()
	if err := b.Destroy(t.Context()); err != nil {
		t.Errorf("destroy again: %v", err)
	}
	if _, _, err := b.Files().Read(t.Context(), "f", 10); err == nil {
		t.Error("a destroyed instance has files")
	}
	if got, err := b.try(engine.Request{Script: d.Print}); remuda.CodeOf(err) != remuda.CodeUnavailable || !got.Unstarted {
		t.Errorf("execute on a destroyed instance: %v, unstarted %v", err, got.Unstarted)
	}
}

func versions(t *testing.T, e engine.Engine, d Dialect) {
	list, err := e.Versions(t.Context(), remuda.EnvironmentHost, d.Language)
	if err != nil || len(list) == 0 {
		t.Fatalf("versions: %v, %v", list, err)
	}
	if _, err := e.Versions(t.Context(), "elsewhere", d.Language); remuda.CodeOf(err) != remuda.CodeNotFound {
		t.Errorf("versions of an unknown environment: %v", err)
	}
	s := spec(d.Language, resources)
	s.Version = list[0].Version
	inst, err := e.Create(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	if err := inst.Destroy(t.Context()); err != nil {
		t.Error(err)
	}
	s.ID, s.Version = remuda.NewInstanceID(), "0.0.1"
	_, err = e.Create(t.Context(), s)
	if remuda.CodeOf(err) != remuda.CodeInvalid || !strings.Contains(err.Error(), list[0].Version) {
		t.Errorf("an unknown version: %v", err)
	}
}

func wrongSpecs(t *testing.T, e engine.Engine, d Dialect) {
	b := create(t, e, d.Language, resources)
	s := spec(d.Language, resources)
	s.ID = b.ID()
	if _, err := e.Create(t.Context(), s); remuda.CodeOf(err) != remuda.CodeConflict {
		t.Errorf("an id in use: %v", err)
	}
	s = spec("cobol", resources)
	if _, err := e.Create(t.Context(), s); remuda.CodeOf(err) != remuda.CodeInvalid {
		t.Errorf("an unknown language: %v", err)
	}
	b.run(d.Print).ok()
}
