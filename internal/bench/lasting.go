package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"
)

// lasting is what is measured of runspaces that last: at the door of Script
// Runtime Service, when they are interrupted, and when their server is killed.
type lasting struct {
	ready     Series // POST /api/runspaces until it is ready
	interrupt Series // of a loop that no signal reaches
	attached  Series // start of a server until every runspace has answered
}

const (
	lastingRuntime = "bench-lasting"
	lastingPool    = 4
	survivors      = 50
)

func newLasting() lasting {
	return lasting{
		ready:     Series{Name: "remuda SRS door, a runspace", Note: "until it is ready, on a warm pool"},
		interrupt: Series{Name: "remuda interrupt of a C loop", Note: "cancel until it has ended; no signal reaches it"},
		attached:  Series{Name: "remuda, server killed", Note: fmt.Sprintf("its start until %d runspaces have told their variables", survivors)},
	}
}

// runspacesThatLast measures on a server of its own, which is killed.
func (m *measurement) runspacesThatLast(ctx context.Context) error {
	dir := filepath.Join(m.dir, "lasting")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return fmt.Errorf("make a directory: %w", err)
	}
	s, err := startServer(ctx, m.options.Program, dir, "--compat-srs-runtime", lastingRuntime, "--slots", "128")
	if err != nil {
		return err
	}
	defer func() { s.stop() }()
	if err := s.runtime(ctx, lastingRuntime, lastingPool, nil); err != nil {
		return err
	}
	if err := m.lasting.throughDoor(ctx, s); err != nil {
		return err
	}
	if err := m.lasting.interruptLoops(ctx, s); err != nil {
		return err
	}
	if err := s.runtime(ctx, "bench-survivors", 0, nil); err != nil {
		return err
	}
	const kills = 3
	for range kills {
		if err := m.lasting.kill(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

// throughDoor makes runspaces one after the other.
func (l *lasting) throughDoor(ctx context.Context, s *server) error {
	door, err := s.door(ctx)
	if err != nil {
		l.ready.Missing = firstLine(err.Error())
		return nil
	}
	defer door.close()
	create, err := door.request("/api/runspaces", map[string]any{})
	if err != nil {
		return err
	}
	const samples = 60
	for range samples {
		if err := s.waitWarm(ctx, lastingPool, time.Minute); err != nil {
			return err
		}
		var rs struct {
			ID    string `json:"id"`
			State string `json:"state"`
		}
		start := time.Now()
		err := door.ask(ctx, create, &rs)
		for err == nil && rs.State == "creating" {
			err = door.ask(ctx, door.get("/api/runspaces/"+rs.ID), &rs)
		}
		if err == nil && rs.State != "ready" {
			err = fmt.Errorf("runspace %s became %s", rs.ID, rs.State)
		}
		l.ready.add(time.Since(start), err)
		if rs.ID == "" {
			continue // the row says so
		}
		if _, err := door.send(ctx, door.head("DELETE /api/runspaces/"+rs.ID)); err != nil {
			return err
		}
	}
	return nil
}

// door logs in at the door of Script Runtime Service.
func (s *server) door(ctx context.Context) (*wire, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.base+"/api/auth/login", nil)
	if err != nil {
		return nil, fmt.Errorf("make request: %w", err)
	}
	req.SetBasicAuth("admin", s.password)
	resp, err := s.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return nil, err
	}
	const header = "X-SRS-API-KEY"
	key := resp.Header.Get(header)
	if resp.StatusCode != http.StatusOK || key == "" {
		return nil, errors.New("the login at the SRS door: " + resp.Status)
	}
	return &wire{addr: s.wire.addr, credentials: header + ": " + key}, nil
}

// loopInC sums in C without looking at signals, for hours.
const loopInC = "print('up', flush=True)\nsum(range(10**13))"

func (l *lasting) interruptLoops(ctx context.Context, s *server) error {
	const samples = 20
	for range samples {
		id, err := s.openRunspace(ctx, lastingRuntime)
		if err != nil {
			return err
		}
		var ex execution
		if err := s.call(ctx, http.MethodPost, "/v1/runspaces/"+id+"/executions", map[string]any{"script": loopInC}, &ex); err != nil {
			return err
		}
		if err := s.waitOutput(ctx, ex.ID); err != nil {
			return err
		}
		start := time.Now()
		err = s.call(ctx, http.MethodPost, "/v1/executions/"+ex.ID+"/cancel", nil, nil)
		if err == nil {
			err = s.call(ctx, http.MethodGet, "/v1/executions/"+ex.ID+"?wait=60s", nil, &ex)
		}
		if err == nil && ex.State != "canceled" {
			err = errors.New("the loop ended as " + ex.State)
		}
		l.interrupt.add(time.Since(start), err)
		if err := s.call(ctx, http.MethodDelete, "/v1/runspaces/"+id, nil, nil); err != nil {
			return err
		}
	}
	return nil
}

// waitOutput returns when an execution has written something.
func (s *server) waitOutput(ctx context.Context, id string) error {
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); pause(ctx, 5*time.Millisecond) {
		var page struct{ Next int64 }
		if err := s.call(ctx, http.MethodGet, "/v1/executions/"+id+"/output", nil, &page); err != nil {
			return err
		}
		if page.Next > 0 {
			return nil
		}
	}
	return fmt.Errorf("execution %s writes nothing", id)
}

// kill opens runspaces with a variable each, kills the server, starts it again
// and asks for the variables.
func (l *lasting) kill(ctx context.Context, s *server) error {
	ids := make([]string, survivors)
	for n := range ids {
		id, err := s.openRunspace(ctx, "bench-survivors")
		if err != nil {
			return err
		}
		ids[n] = id
		if err := s.value(ctx, id, "kept = "+strconv.Itoa(n)+"\nkept", n); err != nil {
			return err
		}
	}
	if err := s.cmd.Process.Kill(); err != nil {
		return fmt.Errorf("kill the server: %w", err)
	}
	<-s.ended
	s.wire.close()
	s.http.CloseIdleConnections()
	start := time.Now()
	err := s.again(ctx)
	for n, id := range ids {
		if err == nil {
			err = s.value(ctx, id, "kept", n)
		}
	}
	l.attached.add(time.Since(start), err)
	for _, id := range ids {
		if err := s.call(ctx, http.MethodDelete, "/v1/runspaces/"+id, nil, nil); err != nil {
			return err
		}
	}
	return nil
}

// value runs a script in a runspace and expects its value.
func (s *server) value(ctx context.Context, runspace, script string, want int) error {
	request, err := s.wire.request("/v1/runspaces/"+runspace+"/executions?wait=60s", map[string]any{"script": script})
	if err != nil {
		return err
	}
	raw, err := s.wire.send(ctx, request)
	if err != nil {
		return err
	}
	if text := fmt.Sprintf(`"text":"%d"`, want); !bytes.Contains(raw, []byte(text)) {
		return fmt.Errorf("runspace %s has another value than %d: %s", runspace, want, firstLine(string(raw)))
	}
	return nil
}

// again starts the server that has ended as it was started before.
func (s *server) again(ctx context.Context) error {
	cmd := exec.Command(s.cmd.Path, s.cmd.Args[1:]...)
	cmd.Env, cmd.Stdout, cmd.Stderr = s.cmd.Env, &s.log, &s.log
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start the server again: %w", err)
	}
	s.cmd = cmd
	go func() { s.ended <- cmd.Wait() }()
	return s.waitReady(ctx)
}
