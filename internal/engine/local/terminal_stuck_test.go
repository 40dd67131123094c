package local

import (
	"os"
	"os/exec"
	"testing"
	"testing/synctest"

	"golang.org/x/sys/unix"

	"github.com/remuda-run/remuda/internal/remuda"
)

// TestTerminalCloseOfStuck closes a terminal whose program is not seen to end, as one
// that waits in the kernel.
func TestTerminalCloseOfStuck(t *testing.T) {
	t.Parallel()
	cmd := exec.Command("sleep", "60")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	pidfd, err := unix.PidfdOpen(cmd.Process.Pid, 0)
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		master, far, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = far.Close() }()
		stuck := &terminal{master: master, proc: &process{pid: cmd.Process.Pid, file: os.NewFile(uintptr(pidfd), "pidfd")}, done: make(chan struct{})}
		defer stuck.proc.close()
		for range 2 {
			if err := stuck.Close(); remuda.CodeOf(err) != remuda.CodeDeadline {
				t.Errorf("a program that does not end: %v", err)
			}
		}
		close(stuck.done)
		if err := stuck.Close(); err != nil {
			t.Errorf("once it has ended: %v", err)
		}
	})
	if err := cmd.Wait(); err == nil {
		t.Error("the program was not killed")
	}
}
