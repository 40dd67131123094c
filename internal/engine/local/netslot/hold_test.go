package netslot

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/remuda-run/remuda/internal/remuda"
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
	must(t, s.Recover(context.Background(), nil))
	if after := machineState(t); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
	must(t, s.Recover(context.Background(), nil)) // finds nothing
	must(t, s.Close(context.Background()))
	if _, err := os.Stat(s.record.path()); !os.IsNotExist(err) {
		t.Errorf("the record is still there (%v)", err)
	}
}

// powerless is a process that may not change the machine's network. It says how
// an attempt to connect a sandbox ends.
func powerless() int {
	s, err := New(Options{Herd: "powerless"})
	if err == nil {
		s.record = forwarding{os.Getenv(heldDir)}
		var inside *namespace
		if inside, err = newNamespace(); err == nil {
			_, err = s.attach(inside, "powerless", s.Compile(list("10.0.0.0/8")))
		}
		fmt.Println(remuda.CodeOf(err), err, s.Check(context.Background()).OK)
	}
	return 0
}

// Row N18: without the right to set rules no sandbox is connected.
func TestPowerless(t *testing.T) {
	before := machineState(t)
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), inNamespace+"=powerless", heldDir+"="+t.TempDir())
	cmd.Stderr = os.Stderr
	var out []byte
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		// Root has what its thread may have; the thread ends with the goroutine.
		runtime.LockOSThread()
		if err = unix.Prctl(unix.PR_CAPBSET_DROP, unix.CAP_NET_ADMIN, 0, 0, 0); err == nil {
			out, err = cmd.Output()
		}
	}()
	<-done
	must(t, err)
	if said := string(out); !strings.HasPrefix(said, string(remuda.CodeUnsupported)) || !strings.Contains(said, "not permitted") || !strings.HasSuffix(said, "false\n") {
		t.Errorf("it said %q", said)
	}
	if after := machineState(t); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
}

func BenchmarkAttach(b *testing.B) {
	s, err := New(Options{Herd: "bench"})
	if err != nil {
		b.Fatal(err)
	}
	s.record = forwarding{b.TempDir()}
	policy := s.Compile(list("10.0.0.0/8", "2001:db8::/32"))
	for b.Loop() {
		b.StopTimer()
		inside, err := newNamespace()
		if err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		a, err := s.attach(inside, "bench", policy)
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		if err := a.Release(context.Background()); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
	if err := s.Close(context.Background()); err != nil {
		b.Fatal(err)
	}
}
