package guestinit

import (
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// TestSwitches looks at a process of which is known when it runs: its lines stay the
// same while it waits, and are others once it has run.
func TestSwitches(t *testing.T) {
	t.Parallel()
	cmd := exec.CommandContext(t.Context(), "/bin/cat")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _, _ = in.Close(), cmd.Wait() }()
	look := func() (waits bool, ran string) {
		status, err := os.ReadFile("/proc/" + itoa(cmd.Process.Pid) + "/status")
		if err != nil {
			t.Fatal(err)
		}
		return strings.Contains(string(status), "\nState:\tS"), switches(string(status))
	}
	deadline := time.Now().Add(time.Minute)
	settled := func(than string) string {
		for {
			if waits, ran := look(); waits && ran != than {
				return ran
			}
			if time.Now().After(deadline) {
				t.Fatal("it does not wait, or has not run")
			}
			time.Sleep(time.Millisecond)
		}
	}
	before := settled("")
	if !strings.Contains(before, "nonvoluntary_ctxt_switches:") || strings.Contains(before, "State:") {
		t.Errorf("the lines are %q", before)
	}
	for last := ""; last != before; { // it has come to its read
		last, before = before, settled("")
		time.Sleep(10 * time.Millisecond)
	}
	if _, ran := look(); ran != before {
		t.Errorf("it has not run, and %q became %q", before, ran)
	}
	if _, err := in.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	settled(before)
}
