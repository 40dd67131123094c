package attempts

import (
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/remuda-run/remuda/test/harness"
)

// addresses are tried by TCP, udpAddresses by a datagram.
var (
	addresses = []string{
		"1.1.1.1", "8.8.8.8", "169.254.169.254", "169.254.170.2", "100.100.100.200", "10.0.0.1", "10.255.255.254", "172.16.0.1", "172.17.0.1", "192.168.0.1", "192.168.122.1",
		"100.64.0.1", "198.18.0.1", "203.0.113.1", "240.0.0.1", "2606:4700:4700::1111", "2001:4860:4860::8888", "fd00:ec2::254", "fd00::1", "fe80::1", "fec0::1",
	}
	udpAddresses = []string{"8.8.8.8", "1.1.1.1", "169.254.169.253", "10.0.0.2", "224.0.0.251", "255.255.255.255", "2001:4860:4860::8888", "ff02::fb"}
)

// rowOfAddress is the row of the list of attempts.
func rowOfAddress(a string) string {
	switch ip := net.ParseIP(a); {
	case a == "169.254.169.254" || a == "169.254.170.2" || a == "100.100.100.200" || a == "fd00:ec2::254":
		return "N02"
	case ip.To4() == nil:
		return "N09"
	case ip.IsPrivate() || ip.IsLinkLocalUnicast() || ip.IsMulticast() || strings.HasPrefix(a, "100.64") || strings.HasPrefix(a, "198.18") || strings.HasPrefix(a, "240.") || strings.HasPrefix(a, "255."):
		return "N03"
	}
	return "N01"
}

// networkRows are rows N.
func networkRows() []row {
	return slices.Concat(networkProbes(), []row{
		{id: "N14", attempt: "talk from one sandbox to another by an abstract socket", expected: "not there", places: each(runspace), try: func(c *cell) { c.neighbors(abstractServer, abstractClient) }},
		{id: "N14", attempt: "talk from one sandbox to another by TCP on loopback", expected: "refused", places: each(runspace), try: func(c *cell) { c.neighbors(tcpServer, tcpClient) }},
		{id: "N14", attempt: "share System V memory with another sandbox", expected: "not there", places: each(runspace), try: func(c *cell) { c.neighbors(shmServer, shmClient) }},
		{id: "N14", attempt: "share a POSIX message queue with another sandbox", expected: "not there", places: each(runspace), try: func(c *cell) { c.neighbors(queueServer, queueClient) }},
		{id: "N14", attempt: "share /dev/shm and /tmp with another sandbox", expected: "not there", places: each(runspace), try: func(c *cell) { c.neighbors(fileServer, fileClient) }},
		{id: "N15", attempt: "listen on all addresses, connect from the machine", expected: "not reachable", places: each(runspace), try: listening},
		{id: "N18", attempt: "start the server without the privilege to make networks", expected: "refuses to start, and says why", places: atServerOnly(), try: withoutNetwork},
		{id: "N18", attempt: "start the server as an ordinary user", expected: "refuses to start, and says why", places: atServerOnly(), try: asNobody},
		{id: "N22", attempt: "set proxy variables that lead to the control plane", expected: "no way all the same", places: everywhere(), try: proxied},
	})
}

func networkProbes() []row {
	noRoute := oneOf("ENETUNREACH", "EHOSTUNREACH", "EADDRNOTAVAIL", "EINVAL", "EACCES", "EPERM")
	var list []probe
	add := func(id, key, attempt string, w want, alike string) {
		list = append(list, probe{id: id, key: key, attempt: attempt, want: w, alike: alike})
	}
	for _, a := range addresses {
		alike := ""
		if strings.HasPrefix(a, "240.") || strings.HasPrefix(a, "fe80") || strings.HasPrefix(a, "fec0") {
			alike = "needs an interface's name outside"
		}
		add(rowOfAddress(a), "tcp "+a, "TCP to "+a+" port 80", noRoute, alike)
	}
	for _, a := range udpAddresses {
		alike := ""
		if strings.HasPrefix(a, "255.") || strings.HasPrefix(a, "ff02") || strings.HasPrefix(a, "224.") {
			alike = "needs leave for broadcast, or an interface's name"
		}
		id := rowOfAddress(a)
		if id == "N01" {
			id = "N05"
		}
		add(id, "udp "+a, "a DNS question to "+a+" port 53", noRoute, alike)
	}
	const elsewhere = "outside, the namespace is another one than the machine's"
	own := like("refused by the sandbox's own loopback, or no route", "^(reached: refused by the peer|E[A-Z]+)$")
	add("N04", "host loopback", "a service of the machine on 127.0.0.1", own, elsewhere)
	add("N04", "host loopback 6", "a service of the machine on ::1", own, elsewhere)
	add("N03", "host own address", "a service of the machine on its own address", like("no route", "^E[A-Z]+$"), elsewhere)
	add("N04", "control plane", "the control plane's port on 127.0.0.1", own, elsewhere)
	add("N04", "kubelet", "a kubelet on the machine's address", like("no route", "^E[A-Z]+$"), elsewhere)
	add("N02", "decimal", "2852039166 (169.254.169.254)", noRoute, "")
	add("N02", "hex", "0xA9FEA9FE (169.254.169.254)", noRoute, "")
	add("N02", "octal", "0251.0376.0251.0376 (169.254.169.254)", noRoute, "")
	add("N04", "zero", "0.0.0.0 at the control plane's port", own, elsewhere)
	add("N02", "v4 in v6", "::ffff:169.254.169.254", noRoute, "")
	add("N04", "v4 in v6 of loopback", "::ffff:127.0.0.1 at the control plane's port", own, elsewhere)
	add("N09", "nat64", "169.254.169.254 by NAT64", noRoute, "")
	add("N09", "6to4", "169.254.169.254 by 6to4", noRoute, "")
	add("N14", "abstract socket", "an abstract socket of the machine", oneOf("ECONNREFUSED", "EPERM"), "")
	add("N14", "abstract sockets listed", "list the machine's abstract sockets", like("not shown", "^(not shown|E[A-Z]+)$"), elsewhere)
	for _, p := range []string{"/run/docker.sock", "/var/run/docker.sock", "/run/containerd/containerd.sock", "/run/dbus/system_bus_socket", "/run/systemd/private", "of the keeper"} {
		add("N04", "socket "+p, "the socket "+p, oneOf("ENOENT", "EACCES"), "the machine may have none")
	}
	add("N01", "interfaces", "list interfaces", like("lo and no other", "^(lo)?$"), "a question")
	add("N01", "routes", "list routes", like("none", "^(none|E[A-Z]+)$"), elsewhere)
	for _, name := range []string{"example.com", "metadata.google.internal", "metadata", "host.docker.internal", "kubernetes.default.svc", "a1b2c3d4e5f6.attacker.example"} {
		id := "N05"
		if strings.HasPrefix(name, "metadata") {
			id = "N02"
		} else if strings.HasPrefix(name, "a1") {
			id = "N06"
		}
		add(id, "name "+name, "resolve "+name, oneOf("not resolved"), "outside, the namespace has no resolver either")
	}
	add("N20", "netlink address", "give the own interface another address", oneOf("EPERM"), "")
	add("N20", "netlink route", "make a route", oneOf("EPERM"), "")
	add("N20", "netlink link", "make an interface", oneOf("EPERM"), "")
	add("N20", "mark", "mark packets (SO_MARK)", oneOf("EPERM", "ENOPROTOOPT"), "")
	add("N20", "transparent", "transparent sockets (IP_TRANSPARENT)", oneOf("EPERM", "ENOPROTOOPT"), "")
	add("N20", "spoofed source", "send from a foreign source address", like("refused", "^E[A-Z]+$"), "")
	add("N15", "low port", "listen on port 80", like("refused, or in the sandbox only", "^(E[A-Z]+|own port only)$"), "")
	add("N04", "scan loopback", "scan loopback for services", oneOf("0 open"), elsewhere)
	add("N13", "own loopback", "use the own loopback", oneOf("works"), "not a refusal")
	for i := range list {
		switch list[i].id {
		case "N20":
			own := like("refused, or in the sandbox's own network only", `^[A-Za-z0-9]`)
			list[i].gvisor = &own
		case "N01", "N14":
			if list[i].want.text == "none" || strings.HasPrefix(list[i].want.text, "lo and") {
				own := like("its own loopback only", `^(lo|none|some|)$`)
				list[i].gvisor = &own
			}
		}
	}
	return probes("network.py", list)
}

// What one sandbox offers and another asks for.
const (
	abstractServer = "import socket\ns = socket.socket(socket.AF_UNIX)\ns.bind('\\0attempt')\ns.listen()\nprint('offers')"
	abstractClient = "import socket\ntry:\n    socket.socket(socket.AF_UNIX).connect('\\0attempt')\n    print('REACHED')\nexcept OSError as e: print('refused', e.errno)"
	tcpServer      = "import socket\ns = socket.create_server(('', 18080))\nprint('offers')"
	tcpClient      = "import socket\ntry:\n    socket.create_connection(('127.0.0.1', 18080), 5)\n    print('REACHED')\nexcept OSError as e: print('refused', e.errno)"
	shmServer      = "import ctypes\nlibc = ctypes.CDLL(None)\nassert libc.shmget(0x5EC, 4096, 0o1666) != -1\nprint('offers')"
	shmClient      = "import ctypes\nlibc = ctypes.CDLL(None, use_errno=True)\nprint('refused', ctypes.get_errno()) if libc.shmget(0x5EC, 4096, 0) == -1 else print('REACHED')"
	queueServer    = "import ctypes\nlibrt = ctypes.CDLL('librt.so.1', use_errno=True)\nr = librt.mq_open(b'/attempt', 0o102, 0o666, None)\nprint('offers' if r != -1 else 'offers nothing: %d' % ctypes.get_errno())"
	queueClient    = "import ctypes\nlibrt = ctypes.CDLL('librt.so.1', use_errno=True)\nprint('refused', ctypes.get_errno()) if librt.mq_open(b'/attempt', 2) == -1 else print('REACHED')"
	fileServer     = "open('/dev/shm/attempt', 'w').close()\nopen('/tmp/attempt', 'w').close()\nprint('offers')"
	fileClient     = "import os\nprint('REACHED' if os.path.exists('/dev/shm/attempt') or os.path.exists('/tmp/attempt') else 'refused: not there')"
)

// neighbors has one runspace offer something, and another of the same and one of
// another organization ask for it. The offering one asks too: that must work.
func (c *cell) neighbors(server, client string) {
	offering := c.open("python", roomy)
	o := offering.script(server).ok().says("offers")
	if strings.Contains(o.stdout, "nothing") {
		c.holds(true, "the sandbox cannot even make one: %s", short(o.stdout))
		return
	}
	offering.script(client).ok().says("REACHED")
	for _, by := range []*tenant{c.house.a, c.house.b} {
		got := c.openAs(by, "python", roomy).script(client).ok()
		if !strings.HasPrefix(got.stdout, "refused") {
			c.escape("organization %s: %s", by.name, got.stdout)
			return
		}
		c.saw("%s; it reaches itself", short(got.stdout))
	}
}

// listening connects to a sandbox's port from the machine.
func listening(c *cell) {
	b := c.open("python", roomy)
	b.script("import socket\ns = socket.create_server(('', 18099))\nc = socket.create_connection(('127.0.0.1', 18099))\nprint('listens')").ok().says("listens")
	for _, host := range []string{"127.0.0.1", "::1", c.house.facts.hostAddress} {
		conn, err := net.DialTimeout("tcp", net.JoinHostPort(host, "18099"), 3*time.Second)
		if err == nil {
			_ = conn.Close()
			c.escape("connected to %s", host)
			return
		}
	}
	c.holds(true, "refused; it reaches itself")
}

func proxied(c *cell) {
	o := c.open("python", roomy).run(harness.JSON{
		"env": map[string]string{"HTTP_PROXY": c.house.server.Base, "http_proxy": c.house.server.Base, "ALL_PROXY": c.house.server.Base, "NO_PROXY": ""},
		"script": `
import os, urllib.request
print("proxy", urllib.request.getproxies().get("http"))
try: print("REACHED", urllib.request.urlopen("http://example.com/", timeout=5).status)
except OSError as e: print("refused", e)
`,
	}).ok().says("proxy " + c.house.server.Base)
	c.holds(!strings.Contains(o.stdout, "REACHED"), "refused")
}

// refusesToStart starts a server that lacks something.
func refusesToStart(c *cell, words string, wrapper ...string) {
	c.Helper()
	dir := c.TempDir()
	if err := os.Chmod(dir, 0o777); err != nil {
		c.Fatal(err)
	}
	args := append(slices.Clone(wrapper), harness.Program(c.T), "serve", "--data", dir+"/data", "--listen", "127.0.0.1:0")
	cmd := exec.CommandContext(c.Context(), args[0], args[1:]...)
	cmd.Env = append(os.Environ(), "REMUDA_ADMIN_PASSWORD=correct horse battery")
	cmd.WaitDelay = 10 * time.Second
	timer := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	out, err := cmd.CombinedOutput()
	if err == nil || cmd.ProcessState.ExitCode() <= 0 {
		c.escape("it started, or ended with %v: %.300s", err, out)
		return
	}
	if !strings.Contains(string(out), words) {
		c.Errorf("it does not name %q: %s", words, out)
	}
	c.holds(true, "exit status %d: %s", cmd.ProcessState.ExitCode(), short(lastLineWith(string(out), words)))
}

func lastLineWith(text, word string) string {
	found := ""
	for line := range strings.Lines(text) {
		if strings.Contains(line, word) {
			found = line
		}
	}
	return found
}

func withoutNetwork(c *cell) {
	refusesToStart(c, "remedy", "setpriv", "--bounding-set", "-net_admin,-sys_admin", "--inh-caps", "-net_admin,-sys_admin")
}

func asNobody(c *cell) {
	refusesToStart(c, "root", "setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups")
}
