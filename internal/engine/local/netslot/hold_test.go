package netslot

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// The name of the herd that is killed, and where it keeps its record.
const (
	heldHerd = "held"
	heldDir  = inNamespace + "_DIR"
)

// hold is a process that has a sandbox connected and waits to be killed.
func hold() int {
	err := func() error {
		s, err := New(Options{Herd: heldHerd})
		if err != nil {
			return err
		}
		s.record = forwarding{os.Getenv(heldDir)}
		inside, err := newNamespace()
		if err != nil {
			return err
		}
		if _, err := s.attach(inside, "held", s.Compile(list("10.0.0.0/8"))); err != nil {
			return err
		}
		fmt.Println("connected")
		select {}
	}()
	fmt.Fprintln(os.Stderr, err)
	return 1
}

// After kill -9 the machine holds rules and switches; Recover puts all back.
func TestKilledAndRecovered(t *testing.T) {
	newFar(t) // an interface whose switch is turned
	dir := t.TempDir()
	before := machineState(t)
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), inNamespace+"=hold", heldDir+"="+dir)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	must(t, err)
	if line != "connected\n" {
		t.Fatalf("it said %q", line)
	}
	if during := machineState(t); !strings.Contains(during, linkPrefix+heldHerd) || !strings.Contains(during, tablePrefix+heldHerd) || !strings.Contains(before, "off ipv4/conf/far") || strings.Contains(during, "off ipv4/conf/far") {
		t.Fatalf("before:\n%s\nwith a sandbox connected:\n%s", before, during)
	}
	must(t, cmd.Process.Kill())
	_ = cmd.Wait()
	if killed := machineState(t); killed == before {
		t.Fatal("nothing was left; there is nothing to recover")
	}
	s, err := New(Options{Herd: heldHerd})
	must(t, err)
	s.record = forwarding{dir}
	must(t, s.Recover(context.Background()))
	if after := machineState(t); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
	must(t, s.Recover(context.Background())) // finds nothing
	must(t, s.Close(context.Background()))
	if _, err := os.Stat(s.record.path()); !os.IsNotExist(err) {
		t.Errorf("the record is still there (%v)", err)
	}
}
