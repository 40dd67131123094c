package bench

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// neighbour is what one organization gets while another one is quiet, and while
// that does all the harm it can.
type neighbour struct {
	quiet, loud Series
	warm        share // of the loud pieces, whose pool may be empty
	stages      stageTable
}

func newNeighbour() neighbour {
	return neighbour{
		quiet: Series{Name: "remuda warm, quiet neighbour", Note: "over HTTP, one every 50 ms, a fresh instance each"},
		loud:  Series{Name: "remuda warm, loud neighbour", Note: "fork bomb, memory bomb, full disk, spinning and output flood together"},
	}
}

// noise is what the loud organization runs, all together and again and again: each
// wants more of one thing than its sandbox has.
func noise() []string {
	return []string{
		"import os, time\nwhile True:\n    if os.fork() == 0: time.sleep(1000)",
		"held = []\nwhile True: held.append(bytearray(8 << 20))",
		"with open('big', 'wb', buffering=0) as f:\n    while True: f.write(bytes(1 << 20))",
		"sum(range(10**13))",
		"while True: print('x' * 1000)",
	}
}

const (
	// neighbourPace is how often the quiet organization asks: slowly enough for a
	// pool of neighbourPool to follow.
	neighbourPace = 50 * time.Millisecond
	neighbourPool = 4
)

// neighbours measures two organizations on a server of its own, in turns.
func (m *measurement) neighbours(ctx context.Context) error {
	const pieces, each = 2, 120
	dir := filepath.Join(m.dir, "neighbours")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return fmt.Errorf("make a directory: %w", err)
	}
	s, err := startServer(ctx, m.options.Program, dir)
	if err != nil {
		return err
	}
	defer s.stop()
	loud, err := s.tenant(ctx, "loud")
	if err != nil {
		return err
	}
	defer loud.wire.close()
	quiet, err := s.tenant(ctx, "quiet")
	if err != nil {
		return err
	}
	defer quiet.wire.close()
	small := map[string]any{"resources": map[string]any{"cpu": 1, "memory_mb": 64, "disk_mb": 16, "pids": 32}}
	if err := loud.runtime(ctx, "bench-loud", 0, small); err != nil {
		return err
	}
	pool := map[string]any{"pool": map[string]any{"min_cached": neighbourPool, "max_cached": 2 * neighbourPool}}
	if err := quiet.runtime(ctx, "bench-quiet", neighbourPool, pool); err != nil {
		return err
	}
	request, err := quiet.script("bench-quiet", oneLine)
	if err != nil {
		return err
	}
	quiet.paced(ctx, each/4, request) // what is new on the way is paid for before
	n := &m.neighbour
	for range pieces {
		if err := s.waitWarm(ctx, neighbourPool, time.Minute); err != nil {
			return err
		}
		settle(ctx)
		for _, one := range quiet.paced(ctx, each, request) {
			n.quiet.add(one.took, one.err)
		}
		end, err := loud.makeNoise(ctx, "bench-loud")
		if err != nil {
			return err
		}
		for _, one := range quiet.paced(ctx, each, request) {
			n.loud.add(one.took, one.err)
			n.warm.add(one.ex.Warm)
			n.stages.add(one.ex.TimingsUS)
		}
		end()
	}
	return nil
}

// tenant makes an organization with an administrator, and speaks for that.
func (s *server) tenant(ctx context.Context, name string) (*server, error) {
	password := rand.Text()
	for _, step := range []struct {
		method, path string
		body         map[string]any
	}{
		{http.MethodPost, "/v1/organizations", map[string]any{"name": name}},
		{http.MethodPost, "/v1/users", map[string]any{"name": name, "password": password}},
		{http.MethodPut, "/v1/organizations/" + name + "/members/" + name, map[string]any{"role": "administrator"}},
	} {
		if err := s.call(ctx, step.method, step.path, step.body, nil); err != nil {
			return nil, err
		}
	}
	var token struct {
		Token string `json:"token"`
	}
	if err := s.call(ctx, http.MethodPost, "/v1/tokens", map[string]any{"name": "bench", "scope": "write"}, &token, func(r *http.Request) {
		r.SetBasicAuth(name, password)
	}); err != nil {
		return nil, err
	}
	return &server{base: s.base, http: s.http, token: token.Token, wire: &wire{addr: s.wire.addr, credentials: "Authorization: Bearer " + token.Token}}, nil
}

// paced runs n executions one after the other, each when it is due or, if the one
// before takes longer, when that has ended.
func (s *server) paced(ctx context.Context, n int, request []byte) []sample {
	samples := make([]sample, 0, n)
	tick := time.NewTicker(neighbourPace)
	defer tick.Stop()
	for range n {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return samples
		}
		ex, took, err := s.fresh(ctx, request, time.Now())
		samples = append(samples, sample{ex, took, err})
	}
	return samples
}

// makeNoise returns when all of it is there: each kind has ended once. The function
// it returns ends it.
func (s *server) makeNoise(ctx context.Context, runtime string) (end func(), err error) {
	all, cancel := context.WithCancel(ctx)
	var makers sync.WaitGroup
	end = func() { cancel(); makers.Wait() }
	there := make(chan struct{}, len(noise()))
	for _, script := range noise() {
		request, err := s.wire.request("/v1/executions?wait=30s", map[string]any{"runtime": runtime, "script": script, "timeout_s": 3})
		if err != nil {
			end()
			return nil, err
		}
		makers.Go(func() {
			for first := true; all.Err() == nil; {
				// What is refused, for want of slots say, is nobody else's matter.
				if _, err := s.wire.send(ctx, request); err == nil && first {
					first = false
					there <- struct{}{}
				}
			}
		})
	}
	for range noise() {
		select {
		case <-there:
		case <-ctx.Done():
			end()
			return nil, ctx.Err()
		case <-time.After(time.Minute):
			end()
			return nil, errors.New("not every kind of noise was made within a minute")
		}
	}
	return end, nil
}
