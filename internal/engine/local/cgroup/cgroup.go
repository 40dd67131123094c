package cgroup

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Limits of one group. All are always set.
type Limits struct {
	CPU    float64 // cores
	Memory int64   // bytes; swap is off
	Pids   int     // processes and threads
}

// Usage is what a group has used since it was made.
type Usage struct {
	CPU        time.Duration
	PeakMemory int64  // bytes
	OOMKills   uint64 // processes killed for memory
	PidsMax    uint64 // forks refused for the pids limit
}

// backend is one version of the interface to the kernel. Paths are relative to
// the hierarchy's root.
type backend interface {
	version() int
	// prepare makes the herd's cgroup, with its controllers on.
	prepare(path string) error
	create(path string) error
	limit(path string, l Limits) error
	admit(path string, pid int) error
	kill(path string) error
	// refill gives a group that has its limits the whole of the first period of its
	// processor time.
	refill(path string, l Limits) error
	// reset sets back what the kernel counts of a group, as far as it can be.
	reset(path string) error
	// dirs are the directories of a group, one for each hierarchy.
	dirs(path string) []string
	files() usageFiles
}

// Herd is the parent of the groups of one data directory.
type Herd struct {
	backend backend
	path    string
}

// Open makes the herd's cgroup, or finds it. parent is a path in the hierarchy
// ("/" is its root), name must be unique on the machine.
func (h *Hierarchy) Open(parent, name string) (*Herd, error) {
	herd := &Herd{backend: h.backend, path: filepath.Join("/", parent, name)}
	if err := h.backend.prepare(herd.path); err != nil {
		return nil, fmt.Errorf("make cgroup %s: %w", herd.path, err)
	}
	return herd, herd.Yield(false) // a server of before may have left it so
}

// Yield makes all groups together give way to the rest of the machine, the server first
// of all, or not any more: they have a quarter of what a process beside them has.
func (h *Herd) Yield(on bool) error {
	weight := h.backend.files().weight.normal
	if on {
		weight /= 4
	}
	return setWeight(h.backend, h.path, weight)
}

// Version is 1 or 2.
func (h *Herd) Version() int { return h.backend.version() }

// Path is the herd's path in the hierarchy.
func (h *Herd) Path() string { return h.path }

// Create makes a group without limits.
func (h *Herd) Create(name string) (*Group, error) {
	g := h.Group(name)
	if err := h.backend.create(g.path); err != nil {
		return nil, errors.Join(fmt.Errorf("make cgroup %s: %w", g.path, err), g.rmdir())
	}
	if h.Version() == 2 {
		fd, err := unix.Open(g.backend.dirs(g.path)[0], unix.O_DIRECTORY|unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("open cgroup %s: %w", g.path, err), g.rmdir())
		}
		g.dirFD = fd
	}
	return g, nil
}

// Group names a group that may or may not exist.
func (h *Herd) Group(name string) *Group {
	return &Group{backend: h.backend, path: filepath.Join(h.path, name), name: name, dirFD: -1}
}

// Names lists the groups that exist, in any hierarchy.
func (h *Herd) Names() ([]string, error) {
	var names []string
	for _, dir := range h.backend.dirs(h.path) {
		entries, err := os.ReadDir(dir)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("list cgroup: %w", err)
		}
		for _, e := range entries {
			if e.IsDir() && !slices.Contains(names, e.Name()) {
				names = append(names, e.Name())
			}
		}
	}
	return names, nil
}

// Remove removes the herd's cgroup, which must have no groups.
func (h *Herd) Remove() error { return removeDirs(h.backend.dirs(h.path)) }

// Group is the cgroup of one sandbox. Its methods may be called at any time,
// Remove once. Once the cgroup is another sandbox's (Spares), it is as if it had been
// removed: nothing that is done late reaches who has it now.
type Group struct {
	backend backend
	path    string
	name    string
	dirFD   int

	holding sync.RWMutex // held, at least for reading, while the cgroup is used by its path
	gone    bool         // it is another's
	since   time.Time    // when it became a spare one

	limiting sync.Mutex
	limits   *Limits // that it has; nil before the first
	changed  bool    // they were others before

	mu    sync.Mutex
	usage *usageReader
}

// reach begins a use of the cgroup, which g.holding.RUnlock ends. The error is that it
// is not this Group's any more.
func (g *Group) reach() error {
	g.holding.RLock()
	if !g.gone {
		return nil
	}
	g.holding.RUnlock()
	return fmt.Errorf("cgroup %s has another holder: %w", g.path, os.ErrNotExist)
}

// Name is the group's name in its herd.
func (g *Group) Name() string { return g.name }

// Path is the group's path in the hierarchy.
func (g *Group) Path() string { return g.path }

// DirFD is the directory to clone a process into, or -1 where the kernel cannot
// do that (v1) and Admit is needed.
func (g *Group) DirFD() int { return g.dirFD }

// Admit moves a process into the group. On v1 this can take 20 ms.
func (g *Group) Admit(pid int) error {
	if err := g.reach(); err != nil {
		return err
	}
	defer g.holding.RUnlock()
	if err := g.backend.admit(g.path, pid); err != nil {
		return fmt.Errorf("admit process %d to cgroup %s: %w", pid, g.path, err)
	}
	return nil
}

// Limit sets the limits.
func (g *Group) Limit(l Limits) error {
	if err := g.reach(); err != nil {
		return err
	}
	defer g.holding.RUnlock()
	g.limiting.Lock()
	defer g.limiting.Unlock()
	set := g.backend.limit
	switch {
	case g.limits != nil && *g.limits == l:
		set = g.backend.refill
	case g.limits != nil:
		g.changed = true
	}
	g.limits = nil // until they are whole
	if err := set(g.path, l); err != nil {
		g.changed = true
		return fmt.Errorf("set limits of cgroup %s: %w", g.path, err)
	}
	g.limits = &l
	return nil
}

// Pids lists the processes in the group.
func (g *Group) Pids() ([]int, error) {
	if g.reach() != nil {
		return nil, nil
	}
	defer g.holding.RUnlock()
	return g.pids()
}

func (g *Group) pids() ([]int, error) {
	var pids []int
	for _, dir := range g.backend.dirs(g.path) {
		b, err := get(filepath.Join(dir, "cgroup.procs"))
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ENODEV) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("list processes of cgroup %s: %w", g.path, err)
		}
		for f := range strings.FieldsSeq(string(b)) {
			pid, err := strconv.Atoi(f)
			if err == nil && pid > 0 && !slices.Contains(pids, pid) {
				pids = append(pids, pid)
			}
		}
	}
	return pids, nil
}

// Kill sends SIGKILL to every process in the group. On v1 a process that forks
// meanwhile may escape one call: repeat until Pids is empty.
func (g *Group) Kill() error {
	if g.reach() != nil {
		return nil
	}
	defer g.holding.RUnlock()
	if err := g.backend.kill(g.path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("kill cgroup %s: %w", g.path, err)
	}
	return nil
}

// Empty kills what is in the group until nothing is.
func (g *Group) Empty(ctx context.Context) error {
	for wait := time.Millisecond; ; wait = min(2*wait, 50*time.Millisecond) {
		pids, err := g.Pids()
		if err != nil {
			return err
		}
		if len(pids) == 0 {
			return nil
		}
		if err := g.Kill(); err != nil {
			return err
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return fmt.Errorf("empty cgroup %s, processes %v remain: %w", g.path, pids, ctx.Err())
		}
	}
}

// Remove removes the group, which must be empty, and what this Group holds.
func (g *Group) Remove() error {
	g.Close()
	return g.rmdir()
}

// Clear kills what is in the group and removes it. A group that is empty, as one
// whose pid namespace has ended is, goes at once.
func (g *Group) Clear(ctx context.Context) error {
	g.Close()
	if g.removeAtOnce() {
		return nil
	}
	if err := g.Empty(ctx); err != nil {
		return err
	}
	return g.rmdir()
}

// removeAtOnce removes the group unless something is in it, and reports whether it has
// gone.
func (g *Group) removeAtOnce() bool {
	if g.reach() != nil {
		return true
	}
	defer g.holding.RUnlock()
	empty := true
	for _, dir := range g.backend.dirs(g.path) {
		err := unix.Rmdir(dir)
		empty = empty && (err == nil || errors.Is(err, unix.ENOENT))
	}
	return empty
}

// Close releases descriptors and leaves the cgroup alone.
func (g *Group) Close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.usage != nil {
		g.usage.close()
		g.usage = nil
	}
	if g.dirFD >= 0 {
		_ = unix.Close(g.dirFD)
		g.dirFD = -1
	}
}

func (g *Group) rmdir() error {
	if g.reach() != nil {
		return nil
	}
	defer g.holding.RUnlock()
	return removeDirs(g.backend.dirs(g.path))
}

// removeDirs removes cgroup directories. A process that has just been reaped may
// keep one busy for a moment.
func removeDirs(dirs []string) error {
	const patience = 2 * time.Second
	deadline := time.Now().Add(patience)
	for _, dir := range dirs {
		for wait := 100 * time.Microsecond; ; wait = min(2*wait, 20*time.Millisecond) {
			err := unix.Rmdir(dir)
			if err == nil || errors.Is(err, unix.ENOENT) {
				break
			}
			if !errors.Is(err, unix.EBUSY) && !errors.Is(err, unix.EINTR) || time.Now().After(deadline) {
				return fmt.Errorf("remove cgroup %s: %w", dir, err)
			}
			time.Sleep(wait)
		}
	}
	return nil
}
