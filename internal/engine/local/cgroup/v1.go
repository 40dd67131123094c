package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/containerd/cgroups/v3/cgroup1"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// v1 is the older interface: one tree for each controller.
type v1 struct {
	root       string
	subsystems []cgroup1.Subsystem
	names      []string
	swap       bool // the kernel counts swap for cgroups
}

func newV1(root string) *v1 {
	b := &v1{root: root, names: []string{"memory", "cpu", "pids"}}
	// The library's own list would take in every directory below the root,
	// controllers or not.
	b.subsystems = []cgroup1.Subsystem{
		cgroup1.NewMemory(root, cgroup1.OptionalSwap()), cgroup1.NewCpu(root), cgroup1.NewPids(root),
	}
	if !sameFile(filepath.Join(root, "cpu"), filepath.Join(root, "cpuacct")) {
		b.subsystems = append(b.subsystems, cgroup1.NewCpuacct(root))
		b.names = append(b.names, "cpuacct")
	}
	_, err := os.Stat(filepath.Join(root, "memory", "memory.memsw.limit_in_bytes"))
	b.swap = err == nil
	return b
}

func sameFile(a, b string) bool {
	x, errA := os.Stat(a)
	y, errB := os.Stat(b)
	return errA == nil && errB == nil && os.SameFile(x, y)
}

func (b *v1) version() int { return 1 }

func (b *v1) hierarchy() ([]cgroup1.Subsystem, error) { return b.subsystems, nil }

// strict makes the library fail on a missing controller instead of skipping it.
func strict(c *cgroup1.InitConfig) error {
	c.InitCheck = func(s cgroup1.Subsystem, _ cgroup1.Path, err error) error {
		return fmt.Errorf("controller %s: %w", s.Name(), err)
	}
	return nil
}

func (b *v1) prepare(path string) error { return b.create(path) }

func (b *v1) create(path string) error {
	_, err := cgroup1.New(cgroup1.StaticPath(path), &specs.LinuxResources{}, cgroup1.WithHierarchy(b.hierarchy), strict)
	return err
}

func (b *v1) load(path string) (cgroup1.Cgroup, error) {
	return cgroup1.Load(cgroup1.StaticPath(path), cgroup1.WithHierarchy(b.hierarchy), strict)
}

func (b *v1) limit(path string, l Limits) error {
	c, err := b.load(path)
	if err != nil {
		return err
	}
	period, quota := cpuQuota(l.CPU)
	pids, memory := int64(l.Pids), l.Memory
	none := uint64(0)
	res := &specs.LinuxResources{
		CPU:    &specs.LinuxCPU{Period: &period, Quota: &quota},
		Pids:   &specs.LinuxPids{Limit: &pids},
		Memory: &specs.LinuxMemory{Limit: &memory, Swappiness: &none},
	}
	if b.swap {
		res.Memory.Swap = &memory // memory and swap together: no swap
	}
	return c.Update(res)
}

func (b *v1) admit(path string, pid int) error {
	c, err := b.load(path)
	if err != nil {
		return err
	}
	return c.AddProc(uint64(pid))
}

// kill does not ask the library, which takes a group that is only in some of the
// trees for none: whoever made or removed it may have been killed meanwhile.
func (b *v1) kill(path string) error {
	for _, top := range b.dirs(path) {
		err := filepath.WalkDir(top, func(dir string, entry fs.DirEntry, err error) error {
			switch {
			case errors.Is(err, os.ErrNotExist):
				return nil
			case err != nil:
				return err
			case !entry.IsDir():
				return nil
			}
			return killListed(filepath.Join(dir, "cgroup.procs"))
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// killListed kills the processes that a cgroup's file lists.
func killListed(file string) error {
	list, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ENODEV) {
		return nil // it has just been removed
	}
	if err != nil {
		return err
	}
	for field := range strings.FieldsSeq(string(list)) {
		pid, err := strconv.Atoi(field)
		if err != nil || pid <= 0 {
			continue // of another pid namespace
		}
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			return err
		}
	}
	return nil
}

func (b *v1) dirs(path string) []string {
	dirs := make([]string, len(b.names))
	for i, name := range b.names {
		dirs[i] = filepath.Join(b.root, name, path)
	}
	return dirs
}

func (b *v1) files() usageFiles {
	return usageFiles{
		cpu:      field{file: "cpuacct/cpuacct.usage", unit: 1},
		peak:     field{file: "memory/memory.max_usage_in_bytes", unit: 1},
		memory:   field{file: "memory/memory.usage_in_bytes", unit: 1},
		oomKills: field{file: "memory/memory.oom_control", key: "oom_kill", unit: 1},
		pidsMax:  field{file: "pids/pids.events", key: "max", unit: 1},
		weight:   weightFile{file: "cpu/cpu.shares", normal: 1024, yield: 64},
		dir: func(path, file string) string {
			return filepath.Join(b.root, filepath.Dir(file), path, filepath.Base(file))
		},
	}
}
