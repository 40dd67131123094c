package cgroup

import (
	"os"
	"path/filepath"

	"github.com/containerd/cgroups/v3/cgroup2"
)

// v2 is the unified hierarchy.
type v2 struct{ mount string }

func (b *v2) version() int { return 2 }

func (b *v2) manager(path string) (*cgroup2.Manager, error) {
	return cgroup2.Load(path, cgroup2.WithMountpoint(b.mount))
}

func (b *v2) prepare(path string) error {
	all := &cgroup2.Resources{CPU: &cgroup2.CPU{}, Memory: &cgroup2.Memory{}, Pids: &cgroup2.Pids{}}
	if _, err := cgroup2.NewManager(b.mount, path, all); err != nil {
		return err
	}
	// A child that need not exist: its controllers are turned on in its parents,
	// the herd included.
	child, err := b.manager(filepath.Join(path, "any"))
	if err != nil {
		return err
	}
	return child.ToggleControllers(controllers, cgroup2.Enable)
}

func (b *v2) create(path string) error {
	herd, err := b.manager(filepath.Dir(path))
	if err != nil {
		return err
	}
	_, err = herd.NewChild(filepath.Base(path), nil)
	return err
}

func (b *v2) limit(path string, l Limits) error {
	m, err := b.manager(path)
	if err != nil {
		return err
	}
	period, quota := cpuQuota(l.CPU)
	memory, group := l.Memory, true
	res := &cgroup2.Resources{
		CPU:    &cgroup2.CPU{Max: cgroup2.NewCPUMax(&quota, &period)},
		Pids:   &cgroup2.Pids{Max: int64(l.Pids)},
		Memory: &cgroup2.Memory{Max: &memory, OOMGroup: &group},
	}
	// The file is absent on kernels without swap.
	if _, err := os.Stat(filepath.Join(b.mount, path, "memory.swap.max")); err == nil {
		res.Memory.Swap = new(int64)
	}
	return m.Update(res)
}

func (b *v2) refill(path string, l Limits) error { return b.limit(path, l) }

// reset finds counters that cannot be set back, but for the peak in newer kernels.
func (b *v2) reset(string) error { return errUsed }

func (b *v2) admit(path string, pid int) error {
	m, err := b.manager(path)
	if err != nil {
		return err
	}
	return m.AddProc(uint64(pid))
}

func (b *v2) kill(path string) error {
	m, err := b.manager(path)
	if err != nil {
		return err
	}
	return m.Kill()
}

func (b *v2) dirs(path string) []string { return []string{filepath.Join(b.mount, path)} }

func (b *v2) files() usageFiles {
	return usageFiles{
		cpu:      field{file: "cpu.stat", key: "usage_usec", unit: 1000},
		peak:     field{file: "memory.peak", unit: 1},
		memory:   field{file: "memory.current", unit: 1},
		oomKills: field{file: "memory.events", key: "oom_kill", unit: 1},
		pidsMax:  field{file: "pids.events", key: "max", unit: 1},
		weight:   weightFile{file: "cpu.weight", normal: 100, yield: 6, idle: "cpu.idle"},
		dir:      func(path, file string) string { return filepath.Join(b.mount, path, file) },
	}
}

// cpuQuota turns cores into microseconds of a period. The kernel takes no quota
// under a millisecond.
func cpuQuota(cores float64) (period uint64, quota int64) {
	const periodUS = 100_000
	return periodUS, max(1000, int64(cores*periodUS))
}
