package guestinit

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestSharedMappings maps memory in each way and asks the kernel, in both forms, which
// of it is shared.
func TestSharedMappings(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, make([]byte, 3*os.Getpagesize()), 0o600); err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Open(file, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	const maps = "/proc/self/maps"
	ours := func() (seen map[uint64]mapping) {
		t.Helper()
		seen = map[uint64]mapping{}
		known, err := sharedMappings(maps, func(m mapping) error { seen[m.start] = m; return nil })
		if !known {
			t.Skip("this kernel is older than Linux 6.11")
		}
		if err != nil {
			t.Fatal(err)
		}
		return seen
	}
	for _, tt := range []struct {
		name        string
		fd          int
		prot, flags int
		shared      bool
	}{
		{"file", fd, unix.PROT_READ | unix.PROT_WRITE, unix.MAP_SHARED, true},
		{"file to read", fd, unix.PROT_READ, unix.MAP_SHARED, true},
		{"nothing allowed", fd, unix.PROT_NONE, unix.MAP_SHARED, true},
		{"anonymous", -1, unix.PROT_READ | unix.PROT_WRITE, unix.MAP_SHARED | unix.MAP_ANONYMOUS, true},
		{"private file", fd, unix.PROT_READ | unix.PROT_WRITE, unix.MAP_PRIVATE, false},
		{"private", -1, unix.PROT_READ | unix.PROT_WRITE, unix.MAP_PRIVATE | unix.MAP_ANONYMOUS, false},
	} {
		before := ours()
		memory, err := unix.Mmap(tt.fd, 0, 2*os.Getpagesize(), tt.prot, tt.flags)
		if err != nil {
			t.Fatal(err)
		}
		var more []mapping
		for start, m := range ours() {
			if _, old := before[start]; !old {
				more = append(more, m)
			}
		}
		if tt.shared != (len(more) == 1) {
			t.Errorf("%s: the kernel tells of %+v", tt.name, more)
		}
		if len(more) == 1 && (more[0].flags&mapWritable != 0) != (tt.prot&unix.PROT_WRITE != 0) {
			t.Errorf("%s: %+v", tt.name, more[0])
		}
		if err := unix.Munmap(memory); err != nil {
			t.Fatal(err)
		}
	}
	stop := errors.New("stop")
	memory, err := unix.Mmap(fd, 0, os.Getpagesize(), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Munmap(memory) }()
	if _, err := sharedMappings(maps, func(mapping) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("what was found is not told: %v", err)
	}
	if known, err := sharedMappings("/proc/self/status", func(mapping) error { return nil }); known || err != nil {
		t.Errorf("of a file that cannot be asked: %v, %v", known, err)
	}
}

func TestReadProc(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"/proc/self/limits", "/proc/filesystems"} {
		want, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := readProc(name); err != nil || len(got) == 0 || len(got) != len(want) {
			t.Errorf("%s: %d bytes of %d, %v", name, len(got), len(want), err)
		}
	}
	long := filepath.Join(t.TempDir(), "long")
	text := strings.Repeat("0123456789", 5000)
	if err := os.WriteFile(long, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := readProc(long); err != nil || got != text {
		t.Errorf("%d bytes of %d, %v", len(got), len(text), err)
	}
	if _, err := readProc("/proc/self/nothing"); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}
