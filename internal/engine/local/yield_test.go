package local

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestRaiseSession raises a session of the test's own.
func TestRaiseSession(t *testing.T) {
	t.Parallel()
	cmd := exec.CommandContext(t.Context(), "sleep", "600")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	file := fmt.Sprintf("/proc/%d/autogroup", cmd.Process.Pid)
	nice := func() string {
		t.Helper()
		b, err := os.ReadFile(file)
		if os.IsNotExist(err) {
			t.Skip("this kernel does not group processes by session")
		}
		if err != nil {
			t.Fatal(err)
		}
		_, nice, _ := strings.Cut(strings.TrimSpace(string(b)), " nice ")
		return nice
	}
	if got := nice(); got != "0" {
		t.Fatalf("a new session has nice %s", got)
	}
	for _, step := range []struct {
		on   bool
		set  string // by somebody else, before
		want string
	}{
		{on: true, want: "-10"},
		{on: true, want: "-10"},
		{on: false, want: "0"},
		{on: false, want: "0"},
		{on: true, set: "5", want: "5"},
		{on: false, want: "5"},
	} {
		if step.set != "" {
			if err := os.WriteFile(file, []byte(step.set), 0); err != nil {
				t.Fatal(err)
			}
		}
		if err := raiseSession(file, step.on); err != nil {
			t.Fatal(err)
		}
		if got := nice(); got != step.want {
			t.Errorf("raised %v: nice %s, want %s", step.on, got, step.want)
		}
	}
}

func TestRaiseSessionElsewhere(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "autogroup")
	if err := raiseSession(file, true); err != nil {
		t.Errorf("a kernel without the file: %v", err)
	}
	if err := os.WriteFile(file, []byte("something else\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := raiseSession(file, true); err == nil {
		t.Error("a file that cannot be understood was taken")
	}
}
