package guestinit_test

import (
	"bytes"
	"io/fs"
	"strings"
	"testing"

	"github.com/remuda-run/remuda/internal/guest/protocol"
	"github.com/remuda-run/remuda/internal/remuda"
)

// write uploads a file and returns the answer.
func (c *client) write(path string, data []byte, limit int64) protocol.FileReply {
	c.t.Helper()
	c.send(protocol.TypeFile, protocol.FileRequest{Req: 7, Op: "write", Path: path, Limit: limit})
	for len(data) > 0 {
		n := min(len(data), protocol.FileChunk)
		if err := protocol.Write(c.conn, protocol.TypeFileData, protocol.AppendFileData(nil, 7, data[:n])); err != nil {
			c.t.Fatal(err)
		}
		data = data[n:]
	}
	if err := protocol.Write(c.conn, protocol.TypeFileData, protocol.AppendFileData(nil, 7, nil)); err != nil {
		c.t.Fatal(err)
	}
	return expect[protocol.FileReply](c, protocol.TypeFileReply)
}

// read downloads a file.
func (c *client) read(path string, limit int64) (protocol.FileReply, []byte) {
	c.t.Helper()
	c.send(protocol.TypeFile, protocol.FileRequest{Req: 8, Op: "read", Path: path, Limit: limit})
	r := expect[protocol.FileReply](c, protocol.TypeFileReply)
	if r.Code != "" {
		return r, nil
	}
	var all []byte
	for {
		typ, p, err := c.next()
		if err != nil || typ != protocol.TypeFileData {
			c.t.Fatalf("frame %d, %v", typ, err)
		}
		req, data, err := protocol.ParseFileData(p)
		if err != nil || req != 8 {
			c.t.Fatalf("data of request %d, %v", req, err)
		}
		if len(data) == 0 {
			return r, all
		}
		all = append(all, data...)
	}
}

// file does a request without data.
func (c *client) file(op, path string, limit int64) protocol.FileReply {
	c.t.Helper()
	c.send(protocol.TypeFile, protocol.FileRequest{Req: 9, Op: op, Path: path, Limit: limit})
	return expect[protocol.FileReply](c, protocol.TypeFileReply)
}

const big = 64 << 20

func TestFiles(t *testing.T) {
	t.Parallel()
	s := ready(t, remuda.LanguagePython)
	data := bytes.Repeat([]byte("0123456789abcdef"), 200_000)
	if r := s.write("a/b/c.bin", data, big); r.Code != "" || len(r.Entries) != 1 || r.Entries[0].Size != int64(len(data)) || r.Entries[0].Path != "a/b/c.bin" {
		t.Fatalf("%+v", r)
	}
	if r := s.exec(script("import os\n[(os.stat(p).st_uid, oct(os.stat(p).st_mode), os.access(p, os.W_OK)) for p in ('a', 'a/b', 'a/b/c.bin')], os.listdir('a/b')")); r.ValueText != "([(1000, '0o40755', True), (1000, '0o40755', True), (1000, '0o100644', True)], ['c.bin'])" {
		t.Errorf("owner and mode: %s %s", r.ValueText, r.ErrText)
	}
	if r, got := s.read("a/./b//c.bin", big); r.Code != "" || !bytes.Equal(got, data) || r.Entries[0].Size != int64(len(data)) {
		t.Errorf("read %d bytes, %+v", len(got), r)
	}
	if r, got := s.read("a/b/c.bin", int64(len(data))); r.Code != "" || len(got) != len(data) {
		t.Errorf("read at the limit: %+v", r)
	}
	s.exec(script("os.chmod('a/b/c.bin', 0o700)"))
	if r := s.write("a/b/c.bin", nil, big); r.Code != "" || r.Entries[0].Size != 0 || fs.FileMode(r.Entries[0].Mode).Perm() != 0o700 {
		t.Errorf("replace by nothing: %+v", r)
	}
	if r, got := s.read("a/b/c.bin", 0); r.Code != "" || len(got) != 0 {
		t.Errorf("read nothing: %+v", r)
	}
	if r := s.file("list", "", 100); len(r.Entries) != 1 || r.Entries[0].Path != "a" || !fs.FileMode(r.Entries[0].Mode).IsDir() {
		t.Errorf("list: %+v", r)
	}
	if r := s.file("list", "a/b", 100); len(r.Entries) != 1 || r.Entries[0].Path != "a/b/c.bin" {
		t.Errorf("list: %+v", r)
	}
	if r := s.file("remove", "a/b", 0); r.Code != "invalid" {
		t.Errorf("remove what is not empty: %+v", r)
	}
	for _, p := range []string{"a/b/c.bin", "a/b", "a"} {
		if r := s.file("remove", p, 0); r.Code != "" {
			t.Errorf("remove %s: %+v", p, r)
		}
	}
}

func TestFilesThatAreRefused(t *testing.T) {
	t.Parallel()
	s := ready(t, remuda.LanguagePython)
	r := s.exec(script(`import os, socket
os.symlink('/etc/passwd', 'out'); os.symlink('../../etc', 'outdir'); os.symlink('loop', 'loop'); os.symlink('/dev/urandom', 'endless')
os.mkfifo('fifo'); socket.socket(socket.AF_UNIX).bind('sock'); os.mkdir('dir'); open('plain', 'w').write('plain')
os.symlink('plain', 'inside'); os.symlink('/proc/self/root/etc/passwd', 'magic'); os.symlink('/proc/self/cwd/plain', 'magic2')
open('sparse', 'w').truncate(10**12); os.chmod('dir', 0)`))
	if r.State != "success" {
		t.Fatalf("%s %s", r.ErrType, r.ErrText)
	}
	for _, c := range []struct{ op, path, code string }{
		{"read", "none", "not_found"}, {"read", "out", "invalid"}, {"read", "outdir/passwd", "invalid"}, {"read", "loop", "invalid"},
		{"read", "endless", "invalid"}, {"read", "fifo", "invalid"}, {"read", "sock", "invalid"}, {"read", "dir", "invalid"}, {"read", "plain/x", "invalid"},
		{"read", "magic", "invalid"}, {"read", "magic2", "invalid"}, {"read", "sparse", "too_large"},
		{"read", "", "invalid"}, {"read", ".", "invalid"}, {"read", "/etc/passwd", "invalid"}, {"read", "../etc/passwd", "invalid"}, {"read", "dir/../../etc/passwd", "invalid"},
		{"read", "a\x00b", "invalid"}, {"read", "a\nb", "invalid"}, {"read", "\xff", "not_found"}, {"read", strings.Repeat("x", 256), "invalid"}, {"read", strings.Repeat("x/", 2048), "invalid"},
		{"list", "out", "invalid"}, {"list", "outdir", "invalid"}, {"list", "plain", "invalid"}, {"list", "none", "not_found"}, {"list", "fifo", "invalid"},
		{"remove", "none", "not_found"}, {"remove", "", "invalid"}, {"remove", "outdir/passwd", "invalid"}, {"remove", "../tmp", "invalid"},
	} {
		if r := s.file(c.op, c.path, 1<<20); r.Code != c.code || r.Error == "" {
			t.Errorf("%s %.40q: code %q (%s), want %q", c.op, c.path, r.Code, r.Error, c.code)
		}
	}
	if _, got := s.read("inside", 100); string(got) != "plain" {
		t.Errorf("a link that stays inside gives %q", got)
	}
	for _, c := range []struct{ path, code string }{
		{"fifo", "invalid"}, {"sock", "invalid"}, {"dir", "invalid"}, {"outdir/x", "invalid"}, {"plain/x", "invalid"}, {"/x", "invalid"}, {"../x", "invalid"}, {"", "invalid"}, {"loop/x", "invalid"},
	} {
		if r := s.write(c.path, []byte("data"), big); r.Code != c.code || r.Error == "" {
			t.Errorf("write %q: code %q (%s), want %q", c.path, r.Code, r.Error, c.code)
		}
	}
	// A link is replaced, not followed.
	if r := s.write("out", []byte("mine"), big); r.Code != "" {
		t.Errorf("write over a link: %+v", r)
	}
	if r := s.exec(script("os.path.islink('out'), open('/etc/passwd').read()[:4]")); r.ValueText != "(False, 'root')" {
		t.Errorf("after writing over a link: %s", r.ValueText)
	}
	if r := s.exec(script("[n for n in os.listdir('.') if 'upload' in n]")); r.ValueText != "[]" {
		t.Errorf("left behind: %s", r.ValueText)
	}
}

func TestFailedUploadChangesNothing(t *testing.T) {
	t.Parallel()
	s := ready(t, remuda.LanguagePython)
	s.write("f", []byte("old"), big)
	for name, c := range map[string]struct {
		size  int
		limit int64
	}{"over the limit": {2000, 1000}, "over the disk": {40 << 20, big}} {
		if r := s.write("f", make([]byte, c.size), c.limit); r.Code != "too_large" || r.Error == "" {
			t.Errorf("%s: %+v", name, r)
		}
		if _, got := s.read("f", 100); string(got) != "old" {
			t.Errorf("%s: the file has %d bytes", name, len(got))
		}
	}
	c := s.connect() // in the middle of an upload the server goes away
	expect[protocol.State](c, protocol.TypeState)
	c.send(protocol.TypeFile, protocol.FileRequest{Req: 1, Op: "write", Path: "g", Limit: big})
	if err := protocol.Write(c.conn, protocol.TypeFileData, protocol.AppendFileData(nil, 1, []byte("half"))); err != nil {
		t.Fatal(err)
	}
	c = s.connect()
	expect[protocol.State](c, protocol.TypeState)
	if r := c.exec(script("import os; os.listdir('.')")); r.ValueText != "['f']" {
		t.Errorf("left behind: %s", r.ValueText)
	}
}

func TestFilesWhileAScriptRuns(t *testing.T) {
	t.Parallel()
	s := ready(t, remuda.LanguagePython)
	s.write("f", make([]byte, 4<<20), big)
	s.send(protocol.TypeExecute, protocol.Execute{ID: "e", Script: "import os\nwhile not os.path.exists('stop'):\n  for a, b in (('x', 'y'), ('y', 'x')):\n    try: os.symlink('/etc', 'x'); os.rename('x', 'd'); os.remove('d'); os.mkdir('d'); os.rmdir('d')\n    except OSError: pass"})
	for range 20 {
		if r, got := s.read("f", big); r.Code != "" || len(got) != 4<<20 {
			t.Fatalf("%d bytes, %+v", len(got), r)
		}
		s.write("d/f", []byte("x"), big) // may fail; must not leave the workspace
	}
	if r := s.write("stop", nil, big); r.Code != "" {
		t.Fatalf("%+v", r)
	}
	s.collect("e")
	if r := s.exec(script("os.path.exists('/etc/f')")); r.ValueText != "False" {
		t.Errorf("a write has left the workspace")
	}
}

func TestManyTransfersAreRefused(t *testing.T) {
	t.Parallel()
	s := ready(t, remuda.LanguagePython)
	for i := range 17 {
		s.send(protocol.TypeFile, protocol.FileRequest{Req: uint32(i), Op: "write", Path: "f" + itoa(i), Limit: 1})
	}
	if r := expect[protocol.FileReply](s.client, protocol.TypeFileReply); r.Code != "exhausted" || r.Req != 16 {
		t.Errorf("%+v", r)
	}
}
