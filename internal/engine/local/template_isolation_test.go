package local

import (
	"runtime"
	"strings"
	"testing"
)

// meeting is the first part of modules that, once their template serves, have the
// second fork run first(g) in the place of its first step, which is to close what it
// has of the template's. 901 is then its end of a connection, of which the template
// holds the other, 900.
const meeting = taken + `
import socket, time
def meet(g, first):
    for fd, end in enumerate(socket.socketpair(), 900):
        posix.dup2(end.fileno(), fd)
        end.close()
    g["start"] = g["by_words"](g["parts"][:7])
    make = g["make"]
    def make_otherwise(calls, *rest):
        if asked == 2 and calls[0][0] == b"close":
            first(g)
            calls = calls[1:]
        make(calls, *rest)
    g["make"] = make_otherwise
def close(but=()):
    for fd in range(2000):
        try:
            if fd not in but: posix.close(fd)
        except OSError: pass
def give(*fds):
    with socket.socket(fileno=posix.dup(901)) as s: socket.send_fds(s, [b"x"], fds)
def take():
    with socket.socket(fileno=posix.dup(900)) as s: return socket.recv_fds(s, 1, 8, socket.MSG_DONTWAIT)[1]
def later(start):
    def start_otherwise():
        pid = start()
        while pid > 0:
            try:
                posix.kill(pid + 1, 0)
                return pid + 1
            except OSError: time.sleep(0.01)
        return pid
    return start_otherwise
def filtered():
    program = ctypes.create_string_buffer(b"\6\0\0\0\0\0\xff\x7f") # allow all
    return ctypes.create_string_buffer(b"".join(n.to_bytes(8, "little") for n in (1, ctypes.addressof(program)))), program
`

// TestForkLeadsToNobody has a fork that a package controls keep a way to the template,
// or to somebody else, beyond the moment when it is given what is an instance's. No
// such fork becomes an instance.
func TestForkLeadsToNobody(t *testing.T) {
	if runtime.GOARCH != "amd64" {
		t.Skip("the numbers of its calls are those of amd64")
	}
	e := open(t, Options{Blanks: -1}) // turns are counted: no forks ahead
	log := listenTo(e)
	for name, c := range map[string]struct{ first, turn, why string }{
		"keeps a connection":          {"close(but=(901,))", "", "descriptor 901 is open"},
		"keeps what the template has": {"close(but=(1,))", "", "descriptor 1 is open"},
		"has a thread":                {"close(); __import__('_thread').start_new_thread(time.sleep, (1000,))", "", "Threads"},
		"goes elsewhere":              {"close(); posix.chdir('/usr')", "", "its cwd is not the root"},
		"gives a socket away":         {"s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('0.0.0.0', 99)); give(s.detach()); close()", "", "has sockets"},
		"gives a local socket away":   {"s = socket.socket(socket.AF_UNIX); s.bind('\\0x'); s.listen(); give(s.detach()); close()", "", "has sockets"},
		"shares memory":               {"close(); shared.write(b'x')", "global shared\n    shared = __import__('mmap').mmap(-1, 4096)", "memory is shared"},
		"has a child":                 {"close()\n    if posix.fork() == 0: time.sleep(1000)", "", "has the children"},
		"has its own namespaces":      {"close(); attempt('unshare', 272, 0x20000 | 0x8000000 | 0x2000000); assert got['unshare'] == 0", "", "namespaces of its own"},
		"has a filter of its own":     {"close(); w = filtered(); attempt('filter', 317, 1, 0, w[0]); assert got['filter'] == 0", "", "Seccomp_filters"},
		"is another's child":          {"close()\n    if posix.fork(): time.sleep(1000)", "g['start'] = later(g['start'])", "NSpid"},
	} {
		module := placeModule(t, e, meeting+"def first(g):\n    "+c.first+"\ndef turn(n, g):\n    if n != 2: return\n    meet(g, first)\n    "+c.turn+"\n")
		spec := templateSpec(module)
		if settle(t, e, spec) {
			t.Errorf("%s: there is no template: %s", name, log)
			continue
		}
		second := create(t, e, spec)
		if res := execute(t, second, "6 * 7"); res.Value == nil || res.Value.Text != "42" || second.blank.forked {
			t.Errorf("%s: forked %v, %+v", name, second.blank.forked, res)
			continue
		}
		said := log.String()
		if said = said[strings.LastIndex(said, "a template could not be forked from"):]; !strings.Contains(said, c.why) {
			t.Errorf("%s: the log says %q", name, said)
		}
	}
}

// passesOn are two ways to come by what a sibling is given: the fork passes its disk on,
// and the fork passes on, before its time, a connection to the keeper, at which the
// template can look before it does. why is what the keeper says.
var passesOn = map[string]struct{ source, why string }{
	"its disk": {meeting + `
def first(g):
    close(but=(901,))
    make = g["make"]
    g["make"] = lambda calls, *rest: (calls[0][0] == b"attach the disk" and give(1), make(calls, *rest))
def stolen():
    return posix.read(posix.open("workspace/secret", posix.O_RDONLY, dir_fd=take()[0]), 100).decode()
`, "descriptor 901 is open"},
	"its connection": {meeting + `
def first(g):
    s = socket.socket(socket.AF_UNIX)
    s.connect("/run/remuda/keeper/door")
    give(s.detach())
    close()
def stolen():
    with socket.socket(fileno=take()[0]) as s: return repr(socket.recv_fds(s, 10, 8))
`, "has sockets"},
}

// TestForkPassesNothingOn has a template that was taken over try to come by the disk
// of an instance, and read there what its script has written. Such a fork is given
// nothing; were it offered, the next instance would show what the template has.
func TestForkPassesNothingOn(t *testing.T) {
	e := open(t, Options{Blanks: -1}) // turns are counted: no forks ahead
	log := listenTo(e)
	for name, c := range passesOn {
		module := placeModule(t, e, c.source+`
def turn(n, g):
    if n == 2: meet(g, first)
    if n == 3: got["stolen"] = stolen()
    if n == 3: posix.closerange(3, 999)
`)
		spec := templateSpec(module)
		if settle(t, e, spec) {
			t.Errorf("%s: there is no template: %s", name, log)
			continue
		}
		victim := create(t, e, spec)
		execute(t, victim, "open('secret', 'w').write('of the victim')")
		if victim.blank.forked {
			res, out := runOnce(t, e, spec, "import sys\nprint(sys.modules["+strJSON(module)+"].got)")
			t.Errorf("%s: the next instance has of a sibling's: %s, %+v", name, out, res.Error)
			continue
		}
		if !strings.Contains(log.String(), c.why) {
			t.Errorf("%s: the log says %s", name, log)
		}
	}
}
