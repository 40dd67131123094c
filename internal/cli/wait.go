package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/remuda-run/remuda/api"
	"github.com/remuda-run/remuda/internal/config"
	"github.com/remuda-run/remuda/internal/remuda"
)

func (c *command) waitCommand() *cobra.Command {
	f := &fileFlags{}
	var until string
	var timeout time.Duration
	cmd := &cobra.Command{
		Use: "wait RUNTIME... --for ready", Short: "Wait until runtimes are built",
		Long: "Wait until the current generation of every named or declared runtime is ready, and show how the builds get on. It\n" +
			"ends with exit status 1 as soon as all builds have ended and one of them failed, or when the time is up.",
		Example:           "  remuda wait reports --for ready --timeout 10m\n  remuda wait -f runtimes.yaml",
		ValidArgsFunction: c.completeRuntimes,
		RunE: c.remotely(func(ctx context.Context, r *remote, args []string) error {
			switch {
			case until != string(remuda.RuntimeReady):
				return usageError("--for %s is not known", "ready is what can be waited for", until)
			case timeout < 0:
				return usageError("--timeout %s is negative", "write it like 10m; 0 is without an end", timeout)
			case len(args) == 0 && len(f.files) == 0:
				return usageError("no runtime is named", "name runtimes, or give files that declare them with -f")
			}
			items, err := c.chosen(ctx, r, *f, args)
			if err != nil {
				return err
			}
			return c.waitReady(ctx, r, items, timeout)
		}),
	}
	f.add(cmd.Flags())
	cmd.Flags().StringVar(&until, "for", string(remuda.RuntimeReady), "what to wait for: ready")
	cmd.Flags().DurationVar(&timeout, "timeout", 30*time.Minute, "the longest to wait; 0 is without an end")
	complete(cmd, "for", string(remuda.RuntimeReady))
	c.addSettings(cmd.Flags(), config.GroupClient)
	return cmd
}

// waitReady waits for the builds of all runtimes, and prints how each has ended.
func (c *command) waitReady(ctx context.Context, r *remote, items []api.Runtime, timeout time.Duration) error {
	items, err := c.awaitBuilds(ctx, r, items, timeout)
	if err != nil {
		return err
	}
	failed := 0
	for _, rt := range items {
		if remuda.RuntimeStatus(rt.Status) != remuda.RuntimeReady {
			failed++
		}
	}
	err = c.print(api.RuntimeList{Items: items}, func(w io.Writer) error {
		for _, rt := range items {
			if err := c.printBuilt(w, rt); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil && failed > 0 {
		return exitStatus(ExitFailed)
	}
	return err
}

// printBuilt writes how a build has ended; a failure is an error and goes where
// errors do.
func (c *command) printBuilt(w io.Writer, rt api.Runtime) error {
	if remuda.RuntimeStatus(rt.Status) == remuda.RuntimeReady {
		_, err := fmt.Fprintf(w, "runtime/%s ready (generation %d)\n", printable(rt.Name), rt.Generation)
		return err
	}
	writeProblem(c.Stderr, describe(notBuilt(rt)))
	return nil
}

// notBuilt says why a runtime is not ready.
func notBuilt(rt api.Runtime) error {
	serves := "nothing serves until a build succeeds"
	if rt.ServingGeneration != nil {
		serves = fmt.Sprintf("generation %d goes on serving", *rt.ServingGeneration)
	}
	return &remuda.Error{
		Code: remuda.CodePrecondition, Message: fmt.Sprintf("runtime/%s is in %s: generation %d could not be built", rt.Name, rt.Status, rt.Generation),
		Cause: deref(rt.Reason), Remedy: fmt.Sprintf("`remuda describe %s` shows the end of the installers' log; %s", rt.Name, serves),
	}
}

// awaitBuilds returns the runtimes as they are once none of them is being built.
func (c *command) awaitBuilds(ctx context.Context, r *remote, items []api.Runtime, timeout time.Duration) ([]api.Runtime, error) {
	if timeout > 0 {
		var stop context.CancelFunc
		ctx, stop = context.WithTimeoutCause(ctx, timeout, &remuda.Error{
			Code: remuda.CodeDeadline, Message: "the runtimes are not ready",
			Cause: fmt.Sprintf("%s are over", timeout), Remedy: "wait again, or look with `remuda get`; the builds go on",
		})
		defer stop()
	}
	p := c.newProgress(items)
	results := make([]error, len(items))
	out := make([]api.Runtime, len(items))
	var all sync.WaitGroup
	for i, rt := range items {
		all.Go(func() { out[i], results[i] = awaitBuild(ctx, r, rt, p) })
	}
	all.Wait()
	p.end()
	if err := errors.Join(results...); err != nil {
		return nil, stoppedWaiting(ctx, err)
	}
	return out, nil
}

// stoppedWaiting says why a wait was given up, if it was.
func stoppedWaiting(ctx context.Context, err error) error {
	cause := context.Cause(ctx)
	if _, interrupted := errors.AsType[signalError](cause); interrupted {
		return &remuda.Error{Code: remuda.CodeCanceled, Message: "stopped waiting: " + cause.Error(), Cause: "the builds go on", Remedy: "`remuda wait` waits for them again, `remuda get` shows them"}
	}
	if cause != nil {
		return cause
	}
	return err
}

// awaitBuild follows the build of one runtime to its end, and that of the next
// generation if there has come one meanwhile.
func awaitBuild(ctx context.Context, r *remote, rt api.Runtime, p *progress) (api.Runtime, error) {
	for remuda.RuntimeStatus(rt.Status) == remuda.RuntimeBusy {
		if err := r.followBuild(ctx, rt, p.show); err != nil {
			return rt, err
		}
		next, err := r.GetRuntime(ctx, rt.Id)
		if err != nil {
			return rt, err
		}
		rt = next
	}
	return rt, nil
}
