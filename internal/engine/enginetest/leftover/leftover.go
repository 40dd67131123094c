package leftover

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Where things are.
const (
	cgroups = "/sys/fs/cgroup"
	modules = "/usr/local/lib/python*/dist-packages"
	routers = "/run/remuda/net-" // and the herd: what package netslot leaves to the next engine
)

// How deep it is looked for them.
const (
	dataDepth   = 5 // below a test's temporary directory
	cgroupDepth = 6
)

// Sweep removes what dead tests have left. What it cannot remove stays: it is for
// another time, or for nobody.
func Sweep() {
	sweepCgroups(os.TempDir(), cgroups)
	sweepModules(modules)
}

// cgroupName has in it what the data directory of an engine says, see package datadir.
var cgroupName = regexp.MustCompile(`^remuda-(?:oci-)?([0-9a-f]{12})$`)

// quarantine is how long a data directory has to be there: a test that kills its
// server on purpose will soon want the lock for the next one.
const quarantine = 10 * time.Minute

// sweepCgroups removes the cgroups of engines whose data directory lies in the
// temporary directory of a test and is used by nobody.
func sweepCgroups(temporary, root string) {
	found := map[string][]string{}
	walk(root, cgroupDepth, func(path, name string) {
		if m := cgroupName.FindStringSubmatch(name); m != nil {
			found[m[1]] = append(found[m[1]], path)
		}
	})
	if len(found) == 0 {
		return
	}
	tests, err := filepath.Glob(filepath.Join(temporary, "Test*"))
	if err != nil {
		return
	}
	for _, test := range tests {
		walk(test, dataDepth, func(path, _ string) { sweepHerd(path, found) })
	}
}

// sweepHerd removes the cgroups that belong to a data directory, if that is one and
// nobody uses it.
func sweepHerd(data string, found map[string][]string) {
	file := filepath.Join(data, "herd")
	name, err := os.ReadFile(file)
	if err != nil {
		return
	}
	if info, err := os.Stat(file); err != nil || time.Since(info.ModTime()) < quarantine {
		return
	}
	groups := found[strings.TrimSpace(string(name))]
	if len(groups) == 0 {
		return
	}
	lock, err := os.OpenFile(filepath.Join(data, "engine.lock"), os.O_RDWR, 0)
	if err != nil {
		return
	}
	defer func() { _ = lock.Close() }()
	if unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil {
		return // its engine lives
	}
	for _, group := range groups {
		below := []string{group}
		walk(group, cgroupDepth, func(path, _ string) { below = append(below, path) })
		for _, path := range slices.Backward(below) {
			_ = unix.Rmdir(path) // the kernel refuses it while there are processes
		}
	}
	router := routers + strings.TrimSpace(string(name))
	_ = unix.Unmount(filepath.Join(router, "router"), unix.MNT_DETACH)
	_ = os.RemoveAll(router)
}

// walk calls f for the directories below a directory, each before what is in it.
func walk(dir string, depth int, f func(path, name string)) {
	if depth == 0 {
		return
	}
	entries, err := os.ReadDir(dir)
	if err != nil && len(entries) == 0 {
		return
	}
	for _, e := range entries {
		if e.Type() == fs.ModeDir {
			path := filepath.Join(dir, e.Name())
			f(path, e.Name())
			walk(path, depth-1, f)
		}
	}
}

// moduleName is a name that Module gives.
var moduleName = regexp.MustCompile(`^remuda_test_([0-9]+)_([0-9]+)_[0-9a-z]+\.`)

// Module is a name for a module that a test places on the machine and removes: it
// says which process that is. what is of letters and digits.
func Module(what string) (string, error) {
	start, err := startTime(os.Getpid())
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("remuda_test_%d_%s_%s", os.Getpid(), start, what), nil
}

// sweepModules removes the modules of processes that have ended.
func sweepModules(pattern string) {
	for _, in := range []string{pattern, filepath.Join(pattern, "__pycache__")} {
		paths, err := filepath.Glob(filepath.Join(in, "remuda_test_*"))
		if err != nil {
			return
		}
		for _, path := range paths {
			owner := moduleName.FindStringSubmatch(filepath.Base(path))
			if owner == nil {
				continue
			}
			var pid int
			if _, err := fmt.Sscan(owner[1], &pid); err != nil {
				continue
			}
			if start, err := startTime(pid); errors.Is(err, fs.ErrNotExist) || err == nil && start != owner[2] {
				_ = os.Remove(path)
			}
		}
	}
}

// startTime is when a process began, in the kernel's clock ticks.
func startTime(pid int) (string, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if errors.Is(err, unix.ESRCH) {
		err = fs.ErrNotExist // it has just gone
	}
	if err != nil {
		return "", err
	}
	// The name of the program may hold anything.
	const field = 19 // of what follows it
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) <= field {
		return "", fmt.Errorf("process %d is described as %q", pid, stat)
	}
	return fields[field], nil
}
