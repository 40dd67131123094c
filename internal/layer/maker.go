package layer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/remuda"
)

// Engine is what builds need of an engine.
type Engine interface {
	Create(ctx context.Context, spec engine.Spec) (engine.Instance, error)
	Versions(ctx context.Context, environment string, language remuda.Language) ([]engine.Interpreter, error)
}

// Options say what a Maker works with.
type Options struct {
	// Dir is where layers and locks are kept. It belongs to the Maker alone.
	Dir      string
	Engine   Engine
	Settings Settings
	Logger   *slog.Logger // nil discards
}

// Maker makes layers and keeps them.
type Maker struct {
	opts  Options
	log   *slog.Logger
	store *store
	busy  *busy

	asking  sync.Mutex // for the gateway
	leading *lead
}

// New opens the directory of layers. It asks no index and starts nothing.
func New(opts Options) (*Maker, error) {
	m := &Maker{opts: opts, log: opts.Logger, busy: newBusy()}
	if m.log == nil {
		m.log = slog.New(slog.DiscardHandler)
	}
	if err := checkSettings(opts.Settings); err != nil {
		return nil, err
	}
	var err error
	if m.store, err = openStore(opts.Dir); err != nil {
		return nil, err
	}
	return m, nil
}

func (m *Maker) timeout() time.Duration {
	return cmp.Or(m.opts.Settings.BuildTimeout, DefaultBuildTimeout)
}

func (m *Maker) lockTTL() time.Duration { return cmp.Or(m.opts.Settings.LockTTL, DefaultLockTTL) }

func (m *Maker) resources() remuda.Resources {
	r := m.opts.Settings.BuildResources
	d := DefaultBuildResources()
	return remuda.Resources{CPU: cmp.Or(r.CPU, d.CPU), MemoryMB: cmp.Or(r.MemoryMB, d.MemoryMB), DiskMB: cmp.Or(r.DiskMB, d.DiskMB), Pids: cmp.Or(r.Pids, d.Pids)}
}

// build is one step of one build.
type build struct {
	maker       *Maker
	language    remuda.Language
	version     string
	interpreter string // its path inside a sandbox
	environment string
	words       *words
}

// asked is a package of a request.
type asked struct {
	remuda.Package // Manager is set
	canonical      string
}

type packageNow struct {
	state             remuda.PackageState
	resolved, message string
}

// manager drives one installer.
type manager interface {
	// resolve says what the packages mean now.
	resolve(ctx context.Context, b *build, packages []asked) ([]remuda.Locked, error)
	// install makes a tree of what is locked and gives it to take as a tar.
	install(ctx context.Context, b *build, locked []remuda.Locked, take func(ctx context.Context, s *sandbox) error) error
}

// managers are in the order in which their trees are taken.
var managers = []struct {
	name remuda.PackageManager
	manager
}{
	{remuda.ManagerApt, apt{}},
	{remuda.ManagerNpm, npm{}},
	{remuda.ManagerPip, pip{}},
}

// Resolve finds out what exactly a request's packages are. Within the settings'
// LockTTL an equal request of the organization gets an equal lock at once.
func (m *Maker) Resolve(ctx context.Context, r Request, p Progress) (remuda.Lock, error) {
	if wrong := CheckPackages(r.Language, r.Packages); len(wrong) > 0 {
		return remuda.Lock{}, remuda.Invalid(wrong...)
	}
	if !remuda.IsID(remuda.PrefixOrganization, string(r.Organization)) && r.Organization != remuda.GlobalOrganization {
		return remuda.Lock{}, remuda.Invalid(remuda.FieldError{Field: "organization", Message: "is none"})
	}
	packages := askedOf(r)
	w := newWords(p)
	key := m.lockKey(r, packages)
	leave, err := m.busy.enter(ctx, "lock "+string(r.Organization)+" "+key)
	if err != nil {
		return remuda.Lock{}, err
	}
	defer leave()
	if !r.Refresh {
		if lock, ok := m.store.lock(r.Organization, key, m.lockTTL()); ok {
			w.say("the packages are those that an equal runtime has resolved before")
			tellResolved(w, packages, lock)
			return lock, nil
		}
	}
	b, err := m.build(ctx, r.Language, r.Version, r.Environment, w)
	if err != nil {
		return remuda.Lock{}, err
	}
	for _, one := range packages {
		w.state(one, packageNow{state: remuda.PackageInstalling})
	}
	lock := remuda.Lock{Language: r.Language, Version: r.Version, Environment: cmp.Or(r.Environment, remuda.EnvironmentHost)}
	for _, driver := range managers {
		mine := slices.DeleteFunc(slices.Clone(packages), func(a asked) bool { return a.Manager != driver.name })
		if len(mine) == 0 {
			continue
		}
		locked, err := driver.resolve(ctx, b, mine)
		if err != nil {
			return remuda.Lock{}, m.failed(w, packages, err)
		}
		lock.Packages = append(lock.Packages, locked...)
	}
	lock = canonical(lock)
	if err := checkLock(lock); err != nil {
		return remuda.Lock{}, m.failed(w, packages, err)
	}
	tellResolved(w, packages, lock)
	if err := m.store.keepLock(r.Organization, key, lock); err != nil {
		return remuda.Lock{}, err
	}
	return lock, nil
}

// Install gives the layer of a lock: at once if it is there, or makes it.
func (m *Maker) Install(ctx context.Context, org remuda.OrganizationID, lock remuda.Lock, p Progress) (engine.Layer, error) {
	lock = canonical(lock)
	if err := checkLock(lock); err != nil {
		return engine.Layer{}, err
	}
	id := ID(lock)
	w := newWords(p)
	packages := askedIn(lock)
	leave, err := m.busy.enter(ctx, "layer "+string(org)+" "+string(id))
	if err != nil {
		return engine.Layer{}, err
	}
	defer leave()
	if l, ok := m.store.layer(org, id); ok {
		m.store.touch(org, id)
		w.say("layer " + string(id) + " is there")
		tellInstalled(w, packages, lock)
		return l, nil
	}
	b, err := m.build(ctx, lock.Language, lock.Version, lock.Environment, w)
	if err != nil {
		return engine.Layer{}, err
	}
	d, err := m.store.draft()
	if err != nil {
		return engine.Layer{}, err
	}
	defer d.discard()
	for _, driver := range managers {
		mine := slices.DeleteFunc(slices.Clone(lock.Packages), func(l remuda.Locked) bool { return l.Manager != driver.name })
		if len(mine) == 0 {
			continue
		}
		take := func(ctx context.Context, s *sandbox) error { return m.take(ctx, s, d) }
		if err := driver.install(ctx, b, mine, take); err != nil {
			// The index may not have it any more: the next one asks. A file that was
			// replaced is another matter: nobody shall get that unasked.
			if blamed, is := errors.AsType[*blame](err); is && !blamed.wrong {
				m.store.forgetLock(org, id)
			}
			return engine.Layer{}, m.failed(w, packages, err)
		}
	}
	l, err := m.store.keep(org, id, lock, d)
	if err != nil {
		return engine.Layer{}, err
	}
	w.say(fmt.Sprintf("layer %s has %d files and %d bytes, content %s", id, d.files, d.bytes, d.digest))
	tellInstalled(w, packages, lock)
	return l, nil
}

// Layer finds a layer that is there.
func (m *Maker) Layer(org remuda.OrganizationID, id remuda.LayerID) (engine.Layer, bool) {
	return m.store.layer(org, id)
}

// build finds the interpreter that packages are for.
func (m *Maker) build(ctx context.Context, language remuda.Language, version, environment string, w *words) (*build, error) {
	list, err := m.opts.Engine.Versions(ctx, environment, language)
	if err != nil {
		return nil, err
	}
	for _, in := range list {
		if in.Version == version {
			return &build{maker: m, language: language, version: version, interpreter: in.Path, environment: environment, words: w}, nil
		}
	}
	return nil, &remuda.Error{Code: remuda.CodePrecondition, Message: fmt.Sprintf("%s %s is not on this machine", language, version), Cause: "packages are installed for an exact interpreter", Remedy: "give the runtime a version that is there, or install this one"}
}

func askedOf(r Request) []asked {
	list := make([]asked, len(r.Packages))
	for n, p := range r.Packages {
		p.Manager = r.Language.ManagerOf(p)
		list[n] = asked{Package: p, canonical: CanonicalName(p.Manager, p.Name)}
	}
	return list
}

// askedIn are the packages that a lock was made for.
func askedIn(lock remuda.Lock) []asked {
	var list []asked
	for _, l := range lock.Packages {
		if l.Asked {
			list = append(list, asked{Package: remuda.Package{Name: l.Name, Version: l.Version, Manager: l.Manager}, canonical: l.Name})
		}
	}
	return list
}

// resolvedIn is the version of a package in a lock.
func resolvedIn(lock remuda.Lock, one asked) string {
	for _, l := range lock.Packages {
		if l.Asked && l.Manager == one.Manager && l.Name == one.canonical {
			return l.Version
		}
	}
	return ""
}

func tellResolved(w *words, packages []asked, lock remuda.Lock) {
	for _, one := range packages {
		w.state(one, packageNow{state: remuda.PackageInstalling, resolved: resolvedIn(lock, one)})
	}
}

func tellInstalled(w *words, packages []asked, lock remuda.Lock) {
	for _, one := range packages {
		w.state(one, packageNow{state: remuda.PackageInstalled, resolved: resolvedIn(lock, one)})
	}
}

// failed tells of each package that it is not installed, and why.
func (m *Maker) failed(w *words, packages []asked, err error) error {
	blamed, is := errors.AsType[*blame](err)
	for _, one := range packages {
		message := remuda.Public(err)
		if is && blamed.name != "" && one.canonical != CanonicalName(one.Manager, blamed.name) {
			message = "not installed, because " + blamed.name + " failed"
		}
		w.state(one, packageNow{state: remuda.PackageNotInstalled, message: message})
	}
	w.say("the build has failed: " + remuda.Public(err))
	return err
}

// busy lets one goroutine at a time do a thing.
type busy struct {
	mu    sync.Mutex
	doing map[string]chan struct{}
}

func newBusy() *busy { return &busy{doing: map[string]chan struct{}{}} }

// enter waits until nobody else does it.
func (b *busy) enter(ctx context.Context, what string) (leave func(), err error) {
	for {
		b.mu.Lock()
		other := b.doing[what]
		if other == nil {
			mine := make(chan struct{})
			b.doing[what] = mine
			b.mu.Unlock()
			return func() {
				b.mu.Lock()
				delete(b.doing, what)
				b.mu.Unlock()
				close(mine)
			}, nil
		}
		b.mu.Unlock()
		select {
		case <-other:
		case <-ctx.Done():
			return nil, remuda.Errorf(engine.ContextCode(ctx), "wait for an equal build: %w", context.Cause(ctx))
		}
	}
}
