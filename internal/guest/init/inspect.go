package guestinit

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/remuda-run/remuda/internal/guest/protocol"
)

// inspection is what is expected of a process before it is offered.
type inspection struct {
	fds  []int          // all of its descriptors
	made map[int]fileID // what those are that the keeper made itself
	uid  int            // 0: not looked at
	exec bool           // it is another program by now, which runs nothing foreign yet
}

// fileID is what a descriptor is of, whoever has it.
type fileID struct{ dev, ino uint64 }

func identify(fd int) (fileID, error) {
	var st unix.Stat_t
	err := unix.Fstat(fd, &st)
	return fileID{st.Dev, st.Ino}, os.NewSyscallError("fstat", err)
}

// inspect asks the kernel whether a process is what it should be. A template, or
// what it was forked from, may have been taken over by a package.
func inspect(pid int, want inspection) error {
	dir := fullProc + "/" + itoa(pid)
	status, err := readProc(dir + "/status")
	if err != nil {
		return err
	}
	if err := inspectStatus(status, want); err != nil || want.exec {
		return err
	}
	return inspectDescriptors(dir+"/fd/", want)
}

// inspectDescriptors looks at what a process has open: which descriptors, and that
// those that were made for it are what was made, not a way to somebody else.
func inspectDescriptors(dir string, want inspection) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !contains(want.fds, e.Name()) {
			target, _ := os.Readlink(dir + e.Name())
			return fmt.Errorf("descriptor %s is open (%s): a package has left it behind", e.Name(), target)
		}
	}
	for fd, made := range want.made {
		var st unix.Stat_t
		if err := unix.Stat(dir+itoa(fd), &st); err != nil {
			return wrap(err, "look at descriptor", itoa(fd))
		}
		if (fileID{st.Dev, st.Ino}) != made {
			target, _ := os.Readlink(dir + itoa(fd))
			return fmt.Errorf("descriptor %d is %s, and not what it was given: a package has put it there", fd, target)
		}
	}
	return nil
}

// inspectMemory looks for memory that a process shares with another by a mapping.
func inspectMemory(dir string) error {
	name := dir + "/maps"
	known, err := sharedMappings(name, func(m mapping) error {
		if device := fmt.Sprintf("%02x:%02x", m.major, m.minor); m.flags&mapWritable != 0 || !slices.Contains(systemDevices(), device) {
			return errShared
		}
		return nil
	})
	if known {
		return err
	}
	maps, err := readProc(name) // before Linux 6.11
	if err != nil {
		return err
	}
	for line := range strings.Lines(maps) {
		if sharedMapping(line, systemDevices()) {
			return errShared
		}
	}
	return nil
}

var errShared = errors.New("memory is shared: a package has mapped it")

// sharedMapping reports whether a line of maps is of memory that others may
// change. What is not writable now can be made so, unless it is a file of the
// read-only root, which nobody has open for writing. A path would not tell: a file
// of one's own can have any.
func sharedMapping(line string, system []string) bool {
	f := strings.Fields(line)
	return len(f) >= 5 && strings.HasSuffix(f[1], "s") && (strings.Contains(f[1], "w") || !slices.Contains(system, f[3]))
}

// systemDevices are the devices of the read-only root's libraries as maps writes
// them: the root's own and, where layers are laid over it, that of the files
// below, which is what kernels before Linux 6.8 write.
var systemDevices = sync.OnceValue(func() []string {
	var devices []string
	var st unix.Stat_t
	if unix.Stat("/usr/lib", &st) == nil {
		devices = append(devices, fmt.Sprintf("%02x:%02x", unix.Major(st.Dev), unix.Minor(st.Dev)))
	}
	if device, err := mappedDevice("/usr/bin/env"); err == nil {
		devices = append(devices, device)
	}
	return devices
})

// mappedDevice is the device that maps writes for a file.
func mappedDevice(path string) (string, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", wrap(err, "open", path)
	}
	defer func() { _ = unix.Close(fd) }()
	memory, err := unix.Mmap(fd, 0, os.Getpagesize(), unix.PROT_READ, unix.MAP_PRIVATE)
	if err != nil {
		return "", wrap(err, "map", path)
	}
	defer func() { _ = unix.Munmap(memory) }()
	maps, err := readProc(fullProc + "/self/maps")
	if err != nil {
		return "", err
	}
	at := fmt.Sprintf("%x-", uintptr(unsafe.Pointer(unsafe.SliceData(memory))))
	for line := range strings.Lines(maps) {
		if f := strings.Fields(strings.TrimLeft(line, "0")); len(f) >= 5 && strings.HasPrefix(f[0], at) {
			return f[3], nil
		}
	}
	return "", fmt.Errorf("%s is not where it was mapped", path)
}

// inspectStatus looks at a process's status file.
func inspectStatus(status string, of inspection) error {
	want := map[string]string{
		"Threads": "1", "NoNewPrivs": "1", "Seccomp": "2", "Seccomp_filters": "1",
		"CapPrm": "0000000000000000", "CapEff": "0000000000000000", "CapInh": "0000000000000000", "CapBnd": "0000000000000000", "CapAmb": "0000000000000000",
	}
	if of.exec {
		delete(want, "Threads")
	}
	if of.uid > 0 {
		u := itoa(of.uid)
		want["Uid"] = u + "\t" + u + "\t" + u + "\t" + u
		want["Gid"] = want["Uid"]
		want["Seccomp_filters"] = "2"
	}
	return compareStatus(status, want)
}

// compareStatus looks for lines of a status file.
func compareStatus(status string, want map[string]string) error {
	for line := range strings.Lines(status) {
		name, value, _ := strings.Cut(line, ":")
		expected, ok := want[name]
		if !ok {
			continue
		}
		delete(want, name)
		if got := strings.TrimSpace(value); got != expected {
			return fmt.Errorf("%s is %q instead of %q", name, got, expected)
		}
	}
	delete(want, "Seccomp_filters") // before Linux 5.9 it is not told
	if len(want) > 0 {
		return fmt.Errorf("the kernel does not say %v", want)
	}
	return nil
}

// limitNames are the names in a process's limits file of what a template's
// children set for themselves.
var limitNames = map[int]string{
	unix.RLIMIT_AS:         "Max address space",
	unix.RLIMIT_FSIZE:      "Max file size",
	unix.RLIMIT_NOFILE:     "Max open files",
	unix.RLIMIT_NPROC:      "Max processes",
	unix.RLIMIT_MEMLOCK:    "Max locked memory",
	unix.RLIMIT_MSGQUEUE:   "Max msgqueue size",
	unix.RLIMIT_SIGPENDING: "Max pending signals",
}

// inspectLimits asks the kernel whether a process has the limits that it was to
// set for itself: once it has, it cannot raise them.
func inspectLimits(pid int, want []protocol.Rlimit) error {
	file, err := readProc(fullProc + "/" + itoa(pid) + "/limits")
	if err != nil {
		return err
	}
	for _, l := range want {
		if err := inspectLimit(file, l); err != nil {
			return err
		}
	}
	return nil
}

// inspectLimit looks for one limit, soft and hard, in a process's limits file.
func inspectLimit(file string, want protocol.Rlimit) error {
	name, ok := limitNames[want.Resource]
	if !ok {
		return fmt.Errorf("limit %d is not one that an instance sets itself", want.Resource)
	}
	value := strconv.FormatUint(want.Value, 10)
	for line := range strings.Lines(file) {
		rest, ok := strings.CutPrefix(line, name+" ")
		if !ok {
			continue
		}
		if f := strings.Fields(rest); len(f) < 2 || f[0] != value || f[1] != value {
			return fmt.Errorf("%s is %q instead of %s", name, strings.TrimSpace(rest), value)
		}
		return nil
	}
	return fmt.Errorf("the kernel does not say %s", name)
}

func contains(fds []int, name string) bool {
	for _, fd := range fds {
		if itoa(fd) == name {
			return true
		}
	}
	return false
}
