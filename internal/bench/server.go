package bench

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// server is a `remuda serve` of its own, with a temporary data directory.
type server struct {
	cmd   *exec.Cmd
	log   bytes.Buffer
	base  string
	token string
	http  *http.Client
	ended chan error
}

// startServer starts program as a server on a free loopback port and logs in.
func startServer(ctx context.Context, program, dir string) (*server, error) {
	addr, err := freeAddress(ctx)
	if err != nil {
		return nil, err
	}
	password := rand.Text()
	s := &server{
		base:  "http://" + addr,
		http:  &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}},
		ended: make(chan error, 1),
	}
	s.cmd = exec.Command(program, "serve", "--data", filepath.Join(dir, "data"), "--listen", addr)
	s.cmd.Env = append(os.Environ(), "REMUDA_ADMIN_PASSWORD="+password)
	s.cmd.Stdout, s.cmd.Stderr = &s.log, &s.log
	if err := s.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start server: %w", err)
	}
	go func() { s.ended <- s.cmd.Wait() }()
	if err := s.waitReady(ctx); err != nil {
		s.stop()
		return nil, err
	}
	var token struct {
		Token string `json:"token"`
	}
	if err := s.call(ctx, http.MethodPost, "/v1/tokens", map[string]any{"name": "bench", "scope": "write"}, &token, func(r *http.Request) {
		r.SetBasicAuth("admin", password)
	}); err != nil {
		s.stop()
		return nil, err
	}
	s.token = token.Token
	return s, nil
}

func freeAddress(ctx context.Context) (string, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("find a free port: %w", err)
	}
	defer l.Close()
	return l.Addr().String(), nil
}

func (s *server) waitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 60*time.Second)
	defer cancel()
	for {
		if s.call(ctx, http.MethodGet, "/readyz", nil, nil) == nil {
			return nil
		}
		select {
		case err := <-s.ended:
			s.ended <- err
			return fmt.Errorf("the server ended while it started (%w): %s", err, s.log.String())
		case <-ctx.Done():
			return fmt.Errorf("the server was not ready in time: %s", s.log.String())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// stop ends the server and waits until it has cleaned up.
func (s *server) stop() {
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-s.ended:
	case <-time.After(60 * time.Second):
		_ = s.cmd.Process.Kill()
		<-s.ended
	}
	s.http.CloseIdleConnections()
}

// call makes one request and decodes the answer into out unless it is nil.
func (s *server) call(ctx context.Context, method, path string, in, out any, edit ...func(*http.Request)) error {
	var body io.Reader
	if in != nil {
		raw, err := json.Marshal(in)
		if err != nil {
			return fmt.Errorf("encode request: %w", err)
		}
		body = bytes.NewReader(raw)
	}
	req, err := http.NewRequestWithContext(ctx, method, s.base+path, body)
	if err != nil {
		return fmt.Errorf("make request: %w", err)
	}
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if s.token != "" {
		req.Header.Set("Authorization", "Bearer "+s.token)
	}
	for _, f := range edit {
		f(req)
	}
	resp, err := s.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode >= http.StatusBadRequest {
		return fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, raw)
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(raw, out)
}

// execution is the part of the wire that the bench reads.
type execution struct {
	ID        string           `json:"id"`
	State     string           `json:"state"`
	Fresh     bool             `json:"fresh"`
	Instance  string           `json:"instance"`
	TimingsUS map[string]int64 `json:"timings_us"`
}

// oneShot runs the one line on a fresh instance of a runtime.
func (s *server) oneShot(ctx context.Context, runtime string) (execution, error) {
	var ex execution
	err := s.call(ctx, http.MethodPost, "/v1/executions?wait=60s", map[string]any{"runtime": runtime, "script": oneLine}, &ex)
	if err == nil && (ex.State != "success" || !ex.Fresh) {
		err = fmt.Errorf("execution %s ended as %s, fresh %t", ex.ID, ex.State, ex.Fresh)
	}
	return ex, err
}

// residentMB reads the resident memory of the server's process.
func (s *server) residentMB() (float64, error) {
	raw, err := os.ReadFile("/proc/" + strconv.Itoa(s.cmd.Process.Pid) + "/status")
	if err != nil {
		return 0, fmt.Errorf("read memory of the server: %w", err)
	}
	for line := range strings.Lines(string(raw)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kb, err := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(rest), " kB"))
			return float64(kb) / 1024, err
		}
	}
	return 0, errors.New("no VmRSS in the status of the server")
}
