package guestinit_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/remuda-run/remuda/internal/guest/protocol"
	"github.com/remuda-run/remuda/internal/remuda"
)

// What a later server needs to go on is kept for it.
func TestStateOfWhatRuns(t *testing.T) {
	t.Parallel()
	s := ready(t, remuda.LanguagePython, func(set *protocol.Setup) { set.LingerMS = 60_000 })
	s.acks = false
	mark := protocol.Mark{CPUNS: 123, OOMKills: 1 << 40, PidsMax: 7}
	s.send(protocol.TypeExecute, protocol.Execute{ID: "e", Script: "import time\nprint('on', flush=True)\ntime.sleep(0.05)", Mark: mark})
	if typ, _, err := s.next(); err != nil || typ != protocol.TypeOutput {
		t.Fatalf("frame %d, %v", typ, err)
	}
	end := expect[protocol.End](s.client, protocol.TypeEnd)
	for range 2 { // it is held until it is acknowledged
		c := s.connect()
		st := expect[protocol.State](c, protocol.TypeState)
		if st.Execution != "e" || st.NextSeq != 1 || st.Mark != mark || st.LingerMS != 60_000 || st.ElapsedUS != end.WallUS || !st.Ready {
			t.Errorf("%+v, want what Execute said and %d µs", st, end.WallUS)
		}
	}
}

// A connection that has not greeted is told nothing, also when a script ends.
func TestNothingBeforeHello(t *testing.T) {
	t.Parallel()
	s := ready(t, remuda.LanguagePython, func(set *protocol.Setup) { set.LingerMS = 60_000 })
	s.send(protocol.TypeExecute, protocol.Execute{ID: "e", Script: "import os, time\nprint('on', flush=True)\ntime.sleep(0.3)\nprint('over')\nos._exit(3)"})
	if typ, _, err := s.next(); err != nil || typ != protocol.TypeOutput {
		t.Fatalf("frame %d, %v", typ, err)
	}
	c := dial(s) // replaces the other one
	c.acks = true
	_ = c.conn.SetReadDeadline(time.Now().Add(time.Second)) // the script has ended by then, or ends later, which proves less
	if n, err := c.conn.Read(make([]byte, 1)); n != 0 || !os.IsTimeout(err) {
		t.Fatalf("%d bytes came before Hello, %v", n, err)
	}
	c.send(protocol.TypeHello, protocol.Hello{Version: protocol.Version})
	if st := expect[protocol.State](c, protocol.TypeState); st.Execution != "e" {
		t.Errorf("%+v", st)
	}
	if r := c.collect("e"); r.stdout != "on\nover\n" || r.ExitCode == nil || *r.ExitCode != 3 || !r.Dead {
		t.Errorf("%+v", r)
	}
	s.gone()
}

// A script that has found the way to the keeper's socket is not listened to, and
// does not take the server's place.
func TestConnectionFromInside(t *testing.T) {
	t.Parallel()
	s := start(t)
	expect[protocol.State](s.client, protocol.TypeState)
	dir := filepath.Dir(s.socket)
	for path, mode := range map[string]os.FileMode{dir: 0o755, s.socket: 0o777} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	set := setup(t, remuda.LanguagePython)
	set.Binds = append(set.Binds, protocol.Bind{Source: dir, Target: "/control"})
	s.send(protocol.TypeSetup, set)
	expect[protocol.Ready](s.client, protocol.TypeReady)
	r := s.exec(script(`
import socket
got = []
for n in range(3):
    c = socket.socket(socket.AF_UNIX)
    c.connect("/control/s")  # proves that it can be reached
    try:
        c.send(bytes([0, 0, 0, 1, 1, 12]))  # Hello
    except BrokenPipeError:
        pass
    try:
        got.append(c.recv(100))
    except ConnectionResetError:
        got.append(b"")
print(got)
`))
	if r.State != "success" || r.stdout != "[b'', b'', b'']\n" {
		t.Errorf("%s %s: stdout %q, stderr %q", r.State, r.ErrText, r.stdout, r.stderr)
	}
	if r := s.exec(script("40 + 2")); string(r.ValueJSON) != "42" {
		t.Errorf("after that: %+v", r.End)
	}
}

// Attach is for templates' keepers.
func TestAttachToAnOrdinaryKeeper(t *testing.T) {
	t.Parallel()
	s := ready(t, remuda.LanguagePython, func(set *protocol.Setup) { set.LingerMS = 60_000 })
	c := s.connect()
	expect[protocol.State](c, protocol.TypeState)
	c.send(protocol.TypeAttach, protocol.Attach{User: 2000})
	c.atEOF()
	c = s.connect()
	expect[protocol.State](c, protocol.TypeState)
	if r := c.exec(script("40 + 2")); string(r.ValueJSON) != "42" {
		t.Errorf("after that: %+v", r.End)
	}
}
