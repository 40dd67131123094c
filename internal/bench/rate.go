package bench

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// loops are the closed loops of a run, each measured in several pieces.
type loops struct {
	floor, fresh, container, python, nothing Rate
	stream                                   Rate
	warm                                     share
}

func newLoops() loops {
	return loops{
		floor:     Rate{Name: "bare loop", Note: "a preloaded Python forked into seven namespaces, one template for each core"},
		fresh:     Rate{Name: "remuda fresh, 16 clients", Note: "over HTTP, each on a never-used instance"},
		container: Rate{Name: "crun", Note: "two at a time"},
		python:    Rate{Name: "python3 -c", Note: "two at a time"},
		nothing:   Rate{Name: "remuda cold, nothing up", Note: "two at a time, each the first of a new runtime"},
		stream:    Rate{Name: "remuda runspace stream", Note: "one connection, 64 executions outstanding"},
	}
}

// rates runs the closed loops in turn, three times.
func (m *measurement) rates(ctx context.Context) error {
	const name, pieces = "bench-fresh", 3
	floor, err := startBareLoop(ctx, m.dir, oneLine)
	if err != nil {
		m.loops.floor.Missing, m.floorFork.Missing = err.Error(), err.Error()
	} else {
		defer floor.close()
	}
	container := m.peer("crun", "runc")
	if container == nil {
		m.loops.container.Missing = "neither crun nor runc runs here"
	} else {
		m.loops.container.Name = container.series.Name
	}
	if err := m.server.runtime(ctx, name, warmPool, nil); err != nil {
		return err
	}
	for i := range pieces {
		if floor != nil {
			settle(ctx)
			done, err := floor.seconds(2)
			if err != nil {
				return err
			}
			m.loops.floor.PerSecond = append(m.loops.floor.PerSecond, done.perSecond())
			m.floorFork.add(done.median, nil)
		}
		if err := m.freshLoop(ctx, name); err != nil {
			return err
		}
		if container != nil {
			m.loops.container.piece(ctx, 2, time.Second, func(int) error { return container.run(ctx) })
		}
		m.loops.python.piece(ctx, 2, time.Second, func(int) error { return command(ctx, python, "-c", oneLine) })
		if err := m.nothingLoop(ctx, i); err != nil {
			return err
		}
	}
	return m.server.removeRuntime(ctx, name)
}

// piece measures a rate once more, on a quiet machine.
func (r *Rate) piece(ctx context.Context, clients int, while time.Duration, do func(client int) error) {
	settle(ctx)
	perSecond, errs := closedLoop(ctx, clients, while, do)
	r.PerSecond = append(r.PerSecond, perSecond)
	r.count(errs...)
}

func (r *Rate) count(errs ...error) {
	if len(errs) > 0 && r.Errors == 0 {
		r.Note = "first error: " + firstLine(errs[0].Error())
	}
	r.Errors += len(errs)
}

// freshLoop measures one piece of 16 clients, after a run-up that uses up what
// the pool held: what counts is how fast instances are made, used and removed.
func (m *measurement) freshLoop(ctx context.Context, name string) error {
	const clients = 16
	request, err := m.server.script(name, oneLine)
	if err != nil {
		return err
	}
	var mu sync.Mutex
	used := map[string]bool{}
	run := func(int) error {
		ex, _, err := m.server.fresh(ctx, request, time.Now())
		if err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		m.loops.warm.add(ex.Warm)
		if used[ex.Instance] {
			return fmt.Errorf("instance %s was handed out twice", ex.Instance)
		}
		used[ex.Instance] = true
		return nil
	}
	if err := m.server.waitWarm(ctx, warmPool, time.Minute); err != nil {
		return err
	}
	_, errs := closedLoop(ctx, clients, 500*time.Millisecond, run)
	perSecond, more := closedLoop(ctx, clients, 2*time.Second, run)
	m.loops.fresh.PerSecond = append(m.loops.fresh.PerSecond, perSecond)
	m.loops.fresh.count(append(errs, more...)...)
	return nil
}

// nothingLoop measures two clients that each time are the first of a runtime.
func (m *measurement) nothingLoop(ctx context.Context, piece int) error {
	const n = 40
	requests := make([][]byte, n)
	names := make([]string, n)
	for i := range n {
		names[i] = fmt.Sprintf("bench-two-%d-%d", piece, i)
		if err := m.server.runtime(ctx, names[i], 0, nil); err != nil {
			return err
		}
		var err error
		if requests[i], err = m.server.script(names[i], oneLine); err != nil {
			return err
		}
	}
	settle(ctx)
	took, err := inParallel(ctx, 2, n, func(i int) error {
		_, _, err := m.server.fresh(ctx, requests[i], time.Now())
		return err
	})
	if err != nil {
		m.loops.nothing.count(err)
	} else {
		m.loops.nothing.PerSecond = append(m.loops.nothing.PerSecond, n/took.Seconds())
	}
	var failed error
	for _, name := range names {
		failed = errors.Join(failed, m.server.removeRuntime(ctx, name))
	}
	return failed
}
