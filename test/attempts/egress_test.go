package attempts

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/remuda-run/remuda/test/harness"
)

// The far host and what it answers for. Some of its addresses are those that no
// list may open: it stands in for the clouds' services there.
const (
	farLink   = "attempts"
	farHere   = "10.198.77.1" // the machine's end
	farHost   = "10.198.77.2"
	farNext   = "10.198.77.3"
	farHere6  = "2001:db8:77::1"
	farHost6  = "2001:db8:77::2"
	farPort   = 7777
	everyIPv4 = "0.0.0.0/0"
)

// forbidden are addresses of the far host that no list opens.
var forbidden = []string{"169.254.169.254", "169.254.170.2", "100.100.100.200", "168.63.129.16", "192.0.0.192", "fd00:ec2::254", "fd20:ce::254"}

// target is one connection that egress.py tries.
type target struct {
	id, key, attempt, kind, address string
	port                            int
	reached                         bool
}

// targets of instances that list everything, of IPv4 and IPv6.
func openTargets(f *facts) []target {
	list := []target{
		{"N13", "far tcp", "everything listed: TCP to a host", "tcp", farHost, farPort, true},
		{"N13", "far udp", "everything listed: UDP to a host", "udp", farHost, farPort, true},
		{"N13", "far tcp6", "everything listed: TCP over IPv6 to a host", "tcp", farHost6, farPort, true},
		{"N03", "machine", "everything listed: a service of the machine on its own address", "tcp", ownAddress, f.servicePort, false},
		{"N03", "gateway", "everything listed: a service of the machine on its address towards the host", "tcp", farHere, f.servicePort, false},
		{"N03", "gateway6", "everything listed: the same over IPv6", "tcp", farHere6, f.servicePort, false},
		{"N04", "loopback", "everything listed: the control plane on 127.0.0.1", "tcp", "127.0.0.1", f.controlPort, false},
		{"N04", "mapped", "everything listed: the control plane on ::ffff:127.0.0.1", "tcp", "::ffff:127.0.0.1", f.controlPort, false},
		{"N04", "zero", "everything listed: the control plane on 0.0.0.0", "tcp", "0.0.0.0", f.controlPort, false},
		{"N02", "mapped metadata", "everything listed: ::ffff:169.254.169.254", "tcp", "::ffff:169.254.169.254", farPort, false},
	}
	for _, a := range forbidden {
		list = append(list,
			target{"N02", "tcp " + a, "everything listed: TCP to " + a, "tcp", a, farPort, false},
			target{"N02", "udp " + a, "everything listed: UDP to " + a, "udp", a, farPort, false})
	}
	return list
}

// narrowTargets are of instances that list one address.
var narrowTargets = []target{
	{"N08", "listed", "one address listed: TCP to it", "tcp", farHost, farPort, true},
	{"N08", "listed udp", "one address listed: UDP to it", "udp", farHost, farPort, true},
	{"N08", "next", "one address listed: TCP to the next one", "tcp", farNext, farPort, false},
	{"N08", "next udp", "one address listed: UDP to the next one", "udp", farNext, farPort, false},
	{"N09", "listed6", "one address of IPv4 listed: TCP over IPv6", "tcp", farHost6, farPort, false},
	{"N08", "mapped next", "one address listed: TCP to the next one as ::ffff:10.198.77.3", "tcp", "::ffff:" + farNext, farPort, false},
}

// closedTargets are of instances that list nothing, with a host that is there.
var closedTargets = []target{
	{"N01", "far", "nothing listed: TCP to a host that is there", "tcp", farHost, farPort, false},
	{"N01", "far udp", "nothing listed: UDP to a host that is there", "udp", farHost, farPort, false},
	{"N09", "far6", "nothing listed: TCP over IPv6 to a host that is there", "tcp", farHost6, farPort, false},
}

// egressRows are rows N with a network.
func egressRows() []row {
	everything, one := []string{everyIPv4, "::/0"}, []string{farHost + "/32"}
	var list []row
	add := func(name string, cidrs []string, targets func(*facts) []target) {
		for i, tg := range targets(new(facts)) {
			expected := "no answer"
			if tg.reached {
				expected = "answered"
			}
			list = append(list, row{id: tg.id, attempt: tg.attempt, expected: expected, places: everywhere(), try: func(c *cell) {
				c.egress(name, cidrs, targets(&c.house.facts), i)
			}})
		}
	}
	add("open", everything, openTargets)
	add("narrow", one, func(*facts) []target { return narrowTargets })
	add("closed", nil, func(*facts) []target { return closedTargets })
	return append(list, []row{
		{id: "N14", attempt: "everything listed: TCP to another sandbox, of the same and of another organization", expected: "no answer", places: each(runspace), try: sandboxToSandbox},
		{id: "N17", attempt: "everything listed: one execution that lists nothing", expected: "no answer for it, an answer for the next", places: only(place{process, cold}, place{process, warm}, place{gvisor, cold}), try: narrowedExecution},
		{id: "N16", attempt: "take a destination off the list while a connection to it is open", expected: "no answer on it any more", places: each(runspace), try: tightened},
		{id: "N16", attempt: "take a destination off the list while an execution talks to it", expected: "no answer any more", places: only(place{process, cold}, place{process, warm}), try: tightenedExecution},
		{id: "N07", attempt: "names that lead to private addresses, CNAME chains, short TTL", expected: "refused", places: atServerOnly(), try: func(c *cell) {
			c.cannot("tried by internal/engine/local/netslot (TestNames, TestNamesTightened), with a name service of the test")
		}},
		{id: "N19", attempt: "tens of thousands of connections from one sandbox", expected: "capped", places: atServerOnly(), try: func(c *cell) {
			c.cannot("tried by internal/engine/local/netslot (TestCaps)")
		}},
	}...)
}

// egressRuntime makes a runtime with a list, once for a place.
func (c *cell) egressRuntime(by *tenant, name string, cidrs []string) string {
	c.Helper()
	kind := c.place.kind
	if kind == runspace {
		kind = cold
	}
	runtime := strings.Join([]string{"egress", c.place.class, kind, name}, "-")
	_, err := shared(c.house, by.name+runtime, func() (string, error) {
		pool := harness.JSON{"min_cached": 0, "max_cached": 0}
		if kind == warm {
			pool = harness.JSON{"min_cached": 1, "max_cached": 2}
		}
		definition := harness.JSON{"name": runtime, "language": "python", "resources": sizes[roomy], "exec_timeout_s": 300, "pool": pool}
		if cidrs != nil {
			definition["egress"] = harness.JSON{"cidrs": cidrs, "names": []string{}}
		}
		if c.place.class != process {
			definition["isolation"] = c.place.class
		}
		var made struct{ ID string }
		got := by.ask(c.T, http.MethodPost, "/v1/runtimes", definition)
		if got.Status != http.StatusCreated {
			return "", fmt.Errorf("a runtime with egress is refused: %s", short(string(got.Body)))
		}
		if err := json.Unmarshal(got.Body, &made); err != nil {
			return "", err
		}
		c.house.mu.Lock()
		defer c.house.mu.Unlock()
		c.house.runtimes[by.name+"/"+runtime] = made.ID
		return runtime, nil
	})
	if err != nil && strings.Contains(err.Error(), "is refused") {
		c.cannot("%s: %v", c.place.class, err)
	}
	if err != nil {
		c.Fatal(err)
	}
	return runtime
}

// openEgress opens the cell's place with a list.
func (c *cell) openEgress(by *tenant, name string, cidrs []string) *box {
	c.Helper()
	c.theFar()
	b := &box{cell: c, by: by, runtime: c.egressRuntime(by, name, cidrs)}
	if c.place.kind == runspace {
		b.runspace = openRunspace(c.T, by, b.runtime)
	}
	return b
}

// egress tries one target; the program tries all of them at once.
func (c *cell) egress(name string, cidrs []string, targets []target, which int) {
	tg := targets[which]
	b := c.openEgressOnce(name, cidrs, targets)
	got, made := b[tg.key]
	if !made {
		c.Fatalf("the program did not come to %q", tg.key)
	}
	control := c.fromMachine(tg)
	ok := (got == "answered" || got == "connected") == tg.reached
	if !tg.reached && control != "answered" && control != "connected" {
		c.Fatalf("the machine itself does not reach %s: %s", tg.address, control)
	}
	c.holds(ok, "%s; from the machine: %s", got, control)
}

func (c *cell) openEgressOnce(name string, cidrs []string, targets []target) map[string]string {
	c.Helper()
	c.theFar()
	c.egressRuntime(c.house.a, name, cidrs) // which may be refused
	seen, err := shared(c.house, "egress "+name+c.place.String(), func() (map[string]string, error) {
		list := make([][]any, 0, len(targets))
		for _, tg := range targets {
			list = append(list, []any{tg.key, tg.kind, tg.address, tg.port})
		}
		text, err := source("egress.py")
		if err != nil {
			return nil, err
		}
		o := c.openEgress(c.house.a, name, cidrs).run(harness.JSON{"script": text, "parameters": harness.JSON{"targets": list}}).ok()
		return parse(o.stdout), nil
	})
	if err != nil {
		c.Fatal(err)
	}
	return seen
}

// fromMachine makes the same connection outside of every sandbox.
func (c *cell) fromMachine(tg target) string {
	conn, err := net.DialTimeout(tg.kind, net.JoinHostPort(tg.address, fmt.Sprint(tg.port)), 5*time.Second)
	if err != nil {
		return err.Error()
	}
	defer conn.Close()
	if tg.port != farPort {
		return "connected"
	}
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return err.Error()
	}
	if _, err := conn.Write([]byte("ping")); err != nil {
		return err.Error()
	}
	answer := make([]byte, 4)
	if _, err := io.ReadFull(conn, answer); err != nil {
		return err.Error()
	}
	return "answered"
}

// reachScript connects to one address and says what came of it.
const reachScript = `
import socket
def reach(address, port):
    s = socket.socket()
    s.settimeout(3)
    try:
        s.connect((address, port)); s.send(b"ping")
        return "answered" if s.recv(4) == b"ping" else "another"
    except OSError as e: return f"no answer: {e}"
`

// sandboxToSandbox offers a service in one sandbox and asks from others.
func sandboxToSandbox(c *cell) {
	b := c.openEgress(c.house.a, "open", []string{everyIPv4, "::/0"})
	var at struct{ Addresses []string }
	b.script(`
import json, socket, threading
s = socket.create_server(("", 7777))
def serve():
    while True:
        c = s.accept()[0]
        c.send(c.recv(4))
threading.Thread(target=serve, daemon=True).start()
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
u.connect(("` + farHost + `", 7777))
print(json.dumps({"Addresses": [u.getsockname()[0]]}))
`).ok().lastJSON(&at)
	script := reachScript + "print(reach('" + at.Addresses[0] + "', 7777))"
	b.script(script).ok().says("answered") // it reaches itself
	for _, by := range []*tenant{c.house.a, c.house.b} {
		o := c.openEgress(by, "open", []string{everyIPv4, "::/0"}).script(reachScript + "print('far', reach('" + farHost + "', 7777))\nprint('other', reach('" + at.Addresses[0] + "', 7777))").ok().says("far answered")
		if strings.Contains(o.stdout, "other answered") {
			c.escape("organization %s reached it", by.name)
			return
		}
	}
	c.holds(true, "no answer; both reach the far host")
}

// narrowedExecution takes the list away for one execution.
func narrowedExecution(c *cell) {
	b := c.openEgress(c.house.a, "open", []string{everyIPv4, "::/0"})
	script := reachScript + "print(reach('" + farHost + "', 7777))"
	o := b.run(harness.JSON{"script": script, "egress": harness.JSON{"cidrs": []string{}, "names": []string{}}}).ok()
	b.script(script).ok().says("answered")
	c.holds(!strings.Contains(o.stdout, "answered"), "%s; answered for the next", short(o.stdout))
}

// tightened changes the runtime while a connection of a runspace is open.
func tightened(c *cell) {
	name := fmt.Sprintf("tight-%d", c.house.next())
	b := c.openEgress(c.house.a, name, []string{farHost + "/32"})
	b.script("import socket\ns = socket.create_connection(('" + farHost + "', 7777), 5)\ndef ping():\n    try:\n        s.send(b'ping')\n        return 'answered' if s.recv(4) == b'ping' else 'closed'\n    except OSError as e: return f'no answer: {e}'\nprint(ping())").ok().says("answered")
	b.by.must(c.T, http.MethodPatch, "/v1/runtimes/"+b.runtime, harness.JSON{"egress": harness.JSON{"cidrs": []string{}, "names": []string{}}}, nil)
	// The change is acknowledged: from here on it holds.
	seen := strings.TrimSpace(b.script("s.settimeout(1)\nprint(ping())").ok().stdout)
	c.holds(!strings.HasPrefix(seen, "answered"), "%s", short(seen))
}

// tightenedExecution takes a destination off the list of a runtime on which a
// one-shot execution talks to it without pause.
func tightenedExecution(c *cell) {
	const talk = `
import socket, time
s = socket.create_connection((%q, 7777), 5)
s.settimeout(1)
began, answers = time.monotonic(), 0
try:
    while time.monotonic() - began < 60:
        s.send(b'ping')
        assert s.recv(4) == b'ping'
        answers += 1
        if answers == 1: print('answered', flush=True)
        time.sleep(0.02)
    print('never cut')
except (OSError, AssertionError) as e:
    print('cut:', type(e).__name__)
`
	name := fmt.Sprintf("tight-%d", c.house.next())
	b := c.openEgress(c.house.a, name, []string{farHost + "/32"})
	var ex harness.Execution
	b.by.must(c.T, http.MethodPost, "/v1/executions", harness.JSON{"runtime": b.runtime, "script": fmt.Sprintf(talk, farHost)}, &ex)
	var page struct{ Records []struct{ Data string } }
	for deadline := time.Now().Add(time.Minute); len(page.Records) == 0; {
		if time.Now().After(deadline) {
			c.Fatal("the script never had an answer")
		}
		b.by.must(c.T, http.MethodGet, "/v1/executions/"+ex.ID+"/output?wait=5s", nil, &page)
	}
	b.by.must(c.T, http.MethodPatch, "/v1/runtimes/"+b.runtime, harness.JSON{"egress": harness.JSON{"cidrs": []string{}, "names": []string{}}}, nil)
	b.by.must(c.T, http.MethodGet, "/v1/executions/"+ex.ID+"?wait=2m", nil, &ex)
	b.by.must(c.T, http.MethodGet, "/v1/executions/"+ex.ID+"/output", nil, &page)
	said := ""
	for _, r := range page.Records {
		said += r.Data
	}
	if !strings.HasPrefix(said, "answered") {
		c.Fatalf("the script said %q", said)
	}
	c.holds(strings.Contains(said, "cut:"), "%s", short(strings.TrimSpace(said)))
}
