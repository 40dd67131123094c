package enginetest

import (
	"encoding/json"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"github.com/remuda-run/remuda/internal/engine"
)

// network attempts to reach anything but the sandbox itself.
func network(t *testing.T, e engine.Engine) {
	// A service of the host on loopback, and one on an abstract name (N04, N14).
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	abstract, err := net.Listen("unix", "@"+filepath.Base(t.TempDir())+listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = abstract.Close() })
	port, err := json.Marshal(listener.Addr().(*net.TCPAddr).Port)
	if err != nil {
		t.Fatal(err)
	}
	name, err := json.Marshal(strings.TrimPrefix(abstract.Addr().String(), "@"))
	if err != nil {
		t.Fatal(err)
	}
	t.Run("reach", func(t *testing.T) {
		// Not parallel to its parent: the listeners end with that.
		both(t, e, resources, func(b box) {
			b.do(engine.Request{Script: reach, Parameters: map[string]json.RawMessage{"port": port, "name": name}, Timeout: patience}).ok().
				says("interfaces ['lo']").says("own True").says("tried")
		})
	})
}

const reach = `
import socket, os
print("interfaces", [n for _, n in socket.if_nameindex()])
def attempt(family, kind, address):
    s = socket.socket(family, kind)
    s.settimeout(5)
    try:
        s.connect(address)
        if kind == socket.SOCK_DGRAM: s.send(b"x")
        raise SystemExit(f"REACHED {address}")
    except OSError as e:
        print("refused", address, e.errno)
        return e.errno
for a in "1.1.1.1", "8.8.8.8", "169.254.169.254", "10.0.0.1", "172.17.0.1", "192.168.0.1", "100.64.0.1", "224.0.0.1":
    assert attempt(socket.AF_INET, socket.SOCK_STREAM, (a, 80)) in (101, 113), a
    assert attempt(socket.AF_INET, socket.SOCK_DGRAM, (a, 53)) in (101, 113), a
for a in "2606:4700:4700::1111", "fd00:ec2::254", "fe80::1", "::ffff:169.254.169.254":
    assert attempt(socket.AF_INET6, socket.SOCK_STREAM, (a, 80)) in (99, 101, 22, 113), a
assert attempt(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", port)) == 111
assert attempt(socket.AF_UNIX, socket.SOCK_STREAM, "\0" + name) == 111
try: socket.getaddrinfo("example.com", 80); print("RESOLVED")
except socket.gaierror as e: print("unresolved", e.errno)
server = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(server.getsockname())
client.send(b"ping")
print("own", server.accept()[0].recv(4) == b"ping")
print("tried")
`
