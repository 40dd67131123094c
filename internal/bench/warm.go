package bench

import (
	"context"
	"time"
)

// warmPool is how many instances the pool of the open loops keeps.
const warmPool = 16

// warmLoads sends one-shots at fixed rates and times each from the moment it was
// due, in pieces between which the reference is measured again.
func (m *measurement) warmLoads(ctx context.Context) error {
	const name = "bench-warm"
	if err := m.server.runtime(ctx, name, warmPool, nil); err != nil {
		return err
	}
	request, err := m.server.script(name, oneLine)
	if err != nil {
		return err
	}
	const pieces = 5
	for range pieces {
		for _, load := range []struct {
			series  *Series
			rate, n int
		}{{&m.warm200, 200, m.options.Warm / pieces}, {&m.warm50, 50, m.options.Warm / pieces / 2}} {
			if err := m.server.waitWarm(ctx, warmPool, time.Minute); err != nil {
				return err
			}
			settle(ctx)
			m.reference(ctx, 5)
			for _, s := range openLoop(ctx, load.rate, load.n, func(due time.Time) sample {
				ex, took, err := m.server.fresh(ctx, request, due)
				return sample{ex, took, err}
			}) {
				load.series.add(s.took, s.err)
				m.warmShare.add(s.ex.Warm)
				m.warmStages.add(s.ex.TimingsUS)
			}
		}
	}
	return m.server.removeRuntime(ctx, name)
}
