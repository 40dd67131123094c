package guestinit_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/remuda-run/remuda/internal/guest"
	"github.com/remuda-run/remuda/internal/guest/channel"
	"github.com/remuda-run/remuda/internal/guest/protocol"
	"github.com/remuda-run/remuda/internal/remuda"
)

// deadline bounds every wait of these tests; it is generous, since machines
// that run them are slow and shared.
const deadline = time.Minute

// program is the built remuda-init, made once by TestMain.
var program string

func TestMain(m *testing.M) {
	if os.Geteuid() != 0 {
		fmt.Println("skipped: these tests make namespaces and need root")
		return
	}
	os.Exit(withProgram(m))
}

func withProgram(m *testing.M) int {
	dir, err := os.MkdirTemp("", "remuda-init-test")
	if err != nil {
		fmt.Println(err)
		return 1
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil { // run by an unprivileged uid
		fmt.Println(err)
		return 1
	}
	readSources()
	program = filepath.Join(dir, "remuda-init")
	build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", program, "github.com/remuda-run/remuda/cmd/remuda-init")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Printf("build remuda-init: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// readSources opens what the program is built from, which tells the go command
// that results of these tests depend on it.
func readSources() {
	for _, dir := range []string{".", "../protocol", "../channel", "../../../cmd/remuda-init"} {
		files, _ := filepath.Glob(dir + "/*.go")
		for _, f := range files {
			_, _ = os.ReadFile(f)
		}
	}
}

// sandbox is a keeper in real namespaces.
type sandbox struct {
	t      testing.TB
	cmd    *exec.Cmd
	socket string
	exited chan struct{}
	*client
}

// client is a connection to a keeper.
type client struct {
	t     testing.TB
	conn  *net.UnixConn
	acks  bool      // acknowledge every record
	until time.Time // of the read that is under way; zero: each has its own
}

// interpreters by language.
var interpreters = map[remuda.Language]string{
	remuda.LanguagePython: "/usr/bin/python3", remuda.LanguageNode: "/usr/bin/node", remuda.LanguageBash: "/usr/bin/bash",
}

// start clones a keeper and connects to it, without a Setup.
func start(t testing.TB) *sandbox {
	t.Helper()
	dir, err := os.MkdirTemp("", "rmd")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	socket := filepath.Join(dir, "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	f, err := l.File()
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	defer f.Close()
	s := &sandbox{t: t, socket: socket, exited: make(chan struct{})}
	s.cmd = exec.Command(program)
	s.cmd.Env = []string{"GOMAXPROCS=1"}
	s.cmd.Stderr = os.Stderr
	s.cmd.ExtraFiles = []*os.File{f}
	ids := []syscall.SysProcIDMap{{ContainerID: 0, HostID: 700000, Size: 65536}}
	s.cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS | unix.CLONE_NEWCGROUP,
		UidMappings: ids, GidMappings: ids, GidMappingsEnableSetgroups: true,
		Credential: &syscall.Credential{Uid: 0, Gid: 0}, Pdeathsig: syscall.SIGKILL,
	}
	if err := s.cmd.Start(); err != nil {
		t.Fatalf("clone a keeper: %v", err)
	}
	go func() {
		_ = s.cmd.Wait()
		close(s.exited)
	}()
	t.Cleanup(func() {
		_ = s.cmd.Process.Kill()
		<-s.exited
	})
	s.client = s.connect()
	return s
}

// connect opens a connection and says Hello, without waiting for the State.
func (s *sandbox) connect() *client {
	s.t.Helper()
	c := dial(s)
	c.send(protocol.TypeHello, protocol.Hello{Version: protocol.Version})
	return c
}

func (c *client) send(t protocol.Type, v any) {
	c.t.Helper()
	m := reflect.New(reflect.TypeOf(v))
	m.Elem().Set(reflect.ValueOf(v))
	p := protocol.AppendMessage(nil, m.Interface().(protocol.Message))
	if err := protocol.Write(c.conn, t, p); err != nil {
		c.t.Fatalf("send frame %d: %v", t, err)
	}
}

// next reads one frame.
func (c *client) next() (protocol.Type, []byte, error) {
	if c.until.IsZero() {
		_ = c.conn.SetReadDeadline(time.Now().Add(deadline))
	}
	return protocol.Read(c.conn, nil, protocol.MaxFrame)
}

// expect reads a frame of the given type.
func expect[T any](c *client, want protocol.Type) T {
	c.t.Helper()
	var v T
	got, p, err := c.next()
	if err != nil {
		c.t.Fatalf("wait for frame %d: %v", want, err)
	}
	if got != want {
		c.t.Fatalf("frame %d %.300s, want %d", got, p, want)
	}
	if err := protocol.Decode(p, any(&v).(protocol.Message)); err != nil {
		c.t.Fatal(err)
	}
	return v
}

// setup is what an engine would send for a language.
func setup(t testing.TB, language remuda.Language) protocol.Setup {
	t.Helper()
	d, err := guest.Driver(language, interpreters[language])
	if err != nil {
		t.Fatal(err)
	}
	s := protocol.Setup{
		Hostname: "remuda", UID: 1000, GID: 1000, Cwd: protocol.Workspace, Language: string(language),
		Argv: d.Argv, Driver: d.Source, DriverPath: d.Path,
		Mask: []string{"/proc/kcore", "/proc/keys", "/proc/acpi", "/proc/sysrq-trigger"}, ReadOnly: []string{"/proc/sys", "/proc/irq"},
		DiskBytes: 32 << 20, DiskInodes: 2000,
		Env:      map[string]string{"PATH": "/usr/bin:/bin", "HOME": protocol.Workspace, "LANG": "C.UTF-8"},
		Limits:   []protocol.Rlimit{{Resource: unix.RLIMIT_NOFILE, Value: 1024}, {Resource: unix.RLIMIT_CORE}},
		Seccomp:  denyAll(unix.SYS_MOUNT, unix.SYS_UNSHARE, unix.SYS_PTRACE),
		LingerMS: 0,
	}
	s.Binds = []protocol.Bind{{Source: "/usr", Target: "/usr"}, {Source: "/nowhere", Target: "/nowhere", Optional: true}}
	s.Files = []protocol.Text{{Path: "/etc/passwd", Content: "root:x:0:0::/:/bin/sh\nuser:x:1000:1000::/workspace:/bin/bash\n"}, {Path: "/etc/group", Content: "root:x:0:\nuser:x:1000:\n"}}
	s.Devices = []string{"null", "zero", "full", "random", "urandom", "tty"}
	for _, l := range []string{"bin", "sbin", "lib", "lib64"} {
		s.Links = append(s.Links, protocol.Link{Target: "usr/" + l, Path: "/" + l})
	}
	return s
}

// ready makes a sandbox whose interpreter waits.
func ready(t testing.TB, language remuda.Language, change ...func(*protocol.Setup)) *sandbox {
	t.Helper()
	s := start(t)
	expect[protocol.State](s.client, protocol.TypeState)
	set := setup(t, language)
	for _, f := range change {
		f(&set)
	}
	s.send(protocol.TypeSetup, set)
	expect[protocol.Ready](s.client, protocol.TypeReady)
	return s
}

// result is an execution as the server sees it.
type result struct {
	protocol.End
	stdout, stderr string
	records        int
	whole          []channel.Record // of messages and objects
	seqs           []int64
}

// exec runs a script to its end.
func (c *client) exec(e protocol.Execute) result {
	c.t.Helper()
	if e.ID == "" {
		e.ID = remuda.NewID("ex")
	}
	c.send(protocol.TypeExecute, e)
	return c.collect(e.ID)
}

// collect reads output until the End of an execution.
func (c *client) collect(id string) result {
	c.t.Helper()
	r, err := c.tryCollect(id, nil)
	if err != nil {
		c.t.Fatalf("wait for the end of the execution: %v (stdout %q stderr %q)", err, tail(r.stdout), tail(r.stderr))
	}
	return r
}

func tail(s string) string { return s[max(0, len(s)-500):] }

// tryCollect is collect for executions that may lose their sandbox. each sees
// every record.
func (c *client) tryCollect(id string, each func(seq int64, data []byte)) (r result, err error) {
	var out, errs strings.Builder
	defer func() { r.stdout, r.stderr = out.String(), errs.String() }()
	c.until = time.Now().Add(deadline) // for all of it
	_ = c.conn.SetReadDeadline(c.until)
	defer func() { c.until = time.Time{} }()
	for {
		t, p, err := c.next()
		if err != nil {
			return r, err
		}
		switch t {
		case protocol.TypeOutput:
			seq, stream, data, err := protocol.ParseOutput(p)
			if err != nil {
				return r, err
			}
			r.records++
			r.seqs = append(r.seqs, seq)
			switch stream {
			case protocol.StreamStdout:
				out.Write(data)
			case protocol.StreamStderr:
				errs.Write(data)
			default:
				r.whole = append(r.whole, channel.Record{Kind: stream, Data: bytes.Clone(data)})
			}
			if each != nil {
				each(seq, data)
			}
			if c.acks {
				c.send(protocol.TypeAck, protocol.Ack{ID: id, Seq: seq})
			}
		case protocol.TypeEnd:
			if err := protocol.Decode(p, &r.End); err != nil {
				return r, err
			}
			if r.ID != id {
				return r, fmt.Errorf("the end of %s instead of %s", r.ID, id)
			}
			if r.Dead && c.acks { // lets the keeper leave at once
				c.send(protocol.TypeAck, protocol.Ack{ID: id, Seq: r.LastSeq + 1})
			}
			return r, nil
		default:
			return r, fmt.Errorf("frame %d %.300s", t, p)
		}
	}
}

// gone waits for the keeper's end.
func (s *sandbox) gone() {
	s.t.Helper()
	select {
	case <-s.exited:
	case <-time.After(deadline):
		s.t.Fatal("the keeper did not end")
	}
}

// atEOF checks that the connection has been closed by the keeper.
func (c *client) atEOF() {
	c.t.Helper()
	if _, p, err := c.next(); !errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET) {
		c.t.Fatalf("the connection gives %q and %v, want its end", p, err)
	}
}

// denyAll is a small filter that answers EPERM to the given system calls.
func denyAll(calls ...uint32) []byte {
	program := []unix.SockFilter{{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS}}
	for i, nr := range calls {
		program = append(program, unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jt: uint8(len(calls) - i), K: nr})
	}
	program = append(program, unix.SockFilter{Code: unix.BPF_RET, K: unix.SECCOMP_RET_ALLOW}, unix.SockFilter{Code: unix.BPF_RET, K: unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)})
	var b []byte
	for _, i := range program {
		b = append(b, byte(i.Code), byte(i.Code>>8), i.Jt, i.Jf, byte(i.K), byte(i.K>>8), byte(i.K>>16), byte(i.K>>24))
	}
	return b
}

func itoa(n int) string { return strconv.Itoa(n) }

func atoi(s string) int {
	n, _ := strconv.Atoi(s)
	return n
}

// dial opens a connection without a Hello.
func dial(s *sandbox) *client {
	s.t.Helper()
	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: s.socket, Net: "unix"})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = conn.Close() })
	return &client{t: s.t, conn: conn, acks: true}
}
