package bench

import (
	"context"
	"slices"
	"strings"
	"time"
)

// preloadTimes are the times of 100 runs that use what was imported before.
type preloadTimes struct {
	ours, floor Series
}

// preloadModules are what real scripts start with.
var preloadModules = []string{"json", "sqlite3", "ssl", "http.client", "asyncio"}

// preloads takes the time of 100 fresh executions that import modules which the
// runtime preloads, and of the bare loop with the same modules, in turn.
func (m *measurement) preloads(ctx context.Context) error {
	const name, n, pieces = "bench-preload", 100, 3
	p := &m.preload
	p.ours = Series{Name: "remuda, 100 with preload", Note: "16 clients, no pool: " + strings.Join(preloadModules, ", ")}
	p.floor = Series{Name: "bare loop, 100 with preload", Note: "the same modules"}
	line := "import " + strings.Join(preloadModules, ", ") + "; " + oneLine
	if err := m.server.runtime(ctx, name, 0, map[string]any{"preload": preloadModules}); err != nil {
		p.ours.Missing = firstLine(err.Error())
		return nil
	}
	floor, err := startBareLoop(ctx, m.dir, line, preloadModules...)
	if err != nil {
		p.floor.Missing = err.Error()
		return m.server.removeRuntime(ctx, name)
	}
	defer floor.close()
	request, err := m.server.script(name, line)
	if err != nil {
		return err
	}
	run := func(int) error {
		_, _, err := m.server.fresh(ctx, request, time.Now())
		return err
	}
	for i := range 5 { // its template comes up with use
		if err := run(i); err != nil {
			return err
		}
	}
	for range pieces {
		settle(ctx)
		done, err := floor.count(n)
		p.floor.add(done.took, err)
		settle(ctx)
		took, err := inParallel(ctx, 16, n, run)
		p.ours.add(took, err)
	}
	return m.server.removeRuntime(ctx, name)
}

// ratio is the median of the ratios of each pair.
func (p *preloadTimes) ratio() float64 {
	var ratios []float64
	for i := range min(len(p.ours.Samples), len(p.floor.Samples)) {
		ratios = append(ratios, float64(p.ours.Samples[i])/float64(p.floor.Samples[i]))
	}
	if len(ratios) == 0 {
		return 0
	}
	slices.Sort(ratios)
	return ratios[len(ratios)/2]
}
