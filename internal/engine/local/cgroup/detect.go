package cgroup

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// controllers are what every sandbox is fenced with; without one of them there
// is no sandbox.
var controllers = []string{"cpu", "memory", "pids"}

// Hierarchy is the machine's cgroups, of the version that has the controllers.
type Hierarchy struct{ backend backend }

// Version is 1 or 2.
func (h *Hierarchy) Version() int { return h.backend.version() }

// Detect finds the version and mount points to use. On a hybrid machine that is
// the one that the controllers are bound to.
func Detect() (*Hierarchy, error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("find cgroups: %w", err)
	}
	defer func() { _ = f.Close() }() // it was only read
	m, err := parseMounts(f)
	if err != nil {
		return nil, fmt.Errorf("find cgroups: %w", err)
	}
	return m.choose()
}

// mounts is where cgroups are mounted.
type mounts struct {
	v1 map[string]string // controller to mount point
	v2 string            // "" when there is none
}

// parseMounts reads a mountinfo file.
func parseMounts(r io.Reader) (mounts, error) {
	m := mounts{v1: map[string]string{}}
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20) // overlay mounts have long options
	for lines.Scan() {
		left, right, ok := strings.Cut(lines.Text(), " - ")
		l, rt := strings.Fields(left), strings.Fields(right)
		if !ok || len(l) < 5 || len(rt) < 3 {
			continue
		}
		point := l[4]
		switch rt[0] {
		case "cgroup2":
			if m.v2 == "" {
				m.v2 = point
			}
		case "cgroup":
			for option := range strings.SplitSeq(rt[2], ",") {
				if m.v1[option] == "" {
					m.v1[option] = point
				}
			}
		}
	}
	return m, lines.Err()
}

func (m mounts) choose() (*Hierarchy, error) {
	if m.v2 != "" {
		b, err := os.ReadFile(filepath.Join(m.v2, "cgroup.controllers"))
		if err != nil {
			return nil, fmt.Errorf("read the controllers of %s: %w", m.v2, err)
		}
		if have := strings.Fields(string(b)); !slices.ContainsFunc(controllers, func(c string) bool { return !slices.Contains(have, c) }) {
			return &Hierarchy{backend: &v2{mount: m.v2}}, nil
		}
	}
	var missing []string
	for _, c := range append(slices.Clone(controllers), "cpuacct") {
		if m.v1[c] == "" {
			missing = append(missing, c)
		}
	}
	if len(missing) > 0 {
		return nil, fmt.Errorf("the cgroup controllers %s are neither on v2 nor on v1", strings.Join(missing, ", "))
	}
	// The library joins one root and the controllers' names.
	root := filepath.Dir(m.v1["memory"])
	for _, c := range append(slices.Clone(controllers), "cpuacct") {
		if _, err := os.Stat(filepath.Join(root, c, "cgroup.procs")); err != nil {
			return nil, errors.Join(fmt.Errorf("the v1 controllers are not mounted under one directory by their names"), err)
		}
	}
	return &Hierarchy{backend: newV1(root)}, nil
}
