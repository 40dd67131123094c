package bench

import (
	"context"
	"fmt"
	"time"
)

// coldStarts takes one sample of each kind of cold start in turn, ours and the
// peers', so that all see the same noise.
func (m *measurement) coldStarts(ctx context.Context) error {
	const up = "bench-up"
	if err := m.server.runtime(ctx, up, 0, nil); err != nil {
		return err
	}
	request, err := m.server.script(up, oneLine)
	if err != nil {
		return err
	}
	for range 5 { // its template comes up with use
		if _, _, err := m.server.fresh(ctx, request, time.Now()); err != nil {
			return err
		}
	}
	settle(ctx)
	for i := range m.options.Rounds {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		m.reference(ctx, 1)
		ex, took, err := m.server.fresh(ctx, request, time.Now())
		m.coldUp.add(took, err)
		m.upStages.add(ex.TimingsUS)
		rest(ctx)
		if err := m.nothingUp(ctx, i); err != nil {
			return err
		}
		rest(ctx)
		for _, p := range m.peers {
			if p.series.Missing == "" && i%p.every == 0 {
				p.series.time(func() error { return p.run(ctx) })
				rest(ctx)
			}
		}
	}
	return m.server.removeRuntime(ctx, up)
}

// nothingUp takes one sample of the first execution of a runtime.
func (m *measurement) nothingUp(ctx context.Context, i int) error {
	name := fmt.Sprintf("bench-new-%d", i)
	if err := m.server.runtime(ctx, name, 0, nil); err != nil {
		return err
	}
	request, err := m.server.script(name, oneLine)
	if err != nil {
		return err
	}
	ex, took, err := m.server.fresh(ctx, request, time.Now())
	m.coldNothing.add(took, err)
	m.nothingStages.add(ex.TimingsUS)
	return m.server.removeRuntime(ctx, name)
}

// rest is a pause in which what a run left is cleared away.
func rest(ctx context.Context) { pause(ctx, 30*time.Millisecond) }
