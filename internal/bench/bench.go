package bench

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"
)

// Options say how much and what to measure.
type Options struct {
	Program   string    // the remuda binary; "" is the running one
	Rounds    int       // of the loop that takes one sample of each cold start in turn; 0 is 40
	Warm      int       // executions at 200/s; half as many at 50/s; 0 is 1,000
	Instances int       // warm at once when memory is measured; 0 is 100
	Only      []string  // parts to measure, of Parts; none is all
	Out       io.Writer // the report
	Progress  io.Writer // what is being measured; nil is nowhere
	JSON      bool      // the report as JSON instead of tables
}

// Parts are the names that Options.Only takes, in the order of a run.
func Parts() []string {
	names := make([]string, 0, len(parts))
	for _, p := range parts {
		names = append(names, p.name)
	}
	return names
}

// parts is a whole run.
var parts = []struct {
	name    string
	says    string
	measure func(*measurement, context.Context) error
}{
	{"cold", "cold starts and the peers, one of each in turn", (*measurement).coldStarts},
	{"warm", "warm executions, open loop", (*measurement).warmLoads},
	{"rate", "executions a second, closed loops in turn", (*measurement).rates},
	{"preload", "100 instances with modules preloaded", (*measurement).preloads},
	{"runspace", "1+1 in a runspace, and in a Jupyter kernel", (*measurement).runspaces},
	{"lasting", "runspaces through the SRS door, interrupted, and when the server is killed", (*measurement).runspacesThatLast},
	{"neighbour", "warm executions beside a quiet and a loud organization", (*measurement).neighbours},
	{"memory", "memory of warm instances", (*measurement).memory},
}

// Report is one whole run.
type Report struct {
	Host   Host     `json:"host"`
	Rows   []Row    `json:"latencies"`
	Rates  []RateOf `json:"rates"`
	Memory Memory   `json:"memory"`
	Goals  []Goal   `json:"goals"`
	Stages []Stages `json:"stages"`
	TookS  float64  `json:"took_s"`
}

// measurement is the state of one run.
type measurement struct {
	options Options
	dir     string // for files, removed at the end
	server  *server
	peers   []*peer
	report  Report

	ref                      Series
	coldUp, coldNothing      Series
	warm200, warm50          Series
	warmShare                share // of the open loops, which may meet an empty pool
	runspace, stream, kernel Series
	floorFork                Series // one fork of the bare loop, as the loop says it
	kernelStart              Series
	loops                    loops
	upStages, nothingStages  stageTable
	warmStages               stageTable
	preload                  preloadTimes
	lasting                  lasting
	neighbour                neighbour
}

// Run measures everything once and prints the report.
func Run(ctx context.Context, o Options) error {
	if err := o.complete(); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "rb-") // podman wants a short path
	if err != nil {
		return fmt.Errorf("make a directory: %w", err)
	}
	defer os.RemoveAll(dir)
	m := newMeasurement(o, dir)
	start := time.Now()
	if err := m.run(ctx); err != nil {
		return err
	}
	m.report.TookS = time.Since(start).Seconds()
	m.finish()
	if o.JSON {
		return m.report.encode(o.Out)
	}
	return m.report.print(o.Out)
}

func (o *Options) complete() error {
	if o.Program == "" {
		self, err := os.Executable()
		if err != nil {
			return fmt.Errorf("find the program: %w", err)
		}
		o.Program = self
	}
	if o.Progress == nil {
		o.Progress = io.Discard
	}
	for _, name := range o.Only {
		if !slices.Contains(Parts(), name) {
			return fmt.Errorf("there is no part %q of the bench: choose among %s", name, strings.Join(Parts(), ", "))
		}
	}
	o.Rounds, o.Warm, o.Instances = orDefault(o.Rounds, 40), orDefault(o.Warm, 1000), orDefault(o.Instances, 100)
	return nil
}

func orDefault(n, def int) int {
	if n <= 0 {
		return def
	}
	return n
}

func newMeasurement(o Options, dir string) *measurement {
	m := &measurement{options: o, dir: dir, lasting: newLasting(), neighbour: newNeighbour()}
	m.ref = Series{Name: "python3 -c (ref)", Note: "fork to exit, no sandbox"}
	m.coldUp = Series{Name: "remuda cold, template up", Note: "over HTTP, pool empty"}
	m.coldNothing = Series{Name: "remuda cold, nothing up", Note: "over HTTP, first run of a new runtime, all fences and limits"}
	m.warm200 = Series{Name: "remuda warm, 200/s", Note: "over HTTP, open loop, a fresh instance each"}
	m.warm50 = Series{Name: "remuda warm, 50/s", Note: "over HTTP, open loop, a fresh instance each"}
	m.runspace = Series{Name: "remuda runspace 1+1", Note: "over HTTP, one client"}
	m.stream = Series{Name: "remuda runspace stream", Note: "one connection, one execution outstanding"}
	m.kernel = Series{Name: "ipykernel 1+1", Note: "jupyter_client, execute and reply"}
	m.kernelStart = Series{Name: "ipykernel start", Note: "until the kernel answers"}
	m.floorFork = Series{Name: "bare loop, one fork", Note: "a preloaded Python into seven namespaces; median of each piece, one on each core"}
	m.loops = newLoops()
	return m
}

func (m *measurement) wants(part string) bool {
	return len(m.options.Only) == 0 || slices.Contains(m.options.Only, part)
}

func (m *measurement) run(ctx context.Context) error {
	m.report.Host = fingerprint()
	m.say("is the machine idle?")
	m.report.Host.BusyBefore = busyShare(ctx, time.Second)
	before := cpuTimes()
	s, err := startServer(ctx, m.options.Program, m.dir)
	if err != nil {
		return err
	}
	m.server = s
	defer s.stop()
	if m.report.Memory.IdleServerMB, err = s.residentMB(); err != nil {
		return err
	}
	m.say("find the peers")
	m.peers = peers(ctx, m.dir)
	defer func() {
		for _, p := range m.peers {
			p.close()
		}
	}()
	for _, part := range parts {
		if !m.wants(part.name) {
			continue
		}
		m.say(part.says)
		settle(ctx)
		if err := part.measure(m, ctx); err != nil {
			return fmt.Errorf("measure %s: %w", part.says, err)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	m.report.Host.Steal = before.stealSince()
	s.stop()
	settle(ctx)
	m.report.Host.BusyAfter = busyShare(ctx, time.Second)
	return nil
}

func (m *measurement) say(what string) { fmt.Fprintf(m.options.Progress, "bench: %s\n", what) }

// peer returns the first peer of these names that runs here, nil without any.
func (m *measurement) peer(names ...string) *peer {
	for _, name := range names {
		for _, p := range m.peers {
			if p.series.Name == name && p.series.Missing == "" {
				return p
			}
		}
	}
	return nil
}

// reference takes n samples of the bare interpreter.
func (m *measurement) reference(ctx context.Context, n int) {
	for range n {
		m.ref.time(func() error { return command(ctx, python, "-c", oneLine) })
	}
}
