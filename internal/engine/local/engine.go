package local

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"

	"github.com/remuda-run/remuda/internal/egress"
	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/engine/local/cgroup"
	"github.com/remuda-run/remuda/internal/engine/local/launch"
	"github.com/remuda-run/remuda/internal/engine/local/netslot"
	"github.com/remuda-run/remuda/internal/engine/local/seccomp"
	"github.com/remuda-run/remuda/internal/guest/initbin"
	"github.com/remuda-run/remuda/internal/guest/protocol"
	"github.com/remuda-run/remuda/internal/remuda"
)

// Options say how an engine is to work.
type Options struct {
	// DataDir is where sockets, metadata and disk images are. Required. No two
	// engines may use one at the same time.
	DataDir string
	// Logger gets what nobody is waiting for. Nil discards it.
	Logger *slog.Logger
	// CgroupParent is the cgroup below which the engine makes its own; "" is the
	// root of the hierarchy.
	CgroupParent string
	// Blanks is how many blanks are kept in stock, and at most how many forks of a
	// template; 0 is DefaultBlanks, negative is none.
	Blanks int
	// Network are the site's settings of the network of sandboxes; the zero value
	// is egress.DefaultSettings with its rules.
	Network egress.Settings
	// Interpreters are prefixes (/opt/python-3.12) with further interpreters in
	// their bin, which sandboxes see read-only at the same place.
	Interpreters []string
	// Ephemeral ends sandboxes with this process, whatever Spec.Linger says.
	Ephemeral bool
}

// DefaultBlanks is the stock that lets a few cold starts come at once. A blank
// holds about 4 MB.
const DefaultBlanks = 3

// Engine is the engine.Engine of this package.
type Engine struct {
	opts     Options
	log      *slog.Logger
	dir      *dataDir
	launcher *launch.Client
	herd     *cgroup.Herd
	uids     *uidRanges
	filter   []byte // system call filter
	// Together these are the same as filter.
	templateFilter, childFilter []byte
	words                       *lastWords
	moves                       *os.File // open: moves between cgroups are cheap; may be nil
	stock                       *stock
	disks                       *diskMaker
	slots                       *netslot.Slots
	versions                    *versionCache
	compiled                    *compiledDrivers

	templates *templates

	mu        sync.Mutex
	instances map[remuda.InstanceID]*Instance
	orphans   map[string]*orphan // by the name of the keeper
	left      bool               // some were detached
	recovered bool               // what an earlier server left is cleared, or taken over
	closed    bool

	making map[remuda.InstanceID]context.CancelFunc // that are not made yet
	makers sync.WaitGroup                           // who makes them
}

var _ engine.Engine = (*Engine)(nil)

// New prepares an engine and takes its data directory. It starts no sandbox.
// Errors name what is missing; Check says more.
func New(_ context.Context, opts Options) (_ *Engine, err error) {
	e := &Engine{opts: opts, log: opts.Logger, instances: map[remuda.InstanceID]*Instance{}, versions: newVersionCache(opts.Interpreters)}
	if e.log == nil {
		e.log = slog.New(slog.DiscardHandler)
	}
	e.making, e.orphans = map[remuda.InstanceID]context.CancelFunc{}, map[string]*orphan{}
	e.compiled = newCompiledDrivers(e.log)
	if os.Geteuid() != 0 {
		return nil, unsupported("the local engine needs root", "namespaces with uid ranges, cgroups and mounts are root's", "start remuda as root", nil)
	}
	defer func() {
		if err != nil {
			e.release()
		}
	}()
	if e.dir, err = openDataDir(opts.DataDir); err != nil {
		return nil, err
	}
	if err := e.prepare(); err != nil {
		return nil, err
	}
	return e, nil
}

// prepare makes what all sandboxes share.
func (e *Engine) prepare() error {
	binary, err := initbin.Binary()
	if err != nil {
		return unsupported("the first process of a sandbox is missing", err.Error(), "build with `make build`", err)
	}
	if e.launcher, err = launch.NewClient(binary, func() protocol.Root { return hostRoot(resolvConf(e.opts.Network), e.opts.Interpreters) }); err != nil {
		return unsupported("remuda-init cannot be executed from memory", err.Error(), "run `remuda doctor`", err)
	}
	if e.filter, err = seccomp.Program(); err != nil {
		return unsupported("there is no system call filter for this machine", err.Error(), "use an amd64 or arm64 machine", err)
	}
	if e.templateFilter, err = seccomp.Template(protocol.ForkFlags, protocol.OwnFlags); err == nil {
		e.childFilter, err = seccomp.Child()
	}
	if err != nil {
		return unsupported("there is no system call filter for this machine", err.Error(), "use an amd64 or arm64 machine", err)
	}
	e.templates = newTemplates(e)
	hierarchy, err := cgroup.Detect()
	if err != nil {
		return unsupported("cgroups cannot be used", err.Error(), "mount cgroup2 at /sys/fs/cgroup with the controllers cpu, memory and pids", err)
	}
	if e.moves, err = cgroup.FavorMoves(); err != nil {
		e.log.Info("moves between cgroups cannot be made cheap on this machine; cold starts take some milliseconds more", "error", err)
	}
	if e.herd, err = hierarchy.Open(e.opts.CgroupParent, "remuda-"+e.dir.herd); err != nil {
		return unsupported("the engine's cgroup cannot be made", err.Error(), "give a parent cgroup without processes of its own (setting cgroup_parent)", err)
	}
	if e.words, err = newLastWords(e.log); err != nil {
		return err
	}
	if err := e.newSlots(); err != nil {
		return err
	}
	e.uids = newUIDRanges(uidLockFile)
	e.disks = newDiskMaker(e.dir.disk)
	blanks := e.opts.Blanks
	if blanks == 0 {
		blanks = DefaultBlanks
	}
	e.stock = newStock(max(blanks, 0), e.log, e.makeBlank, e.launcher.Era)
	return nil
}

// Name implements engine.Engine.
func (e *Engine) Name() string { return "local" }

// Retire implements engine.Retirer.
func (e *Engine) Retire(key remuda.GenerationKey) { e.templates.retire(key) }

// Close implements engine.Engine.
func (e *Engine) Close(ctx context.Context) error {
	e.mu.Lock()
	if e.closed {
		e.mu.Unlock()
		return nil
	}
	e.closed = true
	for _, giveUp := range e.making {
		giveUp()
	}
	e.mu.Unlock()
	e.makers.Wait()
	e.mu.Lock()
	living := make([]*Instance, 0, len(e.instances))
	for _, inst := range e.instances {
		living = append(living, inst)
	}
	e.mu.Unlock()
	errs := []error{e.stock.close()}
	var wg sync.WaitGroup
	results := make([]error, len(living))
	for n, inst := range living {
		wg.Go(func() { results[n] = inst.Destroy(ctx) })
	}
	wg.Wait()
	e.templates.close()
	e.leaveOrphans()
	errs = append(append(errs, results...), e.slots.Close(ctx))
	if err := errors.Join(errs...); err != nil {
		e.release()
		return fmt.Errorf("close engine: %w", err)
	}
	var err error
	if !e.occupied() {
		err = e.herd.Remove()
	}
	e.release()
	return err
}

// occupied reports whether there is in the herd what is another server's: what was
// detached, or what an earlier one left and nobody has looked at.
func (e *Engine) occupied() bool {
	e.mu.Lock()
	left, recovered := e.left, e.recovered
	e.mu.Unlock()
	if left || recovered {
		return left
	}
	groups, err := e.herd.Names()
	return err != nil || len(groups) > 0
}

// begin notes that an instance is being made and how that is given up. The
// function returned is its end.
func (e *Engine) begin(id remuda.InstanceID, giveUp context.CancelFunc) (func(), error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return nil, remuda.Errorf(remuda.CodeUnavailable, "the engine is closed")
	}
	e.makers.Add(1)
	e.making[id] = giveUp
	return func() {
		e.mu.Lock()
		delete(e.making, id)
		e.mu.Unlock()
		e.makers.Done()
	}, nil
}

// release lets go of what the process holds. What is on the machine and was not
// removed stays for Recover.
func (e *Engine) release() {
	if e.launcher != nil {
		e.launcher.Close()
	}
	if e.words != nil {
		e.words.close()
	}
	if e.moves != nil {
		_ = e.moves.Close()
	}
	if e.uids != nil {
		e.uids.close()
	}
	if e.dir != nil {
		e.dir.close()
	}
}

// add registers an instance; forget is its end.
func (e *Engine) add(inst *Instance) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return remuda.Errorf(remuda.CodeUnavailable, "the engine is closed")
	}
	if e.instances[inst.spec.ID] != nil {
		return remuda.Errorf(remuda.CodeConflict, "instance %s exists", inst.spec.ID)
	}
	e.instances[inst.spec.ID] = inst
	return nil
}

func (e *Engine) forget(inst *Instance) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.instances[inst.spec.ID] == inst {
		delete(e.instances, inst.spec.ID)
	}
}

// leave forgets an instance that lives on.
func (e *Engine) leave(inst *Instance) {
	e.forget(inst)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.left = true
}

// unsupported says that this machine lacks something.
func unsupported(what, why, remedy string, err error) error {
	return &remuda.Error{Code: remuda.CodeUnsupported, Message: what, Cause: why, Remedy: remedy, Err: err}
}
