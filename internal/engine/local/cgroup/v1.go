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
	"golang.org/x/sys/unix"
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

// prepare also forbids swap, which groups inherit when they are made.
func (b *v1) prepare(path string) error {
	none := uint64(0)
	res := &specs.LinuxResources{Memory: &specs.LinuxMemory{Swappiness: &none}}
	_, err := cgroup1.New(cgroup1.StaticPath(path), res, cgroup1.WithHierarchy(b.hierarchy), strict)
	return err
}

// Groups are made, limited and entered without the library, which asks for what is
// known here: each sandbox pays for it. A group is below one that prepare has made.
func (b *v1) create(path string) error {
	for _, dir := range b.dirs(path) {
		if err := unix.Mkdir(dir, 0o755); err != nil && !errors.Is(err, unix.EEXIST) {
			return &os.PathError{Op: "mkdir", Path: dir, Err: err}
		}
	}
	return nil
}

func (b *v1) limit(path string, l Limits) error {
	period, quota := cpuQuota(l.CPU)
	memory := strconv.FormatInt(l.Memory, 10)
	at := func(controller, file string) string { return filepath.Join(b.root, controller, path, file) }
	err := errors.Join(
		put(at("cpu", "cpu.cfs_period_us"), strconv.FormatUint(period, 10)),
		put(at("cpu", "cpu.cfs_quota_us"), strconv.FormatInt(quota, 10)),
		put(at("pids", "pids.max"), strconv.Itoa(l.Pids)),
	)
	if err != nil || !b.swap {
		return errors.Join(err, put(at("memory", "memory.limit_in_bytes"), memory))
	}
	// Memory and swap together: no swap. That is never to be less than the memory
	// alone, so a limit that is raised comes second.
	err = put(at("memory", "memory.limit_in_bytes"), memory)
	raised := errors.Is(err, unix.EINVAL)
	if err != nil && !raised {
		return err
	}
	if err := put(at("memory", "memory.memsw.limit_in_bytes"), memory); err != nil || !raised {
		return err
	}
	return put(at("memory", "memory.limit_in_bytes"), memory)
}

// refill writes the quota that is there: the kernel then begins a new period of it,
// and lets run again whom the last one had stopped.
func (b *v1) refill(path string, l Limits) error {
	_, quota := cpuQuota(l.CPU)
	return put(filepath.Join(b.root, "cpu", path, "cpu.cfs_quota_us"), strconv.FormatInt(quota, 10))
}

// reset has the kernel count anew what it can. How often memory or processes were
// refused it cannot, nor what of memory is still in use.
func (b *v1) reset(path string) error {
	files := []string{"memory/memory.max_usage_in_bytes", "memory/memory.failcnt", "cpuacct/cpuacct.usage"}
	if b.swap {
		files = append(files, "memory/memory.memsw.max_usage_in_bytes", "memory/memory.memsw.failcnt")
	}
	for _, file := range files {
		if err := put(b.files().dir(path, file), "0"); err != nil {
			return err
		}
	}
	return nil
}

// admit moves the process into the group in every tree.
func (b *v1) admit(path string, pid int) error {
	for _, dir := range b.dirs(path) {
		if err := put(filepath.Join(dir, "cgroup.procs"), strconv.Itoa(pid)); err != nil {
			return err
		}
	}
	return nil
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
		weight:   weightFile{file: "cpu/cpu.shares", normal: 1024, yield: 64, idle: "cpu/cpu.idle"},
		dir: func(path, file string) string {
			return filepath.Join(b.root, filepath.Dir(file), path, filepath.Base(file))
		},
	}
}
