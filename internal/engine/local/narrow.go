package local

import (
	"context"
	"errors"
	"fmt"

	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/remuda"
)

var _ engine.Narrower = (*Instance)(nil)

// Narrow implements engine.Narrower. The cgroup can be lowered at any time; a
// disk has its size from the start, and so have the limits of processes that are
// derived from it.
func (i *Instance) Narrow(_ context.Context, limits remuda.Resources) error {
	i.narrowing.Lock()
	defer i.narrowing.Unlock()
	has := i.Resources()
	want, err := lowered(has, limits)
	if err != nil || want == has {
		return err
	}
	if want.MemoryMB < has.MemoryMB {
		if err := i.fits(want.MemoryMB); err != nil {
			return err
		}
	}
	if err := i.blank.group.Limit(i.blank.limitsOf(want)); err != nil {
		// A part may have been lowered.
		if err := errors.Join(err, i.blank.group.Limit(i.blank.limitsOf(has))); !i.Alive() {
			return i.Lost(err)
		}
		return remuda.Errorf(remuda.CodeUnsupported, "the limits of the sandbox cannot be lowered now: %w", err)
	}
	i.SetResources(want)
	if err := i.redescribe(); err != nil {
		i.engine.log.Error("a later server will not know the limits of a sandbox", "instance", i.ID(), "error", err)
	}
	return nil
}

// lowered is what has becomes when the limits that are not 0 are put in its
// place.
func lowered(has, limits remuda.Resources) (remuda.Resources, error) {
	var wrong []remuda.FieldError
	for _, limit := range []struct {
		field     string
		want, has float64
	}{
		{"cpu", limits.CPU, has.CPU},
		{"memory_mb", float64(limits.MemoryMB), float64(has.MemoryMB)},
		{"disk_mb", float64(limits.DiskMB), float64(has.DiskMB)},
		{"pids", float64(limits.Pids), float64(has.Pids)},
	} {
		if !(limit.want >= 0 && limit.want <= limit.has) {
			wrong = append(wrong, remuda.FieldError{Field: limit.field, Message: fmt.Sprintf("must be at most what the sandbox has, %g", limit.has)})
		}
	}
	if len(wrong) > 0 {
		return has, remuda.Invalid(wrong...)
	}
	if limits.DiskMB != 0 && limits.DiskMB != has.DiskMB {
		return has, unsupported("the disk of a sandbox that exists cannot be made smaller", "it was made with its size", "start a new sandbox with the smaller disk", nil)
	}
	put(&has.CPU, limits.CPU)
	put(&has.MemoryMB, limits.MemoryMB)
	put(&has.Pids, limits.Pids)
	return has, nil
}

func put[T int | float64](field *T, v T) {
	if v != 0 {
		*field = v
	}
}

// fits refuses a limit that the sandbox is above already: the kernel would kill
// it there (cgroup v2) for what it was allowed to take.
func (i *Instance) fits(memoryMB int) error {
	used, err := i.blank.group.Memory()
	if err != nil {
		if !i.Alive() {
			return i.Lost(err)
		}
		return remuda.Internal("reading what a sandbox uses", err)
	}
	if limit := int64(memoryMB) << 20; used >= limit {
		return unsupported(fmt.Sprintf("the memory of the sandbox cannot be lowered to %d MiB", memoryMB), fmt.Sprintf("it uses %d MiB already", used>>20), "start a new sandbox with less memory", nil)
	}
	return nil
}
