package local

import (
	"context"
	"errors"

	"github.com/remuda-run/remuda/internal/engine/keeper"
	"github.com/remuda-run/remuda/internal/engine/local/cgroup"
)

// orphan is the keeper of an earlier server's template, which has ended with that
// server. It keeps the instances that were forked from it and goes with the last
// of them.
type orphan struct {
	engine *Engine
	name   string // of its cgroup and socket
	proc   *process
	group  *cgroup.Group

	living int  // instances of it that are ours; belongs to the engine's mu, like kept
	kept   bool // by instances that were detached
}

// orphanOf finds the keeper that metadata names, for one instance more.
func (e *Engine) orphanOf(s *sharedKeeper) (*orphan, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if o := e.orphans[s.Name]; o != nil {
		o.living++
		return o, nil
	}
	proc, err := leftProcess(s.Pid, s.StartTime)
	if err != nil {
		return nil, err
	}
	o := &orphan{engine: e, name: s.Name, proc: proc, group: e.herd.Group(s.Name), living: 1}
	e.orphans[s.Name] = o
	return o, nil
}

// lose is the end of an instance. The last one's is the keeper's.
func (o *orphan) lose(ctx context.Context) error {
	e := o.engine
	e.mu.Lock()
	o.living--
	last := o.living == 0 && !o.kept
	if last {
		delete(e.orphans, o.name)
	}
	e.mu.Unlock()
	if !last {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), keeper.CleanupTime)
	defer cancel()
	err := errors.Join(o.proc.Kill(), o.proc.Wait(), o.group.Clear(ctx), remove(e.dir.socket(o.name)))
	o.proc.close()
	return err
}

// keep says that an instance was detached: the keeper stays.
func (o *orphan) keep() {
	o.engine.mu.Lock()
	defer o.engine.mu.Unlock()
	o.living--
	o.kept = true
}

// leaveOrphans lets go of the keepers that stay.
func (e *Engine) leaveOrphans() {
	e.mu.Lock()
	defer e.mu.Unlock()
	for name, o := range e.orphans {
		o.proc.close()
		o.group.Close()
		delete(e.orphans, name)
	}
}
