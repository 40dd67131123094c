package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/remuda-run/remuda/internal/compat/srs"
	"github.com/remuda-run/remuda/internal/config"
	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/httpapi"
	"github.com/remuda-run/remuda/internal/native"
	"github.com/remuda-run/remuda/internal/organizations"
	"github.com/remuda-run/remuda/internal/remuda"
)

// Events that a server announces.
const (
	EventAdminCreated = "admin_created"
	EventListening    = "listening"
)

// Announcement is what whoever started the server must know.
type Announcement struct {
	Event    string `json:"event"`
	URL      string `json:"url,omitempty"`
	User     string `json:"user,omitempty"`
	Password string `json:"password,omitempty"` // random, shown only now
}

// ServerOptions are what a server needs besides its settings.
type ServerOptions struct {
	Config   config.Config
	Logger   *slog.Logger
	Version  string
	Hurry    <-chan struct{} // ends a drain at once when it closes; nil never does
	Announce func(Announcement)

	// engine replaces the local engine in tests; nil is the local one.
	engine func(ctx context.Context, c config.Config, log *slog.Logger) (engine.Engine, error)
}

// closeTimeout bounds each step of the end after the drain.
const closeTimeout = 30 * time.Second

// Serve runs a server until ctx ends, drains it and closes everything. It
// returns nil after a clean end. Open runspaces of an earlier server are taken over,
// and everything else that it left is cleared away, before the first connection is
// accepted.
func Serve(ctx context.Context, o ServerOptions) (err error) {
	if o.engine == nil {
		o.engine = newServerEngine
	}
	s := &server{ServerOptions: o, drained: make(chan struct{})}
	if s.endpoint, err = resolveEndpoint(o.Config); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.closers.close()) }()
	if err := s.start(ctx); err != nil {
		return err
	}
	return s.run(ctx)
}

// server is one life of a server.
type server struct {
	ServerOptions

	endpoint endpoint
	closers  closers
	services *services
	listener net.Listener
	http     *http.Server
	// draining turns readiness off before anything is refused.
	draining atomic.Bool
	// drained is closed when nothing runs any more: connections that stay open by
	// themselves end then.
	drained chan struct{}
}

// start makes everything up to the listener.
func (s *server) start(ctx context.Context) error {
	c, log := s.Config, s.Logger
	lock, err := lockData(c.Data)
	if err != nil {
		return err
	}
	s.closers.add(lock.release)
	// Before anything is taken over: a start that fails for a port costs nothing.
	if err := s.endpoint.bind(ctx); err != nil {
		return err
	}
	s.closers.add(s.endpoint.unbind)
	eng, err := s.engine(ctx, c, log)
	if err != nil {
		return err
	}
	s.closers.add(func() error { return within(eng.Close) })
	if err := machineError(eng.Check(ctx)); err != nil {
		return err
	}
	st, err := openStore(ctx, c, log)
	if err != nil {
		return err
	}
	s.closers.add(st.Close)
	if s.services, err = buildServices(c, st, eng, log); err != nil {
		return err
	}
	found, err := s.services.recover(ctx, eng)
	if err == nil {
		err = s.open(ctx, found)
	}
	if err != nil {
		// It is not for a start that fails to end what others have open.
		return errors.Join(err, s.services.giveBack(found))
	}
	return nil
}

// open says what was taken over and begins to listen.
func (s *server) open(ctx context.Context, found recovered) error {
	c, log := s.Config, s.Logger
	if !found.none() {
		log.Warn("took over what an earlier server left", "runspaces", found.runspaces.Attached, "runspaces_prepared_again", found.runspaces.Prepared,
			"runspaces_ended", found.runspaces.Ended, "executions_resumed", found.executions.Resumed, "executions_lost", found.executions.Lost, "instances_cleared", len(found.instances), "took", found.took)
	}
	generated, err := s.services.organizations.Bootstrap(ctx, c.AdminPassword)
	if err != nil {
		return err
	}
	if generated != "" {
		s.Announce(Announcement{Event: EventAdminCreated, User: organizations.AdminUser, Password: generated})
	}
	return s.listen()
}

func (s *server) listen() error {
	options := httpapi.Options{
		Logger: s.Logger.With("part", "http"), Ready: s.ready, Metrics: s.services.metrics.Handler(),
		MetricsOpen: s.Config.MetricsOpen, Version: s.Version, TrustedOrigins: s.Config.TrustedOrigins,
		Stopping: s.drained,
	}
	handler, err := native.Handler(s.services.native(), options)
	if err == nil {
		handler, err = s.withDoors(handler, options)
	}
	if err != nil {
		return remuda.Internal("building the HTTP handler", err)
	}
	s.http = httpapi.NewServer(handler, s.Logger)
	if s.listener = s.endpoint.listen(); s.Config.CompatSRSEnabled && s.endpoint.tls == nil {
		s.listener = srs.Listener(s.listener)
	}
	return nil
}

// ready is the answer of /readyz.
func (s *server) ready(ctx context.Context) error {
	if s.draining.Load() {
		return &remuda.Error{Code: remuda.CodeUnavailable, Message: "the server is shutting down", Remedy: "use another server, or try again when it is back", RetryAfterSeconds: 5}
	}
	return s.services.store.Ping(ctx)
}

// run serves until ctx ends or a part fails, then drains.
func (s *server) run(ctx context.Context) error {
	// The parts outlive ctx: a drain needs them. They end when drained.
	parts, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	var wg sync.WaitGroup
	failed := make(chan error, 7)
	background := func(name string, run func(context.Context) error) {
		wg.Go(func() {
			if err := run(parts); err != nil {
				failed <- fmt.Errorf("%s: %w", name, err)
			}
		})
	}
	background("pool", s.services.pool.Run)
	background("runtimes", s.services.runtimes.Run)
	background("runspaces", s.services.runspaces.Run)
	background("executions", s.services.executions.Run)
	background("terminals", s.services.terminals.Run)
	background("memory", s.services.trimmer.Run)
	background("http", func(context.Context) error {
		if err := s.http.Serve(s.listener); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	url := s.endpoint.url(s.listener)
	s.Logger.Info("serving", "url", url, "data", s.Config.Data, "version", s.Version)
	s.Announce(Announcement{Event: EventListening, URL: url})
	var err error
	select {
	case <-ctx.Done():
		s.Logger.Info("draining", "cause", context.Cause(ctx), "at_most", s.Config.DrainTimeout)
	case err = <-failed:
		s.Logger.Error("a part of the server failed; draining", "error", err)
	}
	err = errors.Join(err, s.drain())
	stop()
	wg.Wait()
	err = errors.Join(err, within(s.services.pool.Close))
	s.Logger.Info("stopped")
	return err
}

// drain refuses new work, lets what runs end, and closes the connections. The
// executions go first, so that whoever waits for one gets its end.
func (s *server) drain() error {
	s.draining.Store(true)
	ctx, cancel := context.WithTimeout(context.Background(), s.Config.DrainTimeout)
	defer cancel()
	ended, watched := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(watched)
		select {
		case <-s.Hurry:
			cancel()
		case <-ended:
		}
	}()
	err := errors.Join(within(s.services.terminals.Close), s.letGo(ctx))
	close(ended)
	<-watched
	close(s.drained)
	// What is still connected had its answer, or waits for what will not come.
	shut, stop := context.WithTimeout(context.Background(), 2*time.Second)
	defer stop()
	if s.http.Shutdown(shut) != nil {
		err = errors.Join(err, s.http.Close())
	}
	return err
}

// letGo ends what runs, or leaves open runspaces and what runs in them to the next
// server, as the settings say. Who is in a hurry wants nothing left.
func (s *server) letGo(ctx context.Context) error {
	if s.Config.RunspaceOnStop == config.OnStopClose || s.Config.RunspaceLinger == 0 {
		return errors.Join(s.services.executions.Drain(ctx), within(s.services.runspaces.Drain))
	}
	err := s.services.executions.Leave(ctx)
	select {
	case <-s.Hurry:
		return errors.Join(err, s.services.executions.Drain(ctx), within(s.services.runspaces.Drain))
	default:
		return errors.Join(err, within(s.services.runspaces.Leave))
	}
}

// within gives a closing function a time limit of its own.
func within(f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	return f(ctx)
}
