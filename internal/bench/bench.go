package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"
)

// Options say how long and where to measure.
type Options struct {
	Program string    // the remuda binary; "" is the running one
	Rounds  int       // of the paired loop; 0 is 60
	Warm    int       // executions of the 50/s load; 0 is 1,000
	Out     io.Writer // the table and progress
	JSON    bool      // the report as JSON instead of the table
}

// Report is one whole run.
type Report struct {
	Host   Host     `json:"host"`
	Ref    *Series  `json:"-"`
	Rows   []Row    `json:"rows"`
	IdleMB float64  `json:"idle_resident_mb"`
	Goals  []Goal   `json:"goals"`
	Stages []Stages `json:"stages"`
}

// Run measures everything once and prints the report.
func Run(ctx context.Context, o Options) error {
	if o.Program == "" {
		self, err := os.Executable()
		if err != nil {
			return fmt.Errorf("find the program: %w", err)
		}
		o.Program = self
	}
	o.Rounds, o.Warm = orDefault(o.Rounds, 60), orDefault(o.Warm, 1000)
	dir, err := os.MkdirTemp("", "remuda-bench-")
	if err != nil {
		return fmt.Errorf("make a directory: %w", err)
	}
	defer os.RemoveAll(dir)

	report := &Report{Host: fingerprint()}
	s, err := startServer(ctx, o.Program, dir)
	if err != nil {
		return err
	}
	defer s.stop()
	m := &measurement{server: s, options: o, report: report}
	if err := m.run(ctx, dir); err != nil {
		return err
	}
	if o.JSON {
		enc := json.NewEncoder(o.Out)
		enc.SetIndent("", "  ")
		return enc.Encode(report)
	}
	return report.print(o.Out)
}

func orDefault(n, def int) int {
	if n <= 0 {
		return def
	}
	return n
}

// measurement is the state of one run.
type measurement struct {
	server  *server
	options Options
	report  *Report

	ref, cold, warm, runspace Series
	coldStages, warmStages    stageTable
}

func (m *measurement) run(ctx context.Context, dir string) error {
	m.ref = Series{Name: "python3 -c (ref)", Note: "fork to exit, no sandbox"}
	m.cold = Series{Name: "remuda cold one-shot", Note: "over HTTP, all fences and limits, no warm instance"}
	m.warm = Series{Name: "remuda warm one-shot, 50/s", Note: "over HTTP, open loop, a fresh instance each"}
	m.runspace = Series{Name: "remuda runspace 1+1", Note: "over HTTP, stateful"}
	idle, err := m.server.residentMB()
	if err != nil {
		return err
	}
	m.report.IdleMB = idle
	body := map[string]any{"name": "bench-cold", "language": "python", "pool": map[string]any{"min_cached": 0, "max_cached": 0}}
	if err := m.server.call(ctx, http.MethodPost, "/v1/runtimes", body, nil); err != nil {
		return err
	}
	others := peers(ctx, dir)
	m.pairedLoop(ctx, others)
	if err := m.warmLoad(ctx); err != nil {
		return err
	}
	if err := m.runspaceLoop(ctx); err != nil {
		return err
	}
	m.finish(others)
	return ctx.Err()
}

// pairedLoop takes one sample of each in turn, so that all see the same noise.
func (m *measurement) pairedLoop(ctx context.Context, others []*peer) {
	for range 3 {
		_ = command(ctx, python, "-c", oneLine)
		_, _ = m.server.oneShot(ctx, "bench-cold")
	}
	for i := range m.options.Rounds {
		if ctx.Err() != nil {
			return
		}
		m.ref.add(func() error { return command(ctx, python, "-c", oneLine) })
		m.cold.add(func() error {
			ex, err := m.server.oneShot(ctx, "bench-cold")
			m.coldStages.add(ex.TimingsUS)
			return err
		})
		for _, p := range others {
			if p.series.Missing == "" && i%p.every == 0 {
				p.series.add(func() error { return p.run(ctx) })
			}
		}
		// What a run leaves to be cleared away must not weigh on the next sample.
		time.Sleep(30 * time.Millisecond)
	}
}

// warmLoad sends one-shots at a fixed rate and times each from the moment it
// was due, in pieces between which the reference is measured again.
func (m *measurement) warmLoad(ctx context.Context) error {
	const rate, pieces = 50, 5
	body := map[string]any{"name": "bench-warm", "language": "python", "pool": map[string]any{"min_cached": 8, "max_cached": 8}}
	if err := m.server.call(ctx, http.MethodPost, "/v1/runtimes", body, nil); err != nil {
		return err
	}
	time.Sleep(2 * time.Second) // the pool fills in the background
	per := m.options.Warm / pieces
	for range pieces {
		results := make(chan func(), per)
		start := time.Now()
		for i := range per {
			due := start.Add(time.Duration(i) * time.Second / rate)
			time.Sleep(time.Until(due))
			go func() {
				ex, err := m.server.oneShot(ctx, "bench-warm")
				took := time.Since(due)
				results <- func() {
					if err != nil {
						m.warm.Errors++
						m.warm.Note = err.Error()
						return
					}
					m.warm.Samples = append(m.warm.Samples, took)
					m.warmStages.add(ex.TimingsUS)
				}
			}()
		}
		for range per {
			(<-results)()
		}
		time.Sleep(500 * time.Millisecond)
		for range 5 {
			m.ref.add(func() error { return command(ctx, python, "-c", oneLine) })
		}
	}
	return m.server.call(ctx, http.MethodDelete, "/v1/runtimes/bench-warm", nil, nil)
}

func (m *measurement) runspaceLoop(ctx context.Context) error {
	var rs struct {
		ID    string `json:"id"`
		State string `json:"state"`
	}
	if err := m.server.call(ctx, http.MethodPost, "/v1/runspaces", map[string]any{"runtime": "bench-cold"}, &rs); err != nil {
		return err
	}
	path := "/v1/runspaces/" + rs.ID
	for deadline := time.Now().Add(30 * time.Second); rs.State != "ready"; {
		if time.Now().After(deadline) || rs.State == "error" {
			return fmt.Errorf("the runspace is %s", rs.State)
		}
		time.Sleep(10 * time.Millisecond)
		if err := m.server.call(ctx, http.MethodGet, path, nil, &rs); err != nil {
			return err
		}
	}
	for range 1000 {
		m.runspace.add(func() error {
			var ex execution
			err := m.server.call(ctx, http.MethodPost, path+"/executions?wait=10s", map[string]any{"script": "1+1"}, &ex)
			if err == nil && ex.State != "success" {
				err = fmt.Errorf("execution %s ended as %s", ex.ID, ex.State)
			}
			return err
		})
	}
	return m.server.call(ctx, http.MethodDelete, path, nil, nil)
}
