package harness

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
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
	raw, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return ""
	}
	text := string(raw)
	fields := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
	if len(fields) < 20 || fields[0] == "Z" {
		return ""
	}
	return fields[19]
}

// Herd is the name in the server's cgroups, links and tables of rules.
func (s *Server) Herd() string {
	s.t.Helper()
	herd, err := os.ReadFile(filepath.Join(s.Data, "herd"))
	if err != nil {
		s.t.Fatal(err)
	}
	return strings.TrimSpace(string(herd))
}

// Cgroups lists those of the server's sandboxes, whether it is up or not.
func (s *Server) Cgroups() []string {
	s.t.Helper()
	name := "remuda-" + s.Herd()
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
		s.t.Fatal(err)
	}
	return found
}

// Processes lists those in the server's sandboxes, whether it is up or not.
func (s *Server) Processes() []Process {
	s.t.Helper()
	seen := map[int]bool{}
	var found []Process
	for _, dir := range s.Cgroups() {
		raw, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
		if err != nil {
			continue // just removed
		}
		for field := range strings.FieldsSeq(string(raw)) {
			pid, err := strconv.Atoi(field)
			if err != nil {
				s.t.Fatal(err)
			}
			if start := startOf(pid); start != "" && !seen[pid] {
				seen[pid] = true
				found = append(found, Process{pid, start})
			}
		}
	}
	return found
}

// Eventually waits for a condition, with a generous deadline.
func (s *Server) Eventually(what string, condition func() bool) {
	s.t.Helper()
	const patience = 2 * time.Minute
	for deadline := time.Now().Add(patience); !condition(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			s.t.Fatalf("after %s it is still not so that %s", patience, what)
		}
	}
}

// Left lists what is on the machine of the server's sandboxes, for a server that is
// not up: processes, cgroups, files, mounts, loop devices and links.
func (s *Server) Left() []string {
	s.t.Helper()
	var left []string
	for _, p := range s.Processes() {
		left = append(left, "process "+strconv.Itoa(p.Pid))
	}
	for _, dir := range s.Cgroups() {
		left = append(left, "cgroup "+dir)
	}
	for _, dir := range []string{"run", "disk"} {
		entries, err := os.ReadDir(filepath.Join(s.Data, dir))
		if err != nil {
			s.t.Fatal(err)
		}
		for _, e := range entries {
			left = append(left, "file "+dir+"/"+e.Name())
		}
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		s.t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		if at := strings.Fields(line)[4]; strings.HasPrefix(at, s.Data) || strings.Contains(at, s.Herd()) {
			left = append(left, "mount "+at)
		}
	}
	loops, err := filepath.Glob("/sys/block/loop*/loop/backing_file")
	if err != nil {
		s.t.Fatal(err)
	}
	for _, loop := range loops {
		if raw, err := os.ReadFile(loop); err == nil && strings.Contains(string(raw), s.Data) {
			left = append(left, "loop device "+loop)
		}
	}
	links, err := filepath.Glob("/sys/class/net/*" + s.Herd()[1:])
	if err != nil {
		s.t.Fatal(err)
	}
	for _, link := range links {
		left = append(left, "link "+filepath.Base(link))
	}
	if _, err := os.Stat("/run/remuda/net-" + s.Herd()); err == nil {
		left = append(left, "directory /run/remuda/net-"+s.Herd())
	}
	return left
}

// Untouched fails when anything of a sandbox stays on the machine. The server must
// not be up.
func (s *Server) Untouched() {
	s.t.Helper()
	var left []string
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if left = s.Left(); len(left) == 0 {
			return
		}
		if time.Now().After(deadline) {
			s.t.Errorf("the server has left:\n%s", strings.Join(left, "\n"))
			return
		}
	}
}
