package bench

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
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
	// password is the administrator's.
	password string
	http     *http.Client
	wire     *wire // for what is measured
	ended    chan error
	gone     bool
}

// startServer starts program as a server on a free loopback port and logs in.
func startServer(ctx context.Context, program, dir string, args ...string) (*server, error) {
	addr, err := freeAddress(ctx)
	if err != nil {
		return nil, err
	}
	password := rand.Text()
	s := &server{
		base: "http://" + addr, password: password,
		http:  &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}},
		ended: make(chan error, 1),
	}
	s.cmd = exec.Command(program, append([]string{"serve", "--data", filepath.Join(dir, "data"), "--listen", addr, "--runspace-on-stop", "close"}, args...)...)
	s.cmd.Env = append(withoutSettings(os.Environ()), "REMUDA_ADMIN_PASSWORD="+password)
	s.cmd.Stdout, s.cmd.Stderr = &s.log, &s.log
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // as whatever keeps a service does
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
	s.wire = &wire{addr: addr, credentials: "Authorization: Bearer " + s.token}
	return s, nil
}

// withoutSettings drops the product's own variables: what is set for the user
// of this shell must not change what is measured.
func withoutSettings(env []string) []string {
	return slices.DeleteFunc(slices.Clone(env), func(line string) bool { return strings.HasPrefix(line, "REMUDA_") })
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

// stop ends the server and waits until it has cleaned up. Only the first call does.
func (s *server) stop() {
	if s.gone {
		return
	}
	s.gone = true
	if s.wire != nil {
		s.wire.close()
	}
	s.http.CloseIdleConnections()
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-s.ended:
	case <-time.After(60 * time.Second):
		_ = s.cmd.Process.Kill()
		<-s.ended
	}
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
		return fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, title(raw))
	}
	switch into := out.(type) {
	case nil:
		return nil
	case *[]byte:
		*into = raw
		return nil
	}
	return json.Unmarshal(raw, out)
}

// title is what a problem document says in one line.
func title(raw []byte) string {
	var problem struct{ Title string }
	if json.Unmarshal(raw, &problem) != nil || problem.Title == "" {
		return firstLine(string(raw))
	}
	return problem.Title
}

// execution is the part of the wire that the bench reads.
type execution struct {
	ID        string           `json:"id"`
	State     string           `json:"state"`
	Fresh     bool             `json:"fresh"`
	Warm      bool             `json:"warm"`
	Instance  string           `json:"instance"`
	TimingsUS map[string]int64 `json:"timings_us"`
}

// script makes the request that runs a script on a fresh instance of a runtime.
func (s *server) script(runtime, script string) ([]byte, error) {
	return s.wire.request("/v1/executions?wait=60s", map[string]any{"runtime": runtime, "script": script})
}

// run sends such a request and says how long the answer took since start. The
// answer is read for what it says afterwards.
func (s *server) run(ctx context.Context, request []byte, start time.Time) (execution, time.Duration, error) {
	raw, err := s.wire.send(ctx, request)
	took := time.Since(start)
	if err != nil {
		return execution{}, took, err
	}
	var ex execution
	if err := json.Unmarshal(raw, &ex); err != nil {
		return ex, took, fmt.Errorf("decode the answer: %w", err)
	}
	if ex.State != "success" {
		return ex, took, fmt.Errorf("execution %s ended as %s", ex.ID, ex.State)
	}
	return ex, took, nil
}

// fresh is run for one-shots, which must each have an instance of their own.
func (s *server) fresh(ctx context.Context, request []byte, start time.Time) (execution, time.Duration, error) {
	ex, took, err := s.run(ctx, request, start)
	if err == nil && !ex.Fresh {
		err = fmt.Errorf("execution %s ran on an instance that was used before", ex.ID)
	}
	return ex, took, err
}

// runtime makes a Python runtime with that pool; more is added to its definition.
func (s *server) runtime(ctx context.Context, name string, pool int, more map[string]any) error {
	body := map[string]any{"name": name, "language": "python", "pool": map[string]any{"min_cached": pool, "max_cached": pool}}
	maps.Copy(body, more)
	return s.call(ctx, http.MethodPost, "/v1/runtimes", body, nil)
}

func (s *server) removeRuntime(ctx context.Context, name string) error {
	return s.call(ctx, http.MethodDelete, "/v1/runtimes/"+name, nil, nil)
}

// waitWarm returns when n instances are warm, of all runtimes together.
func (s *server) waitWarm(ctx context.Context, n int, patience time.Duration) error {
	ready := 0
	for deadline := time.Now().Add(patience); time.Now().Before(deadline) && ctx.Err() == nil; pause(ctx, 50*time.Millisecond) {
		var text []byte
		if err := s.call(ctx, http.MethodGet, "/metrics", nil, &text); err != nil {
			return err
		}
		if ready = readyInstances(string(text)); ready >= n {
			return nil
		}
	}
	return fmt.Errorf("only %d of %d instances are warm after %v; the server's log: %s", ready, n, patience, lastLine(s.log.String()))
}

// readyInstances adds up remuda_instances{state="ready"} of a page of metrics.
func readyInstances(metrics string) int {
	sum := 0.0
	for line := range strings.Lines(metrics) {
		if !strings.HasPrefix(line, "remuda_instances{") || !strings.Contains(line, `state="ready"`) {
			continue
		}
		if n, err := strconv.ParseFloat(strings.TrimSpace(line[strings.LastIndexByte(line, ' ')+1:]), 64); err == nil {
			sum += n
		}
	}
	return int(sum)
}

func lastLine(s string) string {
	s = strings.TrimSpace(s)
	return s[strings.LastIndexByte(s, '\n')+1:]
}

// residentMB reads the resident memory of the server's process.
func (s *server) residentMB() (float64, error) {
	value, ok := field("/proc/"+strconv.Itoa(s.cmd.Process.Pid)+"/status", "VmRSS")
	if !ok {
		return 0, errors.New("no VmRSS in the status of the server")
	}
	kb, err := strconv.Atoi(strings.TrimSuffix(value, " kB"))
	return float64(kb) / 1024, err
}
