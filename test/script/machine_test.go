package script

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/remuda-run/remuda/test/harness"
)

// process is a process that cannot be taken for a later one of the same number.
type process struct {
	pid   int
	start string
}

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

// herdCgroups lists the cgroups that belong to a data directory.
func herdCgroups(t *testing.T, data string) []string {
	t.Helper()
	herd, err := os.ReadFile(filepath.Join(data, "herd"))
	if err != nil {
		t.Fatal(err)
	}
	name := "remuda-" + strings.TrimSpace(string(herd))
	var found []string
	err = filepath.WalkDir("/sys/fs/cgroup", func(path string, d os.DirEntry, err error) error {
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

// sandboxed lists the processes in the cgroups of a data directory.
func sandboxed(t *testing.T, data string) map[process]bool {
	t.Helper()
	found := map[process]bool{}
	for _, dir := range herdCgroups(t, data) {
		raw, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
		if err != nil {
			continue // just removed
		}
		for field := range strings.FieldsSeq(string(raw)) {
			pid, err := strconv.Atoi(field)
			if err != nil {
				t.Fatal(err)
			}
			if start := startOf(pid); start != "" {
				found[process{pid, start}] = true
			}
		}
	}
	return found
}

// gone waits until none of the processes lives.
func gone(t *testing.T, processes map[process]bool) {
	t.Helper()
	for p := range processes {
		eventually(t, "process "+strconv.Itoa(p.pid)+" is gone", func() bool { return startOf(p.pid) != p.start })
	}
}

// untouched fails when a data directory has anything of an instance left.
func untouched(t *testing.T, data string) {
	t.Helper()
	eventually(t, "no cgroup is left", func() bool { return len(herdCgroups(t, data)) == 0 })
	for _, dir := range []string{"run", "disk"} {
		entries, err := os.ReadDir(filepath.Join(data, dir))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			t.Errorf("%s/%s is left", dir, e.Name())
		}
	}
	for _, table := range []string{"/proc/self/mountinfo", "/proc/mounts"} {
		raw, err := os.ReadFile(table)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(raw), data) {
			t.Errorf("%s has a mount of %s", table, data)
		}
	}
	loops, err := filepath.Glob("/sys/block/loop*/loop/backing_file")
	if err != nil {
		t.Fatal(err)
	}
	for _, loop := range loops {
		if raw, err := os.ReadFile(loop); err == nil && strings.Contains(string(raw), data) {
			t.Errorf("%s still serves %s", loop, raw)
		}
	}
}

// eventually waits for a condition, with a generous deadline.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !condition(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("after 30 s it is still not so that %s", what)
		}
	}
}

// ended waits until a process that this test's harness started has ended.
func ended(t *testing.T, pid int) {
	t.Helper()
	eventually(t, "the server has ended", func() bool { return syscall.Kill(pid, 0) != nil })
}

// startLocal starts `remuda run` without a server and waits until the script
// has written its first line.
func startLocal(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), harness.Program(t), append([]string{"run"}, args...)...)
	for _, line := range os.Environ() {
		if !strings.HasPrefix(line, "REMUDA_") {
			cmd.Env = append(cmd.Env, line)
		}
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // has ended already, unless the test failed
		_ = cmd.Wait()
	})
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil || line != "up\n" {
		t.Fatalf("the script wrote %q, %v", line, err)
	}
	return cmd
}
