package layer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/layer/index"
	"github.com/remuda-run/remuda/internal/remuda"
)

// gatewayPort is where a build finds its index. The loopback is the sandbox's own,
// so it is always free; one number makes builds repeat byte for byte.
const gatewayPort = 8080

// gateway is the index's address inside of the sandbox.
const gateway = "http://127.0.0.1:8080"

// sandbox is where a step of a build runs.
type sandbox struct {
	maker   *Maker
	inst    engine.Instance
	session *index.Session
	sources []aptSource // that the session leads to
	server  *http.Server
	served  sync.WaitGroup
	words   *words
}

// open makes a sandbox whose loopback leads to the index. With a lock the index
// holds nothing else.
func (m *Maker) open(ctx context.Context, environment string, lock []remuda.Locked, w *words) (_ *sandbox, err error) {
	g, err := m.gateway(ctx)
	if err != nil {
		return nil, err
	}
	inst, err := m.opts.Engine.Create(ctx, engine.Spec{
		ID: remuda.NewInstanceID(), Language: remuda.LanguageBash, Environment: environment,
		Isolation: remuda.IsolationProcess, Resources: m.resources(),
	})
	if err != nil {
		return nil, err
	}
	s := &sandbox{maker: m, inst: inst, words: w, session: g.Session(lock, w.note), sources: g.sources}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	inner, ok := inst.(engine.Listener)
	if !ok {
		return nil, &remuda.Error{Code: remuda.CodeUnsupported, Message: "packages cannot be built here", Cause: "the engine cannot serve an index inside of its sandboxes", Remedy: "build on a machine with the local engine"}
	}
	listener, err := inner.Listen(ctx, gatewayPort)
	if err != nil {
		return nil, err
	}
	s.server = &http.Server{
		Handler: s.session, ReadHeaderTimeout: 20 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 64 << 10,
		ErrorLog:    slog.NewLogLogger(m.log.Handler(), slog.LevelDebug),
		BaseContext: func(net.Listener) context.Context { return context.WithoutCancel(ctx) },
	}
	s.served.Go(func() { _ = s.server.Serve(atMost(listener, maxConnections)) }) // it ends by close
	return s, nil
}

// close ends the sandbox and leaves nothing of it.
func (s *sandbox) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	err := s.inst.Destroy(ctx)
	if s.server != nil {
		_ = s.server.Close() // cuts what is under way
		s.served.Wait()
	}
	if err != nil {
		return remuda.Internal("removing the sandbox of a build", err)
	}
	return nil
}

// oneStream begins every script: what comes on two pipes meets within a line, since
// installers write an error piece by piece, and such a line names no package.
const oneStream = "exec 2>&1\n"

// run runs a script of ours. Its output is the build's log. How it ended is in the
// result; the error is for what no script can be blamed for.
func (s *sandbox) run(ctx context.Context, script string, env map[string]string) (engine.Result, error) {
	timeout := s.maker.timeout()
	res, err := s.inst.Execute(ctx, engine.Request{
		ID: remuda.NewExecutionID(), Script: oneStream + script, Name: "build", Env: env,
		Timeout: timeout, OutputLimit: maxLog,
	}, func(r remuda.OutputRecord) error {
		s.words.add(r.Data)
		return nil
	})
	switch {
	case ctx.Err() != nil:
		return res, remuda.Errorf(engine.ContextCode(ctx), "the build was given up: %w", context.Cause(ctx))
	case err != nil:
		return res, err
	case res.State == remuda.ExecutionTimeout:
		return res, &remuda.Error{Code: remuda.CodeDeadline, Message: fmt.Sprintf("the build took longer than %s", timeout), Cause: "a step of a build has a time limit", Remedy: "ask for fewer or prebuilt packages, or raise packages_build_timeout"}
	case res.KilledBy != "" && res.State != remuda.ExecutionSuccess:
		return res, &remuda.Error{Code: remuda.CodeInvalid, Message: "the build was stopped: " + res.Reason, Cause: "it ran into the limit of " + string(res.KilledBy), Remedy: "ask for other packages, or raise packages_build_memory_mb or packages_build_disk_mb"}
	case res.State == remuda.ExecutionLost:
		return res, remuda.Errorf(remuda.CodeUnavailable, "the sandbox of the build ended: %s", res.Reason)
	}
	return res, nil
}

// maxLog bounds the output of one step.
const maxLog = 8 << 20

// write puts a file into the sandbox's workspace.
func (s *sandbox) write(ctx context.Context, path string, content []byte) error {
	_, err := s.inst.Files().Write(ctx, path, bytes.NewReader(content), int64(len(content)))
	if err != nil {
		return fmt.Errorf("write %s for the build: %w", path, err)
	}
	return nil
}

// read takes a file out of the workspace. What is in it is foreign.
func (s *sandbox) read(ctx context.Context, path string, limit int64) ([]byte, error) {
	_, r, err := s.inst.Files().Read(ctx, path, limit)
	if err != nil {
		return nil, fmt.Errorf("read %s of the build: %w", path, err)
	}
	defer func() { _ = r.Close() }()
	content, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("read %s of the build: %w", path, err)
	}
	return content, nil
}

// maxConnections is how many a build may have to its index at once.
const maxConnections = 64

// atMost bounds the connections of a listener. Those above wait.
func atMost(l net.Listener, n int) net.Listener {
	return &limited{Listener: l, room: make(chan struct{}, n), closed: make(chan struct{})}
}

type limited struct {
	net.Listener
	room   chan struct{}
	once   sync.Once
	closed chan struct{}
}

// Accept implements net.Listener.
func (l *limited) Accept() (net.Conn, error) {
	select {
	case l.room <- struct{}{}:
	case <-l.closed:
		return nil, net.ErrClosed
	}
	c, err := l.Listener.Accept()
	if err != nil {
		<-l.room
		return nil, err
	}
	return &counted{Conn: c, leave: sync.OnceFunc(func() { <-l.room })}, nil
}

// Close implements net.Listener.
func (l *limited) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

type counted struct {
	net.Conn
	leave func()
}

// Close implements net.Conn.
func (c *counted) Close() error {
	defer c.leave()
	return c.Conn.Close()
}
