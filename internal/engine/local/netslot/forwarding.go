package netslot

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/remuda-run/remuda/internal/remuda"
)

// A machine forwards packets of an interface only when a switch says so. Where
// the one for all is off, those of the single interfaces are turned on: the
// uplink's, and those by which answers may come. What was changed is written
// down for the whole machine, under a lock, and the last herd puts it back.
const (
	sysctlRoot = "/proc/sys/net/"
	all4       = "ipv4/conf/all/forwarding"
	all6       = "ipv6/conf/all/forwarding"
)

// forwarding is the record, shared by all herds.
type forwarding struct {
	dir string // on a file system that a reboot empties, as it does the switches
}

// recordDir is where the record is.
const recordDir = "/run/remuda"

// locked runs fn while no other herd changes the machine.
func (f forwarding) locked(fn func() error) error {
	if err := os.MkdirAll(f.dir, 0o700); err != nil {
		return fmt.Errorf("lock the machine's network: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(f.dir, "network.lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("lock the machine's network: %w", err)
	}
	defer func() { _ = lock.Close() }() // releases it
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		return fmt.Errorf("lock the machine's network: %w", err)
	}
	return fn()
}

func (f forwarding) path() string { return filepath.Join(f.dir, "network.json") }

// read returns the switches that were changed and how they were.
func (f forwarding) read() (map[string]string, error) {
	b, err := os.ReadFile(f.path())
	if errors.Is(err, os.ErrNotExist) {
		return map[string]string{}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read what was changed of the machine's network: %w", err)
	}
	changed := map[string]string{}
	if err := json.Unmarshal(b, &changed); err != nil {
		return nil, fmt.Errorf("%s does not hold what was changed of the machine's network: turn the forwarding of its interfaces back by hand and remove the file: %w", f.path(), err)
	}
	for path := range changed {
		if !isSwitch(path) {
			return nil, fmt.Errorf("%s names %q, which we do not change", f.path(), path)
		}
	}
	return changed, nil
}

// isSwitch reports whether a path is one of those that we turn.
func isSwitch(path string) bool {
	parts := strings.Split(path, "/")
	return len(parts) == 4 && parts[1] == "conf" && parts[2] != ".." && parts[2] != "." &&
		(parts[0] == "ipv4" && parts[3] == "forwarding" || parts[0] == "ipv6" && parts[3] == "force_forwarding")
}

func (f forwarding) write(changed map[string]string) error {
	b, err := json.MarshalIndent(changed, "", "  ")
	if err == nil {
		tmp := f.path() + ".new"
		err = os.WriteFile(tmp, b, 0o600)
		if err == nil {
			err = os.Rename(tmp, f.path())
		}
	}
	if err != nil {
		return fmt.Errorf("write down what is changed of the machine's network: %w", err)
	}
	return nil
}

// ensure turns on what is off, of every interface that is there now. It returns
// the interfaces that forward for our sake only, and whether IPv6 is forwarded.
// Call it with the lock.
func (f forwarding) ensure() (ours []string, six bool, err error) {
	changed, err := f.read()
	if err != nil {
		return nil, false, err
	}
	wanted := map[string][]string{}
	four := value(all4) == "1"
	six = value(all6) == "1"
	if !four {
		wanted["ipv4"] = closed("ipv4", "forwarding")
	}
	if !six && value("ipv6/conf/lo/force_forwarding") != "" { // since Linux 6.17
		wanted["ipv6"] = closed("ipv6", "force_forwarding")
		six = true
	}
	before := len(changed)
	for _, paths := range wanted {
		for _, path := range paths {
			if _, known := changed[path]; !known {
				changed[path] = "0"
			}
		}
	}
	if len(changed) > before {
		// Before the first is turned: a crash leaves a record that says too much,
		// never too little.
		if err := f.write(changed); err != nil {
			return nil, false, err
		}
	}
	for _, paths := range wanted {
		for _, path := range paths {
			if err := sysctl(path, "1"); err != nil && !errors.Is(err, os.ErrNotExist) {
				return nil, false, unsupported("this machine does not let packets of sandboxes out", "forwarding cannot be turned on",
					"turn it on (sysctl net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1)", err)
			}
		}
	}
	if !four {
		ours = opened(changed)
	}
	return ours, six, nil
}

// restore puts everything back. Call it with the lock, when no herd is left.
func (f forwarding) restore() error {
	changed, err := f.read()
	if err != nil {
		return err
	}
	var errs []error
	for path, was := range changed {
		all := all4
		if strings.HasPrefix(path, "ipv6/") {
			all = all6
		}
		if value(all) == "1" {
			continue // somebody has turned on all since then
		}
		if err := sysctl(path, was); err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	if err := os.Remove(f.path()); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove the record of what was changed: %w", err)
	}
	return nil
}

// opened names the interfaces of a record.
func opened(changed map[string]string) []string {
	var names []string
	for path := range changed {
		name := strings.Split(path, "/")[2]
		if !strings.HasPrefix(name, linkPrefix) && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// closed lists the switches of interfaces that are off.
func closed(version, name string) []string {
	entries, err := os.ReadDir(sysctlRoot + version + "/conf")
	if err != nil {
		return nil // a kernel without that version of IP
	}
	var list []string
	for _, entry := range entries {
		if entry.Name() == "all" || entry.Name() == "default" || entry.Name() == "lo" {
			continue
		}
		path := version + "/conf/" + entry.Name() + "/" + name
		if value(path) == "0" {
			list = append(list, path)
		}
	}
	return list
}

// value reads a switch; "" is one that is not there.
func value(path string) string {
	b, err := os.ReadFile(sysctlRoot + path)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// unsupported says that this machine lacks something.
func unsupported(what, why, remedy string, err error) error {
	return &remuda.Error{Code: remuda.CodeUnsupported, Message: what, Cause: why, Remedy: remedy, Err: err}
}
