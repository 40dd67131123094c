package keeper

import (
	"fmt"
	"time"

	"github.com/remuda-run/remuda/internal/remuda"
)

func (i *Instance) memoryReason() string {
	return fmt.Sprintf("it used more than its %d MiB of memory", i.Resources().MemoryMB)
}

// WatchMemory ends the whole sandbox when one of its processes was killed for
// memory; with cgroup v2 the kernel does that.
func (i *Instance) WatchMemory() error {
	events, err := i.opts.Group.OOMEvents()
	if err != nil || events == nil {
		return err
	}
	i.oom = events
	i.readers.Go(func() {
		var count [8]byte
		for {
			if _, err := events.Read(count[:]); err != nil {
				return // closed
			}
			if i.killedForMemory() {
				i.end(remuda.KilledByMemory, i.memoryReason())
				return
			}
		}
	})
	return nil
}

// killedForMemory waits a moment for the kill that follows the event: the kernel
// reports the want of memory first.
func (i *Instance) killedForMemory() bool {
	const patience = 2 * time.Second
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		n, err := i.opts.Group.OOMKills()
		if err != nil || i.opts.Process.Exited() {
			return false // the end is told by others
		}
		if n > 0 {
			return true
		}
	}
	return false
}
