package cli

import (
	"context"
	"io"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/remuda-run/remuda/api"
	"github.com/remuda-run/remuda/client"
	"github.com/remuda-run/remuda/internal/remuda"
)

func (r *remote) allBuilds(ctx context.Context, ref string) ([]api.Build, error) {
	return pages(0, func(p client.Page) ([]api.Build, *string, error) {
		l, err := r.ListBuilds(ctx, ref, p)
		return l.Items, l.Next, err
	})
}

func (c *command) runtimeRebuild() *cobra.Command {
	var refresh, noWait bool
	cmd := &cobra.Command{
		Use: "rebuild RUNTIME", Short: "Build a runtime's packages again, as a new generation", Args: cobra.ExactArgs(1),
		Long: "Build a runtime's packages again, as a new generation, and wait for it. What serves goes on serving until it is ready.\n" +
			"What was resolved before is installed as it was; with --refresh the package index is asked again.",
		ValidArgsFunction: c.completeRuntime,
		RunE: c.remotely(func(ctx context.Context, r *remote, args []string) error {
			rt, err := r.RebuildRuntime(ctx, args[0], refresh)
			if err != nil {
				return err
			}
			if noWait {
				return c.printRuntime(rt)
			}
			return c.waitReady(ctx, r, []api.Runtime{rt}, 0)
		}),
	}
	cmd.Flags().BoolVar(&refresh, "refresh", false, "ask the package index again, so that the newest is the newest now")
	cmd.Flags().BoolVar(&noWait, "no-wait", false, "do not wait for the build")
	return cmd
}

func (c *command) runtimeBuilds() *cobra.Command {
	return &cobra.Command{
		Use: "builds RUNTIME", Short: "List the builds of a runtime, one for each generation, newest first", Args: cobra.ExactArgs(1),
		ValidArgsFunction: c.completeRuntime,
		RunE: c.remotely(func(ctx context.Context, r *remote, args []string) error {
			items, err := r.allBuilds(ctx, args[0])
			if err != nil {
				return err
			}
			return c.print(api.BuildList{Items: items}, func(w io.Writer) error {
				t := newTable("GEN", "STATUS", "VERSION", "PACKAGES", "BEGUN", "TOOK", "LAYER", "REASON")
				for _, b := range items {
					took, layer := "-", orDash(deref(b.Layer))
					if b.EndedAt != nil {
						took = short(b.EndedAt.Sub(b.StartedAt))
					}
					t.add(strconv.Itoa(b.Generation), string(b.Status), b.Version, packagesOf(b.Packages), ago(time.Now(), b.StartedAt), took,
						layer[:min(12, len(layer))], orDash(brief(deref(b.Reason))))
				}
				return t.write(w)
			})
		}),
	}
}

func (c *command) runtimeLog() *cobra.Command {
	var generation int
	var follow bool
	cmd := &cobra.Command{
		Use: "log RUNTIME", Short: "Print what the installers said in a build", Args: cobra.ExactArgs(1),
		Long: "Print what the installers said in the build of the current generation, or of another one. With -o json the lines\n" +
			"come as the records of the API.",
		ValidArgsFunction: c.completeRuntime,
		RunE: c.remotely(func(ctx context.Context, r *remote, args []string) error {
			rt, err := r.findRuntime(ctx, args[0])
			if err != nil {
				return err
			}
			if generation == 0 {
				generation = rt.Generation
			}
			return c.printBuildLog(ctx, r, rt.Id, generation, follow)
		}),
	}
	cmd.Flags().IntVar(&generation, "generation", 0, "`NUMBER` of the generation (default: the current one)")
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on until the build has ended; exit status 1 if it failed")
	return cmd
}

func (c *command) printBuildLog(ctx context.Context, r *remote, id string, generation int, follow bool) error {
	text := c.foreignText()
	write := func(rec api.OutputRecord) error {
		_, err := text.Write(client.Bytes(rec))
		return err
	}
	if c.output != outputJSON && follow {
		b, err := r.FollowBuild(ctx, id, generation, 0, write, nil)
		if err == nil && remuda.RuntimeStatus(b.Status) == remuda.RuntimeError {
			return exitStatus(ExitFailed)
		}
		return err
	}
	if follow {
		return usageError("--follow prints text", "leave out -o json, or --follow")
	}
	all := api.OutputPage{Records: []api.OutputRecord{}}
	for {
		page, err := r.GetBuildLog(ctx, id, generation, all.Next, 0, 0)
		if err != nil {
			return err
		}
		all.Records = append(all.Records, page.Records...)
		all.Next, all.CutBytes, all.Truncated, all.Ended = page.Next, page.CutBytes, page.Truncated, page.Ended
		if len(page.Records) == 0 || page.Ended {
			break
		}
	}
	return c.print(all, func(io.Writer) error {
		for _, rec := range all.Records {
			if err := write(rec); err != nil {
				return err
			}
		}
		return nil
	})
}
