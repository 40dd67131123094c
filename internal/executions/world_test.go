package executions_test

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/engine/fake"
	"github.com/remuda-run/remuda/internal/executions"
	"github.com/remuda-run/remuda/internal/pool"
	"github.com/remuda-run/remuda/internal/remuda"
	"github.com/remuda-run/remuda/internal/runspaces"
	"github.com/remuda-run/remuda/internal/runtimes"
	"github.com/remuda-run/remuda/internal/store"
	"github.com/remuda-run/remuda/internal/store/storetest"
)

// fuse kills a server at the n-th of the points that it passes.
type fuse struct {
	left  atomic.Int64
	blown atomic.Bool
	kill  func()
}

// pass is one point. Of a server without a fuse nothing happens.
func (f *fuse) pass() {
	if f != nil && f.kill != nil && f.left.Add(-1) == 0 {
		f.blow()
	}
}

func (f *fuse) blow() {
	if f.blown.CompareAndSwap(false, true) {
		f.kill()
	}
}

// errDead is a conflict: nobody asks a store again after that.
var errDead = remuda.Errorf(remuda.CodeConflict, "the server was killed")

// killable is a store as one server sees it: nothing reaches it once that is dead.
type killable struct {
	*store.Store
	fuse *fuse
}

func (m killable) wrap(fn func(*store.Tx) error) func(*store.Tx) error {
	return func(tx *store.Tx) error {
		if m.fuse.blown.Load() {
			return errDead
		}
		if err := fn(tx); err != nil {
			return err
		}
		m.fuse.pass() // before the commit
		if m.fuse.blown.Load() {
			return errDead
		}
		return nil
	}
}

func (m killable) Begin(fn func(*store.Tx) error) *store.Pending {
	m.fuse.pass()
	return m.Store.Begin(m.wrap(fn))
}

func (m killable) BeginPatiently(patience time.Duration, company int, fn func(*store.Tx) error) *store.Pending {
	m.fuse.pass()
	return m.Store.BeginPatiently(patience, company, m.wrap(fn))
}

func (m killable) Write(ctx context.Context, fn func(*store.Tx) error) error {
	m.fuse.pass()
	return m.Store.Write(ctx, m.wrap(fn))
}

func (m killable) RecordEnd(ctx context.Context, e *store.End) error {
	m.fuse.pass()
	if m.fuse.blown.Load() {
		return errDead
	}
	if err := m.Store.RecordEnd(ctx, e); err != nil {
		return err
	}
	m.fuse.pass() // durable, and nobody was told
	if m.fuse.blown.Load() {
		return errDead
	}
	return nil
}

func (m killable) Read(ctx context.Context, fn func(*store.Tx) error) error {
	if m.fuse.blown.Load() {
		return errDead
	}
	return m.Store.Read(ctx, fn)
}

func (m killable) ReadOf(ctx context.Context, of store.Ended, fn func(*store.Tx) error) error {
	if m.fuse.blown.Load() {
		return errDead
	}
	return m.Store.ReadOf(ctx, of, fn)
}

// world is a machine and a database, on which servers follow each other.
type world struct {
	t     fataler
	store *store.Store
	eng   *fake.Engine   // of the present server
	past  sync.WaitGroup // killed servers that are being put away
	now   *server
	set   settings
}

// fataler is a test, or a check of a property.
type fataler interface {
	Helper()
	Fatalf(format string, args ...any)
	Errorf(format string, args ...any)
	Logf(format string, args ...any)
}

// server is one life of a server without doors.
type server struct {
	w          *world
	fuse       *fuse
	view       *view
	pool       *pool.Pool
	runtimes   *runtimes.Service
	runspaces  *runspaces.Service
	executions *executions.Service
	stop       context.CancelFunc
	parts      sync.WaitGroup
	recovered  runspaces.Recovery
	went       executions.Recovery
}

func newWorld(t *testing.T, set settings) *world {
	t.Helper()
	w := openWorld(t, t.TempDir(), set)
	t.Cleanup(func() { w.end() })
	return w
}

func openWorld(t fataler, dir string, set settings) *world {
	t.Helper()
	st, err := store.Open(context.Background(), store.Options{Path: storetest.Fresh(t, filepath.Join(dir, "remuda.db")), Durability: store.DurabilityProcess})
	if err != nil {
		t.Fatalf("%v", err)
	}
	w := &world{t: t, store: st, eng: fake.New(), set: set}
	err = st.Write(context.Background(), func(tx *store.Tx) error {
		return tx.InsertOrganization(context.Background(), remuda.Organization{ID: ours, Name: "ours", CreatedAt: time.Now()})
	})
	if err != nil {
		t.Fatalf("%v", err)
	}
	w.start()
	_, err = w.now.runtimes.CreateRuntime(context.Background(), deployer, remuda.Definition{Name: "r", Language: remuda.LanguagePython, Resources: remuda.Resources{DiskMB: 1}})
	if err != nil {
		t.Fatalf("%v", err)
	}
	return w
}

// start begins the life of the next server, with everything that the product does for
// that.
func (w *world) start() *server {
	w.t.Helper()
	ctx, log := context.Background(), slog.New(slog.DiscardHandler)
	// A commit that was under way when the last server was killed is through now, or
	// never will be.
	if err := w.store.Write(ctx, func(*store.Tx) error { return nil }); err != nil {
		w.t.Fatalf("%v", err)
	}
	s := &server{w: w, fuse: &fuse{}}
	s.view = &view{Engine: w.eng, fuse: s.fuse}
	st := killable{w.store, s.fuse}
	s.pool = pool.New(s.view, log, nil, w.set.pool)
	s.runtimes = runtimes.New(st, s.view, s.pool, log, runtimes.Settings{})
	s.runspaces = runspaces.New(st, s.runtimes, s.pool, log, nil, w.set.runspaces)
	s.executions = executions.New(st, s.runtimes, s.runspaces, s.pool, log, nil, w.set.executions)
	s.runspaces.SetRunner(s.executions)
	s.fuse.kill = func() { w.eng = w.eng.Next() }
	if err := s.recover(ctx); err != nil {
		w.t.Fatalf("a server that starts: %v", err)
	}
	parts, stop := context.WithCancel(ctx)
	s.stop = stop
	for _, part := range []func(context.Context) error{s.pool.Run, s.runspaces.Run, s.executions.Run} {
		s.parts.Go(func() { _ = part(parts) })
	}
	w.now = s
	return s
}

func (s *server) recover(ctx context.Context) error {
	rows, err := s.runspaces.Keep(ctx)
	if err != nil {
		return err
	}
	if err := s.runtimes.Start(ctx); err != nil {
		return err
	}
	var specs []engine.Spec
	leases := map[remuda.InstanceID]func(engine.Instance) (*pool.Lease, error){}
	for _, row := range rows {
		key := remuda.GenerationKey{Runtime: row.Runtime, Number: row.Generation}
		stored, err := s.runtimes.Stored(ctx, row.Organization, key)
		if err != nil {
			return err
		}
		claim := pool.Claim{Runtime: row.Runtime, Organization: row.Organization}
		specs = append(specs, pool.Spec(row.Instance, key, stored.Definition, stored.Layers, claim))
		leases[row.Instance] = func(inst engine.Instance) (*pool.Lease, error) {
			return s.pool.Adopt(inst, key, stored.Definition, stored.Layers, claim)
		}
	}
	found, err := s.view.Recover(ctx, specs)
	if err != nil {
		return err
	}
	attached := map[remuda.InstanceID]runspaces.Attached{}
	for _, inst := range found.Attached {
		lease, err := leases[inst.ID()](inst)
		if err != nil {
			return err
		}
		attached[inst.ID()] = runspaces.Attached{Instance: inst, Lease: lease}
	}
	if s.recovered, err = s.runspaces.Recover(ctx, runspaces.Found{Attached: attached, Lost: found.Lost}); err != nil {
		return err
	}
	s.went, err = s.executions.Recover(ctx)
	return err
}

// kill ends the server as kill -9 does.
func (w *world) kill() {
	s := w.now
	s.fuse.blow()
	w.past.Go(func() { s.putAway() })
}

// putAway ends the goroutines of a server that nothing of reaches anything any more.
func (s *server) putAway() {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	now, over := context.WithCancel(ctx)
	over()
	_ = errors.Join(s.executions.Drain(now), s.runspaces.Drain(ctx)) // nothing of it can be recorded
	s.stop()
	s.parts.Wait()
	_ = s.pool.Close(ctx)
}

// leave ends the server as SIGTERM does, which leaves runspaces to the next one.
func (w *world) leave() {
	w.t.Helper()
	s := w.now
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	now, over := context.WithTimeout(ctx, 10*time.Millisecond)
	defer over()
	err := errors.Join(s.executions.Leave(now), s.runspaces.Leave(ctx), s.executions.Drain(ctx))
	s.stop()
	s.parts.Wait()
	if err := errors.Join(err, s.pool.Close(ctx), s.view.Close(ctx)); err != nil {
		w.t.Errorf("a server that leaves its runspaces: %v", err)
	}
	w.eng = w.eng.Next()
}

// end closes everything.
func (w *world) end() {
	s := w.now
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	now, over := context.WithCancel(ctx)
	over()
	err := errors.Join(s.executions.Drain(now), s.runspaces.Drain(ctx))
	s.stop()
	s.parts.Wait()
	w.past.Wait()
	if err := errors.Join(err, s.pool.Close(ctx), w.store.Close()); err != nil {
		w.t.Errorf("the end: %v", err)
	}
	if left := w.eng.Living(); len(left) != 0 {
		w.t.Errorf("%d sandboxes live after the end", len(left))
	}
}
