package harness

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Process is a process that cannot be taken for a later one of the same number.
type Process struct {
	Pid   int
	start string
}

// Lives reports whether it is still there. A zombie is not.
func (p Process) Lives() bool { return startOf(p.Pid) == p.start }

// startOf returns the start time of a process, "" when there is none.
func startOf(pid int) string {
	if fields := stat(pid); fields != nil {
		return fields[19]
	}
	return ""
}

// stat is what the kernel says of a process after its name, nil when there is none.
func stat(pid int) []string {
	raw, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return nil
	}
	text := string(raw)
	fields := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
	if len(fields) < 20 || fields[0] == "Z" {
		return nil
	}
	return fields
}

// Ticks is how much of the processors' time processes have used, in the kernel's units.
func Ticks(processes []Process) (n int) {
	for _, p := range processes {
		fields := stat(p.Pid)
		if fields == nil {
			continue
		}
		for _, field := range fields[11:13] {
			used, _ := strconv.Atoi(field)
			n += used
		}
	}
	return n
}

// Herd is the name in the cgroups, links and tables of rules of the sandboxes of a
// data directory.
func Herd(t testing.TB, data string) string {
	t.Helper()
	herd, err := os.ReadFile(filepath.Join(data, "herd"))
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(herd))
}

// Herd is that of the server.
func (s *Server) Herd() string { return Herd(s.t, s.Data) }

// Cgroups lists those of the sandboxes of a data directory.
func Cgroups(t testing.TB, data string) []string {
	t.Helper()
	name := "remuda-" + Herd(t, data)
	var found []string
	err := filepath.WalkDir("/sys/fs/cgroup", func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return nil //nolint:nilerr // another test's, just removed
		}
		if d.IsDir() && strings.Contains(path, name) {
			found = append(found, path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// Cgroups lists those of the server's sandboxes, whether it is up or not.
func (s *Server) Cgroups() []string { return Cgroups(s.t, s.Data) }

// Processes lists those in the sandboxes of a data directory.
func Processes(t testing.TB, data string) []Process {
	t.Helper()
	seen := map[int]bool{}
	var found []Process
	for _, dir := range Cgroups(t, data) {
		raw, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
		if err != nil {
			continue // just removed
		}
		for field := range strings.FieldsSeq(string(raw)) {
			pid, err := strconv.Atoi(field)
			if err != nil {
				t.Fatal(err)
			}
			if start := startOf(pid); start != "" && !seen[pid] {
				seen[pid] = true
				found = append(found, Process{pid, start})
			}
		}
	}
	return found
}

// Processes lists those in the server's sandboxes, whether it is up or not.
func (s *Server) Processes() []Process { return Processes(s.t, s.Data) }

// Eventually waits for a condition, with a generous deadline.
func Eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	const patience = 2 * time.Minute
	for deadline := time.Now().Add(patience); !condition(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("after %s it is still not so that %s", patience, what)
		}
	}
}

// Eventually waits for a condition, with a generous deadline.
func (s *Server) Eventually(what string, condition func() bool) {
	s.t.Helper()
	Eventually(s.t, what, condition)
}

// Left lists what is on the machine of the sandboxes of a data directory whose server
// is not up: processes, cgroups, files, mounts, loop devices and links.
func Left(t testing.TB, data string) []string {
	t.Helper()
	var left []string
	for _, p := range Processes(t, data) {
		left = append(left, "process "+strconv.Itoa(p.Pid))
	}
	for _, dir := range Cgroups(t, data) {
		left = append(left, "cgroup "+dir)
	}
	for _, dir := range []string{"run", "disk"} {
		entries, err := os.ReadDir(filepath.Join(data, dir))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			left = append(left, "file "+dir+"/"+e.Name())
		}
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		if strings.Contains(line, data) || strings.Contains(line, Herd(t, data)) {
			left = append(left, "mount "+strings.Fields(line)[4])
		}
	}
	loops, err := filepath.Glob("/sys/block/loop*/loop/backing_file")
	if err != nil {
		t.Fatal(err)
	}
	for _, loop := range loops {
		if raw, err := os.ReadFile(loop); err == nil && strings.Contains(string(raw), data) {
			left = append(left, "loop device "+loop)
		}
	}
	links, err := filepath.Glob("/sys/class/net/*" + Herd(t, data)[1:])
	if err != nil {
		t.Fatal(err)
	}
	for _, link := range links {
		left = append(left, "link "+filepath.Base(link))
	}
	if _, err := os.Stat("/run/remuda/net-" + Herd(t, data)); err == nil {
		left = append(left, "directory /run/remuda/net-"+Herd(t, data))
	}
	return left
}

// Left is what is left of the server's sandboxes.
func (s *Server) Left() []string { return Left(s.t, s.Data) }

// Untouched fails when anything of the sandboxes of a data directory stays on the
// machine. Its server must not be up.
func Untouched(t testing.TB, data string) {
	t.Helper()
	var left []string
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if left = Left(t, data); len(left) == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Errorf("left on the machine:\n%s", strings.Join(left, "\n"))
			return
		}
	}
}

// Untouched is that of the server.
func (s *Server) Untouched() { Untouched(s.t, s.Data) }
