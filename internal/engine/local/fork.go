package local

import (
	"context"
	"errors"

	"github.com/remuda-run/remuda/internal/engine/keeper"
	"github.com/remuda-run/remuda/internal/engine/local/cgroup"
)

// forksAhead is how many forks of a template wait in their cgroups for somebody
// who waits for an instance: making one is half of what that takes. The first
// such instance begins the stock.
const forksAhead = 2

// spareGroups is how many cgroups of instances that have ended wait for the next ones
// of their template.
const spareGroups = 16

func (t *template) newGroups() *cgroup.Spares {
	return t.engine.herd.NewSpares(spareGroups, func(err error) {
		t.engine.log.Error("a cgroup that nobody needed could not be removed", "runtime", t.key.Runtime, "error", err)
	})
}

func (t *template) newStock() *stock {
	ahead := func(ctx context.Context) (*blank, error) { return t.fork(ctx, false) }
	return newStock(min(forksAhead, t.engine.stock.size), t.engine.log, ahead, func() int { return 0 })
}

// fork makes a blank that is forked from the template: it needs only to be told
// to become an instance. On error nothing is left of it.
func (t *template) fork(ctx context.Context, background bool) (_ *blank, err error) {
	e := t.engine
	b := &blank{name: "fork-" + randomHex(8), forked: true}
	defer func() {
		if err != nil {
			err = errors.Join(err, b.destroy(ctx))
		}
	}()
	c, err := dial(ctx, e.dir.run, t.blank.name+".sock")
	if err != nil {
		return nil, err
	}
	var pidfd, user int
	if b.conn, pidfd, user, err = keeper.Fork(ctx, c); err != nil {
		return nil, err
	}
	b.owner = t.blank.uids.base() + user
	b.shared = &sharedKeeper{Name: t.blank.name, Pid: t.blank.proc.pid, User: user}
	if b.proc, err = foreignProcess(pidfd); err != nil {
		return nil, err
	}
	if b.group, err = t.groups.Take(b.name); err != nil {
		return nil, err
	}
	b.name, b.spares = b.group.Name(), t.groups
	if background {
		if err := b.group.Yield(true); err != nil {
			return nil, err
		}
	}
	if err := b.group.Admit(b.proc.pid); err != nil {
		return nil, err
	}
	if !background {
		if err := b.conn.Prepare(); err != nil {
			return nil, err
		}
	}
	t.forks.Add(1)
	return b, b.group.Watch()
}
