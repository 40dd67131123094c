package oci

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"

	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/engine/local"
	"github.com/remuda-run/remuda/internal/engine/local/cgroup"
	"github.com/remuda-run/remuda/internal/remuda"
)

// Options say how an engine is to work.
type Options struct {
	// DataDir is where bundles are. Required. No two engines may use one at the
	// same time. It is made when the first sandbox is.
	DataDir string
	// Logger gets what nobody is waiting for. Nil discards it.
	Logger *slog.Logger
	// CgroupParent is the cgroup below which the engine makes its own; "" is the
	// root of the hierarchy.
	CgroupParent string
	// Runsc is the path of the runtime; "" looks beside this program and in PATH.
	Runsc string
	// Interpreters are as in local.Options.
	Interpreters []string
	// Ephemeral ends sandboxes with this process, whatever Spec.Linger says.
	Ephemeral bool
}

// Engine is the engine.Engine of this package. It takes nothing of the machine
// before it is first asked for a sandbox.
type Engine struct {
	opts Options
	log  *slog.Logger
	host *local.Host

	mu        sync.Mutex
	opened    *site // nil before the first use
	instances map[remuda.InstanceID]engine.Instance
	closed    bool
}

// site is what an engine has once it is in use.
type site struct {
	dir   *dataDir
	herd  *cgroup.Herd
	runsc string
	root  *root
}

var _ engine.Engine = (*Engine)(nil)

// New prepares an engine.
func New(opts Options) *Engine {
	e := &Engine{opts: opts, log: opts.Logger, instances: map[remuda.InstanceID]engine.Instance{}}
	if e.log == nil {
		e.log = slog.New(slog.DiscardHandler)
	}
	e.host = local.NewHost(e.log, e.opts.Interpreters)
	return e
}

// Name implements engine.Engine.
func (e *Engine) Name() string { return "oci" }

// Versions implements engine.Engine.
func (e *Engine) Versions(ctx context.Context, environment string, language remuda.Language) ([]engine.Interpreter, error) {
	return e.host.Versions(ctx, environment, language)
}

// Available says why no sandbox can be made here, as far as a look tells: nil
// when the runtime is installed. Check tries it.
func (e *Engine) Available() error {
	_, err := e.findRunsc()
	return err
}

// site makes what all sandboxes share, once.
func (e *Engine) site() (*site, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return nil, remuda.Errorf(remuda.CodeUnavailable, "the engine is closed")
	}
	if e.opened != nil {
		return e.opened, nil
	}
	if os.Geteuid() != 0 {
		return nil, unsupported("sandboxes of the class gvisor need root", "runsc and cgroups are root's", "start remuda as root", nil)
	}
	runsc, err := e.findRunsc()
	if err != nil {
		return nil, err
	}
	o := &site{runsc: runsc}
	if o.dir, err = openDataDir(e.opts.DataDir); err != nil {
		return nil, err
	}
	if err := o.prepare(e); err != nil {
		o.dir.Close()
		return nil, err
	}
	e.opened = o
	return o, nil
}

func (o *site) prepare(e *Engine) error {
	hierarchy, err := cgroup.Detect()
	if err != nil {
		return unsupported("cgroups cannot be used", err.Error(), "mount cgroup2 at /sys/fs/cgroup with the controllers cpu, memory and pids", err)
	}
	if o.herd, err = hierarchy.Open(e.opts.CgroupParent, "remuda-oci-"+o.dir.Herd); err != nil {
		return unsupported("the engine's cgroup cannot be made", err.Error(), "give a parent cgroup without processes of its own (setting cgroup_parent)", err)
	}
	if o.root, err = makeRoot(o.dir, e.host.Root()); err != nil {
		return remuda.Internal("making the root of sandboxes", errors.Join(err, o.herd.Remove()))
	}
	return nil
}

// Close implements engine.Engine.
func (e *Engine) Close(ctx context.Context) error {
	e.mu.Lock()
	if e.closed {
		e.mu.Unlock()
		return nil
	}
	e.closed = true
	o := e.opened
	living := make([]engine.Instance, 0, len(e.instances))
	for _, inst := range e.instances {
		if inst != nil {
			living = append(living, inst)
		}
	}
	e.mu.Unlock()
	if o == nil {
		return nil
	}
	results := make([]error, len(living))
	var wg sync.WaitGroup
	for n, inst := range living {
		wg.Go(func() { results[n] = inst.Destroy(ctx) })
	}
	wg.Wait()
	err := errors.Join(results...)
	if err == nil {
		err = errors.Join(o.herd.Remove(), o.root.remove())
	}
	o.dir.Close()
	if err != nil {
		return fmt.Errorf("close engine: %w", err)
	}
	return nil
}

// reserve takes an id for an instance that is being made; keep names its
// instance, forget is its end.
func (e *Engine) reserve(id remuda.InstanceID) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return remuda.Errorf(remuda.CodeUnavailable, "the engine is closed")
	}
	if _, ok := e.instances[id]; ok {
		return remuda.Errorf(remuda.CodeConflict, "instance %s exists", id)
	}
	e.instances[id] = nil
	return nil
}

// keep reports whether the engine is still open; if not, the instance has to go.
func (e *Engine) keep(inst engine.Instance) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.instances[inst.ID()] = inst
	return !e.closed
}

func (e *Engine) forget(id remuda.InstanceID) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.instances, id)
}

// unsupported says that this machine lacks something.
func unsupported(what, why, remedy string, err error) error {
	return &remuda.Error{Code: remuda.CodeUnsupported, Message: what, Cause: why, Remedy: remedy, Err: err}
}
