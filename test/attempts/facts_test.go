package attempts

import (
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/remuda-run/remuda/internal/engine/local/seccomp"
	"github.com/remuda-run/remuda/test/harness"
)

// facts are what programs are told, so that they know what to look for.
type facts struct {
	controlPort int
	hostAddress string // one of the machine's, not loopback
	servicePort int    // of a service of ours on every address of the machine
	abstract    string // name of an abstract socket of the machine
	hostname    string
	data, tree  string
}

// gatherFacts starts the services that nobody in a sandbox may reach.
func gatherFacts(t *testing.T, h *house) facts {
	t.Helper()
	base, err := url.Parse(h.server.Base)
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(base.Port())
	if err != nil {
		t.Fatal(err)
	}
	service := listen(t, "tcp", ":0")
	f := facts{controlPort: port, servicePort: service.Addr().(*net.TCPAddr).Port, data: h.server.Data}
	f.abstract = "remuda-attempt-" + strconv.Itoa(f.servicePort)
	listen(t, "unix", "@"+f.abstract)
	f.hostAddress = ownAddress
	if f.hostname, err = os.Hostname(); err != nil {
		t.Fatal(err)
	}
	if f.hostname == "remuda" {
		f.hostname = "" // it cannot be told apart from the sandbox's
	}
	if f.tree, err = filepath.Abs("../.."); err != nil {
		t.Fatal(err)
	}
	return f
}

// listen accepts and closes until the test's end.
func listen(t *testing.T, network, address string) net.Listener {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_ = conn.Close() // that it came is all that matters
		}
	}()
	t.Cleanup(func() { _ = l.Close(); <-done })
	return l
}

// parameters of a program.
func (f *facts) parameters(program string, inside bool) harness.JSON {
	if language(program) == "bash" {
		return harness.JSON{"inside": inside}
	}
	p := harness.JSON{
		"inside": inside, "nr": numbers(), "data": f.data, "tree": f.tree, "hostname": f.hostname, "control_port": f.controlPort,
		"host_address": f.hostAddress, "abstract": f.abstract, "keeper_socket": f.data + "/run/keeper.sock",
	}
	switch program {
	case "kernel.py":
		p["calls"] = kernelCalls()
	case "network.py":
		p["addresses"], p["udp_addresses"] = addresses, udpAddresses
		p["host_services"] = [][]any{{"127.0.0.1", f.servicePort}, {p["host_address"], f.servicePort}, {"::1", f.servicePort}}
	}
	return p
}

// numbers are the system calls that programs make by number.
func numbers() map[string]int {
	list := map[string]int{}
	for _, name := range []string{
		"unshare", "setns", "open_by_handle_at", "fsopen", "ptrace", "process_vm_readv", "pidfd_getfd", "personality", "sched_setattr", "ioprio_set",
	} {
		if n, ok := seccomp.Number(name); ok {
			list[name] = n
		}
	}
	return list
}
