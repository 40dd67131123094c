package bench

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestQuantiles(t *testing.T) {
	t.Parallel()
	s := Series{}
	for i := 100; i >= 1; i-- {
		s.Samples = append(s.Samples, time.Duration(i)*time.Millisecond)
	}
	for _, c := range []struct {
		name string
		got  time.Duration
		want time.Duration
	}{
		{"min", s.Min(), time.Millisecond},
		{"median", s.Median(), 51 * time.Millisecond},
		{"p99", s.P99(), 100 * time.Millisecond},
		{"empty", (&Series{}).Median(), 0},
	} {
		if c.got != c.want {
			t.Errorf("%s is %v, want %v", c.name, c.got, c.want)
		}
	}
	if s.Samples[0] != 100*time.Millisecond {
		t.Error("Quantile reordered the samples")
	}
}

// A peer that is on this machine must really run the line, and one that is not
// must say so: a table with silent gaps would flatter us.
func TestPeersRunOrSayWhyNot(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("the peers need root")
	}
	for _, p := range peers(t.Context(), shortDir(t)) {
		t.Cleanup(p.close)
		if p.series.Missing != "" {
			t.Logf("%s: %s", p.series.Name, p.series.Missing)
			continue
		}
		if err := p.run(t.Context()); err != nil {
			t.Errorf("%s ran once and then not: %v", p.series.Name, err)
		}
	}
}

// shortDir is a directory with a path that podman takes.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "rb-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// The floor that others are measured against must do what it says: run the
// line, in namespaces of its own, as often as it was told.
func TestBareLoopForksIntoNamespaces(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("the loop needs root where user namespaces are closed")
	}
	// The child is the first process of its namespace and sees no interface but
	// lo, which is down; it prints 1 only when all of that is so.
	const line = "import os, socket; print(1 if os.getpid() == 1 and [n for _, n in socket.if_nameindex()] == ['lo'] else 0)"
	b, err := startBareLoop(t.Context(), t.TempDir(), line, "socket")
	if err != nil {
		t.Fatal(err)
	}
	defer b.close()
	done, err := b.count(4)
	if err != nil {
		t.Fatal(err)
	}
	if done.n < 4 || done.n >= 4+len(b.templates) || done.took <= 0 || done.median <= 0 || done.perSecond() <= 0 {
		t.Errorf("four forks came to %+v", done)
	}
	if _, err := startBareLoop(t.Context(), t.TempDir(), line, "no_such_module"); err == nil || !strings.Contains(err.Error(), "no_such_module") {
		t.Errorf("a module that is not there gave %v", err)
	}
	liar, err := startBareLoop(t.Context(), t.TempDir(), "print(2)")
	if err != nil {
		t.Fatal(err)
	}
	defer liar.close()
	if _, err := liar.count(1); err == nil {
		t.Error("a line that prints something else counted as run")
	}
}

func TestKernelAnswersOrSaysWhyNot(t *testing.T) {
	t.Parallel()
	kernel, err := startKernel(t.Context(), t.TempDir())
	if err != nil {
		if _, gone := os.Stat("/usr/lib/python3/dist-packages/ipykernel/__init__.py"); gone == nil {
			t.Fatalf("ipykernel is installed and gave %v", err)
		}
		t.Skipf("ipykernel: %v", err)
	}
	defer kernel.end()
	m := newMeasurement(Options{}, "")
	if err := m.kernelPiece(kernel, 3, true); err != nil {
		t.Fatal(err)
	}
	if len(m.kernelStart.Samples) != 1 || len(m.kernel.Samples) != 3 {
		t.Errorf("%d starts and %d executions, want 1 and 3", len(m.kernelStart.Samples), len(m.kernel.Samples))
	}
}

func TestOpenLoopCountsWaiting(t *testing.T) {
	t.Parallel()
	var running, most atomic.Int64
	hold := make(chan struct{})
	const n = 20
	samples := openLoop(t.Context(), 1000, n, func(due time.Time) sample {
		most.Store(max(most.Load(), running.Add(1)))
		defer running.Add(-1)
		if running.Load() == n {
			close(hold) // only when all run at once: the loop waits for none
		}
		select {
		case <-hold:
			return sample{took: time.Since(due)}
		case <-time.After(30 * time.Second):
			return sample{err: errors.New("the loop waited for an answer")}
		}
	})
	for i, s := range samples {
		if s.err != nil || s.took <= 0 {
			t.Fatalf("run %d: %v, %v", i, s.took, s.err)
		}
	}
	// The first was due first and all ended together.
	if samples[0].took <= samples[n-1].took {
		t.Errorf("the first took %v, the last %v: not counted from when they were due", samples[0].took, samples[n-1].took)
	}
}

func TestClosedLoopAndParallel(t *testing.T) {
	t.Parallel()
	perSecond, errs := closedLoop(t.Context(), 3, 50*time.Millisecond, func(client int) error {
		time.Sleep(time.Millisecond)
		if client == 0 {
			return errors.New("no")
		}
		return nil
	})
	if perSecond <= 0 || len(errs) == 0 {
		t.Errorf("%g a second, %d errors", perSecond, len(errs))
	}
	var ran [10]atomic.Int64
	if _, err := inParallel(t.Context(), 4, len(ran), func(i int) error { ran[i].Add(1); return nil }); err != nil {
		t.Error(err)
	}
	for i := range ran {
		if ran[i].Load() != 1 {
			t.Errorf("run %d was made %d times", i, ran[i].Load())
		}
	}
	if _, err := inParallel(t.Context(), 2, 5, func(int) error { return errors.New("no") }); err == nil {
		t.Error("a failed run is no error")
	}
}

func TestReadMachine(t *testing.T) {
	t.Parallel()
	got := parseTimes("cpu  10 1 5 100 7 1 2 4 3 0")
	if got != (times{idle: 107, steal: 4, all: 130}) {
		t.Errorf("processor times are %+v", got)
	}
	if got := parseTimes("garbage"); got != (times{}) {
		t.Errorf("garbage is %+v", got)
	}
	if n := readyInstances("remuda_instances{generation=\"1\",runtime=\"a\",state=\"ready\"} 2\nremuda_instances{state=\"active\"} 5\nremuda_instances{generation=\"1\",runtime=\"b\",state=\"ready\"} 1e1\n"); n != 12 {
		t.Errorf("%d instances are ready, want 12", n)
	}
	if kb := privateKB("Rss: 900 kB\nPrivate_Clean:   8 kB\nPrivate_Dirty:\t 12 kB\nPrivate_Hugetlb: 4 kB\n"); kb != 20 {
		t.Errorf("%d KB are private, want 20", kb)
	}
	child := exec.Command("sleep", "600")
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = child.Process.Kill(); _ = child.Wait() }()
	used, err := herdUse(os.Getpid())
	if err != nil || used.processes < 1 || used.privateKB <= 0 || used.availableKB <= 0 {
		t.Errorf("a child uses %+v (%v)", used, err)
	}
	if h := fingerprint(); h.Cores < 1 || h.Kernel == "" || h.MemoryMB < 1 || !strings.HasPrefix(h.Python, "Python 3") {
		t.Errorf("the machine is %+v", h)
	}
}

func TestUnknownPart(t *testing.T) {
	t.Parallel()
	err := Run(context.Background(), Options{Only: []string{"everything"}})
	if err == nil || !strings.Contains(err.Error(), "cold, warm, rate") {
		t.Errorf("an unknown part gave %v", err)
	}
}

// measured is a run with made-up figures.
func measured() *measurement {
	m := newMeasurement(Options{}, "")
	of := func(s *Series, d time.Duration) { s.Samples = []time.Duration{d} }
	of(&m.ref, 10*time.Millisecond)
	of(&m.coldUp, 3*time.Millisecond)
	of(&m.coldNothing, 20*time.Millisecond)
	of(&m.warm200, time.Millisecond)
	of(&m.warm50, time.Millisecond)
	of(&m.runspace, 200*time.Microsecond)
	of(&m.kernel, 4*time.Millisecond)
	of(&m.neighbour.quiet, 2*time.Millisecond)
	of(&m.neighbour.loud, 5*time.Millisecond)
	m.loops.fresh.PerSecond, m.loops.floor.PerSecond = []float64{300}, []float64{400}
	m.loops.container.PerSecond = []float64{100}
	m.warm200.Errors = 7 // of fourteen executions
	m.peers = []*peer{{series: &Series{Name: "runc", Samples: []time.Duration{40 * time.Millisecond}}}, missing("bwrap")}
	return m
}

func TestGoals(t *testing.T) {
	t.Parallel()
	m := measured()
	m.finish()
	got := map[string]Goal{}
	for _, g := range m.report.Goals {
		got[g.Name] = g
	}
	for name, want := range map[string]struct {
		met, measured bool
		got           float64
	}{
		"warm one-shot at 200/s, p50":            {false, true, 0.1},
		"warm one-shot at 50/s, p50":             {true, true, 0.1},
		"warm beside a loud neighbour, p99":      {false, true, 2.5},
		"fresh executions a second, 16 clients":  {true, true, 0.75},
		"the same against crun":                  {false, true, 3},
		"runspace 1+1, p50":                      {true, true, 0.2},
		"the same against ipykernel":             {true, true, 20},
		"cold, template up, p50":                 {true, true, 0.3},
		"cold, nothing up, p50":                  {false, true, 2},
		"the same against runc":                  {true, true, 0.5},
		"the same against podman or docker":      {false, false, 0},
		"executions that succeeded, of all rows": {false, true, 0.5},
		"runspace over one streaming connection": {false, false, 0},
		"100 instances with modules preloaded":   {false, false, 0},
		"private memory of a warm instance":      {false, false, 0},
		"cold, nothing up, two at a time":        {false, false, 0},
	} {
		g, ok := got[name]
		if !ok || g.Met != want.met || (g.Missing == "") != want.measured || g.Got != want.got {
			t.Errorf("goal %q is %+v, want %+v", name, g, want)
		}
	}
}

func TestReportNamesWhatWasMissed(t *testing.T) {
	t.Parallel()
	m := measured()
	m.finish()
	var quiet, busy bytes.Buffer
	if err := m.report.print(&quiet); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"MISSED", "met", "not installed", "not measured", "remuda fresh, 16 clients"} {
		if !strings.Contains(quiet.String(), want) {
			t.Errorf("the report lacks %q:\n%s", want, quiet.String())
		}
	}
	m.report.Host.BusyBefore = 0.5
	if err := m.report.print(&busy); err != nil {
		t.Fatal(err)
	}
	if text := busy.String(); strings.Contains(text, "MISSED") || !strings.Contains(text, "no verdict: the machine was 50 % busy before the run") {
		t.Errorf("a busy machine got a verdict:\n%s", text)
	}
}
