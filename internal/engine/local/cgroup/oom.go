package cgroup

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// OOMEvents returns a file from which a read returns each time that the group
// has run out of memory, or that the group is removed. It is nil where the
// kernel itself ends the whole group (v2, memory.oom.group).
func (g *Group) OOMEvents() (*os.File, error) {
	if g.backend.version() == 2 {
		return nil, nil
	}
	if err := g.reach(); err != nil {
		return nil, err
	}
	defer g.holding.RUnlock()
	table := g.backend.files()
	control, err := unix.Open(table.dir(g.path, table.oomKills.file), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("watch memory of cgroup %s: %w", g.path, err)
	}
	defer func() { _ = unix.Close(control) }() // the registration holds what it needs
	event, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("watch memory of cgroup %s: %w", g.path, err)
	}
	register := filepath.Join(filepath.Dir(table.dir(g.path, table.oomKills.file)), "cgroup.event_control")
	if err := put(register, fmt.Sprintf("%d %d", event, control)); err != nil {
		return nil, errors.Join(fmt.Errorf("watch memory of cgroup %s: %w", g.path, err), unix.Close(event))
	}
	return os.NewFile(uintptr(event), "oom"), nil
}
