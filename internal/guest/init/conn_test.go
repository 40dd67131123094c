package guestinit_test

import (
	"strings"
	"testing"

	"github.com/remuda-run/remuda/internal/guest/protocol"
	"github.com/remuda-run/remuda/internal/remuda"
)

func TestOtherVersionIsRefused(t *testing.T) {
	t.Parallel()
	s := start(t)
	expect[protocol.State](s.client, protocol.TypeState)
	c := s.connect()
	expect[protocol.State](c, protocol.TypeState)
	c.conn.Close()
	s2 := start(t)
	expect[protocol.State](s2.client, protocol.TypeState)
	d := dial(s2)
	d.send(protocol.TypeHello, protocol.Hello{Version: 99})
	if f := expect[protocol.Failed](d, protocol.TypeFailed); f.Stage != "hello" || !strings.Contains(f.Error, "99") {
		t.Errorf("%+v", f)
	}
	s2.gone()
}

func TestGarbageFromTheServerClosesTheConnection(t *testing.T) {
	t.Parallel()
	s := ready(t, remuda.LanguagePython, func(set *protocol.Setup) { set.LingerMS = 60_000 })
	frame := func(typ protocol.Type, payload string) []byte { return protocol.Append(nil, typ, []byte(payload)) }
	setupAgain := protocol.AppendFrame(nil, protocol.TypeSetup, &protocol.Setup{})
	noSuchOperation := protocol.AppendFrame(nil, protocol.TypeFile, &protocol.FileRequest{Op: "chmod", Path: "x"})
	for _, b := range [][]byte{
		frame(200, ""), setupAgain, frame(protocol.TypeExecute, "{"), frame(protocol.TypeFileData, "x"),
		frame(protocol.TypeFileData, "\x00\x00\x00\x07data"), noSuchOperation, {0xff, 0xff, 0xff, 0xff, 1},
	} {
		c := s.connect()
		expect[protocol.State](c, protocol.TypeState)
		if _, err := c.conn.Write(b); err != nil {
			t.Fatal(err)
		}
		c.atEOF()
	}
	c := dial(s)
	c.send(protocol.TypeExecute, protocol.Execute{ID: "x"}) // before Hello
	c.atEOF()
	c = s.connect()
	if st := expect[protocol.State](c, protocol.TypeState); !st.Ready {
		t.Errorf("%+v", st)
	}
	if r := c.exec(script("1")); string(r.ValueJSON) != "1" {
		t.Errorf("after all that: %+v", r.End)
	}
}

func TestSetupThatFails(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(*protocol.Setup)
		stage  string
		text   string
	}{
		"missing bind":        {func(s *protocol.Setup) { s.Binds[1].Optional = false }, "root", "/nowhere"},
		"no interpreter":      {func(s *protocol.Setup) { s.Argv[0] = "/usr/bin/none" }, "interpreter", "/usr/bin/none"},
		"broken driver":       {func(s *protocol.Setup) { s.Driver = []byte("raise ValueError('broken')") }, "interpreter", "broken"},
		"bad filter":          {func(s *protocol.Setup) { s.Seccomp = []byte{1, 2, 3} }, "fence", "filter"},
		"device with a slash": {func(s *protocol.Setup) { s.Devices = []string{"../etc"} }, "root", "device"},
		"promised disk":       {func(s *protocol.Setup) { s.DiskFD = true }, "root", "mount"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t)
			expect[protocol.State](s.client, protocol.TypeState)
			set := setup(t, remuda.LanguagePython)
			c.change(&set)
			s.send(protocol.TypeSetup, set)
			if f := expect[protocol.Failed](s.client, protocol.TypeFailed); f.Stage != c.stage || !strings.Contains(f.Error, c.text) {
				t.Errorf("%+v, want stage %s and %q", f, c.stage, c.text)
			}
			s.gone()
		})
	}
}

// What was not acknowledged comes again over a new connection.
func TestReconnect(t *testing.T) {
	t.Parallel()
	s := ready(t, remuda.LanguagePython, func(set *protocol.Setup) { set.LingerMS = 60_000 })
	s.acks = false
	s.send(protocol.TypeExecute, protocol.Execute{ID: "e", Script: "import os, time\nprint('one')\nwhile not os.path.exists('two'): time.sleep(0.005)\nprint('two')\nwhile not os.path.exists('three'): time.sleep(0.005)\nprint('three')\n3"})
	next := func(c *client, want string) int64 {
		t.Helper()
		typ, p, err := c.next()
		if err != nil || typ != protocol.TypeOutput {
			t.Fatalf("frame %d, %v", typ, err)
		}
		seq, _, data, _ := protocol.ParseOutput(p)
		if string(data) != want {
			t.Fatalf("record %q, want %q", data, want)
		}
		return seq
	}
	touch := func(c *client, name string) {
		t.Helper()
		c.send(protocol.TypeFile, protocol.FileRequest{Req: 1, Op: "write", Path: name, Limit: 1})
		if err := protocol.Write(c.conn, protocol.TypeFileData, protocol.AppendFileData(nil, 1, nil)); err != nil {
			t.Fatal(err)
		}
		if r := expect[protocol.FileReply](c, protocol.TypeFileReply); r.Code != "" {
			t.Fatalf("%+v", r)
		}
	}
	seq := next(s.client, "one\n")
	s.send(protocol.TypeAck, protocol.Ack{ID: "e", Seq: seq})
	touch(s.client, "two")
	next(s.client, "two\n")
	s.conn.Close()

	c := s.connect()
	if st := expect[protocol.State](c, protocol.TypeState); st.Execution != "e" || st.NextSeq != 2 || !st.Ready {
		t.Fatalf("%+v", st)
	}
	next(c, "two\n")
	touch(c, "three")
	next(c, "three\n")
	if e := expect[protocol.End](c, protocol.TypeEnd); string(e.ValueJSON) != "3" || e.LastSeq != 3 {
		t.Fatalf("%+v", e)
	}
	c = s.connect() // replaces the other one
	expect[protocol.State](c, protocol.TypeState)
	next(c, "two\n")
	next(c, "three\n")
	expect[protocol.End](c, protocol.TypeEnd)
	c.send(protocol.TypeAck, protocol.Ack{ID: "e", Seq: 4}) // the End too

	c = s.connect()
	if st := expect[protocol.State](c, protocol.TypeState); st.Execution != "" {
		t.Fatalf("%+v", st)
	}
	c.send(protocol.TypeLinger, protocol.Linger{LingerMS: 1})
	c.conn.Close()
	s.gone()
}

func TestConnectionLostWithoutLingerEndsAll(t *testing.T) {
	t.Parallel()
	s := ready(t, remuda.LanguagePython)
	s.send(protocol.TypeExecute, protocol.Execute{ID: "e", Script: "import time\ntime.sleep(3600)"})
	s.conn.Close()
	s.gone()
}
