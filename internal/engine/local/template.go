package local

import (
	"context"
	"errors"
	"maps"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/engine/keeper"
	"github.com/remuda-run/remuda/internal/engine/local/cgroup"
	"github.com/remuda-run/remuda/internal/guest"
	"github.com/remuda-run/remuda/internal/guest/protocol"
	"github.com/remuda-run/remuda/internal/remuda"
)

// A template is a started interpreter of one generation that has imported what
// the runtime preloads and has run nothing else. It lives in a sandbox of its
// own, whose keeper is also the keeper of every instance forked from it, and it
// can do nothing for these: cgroup, users, disk and descriptors come from outside
// (package guestinit, template.go).
type template struct {
	engine  *Engine
	key     remuda.GenerationKey
	spec    engine.Spec
	version string // that spec.Version was found to be
	driver  guest.Program
	cancel  context.CancelFunc // ends it, or its making
	settled chan struct{}      // closed when it is ready or will never be

	stock  *stock         // of forks that wait to become instances
	groups *cgroup.Spares // of instances that have ended

	forks atomic.Int64 // that it gave

	leaving chan struct{} // closed when instances of ours are to outlive us

	mu    sync.Mutex
	seen  time.Time // when the interpreter was last found to be what it was
	blank *blank    // nil until it is ready
	idle  *time.Timer
	ended bool
	kept  bool // by instances that were detached

	givenUp bool // belongs to templates.mu
}

// Templates are let go of when nobody has asked for an instance for this long.
// The next ones are started without until there is a new one.
const templateIdle = 10 * time.Minute

// templateSeen is how long an interpreter that was replaced may go unnoticed.
const templateSeen = 2 * time.Second

// templatesAtOnce bounds them on a node; the one unused for longest goes.
const templatesAtOnce = 64

// Room in a template's cgroup beside what its interpreter may have: its keeper
// holds output for all its instances, and children are born there.
const (
	templateMemory = 256 << 20
	templatePids   = 128
	templateCPU    = 1
)

// templates are those of an engine.
type templates struct {
	engine *Engine

	mu      sync.Mutex
	byKey   map[remuda.GenerationKey]*template
	asked   map[remuda.GenerationKey]bool // somebody has waited for an instance
	refused map[remuda.GenerationKey]bool // never again
	failed  map[remuda.GenerationKey]int  // how many gave no forks
	closed  bool
	living  map[*template]bool // also those that nobody is to find any more
	running sync.WaitGroup
}

func newTemplates(e *Engine) *templates {
	return &templates{engine: e, byKey: map[remuda.GenerationKey]*template{}, asked: map[remuda.GenerationKey]bool{}, refused: map[remuda.GenerationKey]bool{}, failed: map[remuda.GenerationKey]int{}, living: map[*template]bool{}}
}

// host is the interpreter that a language's template is: a Python instance is a
// fork of a Python template; the others, which cannot clone themselves, are
// executed by one, which spares them a keeper of their own.
func (ts *templates) host(ctx context.Context, spec engine.Spec, driver guest.Program) (guest.Program, error) {
	if spec.Language == remuda.LanguagePython {
		return driver, nil
	}
	in, err := ts.engine.versions.interpreter(ctx, remuda.LanguagePython, "")
	if err != nil {
		return guest.Program{}, err
	}
	return ts.engine.driver(ctx, remuda.LanguagePython, in)
}

// of returns the template to fork an instance from, if it is ready. An instance
// whose environment is not its generation's is not forked.
func (ts *templates) of(ctx context.Context, spec engine.Spec) *template {
	t := ts.find(spec)
	if t == nil {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.blank == nil || t.ended {
		return nil
	}
	now := time.Now()
	if now.Sub(t.seen) > templateSeen {
		in, err := ts.engine.versions.interpreter(ctx, spec.Language, spec.Version)
		if err != nil || in.Version != t.version {
			go func() { ts.forget(t); t.end() }() // the machine has another by now
			return nil
		}
		t.seen = now
		t.idle.Reset(templateIdle)
	}
	return t
}

// find returns the template that a spec's instance would be forked from, ready or
// not.
func (ts *templates) find(spec engine.Spec) *template {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if t := ts.byKey[spec.Generation]; t != nil && t.serves(spec) {
		return t
	}
	return nil
}

func (t *template) serves(spec engine.Spec) bool {
	return spec.Language == t.spec.Language && spec.Version == t.spec.Version &&
		maps.Equal(spec.Env, t.spec.Env) && slices.Equal(spec.Preload, t.spec.Preload) && slices.Equal(spec.Layers, t.spec.Layers)
}

// wantAgain is want after an instance that somebody has waited for: from the
// second on. A template costs two starts, and what is used once would pay for
// three.
func (ts *templates) wantAgain(spec engine.Spec, version string, driver guest.Program) {
	ts.mu.Lock()
	again := ts.asked[spec.Generation]
	ts.asked[spec.Generation] = true
	ts.mu.Unlock()
	if again {
		ts.want(spec, version, driver)
	}
}

// want begins to make the generation's template, unless there is one or cannot
// be one.
func (ts *templates) want(spec engine.Spec, version string, driver guest.Program) {
	if spec.Generation == (remuda.GenerationKey{}) || ts.engine.opts.Ephemeral {
		return
	}
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if ts.closed || ts.byKey[spec.Generation] != nil || ts.refused[spec.Generation] {
		return
	}
	if len(ts.byKey) >= templatesAtOnce && !ts.makeRoom() {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	t := &template{engine: ts.engine, key: spec.Generation, spec: spec, version: version, driver: driver, cancel: cancel, settled: make(chan struct{}), leaving: make(chan struct{})}
	t.stock, t.groups = t.newStock(), t.newGroups()
	ts.byKey[t.key], ts.living[t] = t, true
	ts.running.Go(func() { ts.live(ctx, t) })
}

// await returns the generation's template once it is ready, or nil if there will
// be none. It is for instances that nobody waits for: one interpreter is started
// instead of one for each of them.
func (ts *templates) await(ctx context.Context, spec engine.Spec) *template {
	t := ts.find(spec)
	if t == nil {
		return nil
	}
	select {
	case <-t.settled:
		return ts.of(ctx, spec)
	case <-ctx.Done():
		return nil
	}
}

// makeRoom ends the template that is unused for longest, if one is ready. Needs
// mu.
func (ts *templates) makeRoom() bool {
	var oldest *template
	var since time.Time
	for _, t := range ts.byKey {
		t.mu.Lock()
		if t.blank != nil && (oldest == nil || t.seen.Before(since)) {
			oldest, since = t, t.seen
		}
		t.mu.Unlock()
	}
	if oldest == nil {
		return false
	}
	delete(ts.byKey, oldest.key)
	oldest.end()
	return true
}

// live is the life of a template from its start until nothing is left of it.
func (ts *templates) live(ctx context.Context, t *template) {
	defer t.cancel()
	defer func() {
		ts.mu.Lock()
		defer ts.mu.Unlock()
		delete(ts.living, t)
	}()
	defer ts.forget(t)
	settle := sync.OnceFunc(func() { close(t.settled) })
	defer settle()
	b, refused, err := t.start(ctx)
	if err != nil {
		switch {
		case refused:
			ts.refuse(t.key)
		case errors.Is(err, os.ErrDeadlineExceeded): // its modules may never be done
			ts.giveUp(t)
		}
		if ctx.Err() == nil {
			ts.engine.log.Warn("a runtime has no template; its instances are started one by one", "runtime", t.key.Runtime, "generation", t.key.Number, "error", err)
		}
		return
	}
	t.mu.Lock()
	t.blank, t.seen = b, time.Now()
	t.idle = time.AfterFunc(templateIdle, func() { ts.forget(t); t.end() })
	if t.ended {
		b.conn.Close()
	}
	t.mu.Unlock()
	settle()
	if !t.last(ctx) {
		b.leave()
		return
	}
	clearing, cancel := context.WithTimeout(context.Background(), keeper.CleanupTime)
	defer cancel()
	if err := b.clear(clearing); err != nil {
		ts.engine.log.Error("a template was not removed entirely", "runtime", t.key.Runtime, "error", err)
	}
}

// start makes the template's sandbox. refused says that the next try would end
// no better.
func (t *template) start(ctx context.Context) (_ *blank, refused bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, setupTime)
	defer cancel()
	e := t.engine
	b, err := e.stock.take(ctx)
	if err != nil {
		return nil, false, err
	}
	b.replace()
	defer func() {
		if err != nil {
			err = errors.Join(err, b.destroy(ctx))
		}
	}()
	r := t.spec.Resources
	limits := b.limitsOf(r)
	limits.Memory += templateMemory
	limits.Pids += templatePids
	limits.CPU += templateCPU
	if err := b.group.Limit(limits); err != nil {
		return nil, false, err
	}
	quota := quotaOf(r)
	quota.image = false // it is taken away before the first fork
	host, err := e.templates.host(ctx, t.spec, t.driver)
	if err != nil {
		return nil, true, err
	}
	setup := e.setup(t.spec, host, quota)
	setup.Cwd, setup.LingerMS = "/", 0
	setup.Seccomp = e.templateFilter
	setup.Template = &protocol.Template{Preload: t.spec.Preload, Seccomp: e.childFilter}
	setup.Limits, setup.Template.Limits = templateLimits(setup.Limits)
	if t.spec.Language != remuda.LanguagePython {
		setup.Language = string(remuda.LanguagePython)
		setup.Template.Exec, setup.Template.Language = t.driver.Argv, string(t.spec.Language)
	}
	layers, err := openLayers(t.spec.Layers)
	if err != nil {
		return nil, false, err
	}
	defer layers.close()
	setup.Mounts = layers.targets
	if err := b.conn.SendSetup(&setup, -1, layers.fds...); err != nil {
		return nil, false, err
	}
	if _, err := b.conn.WaitReady(ctx); err != nil {
		return nil, ctx.Err() == nil, err
	}
	return b, false, b.group.Yield(false)
}
