package local

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/remuda-run/remuda/internal/egress"
	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/remuda"
)

// The network between the machine and the host of ours that sandboxes reach. It
// is this process's own: others may run these tests at the same time.
var (
	farMachine = farAddress(1)
	farHost    = farAddress(2)
	farLink    = fmt.Sprintf("far%d", os.Getpid())
)

func farAddress(n int) netip.Prefix {
	const block, bits = 4, 30
	at := os.Getpid()*block + n
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 197, byte(at >> 8), byte(at)}), bits)
}

// inNewNamespace runs fn in a network namespace that is gone when all that fn
// opened is closed; pid is given for nothing: the namespace's own file is passed.
func inNewNamespace(t *testing.T, fn func(space *os.File) error) {
	t.Helper()
	errs := make(chan error)
	go func() {
		runtime.LockOSThread() // for good: the thread ends with the goroutine
		errs <- func() error {
			if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
				return err
			}
			space, err := os.Open("/proc/thread-self/ns/net")
			if err != nil {
				return err
			}
			defer func() { _ = space.Close() }()
			return fn(space)
		}()
	}()
	if err := <-errs; err != nil {
		t.Fatal(err)
	}
}

// newFarHost connects a host of ours to the machine: it greets on a TCP port,
// which is returned, and serves the name there.example.
func newFarHost(t *testing.T) int {
	t.Helper()
	machine, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(machine.Close)
	var greeter net.Listener
	var questions net.PacketConn
	inNewNamespace(t, func(space *os.File) error {
		attrs := netlink.NewLinkAttrs()
		attrs.Name = farLink
		if err := machine.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: "eth0", PeerNamespace: netlink.NsFd(space.Fd())}); err != nil {
			return err
		}
		inside, err := netlink.NewHandle(unix.NETLINK_ROUTE)
		if err != nil {
			return err
		}
		defer inside.Close()
		for _, end := range []struct {
			h    *netlink.Handle
			name string
			at   netip.Prefix
		}{{machine, farLink, farMachine}, {inside, "eth0", farHost}} {
			l, err := end.h.LinkByName(end.name)
			if err != nil {
				return err
			}
			a, err := netlink.ParseAddr(end.at.String())
			if err != nil {
				return err
			}
			if err := end.h.AddrAdd(l, a); err != nil {
				return err
			}
			if err := end.h.LinkSetUp(l); err != nil {
				return err
			}
		}
		if greeter, err = net.Listen("tcp4", farHost.Addr().String()+":0"); err != nil {
			return err
		}
		questions, err = net.ListenPacket("udp4", farHost.Addr().String()+":53")
		return err
	})
	t.Cleanup(func() {
		if l, err := machine.LinkByName(farLink); err == nil {
			if err := machine.LinkDel(l); err != nil {
				t.Error(err)
			}
		}
	})
	greets(t, greeter)
	answers(t, questions)
	return greeter.Addr().(*net.TCPAddr).Port
}

func greets(t *testing.T, l net.Listener) {
	t.Helper()
	var serving sync.WaitGroup
	t.Cleanup(func() {
		_ = l.Close()
		serving.Wait()
	})
	serving.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { _ = c.Close() })
			serving.Go(func() { _, _ = io.Copy(c, c) })
		}
	})
}

func answers(t *testing.T, questions net.PacketConn) {
	t.Helper()
	server := &dns.Server{PacketConn: questions, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		reply := new(dns.Msg).SetReply(q)
		rr, err := dns.NewRR("there.example. 300 IN A " + farHost.Addr().String())
		if err == nil && q.Question[0].Qtype == dns.TypeA {
			reply.Answer = append(reply.Answer, rr)
		}
		_ = w.WriteMsg(reply)
	})}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.ActivateAndServe()
	}()
	t.Cleanup(func() {
		_ = questions.Close()
		<-done
	})
}

// tries prints how each attempt ends; "keep" leaves its connection open.
const tries = `
import socket
def attempt(name, port):
    try:
        c = socket.create_connection((name, port), timeout=5)
        c.settimeout(10)
        c.send(b"hello")
        print(name, c.recv(5))
        return c
    except OSError as e:
        print(name, "failed")
kept = attempt("%[1]s", %[2]d)
attempt("there.example", %[2]d)
attempt("elsewhere.example", %[2]d)
attempt("169.254.169.254", %[2]d)
`

const keptSays = `
try:
    kept.send(b"again")
    print("kept", kept.recv(5))
except OSError as e:
    print("kept is cut")
`

func says(t *testing.T, inst engine.Instance, script string) string {
	t.Helper()
	var out strings.Builder
	res, err := inst.Execute(t.Context(), engine.Request{ID: remuda.NewExecutionID(), Script: script, Timeout: time.Minute}, func(r remuda.OutputRecord) error {
		out.Write(r.Data)
		return nil
	})
	if err != nil || res.State != remuda.ExecutionSuccess {
		t.Fatalf("%v %v %s %v\n%s", err, res.State, res.Reason, res.Error, out.String())
	}
	return out.String()
}

func TestEgress(t *testing.T) {
	port := newFarHost(t)
	settings := egress.DefaultSettings()
	settings.UpstreamDNS = []netip.AddrPort{netip.AddrPortFrom(farHost.Addr(), 53)}
	e, err := New(t.Context(), Options{DataDir: t.TempDir(), Network: settings})
	if err != nil {
		t.Fatal(err)
	}
	closed := false
	t.Cleanup(func() {
		if !closed {
			_ = e.Close(context.Background())
		}
	})
	host := farHost.Addr().String()
	script := fmt.Sprintf(tries, farHost.Addr(), port)
	t.Run("forked from a template", func(t *testing.T) {
		spec := engine.Spec{
			ID: remuda.NewInstanceID(), Language: remuda.LanguagePython, Environment: remuda.EnvironmentHost,
			Generation: remuda.GenerationKey{Runtime: "rt_test", Number: 1}, Egress: remuda.Egress{Names: []string{"there.example"}},
			Resources: remuda.Resources{CPU: 1, MemoryMB: 256, DiskMB: 16, Pids: 32},
		}
		for end := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
			spec.ID = remuda.NewInstanceID()
			inst, err := e.Create(t.Context(), spec)
			if err != nil {
				t.Fatal(err)
			}
			forked := inst.(*Instance).blank.forked
			if got := says(t, inst, script); got != host+" failed\nthere.example b'hello'\nelsewhere.example failed\n169.254.169.254 failed\n" {
				t.Errorf("forked: %t, got\n%s", forked, got)
			}
			if err := inst.Destroy(t.Context()); err != nil {
				t.Error(err)
			}
			if forked {
				return
			}
			if time.Now().After(end) {
				t.Fatal("no instance was forked")
			}
		}
	})
	for _, background := range []bool{false, true} {
		for _, c := range []struct {
			name string
			e    remuda.Egress
			want string
		}{
			{"nothing", remuda.Egress{}, host + " failed\nthere.example failed\nelsewhere.example failed\n169.254.169.254 failed\n"},
			{"an address", remuda.Egress{CIDRs: []netip.Prefix{netip.PrefixFrom(farHost.Addr(), 32)}}, host + " b'hello'\nthere.example failed\nelsewhere.example failed\n169.254.169.254 failed\n"},
			{"a name", remuda.Egress{Names: []string{"there.example"}}, host + " failed\nthere.example b'hello'\nelsewhere.example failed\n169.254.169.254 failed\n"},
		} {
			t.Run(fmt.Sprintf("%s, background %t", c.name, background), func(t *testing.T) {
				inst, err := e.Create(t.Context(), engine.Spec{
					ID: remuda.NewInstanceID(), Language: remuda.LanguagePython, Environment: remuda.EnvironmentHost, Egress: c.e, Background: background,
					Resources: remuda.Resources{CPU: 1, MemoryMB: 256, DiskMB: 16, Pids: 32},
				})
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() {
					if err := inst.Destroy(context.Background()); err != nil {
						t.Error(err)
					}
				})
				if got := says(t, inst, script); got != c.want {
					t.Errorf("got\n%swant\n%s", got, c.want)
				}
				if c.name != "an address" {
					return
				}
				if got := says(t, inst, keptSays); got != "kept b'again'\n" {
					t.Errorf("before: %s", got)
				}
				if err := inst.(*Instance).SetEgress(t.Context(), remuda.Egress{}); err != nil {
					t.Fatal(err)
				}
				if got := says(t, inst, keptSays); got != "kept is cut\n" {
					t.Errorf("after: %s", got)
				}
			})
		}
	}
	closed = true
	if err := e.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	links, err := netlink.LinkList()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range links {
		if strings.HasSuffix(l.Attrs().Name, e.dir.herd) {
			t.Errorf("the link %s is left", l.Attrs().Name)
		}
	}
}
