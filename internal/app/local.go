package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/remuda-run/remuda/internal/config"
	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/engine/local"
	"github.com/remuda-run/remuda/internal/remuda"
	"github.com/remuda-run/remuda/internal/runtimes"
)

// LocalBase is where executions without a server keep their files while they run.
const LocalBase = "/run/remuda"

// interruptGrace is how long a script may take to end after it was interrupted.
const interruptGrace = 2 * time.Second

// localPrefix begins the name of the directory of one process.
const localPrefix = "local-"

// LocalOptions are what an execution without a server needs besides itself.
type LocalOptions struct {
	Config config.Config
	Logger *slog.Logger
	Base   string // "" is LocalBase
	// Hurry ends the sandbox without a grace when it closes; nil never does.
	Hurry <-chan struct{}
}

// LocalRun is one execution without a server. There is no store, no pool and no
// HTTP on its way: only the engine, as every other execution has it.
type LocalRun struct {
	Definition remuda.Definition // its zero fields take the defaults of a runtime
	Request    engine.Request
	Files      []remuda.File
}

// RunLocal makes a sandbox, runs one script in it and removes everything that it
// made. Canceling ctx interrupts the script. It also clears away what earlier
// ones left that were killed.
func RunLocal(ctx context.Context, o LocalOptions, run LocalRun, sink engine.Sink) (remuda.Execution, error) {
	if o.Base == "" {
		o.Base = LocalBase
	}
	if os.Geteuid() != 0 {
		return remuda.Execution{}, &remuda.Error{
			Code: remuda.CodePrecondition, Message: "cannot make a sandbox", Cause: "this process does not run as root",
			Remedy: "run it as root, or set REMUDA_URL and REMUDA_TOKEN to use a server",
		}
	}
	if err := sweepLocal(ctx, o); err != nil {
		return remuda.Execution{}, err
	}
	start, err := local.StartTime(os.Getpid())
	if err != nil {
		return remuda.Execution{}, remuda.Internal("naming the directory of this run", err)
	}
	dir := filepath.Join(o.Base, fmt.Sprintf("%s%d-%d", localPrefix, os.Getpid(), start))
	execution, err := runIn(ctx, o, dir, run, sink)
	return execution, errors.Join(err, os.RemoveAll(dir))
}

// runIn is RunLocal in a directory of its own, which the engine makes and locks.
func runIn(ctx context.Context, o LocalOptions, dir string, run LocalRun, sink engine.Sink) (ex remuda.Execution, err error) {
	began := remuda.Now()
	eng, err := newLocalEngine(ctx, o.Config, dir, o.Logger)
	if err != nil {
		return ex, err
	}
	// What was made must go even when the user is tired of waiting.
	cleanup := context.WithoutCancel(ctx)
	defer func() { err = errors.Join(err, eng.Close(cleanup)) }()

	d := runtimes.WithDefaults(run.Definition)
	ex = remuda.Execution{
		ID: remuda.NewExecutionID(), RuntimeName: string(d.Language), Generation: 1, Fresh: true,
		State: remuda.ExecutionQueued, CreatedAt: began,
	}
	inst, err := eng.Create(ctx, engine.Spec{
		ID: remuda.NewInstanceID(), Generation: remuda.GenerationKey{Runtime: "rt_local", Number: 1}, Language: d.Language,
		Version: d.Version, Environment: d.Environment, Isolation: d.Isolation, Resources: d.Resources, Env: d.Env,
	})
	if err != nil {
		return ex, fmt.Errorf("make a sandbox: %w", err)
	}
	defer func() { err = errors.Join(err, inst.Destroy(cleanup)) }()
	ex.Instance = inst.ID()
	for _, f := range run.Files {
		if _, err := inst.Files().Write(ctx, f.Path, strings.NewReader(string(f.Content)), remuda.MaxFileBytes); err != nil {
			return ex, fmt.Errorf("put the file %s into the workspace: %w", f.Path, err)
		}
	}
	started := remuda.Now()
	ex.State, ex.StartedAt = remuda.ExecutionRunning, &started
	req := run.Request
	req.ID, req.KillOnTimeout = ex.ID, true
	if req.Timeout == 0 {
		req.Timeout = d.ExecTimeout
	}
	if req.OutputLimit == 0 {
		req.OutputLimit = int64(o.Config.OutputLimitMB) << 20
	}
	counted := func(r remuda.OutputRecord) error {
		ex.OutputBytes += int64(len(r.Data))
		return sink(r)
	}
	result, err := executeInterruptibly(ctx, o.Hurry, inst, req, counted)
	if err != nil {
		return ex, fmt.Errorf("run the script: %w", err)
	}
	finish(&ex, inst, result, began)
	return ex, nil
}

// finish fills in how the execution ended.
func finish(ex *remuda.Execution, inst engine.Instance, r engine.Result, began time.Time) {
	ended := remuda.Now()
	ex.State, ex.ExitCode, ex.Value, ex.Error = r.State, r.ExitCode, r.Value, r.Error
	ex.KilledBy, ex.Reason, ex.Usage, ex.OutputCut = r.KilledBy, r.Reason, r.Usage, r.OutputCut
	ex.EndedAt = &ended
	ex.Timings = remuda.Timings{}
	for _, t := range []remuda.Timings{inst.Timings(), r.Timings} {
		maps.Copy(ex.Timings, t)
	}
	ex.Timings["lease"] = ex.StartedAt.Sub(began)
	ex.Timings["total"] = ended.Sub(began)
}

// executeInterruptibly interrupts the script when ctx is canceled, and kills the
// sandbox when hurry closes after that.
func executeInterruptibly(ctx context.Context, hurry <-chan struct{}, inst engine.Instance, req engine.Request, sink engine.Sink) (engine.Result, error) {
	runCtx, kill := context.WithCancel(context.WithoutCancel(ctx))
	defer kill()
	ended, watched := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(watched)
		select {
		case <-ended:
			return
		case <-ctx.Done():
		}
		if err := inst.Interrupt(runCtx, remuda.KilledByCancel, interruptGrace); err != nil {
			kill()
		}
		select {
		case <-ended:
		case <-hurry:
			kill()
		}
	}()
	result, err := inst.Execute(runCtx, req, sink)
	close(ended)
	<-watched
	return result, err
}

// sweepLocal removes what runs left whose process was killed.
func sweepLocal(ctx context.Context, o LocalOptions) error {
	entries, err := os.ReadDir(o.Base)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return dataError(o.Base, err)
	}
	for _, e := range entries {
		pid, start, ok := parseLocal(e.Name())
		if !ok || alive(pid, start) {
			continue
		}
		if err := sweepOne(ctx, o, filepath.Join(o.Base, e.Name())); err != nil {
			// Somebody's leftovers must not keep this run from going on.
			o.Logger.Warn("cannot clear away an earlier run", "directory", e.Name(), "error", err)
		}
	}
	return nil
}

func sweepOne(ctx context.Context, o LocalOptions, dir string) error {
	lock, err := lockData(dir)
	if remuda.CodeOf(err) == remuda.CodeConflict {
		return nil // another process is at it
	}
	if err != nil {
		return err
	}
	eng, err := newLocalEngine(ctx, o.Config, dir, o.Logger)
	if err != nil {
		return errors.Join(err, lock.release())
	}
	found, err := eng.Recover(ctx, nil)
	if err := errors.Join(err, eng.Close(ctx)); err != nil {
		return errors.Join(err, lock.release()) // the directory stays, so that the next run tries again
	}
	o.Logger.Info("cleared away an earlier run that was killed", "directory", dir, "instances", len(found.Ended))
	return errors.Join(os.RemoveAll(dir), lock.release())
}

// parseLocal splits "local-<pid>-<start time>".
func parseLocal(name string) (pid int, start uint64, ok bool) {
	rest, ok := strings.CutPrefix(name, localPrefix)
	if !ok {
		return 0, 0, false
	}
	p, s, ok := strings.Cut(rest, "-")
	if !ok {
		return 0, 0, false
	}
	pid, err := strconv.Atoi(p)
	if err != nil || pid <= 0 {
		return 0, 0, false
	}
	start, err = strconv.ParseUint(s, 10, 64)
	return pid, start, err == nil
}

// alive reports whether the process still is the one that started then.
func alive(pid int, start uint64) bool {
	now, err := local.StartTime(pid)
	return err == nil && now == start
}
