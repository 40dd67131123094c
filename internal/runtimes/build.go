package runtimes

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/layer"
	"github.com/remuda-run/remuda/internal/pool"
	"github.com/remuda-run/remuda/internal/remuda"
	"github.com/remuda-run/remuda/internal/store"
)

// job is the build of a runtime's newest generation, waiting or under way. A
// change that leaves the packages as they are gives it a newer generation to build.
type job struct {
	runtime remuda.RuntimeID
	org     remuda.OrganizationID
	def     remuda.Definition // what is asked to be installed
	version string            // of the interpreter
	refresh bool              // whatever is known
	lock    *remuda.Lock      // to be installed as it is; nil is to be resolved
	log     *buildLog
	cancel  context.CancelCauseFunc
	ctx     context.Context //nolint:containedctx // of the job's life, which begins before it runs
}

// errReplaced ends a job whose generation nobody wants any more.
var errReplaced = errors.New("the build was replaced")

// builder has the builds done, a bounded number at once.
type builder struct {
	parallel int
	kick     chan struct{} // there is something to look at

	mu      sync.Mutex
	jobs    map[remuda.RuntimeID]*job // at most one for a runtime
	waiting []*job                    // those of them that have not begun, oldest first
	running map[remuda.OrganizationID]int
	active  int
}

func newBuilder(parallel int) *builder {
	return &builder{
		parallel: parallel, kick: make(chan struct{}, 1),
		jobs: map[remuda.RuntimeID]*job{}, running: map[remuda.OrganizationID]int{},
	}
}

// of returns the job of a runtime, nil when there is none.
func (b *builder) of(id remuda.RuntimeID) *job {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.jobs[id]
}

// set makes j the job of its runtime and ends the one before it.
func (b *builder) set(j *job) {
	b.end(j.runtime)
	j.ctx, j.cancel = context.WithCancelCause(context.Background())
	b.mu.Lock()
	b.jobs[j.runtime] = j
	b.waiting = append(b.waiting, j)
	b.mu.Unlock()
	b.wake()
}

// end forgets the job of a runtime and gives it up.
func (b *builder) end(id remuda.RuntimeID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if j := b.jobs[id]; j != nil {
		delete(b.jobs, id)
		b.waiting = slices.DeleteFunc(b.waiting, func(w *job) bool { return w == j })
		j.cancel(errReplaced)
	}
}

// over forgets a job whose end is recorded: nothing that comes now may be left to it.
func (b *builder) over(j *job) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.jobs[j.runtime] == j {
		delete(b.jobs, j.runtime)
	}
}

// is reports whether j is still the job of its runtime.
func (b *builder) is(j *job) bool { return b.of(j.runtime) == j }

func (b *builder) wake() {
	select {
	case b.kick <- struct{}{}:
	default:
	}
}

// next takes a job that may begin now: of the organization with the fewest that
// go on, the one that has waited longest. No organization has all the places, so
// that another one need not wait for the end of a long build. nil is none.
func (b *builder) next() *job {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.active >= b.parallel || len(b.waiting) == 0 {
		return nil
	}
	best := -1
	for i, j := range b.waiting {
		if b.running[j.org] >= max(1, b.parallel-1) {
			continue
		}
		if best < 0 || b.running[j.org] < b.running[b.waiting[best].org] {
			best = i
		}
	}
	if best < 0 {
		return nil
	}
	j := b.waiting[best]
	b.waiting = slices.Delete(b.waiting, best, best+1)
	b.active++
	b.running[j.org]++
	return j
}

// done books the end of a job that next gave.
func (b *builder) done(j *job) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.active--
	if b.running[j.org]--; b.running[j.org] == 0 {
		delete(b.running, j.org)
	}
	if b.jobs[j.runtime] == j {
		delete(b.jobs, j.runtime)
	}
	b.wake()
}

// Run does the builds until ctx ends, and has layers removed that nothing needs.
// A build that goes on then is given up and stays busy: the next start begins it
// again.
func (s *Service) Run(ctx context.Context) error {
	var builds sync.WaitGroup
	defer builds.Wait()
	tick := time.NewTicker(s.set.CollectEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			s.collect(ctx)
		case <-s.builder.kick:
		}
		for j := s.builder.next(); j != nil; j = s.builder.next() {
			builds.Go(func() { s.build(ctx, j) })
		}
	}
}

func (s *Service) collect(ctx context.Context) {
	if err := s.Collect(ctx); err != nil && ctx.Err() == nil {
		s.log.Warn("unused layers could not be removed", "error", err)
	}
}

// build does one job to its end. run ends with the server.
func (s *Service) build(run context.Context, j *job) {
	ctx, cancel := context.WithTimeout(j.ctx, s.set.BuildTimeout)
	defer cancel()
	stop := context.AfterFunc(run, cancel)
	defer stop()
	s.shelf.building.RLock()
	result, err := s.make(ctx, j)
	for {
		recorded, served, retired := s.conclude(run, j, result, err)
		if served != nil {
			s.settle(run, served, retired)
		}
		if recorded {
			break
		}
		s.log.Error("the end of a build could not be recorded; it is tried again", "runtime", j.runtime)
		select {
		case <-run.Done():
		case <-time.After(time.Second):
		}
	}
	s.shelf.building.RUnlock()
	s.builder.done(j)
	s.collect(run)
}

// made is what a build gave.
type made struct {
	lock  remuda.Lock
	layer engine.Layer
}

// make resolves and installs, while what is said about it is stored.
func (s *Service) make(ctx context.Context, j *job) (result made, err error) {
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		s.keepStored(j.log, stop)
	}()
	defer func() {
		close(stop)
		<-stopped
	}()
	defer func() { // an installer's words are foreign; a server must not fall over them
		if r := recover(); r != nil {
			s.log.Error("a build panicked", "runtime", j.runtime, "panic", r, "stack", string(debug.Stack()))
			err = remuda.Internal("building", fmt.Errorf("panic: %v", r))
		}
	}()
	build := j.log.snapshot()
	if j.lock != nil {
		result.lock = *j.lock
	} else {
		packages := make([]remuda.Package, len(build.Packages))
		for i, p := range build.Packages {
			packages[i] = p.Package
		}
		result.lock, err = s.shelf.layers.Resolve(ctx, layer.Request{
			Organization: j.org, Language: j.def.Language, Version: j.version, Environment: j.def.Environment,
			Packages: packages, Refresh: j.refresh,
		}, j.log)
		if err != nil {
			return result, err
		}
	}
	result.layer, err = s.shelf.layers.Install(ctx, j.org, result.lock, j.log)
	return result, err
}

// keepStored stores what a build says, as it says it, until stop closes.
func (s *Service) keepStored(l *buildLog, stop <-chan struct{}) {
	tick := time.NewTicker(flushLog)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			return
		case <-tick.C:
		}
		// A store that cannot write now is asked again with the next piece.
		err := l.flush(context.Background())
		if code := remuda.CodeOf(err); err != nil && code != remuda.CodeConflict && code != remuda.CodeNotFound {
			s.log.Warn("the log of a build could not be stored yet", "error", err)
		}
	}
}

// conclude records the end of a job and puts it in force: served is not nil when
// it serves. Without recorded it asks to be called again. A job that was replaced,
// or that the end of the server cut off, has no end to record.
func (s *Service) conclude(run context.Context, j *job, result made, failure error) (recorded bool, served *record, retired *pool.Retirement) {
	s.changes.Lock()
	defer s.changes.Unlock()
	rec := s.catalog.get(j.runtime)
	if rec == nil || !s.builder.is(j) || (failure != nil && run.Err() != nil) {
		return true, nil, nil
	}
	j.log.mu.Lock()
	defer j.log.mu.Unlock()
	build := s.ended(j, rec.Definition, result, failure)
	next := *rec
	next.Build = build
	if failure == nil {
		next.Serving = build.Key.Number
	}
	err := s.store.Write(context.WithoutCancel(run), func(tx *store.Tx) error {
		ctx := context.WithoutCancel(run)
		if err := errors.Join(j.log.save(ctx, tx), tx.UpdateBuild(ctx, j.org, build), tx.UpdateRuntime(ctx, next.Runtime)); err != nil {
			return err
		}
		details := map[string]string{"change": "build", "name": rec.Name, "generation": fmt.Sprint(build.Key.Number), "status": string(build.Status)}
		if build.Reason != "" {
			details["reason"] = shorten(build.Reason)
		}
		return tx.AppendAudit(ctx, entry(remuda.Principal{}, j.org, j.runtime, build.EndedAt, details))
	})
	if err != nil {
		s.log.Error("recording the end of a build", "runtime", j.runtime, "error", err)
		return run.Err() != nil, nil, nil
	}
	s.builder.over(j)
	j.log.build = build
	j.log.saved()
	s.log.Info("build ended", "runtime", j.runtime, "generation", build.Key.Number, "status", build.Status, "reason", build.Reason, "took", build.EndedAt.Sub(build.StartedAt))
	if failure != nil {
		s.catalog.put(&next)
		return true, nil, nil
	}
	s.shelf.remember(j.org, next.Definition, build)
	return true, &next, s.serve(&next, next.Definition, build, []engine.Layer{result.layer})
}

// ended is the build of a job with its end, which its log says too. Needs the
// log's mu.
func (s *Service) ended(j *job, d remuda.Definition, result made, failure error) remuda.Build {
	build := j.log.build
	build.EndedAt = remuda.Now()
	j.log.close()
	if failure == nil {
		build.Status, build.Lock, build.Layer = remuda.RuntimeReady, result.lock, result.layer.ID
		build.Packages = carried(d, build.Packages)
		for i := range build.Packages {
			build.Packages[i].State, build.Packages[i].Message = remuda.PackageInstalled, ""
		}
		j.log.add(fmt.Appendf(nil, "generation %d is ready: layer %s\n", build.Key.Number, build.Layer))
		return build
	}
	build.Status, build.Reason = remuda.RuntimeError, reason(failure)
	if errors.Is(failure, context.DeadlineExceeded) {
		build.Reason = "it took longer than " + s.set.BuildTimeout.String() + "; " + build.Reason
	}
	build.Packages = slices.Clone(build.Packages)
	for i := range build.Packages {
		p := &build.Packages[i]
		if p.State != remuda.PackageNotInstalled {
			p.State, p.Message = remuda.PackageNotInstalled, "the build failed: "+shorten(build.Reason)
		}
	}
	j.log.add(fmt.Appendf(nil, "generation %d could not be built: %s\n", build.Key.Number, build.Reason))
	return build
}

// reason is what a user is told of an error, its remedy included.
func reason(err error) string {
	text := remuda.Public(err)
	e, ok := errors.AsType[*remuda.Error](err)
	if !ok {
		return text
	}
	for _, f := range e.Fields {
		text += "; " + f.Field + " " + f.Message
	}
	if e.Remedy != "" {
		text += "; " + e.Remedy
	}
	return text
}

// shorten bounds a text for a place that is not made for many.
func shorten(text string) string {
	const most = 512
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "..."
}
