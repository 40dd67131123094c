package bench

import (
	"context"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Host says on what machine a run was made, and how much of it others used.
type Host struct {
	CPU        string  `json:"cpu"`
	Cores      int     `json:"cores"`
	MemoryMB   int     `json:"memory_mb"`
	Kernel     string  `json:"kernel"`
	Cgroup     string  `json:"cgroup"`
	Python     string  `json:"python"`
	Load       string  `json:"load_before"`
	BusyBefore float64 `json:"busy_before"` // share of all processors, 0..1
	BusyAfter  float64 `json:"busy_after"`
	Steal      float64 `json:"steal"` // share that the hypervisor gave to others during the run
}

// More than this and the figures say nothing.
const (
	mostBusy  = 0.10
	mostSteal = 0.05
)

// Busy says why no verdict can be given, "" when one can.
func (h *Host) Busy() string {
	percent := func(share float64) string { return strconv.FormatFloat(100*share, 'f', 0, 64) + " %" }
	switch {
	case h.BusyBefore > mostBusy:
		return "the machine was " + percent(h.BusyBefore) + " busy before the run"
	case h.BusyAfter > mostBusy:
		return "the machine was " + percent(h.BusyAfter) + " busy after the run"
	case h.Steal > mostSteal:
		return "the hypervisor took " + percent(h.Steal) + " of the processors during the run"
	}
	return ""
}

func fingerprint() Host {
	h := Host{Cores: runtime.NumCPU(), CPU: "unknown", Cgroup: cgroupVersion("/sys/fs/cgroup")}
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		h.Kernel = unix.ByteSliceToString(u.Release[:])
	}
	if name, ok := field("/proc/cpuinfo", "model name"); ok {
		h.CPU = name
	}
	h.MemoryMB = memoryKB("MemTotal") / 1024
	if raw, err := os.ReadFile("/proc/loadavg"); err == nil {
		h.Load = strings.Join(strings.Fields(string(raw))[:3], " ")
	}
	if out, err := exec.Command(python, "-V").Output(); err == nil {
		h.Python = strings.TrimSpace(string(out))
	}
	return h
}

// cgroupVersion tells which hierarchies are mounted at root.
func cgroupVersion(root string) string {
	if _, err := os.Stat(root + "/cgroup.controllers"); err == nil {
		return "v2"
	}
	if _, err := os.Stat(root + "/unified/cgroup.controllers"); err == nil {
		return "v1 hybrid"
	}
	return "v1"
}

// field returns the value of the first "name: value" line of a file.
func field(file, name string) (string, bool) {
	raw, err := os.ReadFile(file)
	if err != nil {
		return "", false
	}
	for line := range strings.Lines(string(raw)) {
		key, value, ok := strings.Cut(line, ":")
		if ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value), true
		}
	}
	return "", false
}

// memoryKB reads a line of /proc/meminfo, 0 when there is none.
func memoryKB(name string) int {
	value, _ := field("/proc/meminfo", name)
	kb, _ := strconv.Atoi(strings.TrimSuffix(value, " kB"))
	return kb
}

// times is the first line of /proc/stat: processor time since boot.
type times struct{ idle, steal, all uint64 }

func cpuTimes() times {
	raw, err := os.ReadFile("/proc/stat")
	if err != nil {
		return times{}
	}
	line, _, _ := strings.Cut(string(raw), "\n")
	return parseTimes(line)
}

// parseTimes reads "cpu user nice system idle iowait irq softirq steal ...".
func parseTimes(line string) times {
	var t times
	for i, text := range strings.Fields(line) {
		n, err := strconv.ParseUint(text, 10, 64)
		if i == 0 || i > 8 || err != nil { // guest time is in user time already
			continue
		}
		t.all += n
		switch i {
		case 4, 5:
			t.idle += n
		case 8:
			t.steal = n
		}
	}
	return t
}

// stealSince is the share of all processor time that was stolen since t.
func (t times) stealSince() float64 {
	now := cpuTimes()
	if now.all <= t.all {
		return 0
	}
	return float64(now.steal-t.steal) / float64(now.all-t.all)
}

// busyShare is the share of all processors that was in use over a while.
func busyShare(ctx context.Context, while time.Duration) float64 {
	before := cpuTimes()
	pause(ctx, while)
	now := cpuTimes()
	if now.all <= before.all {
		return 0
	}
	return 1 - float64(now.idle-before.idle)/float64(now.all-before.all)
}

// settle returns when the machine is quiet, or after a few seconds: what one
// part leaves to be cleared away must not weigh on the next.
func settle(ctx context.Context) {
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline) && ctx.Err() == nil; {
		if busyShare(ctx, 150*time.Millisecond) < mostBusy {
			return
		}
	}
}

// pause waits, unless the run is being ended.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
