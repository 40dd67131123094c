package bench

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Memory is what warm instances take.
type Memory struct {
	IdleServerMB float64 `json:"idle_server_mb"` // resident, without warm instances
	Instances    int     `json:"instances"`      // warm at once when the rest was measured
	ServerMB     float64 `json:"server_mb"`      // resident, with them
	Processes    float64 `json:"processes_each"`
	// PrivateKB is what the processes of an instance share with nobody.
	PrivateKB float64 `json:"private_kb_each"`
	// AllKB is by how much less memory the machine has for each: the kernel's
	// own (namespaces, cgroups, page tables, mounts) and files in memory included.
	AllKB      float64 `json:"all_kb_each"`
	ThousandMB float64 `json:"thousand_mb"` // of 1,000 warm instances, measured or extrapolated
	Missing    string  `json:"missing,omitempty"`
}

// memory fills a pool on a server of its own and compares with before.
func (m *measurement) memory(ctx context.Context) error {
	n := m.options.Instances
	out := &m.report.Memory
	m.server.stop() // what it holds would be counted
	dir := filepath.Join(m.dir, "memory")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return fmt.Errorf("make a directory: %w", err)
	}
	// Twice as many slots, because one organization may not hold all of a node's.
	s, err := startServer(ctx, m.options.Program, dir, "--slots", strconv.Itoa(2*n+64))
	if err != nil {
		return err
	}
	defer s.stop()
	// One warm instance first: what all share is made with it.
	if err := s.runtime(ctx, "bench-one", 1, nil); err != nil {
		return err
	}
	if err := s.waitWarm(ctx, 1, time.Minute); err != nil {
		return err
	}
	settle(ctx)
	before, err := herdUse(s.cmd.Process.Pid)
	if err != nil {
		return err
	}
	patch := map[string]any{"name": "bench-many", "language": "python", "pool": map[string]any{"min_cached": n, "max_cached": n}}
	if err := s.call(ctx, "POST", "/v1/runtimes", patch, nil); err != nil {
		return err
	}
	if err := s.waitWarm(ctx, n+1, time.Minute+time.Duration(n)*200*time.Millisecond); err != nil {
		out.Missing = firstLine(err.Error())
		return nil
	}
	settle(ctx)
	after, err := herdUse(s.cmd.Process.Pid)
	if err != nil {
		return err
	}
	out.Instances = n
	each := float64(n)
	out.PrivateKB = float64(after.privateKB-before.privateKB) / each
	out.AllKB = float64(before.availableKB-after.availableKB) / each
	out.Processes = float64(after.processes-before.processes) / each
	out.ThousandMB = out.AllKB * 1000 / 1024
	out.ServerMB, err = s.residentMB()
	return err
}

// use is what a server's sandboxes take at one moment.
type use struct {
	processes, privateKB, availableKB int
}

// herdUse adds up the processes below a server: its sandboxes and what makes them.
func herdUse(server int) (use, error) {
	all, err := descendants(server)
	if err != nil {
		return use{}, err
	}
	u := use{availableKB: memoryKB("MemAvailable")}
	for _, pid := range all {
		raw, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/smaps_rollup")
		if err != nil {
			continue // it has just ended
		}
		u.processes++
		u.privateKB += privateKB(string(raw))
	}
	return u, nil
}

// privateKB adds up the Private_ lines of an smaps_rollup.
func privateKB(rollup string) int {
	sum := 0
	for line := range strings.Lines(rollup) {
		key, value, _ := strings.Cut(line, ":")
		if key != "Private_Clean" && key != "Private_Dirty" {
			continue
		}
		kb, err := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(value), " kB"))
		if err == nil {
			sum += kb
		}
	}
	return sum
}

// descendants lists the processes whose line of parents leads to pid.
func descendants(pid int) ([]int, error) {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil, err
	}
	children := map[int][]int{}
	for _, file := range stats {
		raw, err := os.ReadFile(file)
		if err != nil {
			continue // it has just ended
		}
		// pid (name) state parent ..., and a name may hold anything.
		text := string(raw)
		fields := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
		child, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		if err != nil || len(fields) < 2 {
			continue
		}
		parent, err := strconv.Atoi(fields[1])
		if err != nil {
			continue
		}
		children[parent] = append(children[parent], child)
	}
	var all []int
	for next := children[pid]; len(next) > 0; next = next[1:] {
		all = append(all, next[0])
		next = append(next, children[next[0]]...)
	}
	return all, nil
}
