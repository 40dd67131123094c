package script

import (
	"bufio"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/remuda-run/remuda/test/harness"
)

// gone waits until none of the processes lives.
func gone(t *testing.T, processes []harness.Process) {
	t.Helper()
	for _, p := range processes {
		harness.Eventually(t, "process "+strconv.Itoa(p.Pid)+" is gone", func() bool { return !p.Lives() })
	}
}

// ended waits until a process that this test's harness started has ended.
func ended(t *testing.T, pid int) {
	t.Helper()
	harness.Eventually(t, "the server has ended", func() bool { return syscall.Kill(pid, 0) != nil })
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
