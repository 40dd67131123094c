package keeper

import (
	"sync"
	"time"

	"github.com/remuda-run/remuda/internal/engine"
)

var (
	_ engine.Sharer = (*Instance)(nil)
	_ engine.Laster = (*Instance)(nil)
)

// weight is what an instance's group has of a busy processor.
type weight struct {
	mu     sync.Mutex
	yields bool // nobody has waited for it yet
	last   bool // it comes last, whatever its share
	shares int  // what it shares a normal part with, once it does not come last
	share  int  // what it is to share that with from the next execution on
}

// Share implements engine.Sharer.
func (i *Instance) Share(among int) {
	i.weight.mu.Lock()
	defer i.weight.mu.Unlock()
	i.weight.share = max(1, among)
}

// weigh gives the group its share for an execution. Until now nobody waited for it,
// or its organization held fewer.
func (i *Instance) weigh() error {
	w := &i.weight
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.last && (w.yields || w.share != w.shares) {
		if err := i.opts.Group.Share(w.share); err != nil {
			return err
		}
	}
	w.yields, w.shares = false, w.share
	return nil
}

// Last implements engine.Laster.
func (i *Instance) Last(on bool) {
	w := &i.weight
	w.mu.Lock()
	defer w.mu.Unlock()
	if on == w.last {
		return
	}
	err := i.opts.Group.Last(on)
	switch {
	case err != nil || on:
	case w.yields:
		err = i.opts.Group.Yield(true)
	case w.shares > 0:
		err = i.opts.Group.Share(w.shares)
	}
	if err == nil {
		w.last = on
	} else if i.Alive() {
		i.opts.Log.Warn("the weight of a sandbox could not be changed", "instance", i.opts.ID, "last", on, "error", err)
	}
}

// Burned implements engine.Laster.
func (i *Instance) Burned() time.Duration {
	d, err := i.opts.Group.CPU()
	if err != nil {
		return 0
	}
	return d
}
