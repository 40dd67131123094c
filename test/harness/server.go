package harness

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/remuda-run/remuda/internal/engine/enginetest/leftover"
)

// Server is a `remuda serve` that belongs to one test, as that test or one of
// its subtests sees it.
type Server struct {
	t testing.TB
	*process
}

// process is what all views of a server share.
type process struct {
	Base  string // "http://127.0.0.1:40321"
	Token string
	Data  string // its data directory

	cmd      *exec.Cmd
	password string
	http     *http.Client
	ended    chan struct{} // closed when the process has ended, with err
	err      error
	log      syncBuffer
}

// For returns the server as a subtest sees it: what fails, fails the subtest.
func (s *Server) For(t testing.TB) *Server {
	t.Helper()
	return &Server{t: t, process: s.process}
}

// syncBuffer is written by the process's copier and read by the test.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// sweep removes what test binaries that were killed have left, once for each of ours.
var sweep = sync.OnceFunc(leftover.Sweep)

// Start starts a server on a free loopback port with an empty data directory,
// waits until it is ready and logs in. The test's end stops it.
func Start(t testing.TB, args ...string) *Server {
	t.Helper()
	if os.Getuid() != 0 {
		t.Fatal("this test makes real sandboxes and must be run as root")
	}
	sweep()
	s := &Server{t: t, process: &process{
		Data:     filepath.Join(t.TempDir(), "data"),
		password: rand.Text(),
		http:     &http.Client{Transport: &http.Transport{}},
	}}
	t.Cleanup(func() {
		s.Down()
		if t.Failed() {
			t.Logf("the server's log:\n%s", s.log.String())
		}
	})
	s.Up(args...)
	var token struct {
		Token string `json:"token"`
	}
	basic := func(r *http.Request) { r.SetBasicAuth("admin", s.password) }
	s.must(http.MethodPost, "/v1/tokens", map[string]any{"name": "test", "scope": "write"}, &token, basic)
	s.Token = token.Token
	return s
}

// A test's server leaves no runspaces behind when it ends, and not for long when it
// is killed, unless the test's arguments say otherwise.
const (
	leaveNothing = "REMUDA_RUNSPACE_ON_STOP=close"
	leaveBriefly = "REMUDA_RUNSPACE_LINGER=2m"
)

// listening is where the process says that it can be reached. It takes whatever port
// is free: one that was looked for beforehand may be another test's by then.
var listening = regexp.MustCompile(`(?m)^listening on (http://\S+)\n`)

// Up starts the process on the data directory and waits until it is ready.
func (s *Server) Up(args ...string) {
	s.t.Helper()
	before := len(s.log.String())
	s.launch(args...)
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(5 * time.Millisecond) {
		if said := listening.FindStringSubmatch(s.log.String()[before:]); said != nil {
			s.Base = said[1]
			if _, err := s.call(http.MethodGet, "/readyz", nil, nil); err == nil {
				return
			}
		}
		select {
		case <-s.ended:
			s.cmd = nil
			s.t.Fatalf("the server ended while it started (%v):\n%s", s.err, s.log.String())
		default:
		}
		if time.Now().After(deadline) {
			s.Kill()
			s.t.Fatalf("the server was not ready in time:\n%s", s.log.String())
		}
	}
}

// Flicker starts the process and kills it after a while, ready or not.
func (s *Server) Flicker(life time.Duration, args ...string) {
	s.t.Helper()
	s.launch(args...)
	select {
	case <-time.After(life):
	case <-s.ended:
	}
	s.Kill()
}

// StopAfter starts the process and ends it as an operator would after a while, ready
// or not. It returns how that ended.
func (s *Server) StopAfter(life time.Duration, args ...string) error {
	s.t.Helper()
	s.launch(args...)
	select {
	case <-time.After(life):
		_ = s.cmd.Process.Signal(syscall.SIGTERM)
	case <-s.ended:
	}
	select {
	case <-s.ended:
	case <-time.After(2 * time.Minute):
		s.t.Error("the server did not end within two minutes of SIGTERM")
		s.Kill()
	}
	s.cmd = nil
	return s.err
}

// launch starts the process.
func (s *Server) launch(args ...string) {
	s.t.Helper()
	s.cmd = exec.Command(Program(s.t), append([]string{"serve", "--data", s.Data, "--listen", "127.0.0.1:0"}, args...)...)
	s.cmd.Env = append(environment(), "REMUDA_ADMIN_PASSWORD="+s.password, leaveNothing, leaveBriefly)
	s.cmd.Stdout, s.cmd.Stderr = &s.log, &s.log
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.ended = make(chan struct{})
	go func(p *process, cmd *exec.Cmd) {
		defer close(p.ended)
		p.err = cmd.Wait()
	}(s.process, s.cmd)
}

// Pid is the process id of the server.
func (s *Server) Pid() int { return s.cmd.Process.Pid }

// Log returns what the server has logged.
func (s *Server) Log() string { return s.log.String() }

// LogWith returns what the server has logged when each of the texts is in it. A
// request is answered before its line is in the log: whoever looks for what must not be
// there waits for the line of the request that brought it.
func (s *Server) LogWith(texts ...string) string {
	s.t.Helper()
	var log string
	s.Eventually(fmt.Sprintf("the log has %q", texts), func() bool {
		log = s.Log()
		return !slices.ContainsFunc(texts, func(text string) bool { return !strings.Contains(log, text) })
	})
	return log
}

// Down ends the server as an operator would, and waits for it.
func (s *Server) Down() {
	s.t.Helper()
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-s.ended:
		if s.err != nil {
			s.t.Errorf("the server ended with %v after SIGTERM", s.err)
		}
	case <-time.After(2 * time.Minute):
		s.t.Error("the server did not end within two minutes of SIGTERM")
		_ = s.cmd.Process.Signal(syscall.SIGQUIT)
		s.Kill()
	}
	s.cmd = nil
	s.http.CloseIdleConnections()
}

// Kill ends the server with SIGKILL and waits for it.
func (s *Server) Kill() {
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Kill()
	<-s.ended
	s.cmd = nil
	s.http.CloseIdleConnections()
}

// Call makes one request that must succeed and decodes the answer into out
// unless it is nil. in is encoded as JSON unless it is an io.Reader or nil.
func (s *Server) Call(method, path string, in, out any) {
	s.t.Helper()
	s.must(method, path, in, out)
}

// Refuse makes one request that must fail and returns its status and problem.
func (s *Server) Refuse(method, path string, in any) Problem {
	s.t.Helper()
	status, err := s.call(method, path, in, nil)
	problem, ok := errors.AsType[Problem](err)
	if !ok {
		s.t.Fatalf("%s %s answered %d (%v), want a problem", method, path, status, err)
	}
	return problem
}

func (s *Server) must(method, path string, in, out any, edit ...func(*http.Request)) {
	s.t.Helper()
	if _, err := s.call(method, path, in, out, edit...); err != nil {
		s.t.Fatalf("%s %s: %v", method, path, err)
	}
}

func (s *Server) call(method, path string, in, out any, edit ...func(*http.Request)) (int, error) {
	ctx, cancel := context.WithTimeout(s.t.Context(), 10*time.Minute)
	if s.t.Context().Err() != nil { // in a clean-up function
		ctx, cancel = context.WithTimeout(context.Background(), time.Minute)
	}
	defer cancel()
	body, kind, err := encode(in)
	if err != nil {
		return 0, err
	}
	req, err := http.NewRequestWithContext(ctx, method, s.Base+path, body)
	if err != nil {
		return 0, err
	}
	if kind != "" {
		req.Header.Set("Content-Type", kind)
	}
	if s.Token != "" {
		req.Header.Set("Authorization", "Bearer "+s.Token)
	}
	for _, f := range edit {
		f(req)
	}
	resp, err := s.http.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		return resp.StatusCode, err
	}
	if resp.StatusCode >= http.StatusBadRequest {
		return resp.StatusCode, problemOf(resp, raw)
	}
	switch into := out.(type) {
	case nil:
		return resp.StatusCode, nil
	case *[]byte:
		*into = raw
		return resp.StatusCode, nil
	}
	return resp.StatusCode, json.Unmarshal(raw, out)
}

func encode(in any) (body io.Reader, kind string, err error) {
	switch in := in.(type) {
	case nil:
		return nil, "", nil
	case io.Reader:
		return in, "application/octet-stream", nil
	}
	raw, err := json.Marshal(in)
	return bytes.NewReader(raw), "application/json", err
}

// Problem is an error of the API.
type Problem struct {
	Status int    `json:"status"`
	Code   string `json:"code"`
	Title  string `json:"title"`
	Cause  string `json:"cause"`
	Remedy string `json:"remedy"`
	Raw    string `json:"-"`
}

// Error implements error.
func (p Problem) Error() string {
	return fmt.Sprintf("%d %s: %s", p.Status, p.Code, strings.TrimSpace(p.Raw))
}

func problemOf(resp *http.Response, raw []byte) Problem {
	p := Problem{Raw: string(raw)}
	_ = json.Unmarshal(raw, &p) // what is no problem document is shown as it is
	p.Status = resp.StatusCode
	return p
}
