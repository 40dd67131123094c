package netslot

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/remuda-run/remuda/internal/remuda"
)

// A first server is a process of its own, so that it can be killed, and so are the
// sandboxes, which outlive it.

// heldOrder says what a first server has to connect.
type heldOrder struct {
	Dir       string
	Sandboxes map[remuda.InstanceID]int // and a process of each
	CIDRs     []string
	Names     []string
	DNS       string
	Detach    bool // let go of them and end
}

const heldOrderEnv = inNamespace + "_ORDER"

// keepHold is a first server.
func keepHold() int {
	err := func() error {
		var o heldOrder
		if err := json.Unmarshal([]byte(os.Getenv(heldOrderEnv)), &o); err != nil {
			return err
		}
		s, err := keptSlots(o.Dir, o.DNS)
		if err != nil {
			return err
		}
		var all []*Attached
		for id, pid := range o.Sandboxes {
			a, err := s.Attach(context.Background(), pid, string(id), s.Compile(remuda.Egress{CIDRs: parsePrefixes(o.CIDRs), Names: o.Names}))
			if err != nil {
				return err
			}
			all = append(all, a)
		}
		fmt.Println("connected")
		if !o.Detach {
			select {}
		}
		_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
		for _, a := range all {
			a.Detach()
		}
		if err := s.Close(context.Background()); err != nil {
			return err
		}
		os.Exit(0)
		return nil
	}()
	fmt.Fprintln(os.Stderr, err)
	return 1
}

// keptSlots are slots of the herd whose server is killed.
func keptSlots(dir, dns string) (*Slots, error) {
	set := settings()
	if dns != "" {
		set.UpstreamDNS = []netip.AddrPort{netip.MustParseAddrPort(dns)}
	}
	s, err := New(Options{Herd: heldHerd, Settings: set, Ahead: 2, Outlive: true})
	if err != nil {
		return nil, err
	}
	s.record, s.left = forwarding{dir}, remains{filepath.Join(dir, "net")}
	return s, nil
}

// sit is a sandbox: a process in a network namespace of its own.
func sit() int {
	h, err := func() (func(), error) {
		own, err := openNamespace(ownNamespace)
		if err != nil {
			return nil, err
		}
		h, err := own.links()
		if err != nil {
			return nil, err
		}
		_, err = raise(h, "lo")
		return h.Close, err
	}()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	h()
	fmt.Println("sits")
	select {}
}

// child starts this program in another mode and waits for its line.
func child(t *testing.T, mode, says string, flags uintptr, env ...string) (*exec.Cmd, io.Closer) {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(append(os.Environ(), inNamespace+"="+mode), env...)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: flags, Pdeathsig: syscall.SIGKILL}
	stdin, err := cmd.StdinPipe()
	must(t, err)
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	t.Cleanup(func() {
		_ = stdin.Close()
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	must(t, err)
	if line != says+"\n" {
		t.Fatalf("%s said %q", mode, line)
	}
	return cmd, stdin
}

// life is two servers of one herd, one after the other, and their sandboxes.
type life struct {
	t     *testing.T
	order heldOrder
	boxes map[remuda.InstanceID]*box
	first *exec.Cmd
	input io.Closer // of the first server: its end makes it let go
}

// newLife connects so many sandboxes to a first server.
func newLife(t *testing.T, n int, o heldOrder) *life {
	t.Helper()
	o.Dir, o.Sandboxes = t.TempDir(), map[remuda.InstanceID]int{}
	l := &life{t: t, order: o, boxes: map[remuda.InstanceID]*box{}}
	before := machineState(t)
	t.Cleanup(func() {
		if after := machineState(t); after != before {
			t.Errorf("before:\n%s\nafter:\n%s", before, after)
		}
		if _, err := os.Stat(filepath.Join(o.Dir, "net")); !os.IsNotExist(err) {
			t.Errorf("what the router left is still there (%v)", err)
		}
	})
	for i := range n {
		id := remuda.InstanceID(fmt.Sprintf("ins_%d", i))
		sitter, _ := child(t, "sit", "sits", unix.CLONE_NEWNET)
		space, err := openNamespace(fmt.Sprintf("/proc/%d/ns/net", sitter.Process.Pid))
		must(t, err)
		t.Cleanup(space.close)
		o.Sandboxes[id], l.boxes[id] = sitter.Process.Pid, &box{t: t, space: space}
	}
	text, err := json.Marshal(o)
	must(t, err)
	l.first, l.input = child(t, "keep", "connected", 0, heldOrderEnv+"="+string(text))
	return l
}

// kill ends the first server.
func (l *life) kill() {
	l.t.Helper()
	must(l.t, l.first.Process.Kill())
	_ = l.first.Wait()
}

// second is the next server, before Recover.
func (l *life) second() *Slots {
	l.t.Helper()
	s, err := keptSlots(l.order.Dir, l.order.DNS)
	must(l.t, err)
	l.t.Cleanup(func() { must(l.t, s.Close(context.Background())) })
	return s
}

// adopt takes a sandbox over.
func (l *life) adopt(s *Slots, id remuda.InstanceID, e remuda.Egress) *box {
	l.t.Helper()
	a, err := s.Adopt(context.Background(), id, l.order.Sandboxes[id], s.Compile(e))
	must(l.t, err)
	return &box{l.t, l.boxes[id].space, a}
}
