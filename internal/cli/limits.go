package cli

import (
	"context"
	"io"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/remuda-run/remuda/api"
)

func (c *command) limitsCommand() *cobra.Command {
	return c.clientGroup("limits", "Limits of an organization, which its administrators change while things run", c.limitsGet(), c.limitsSet())
}

// organizationOf is the organization that is named, or the one that the token acts
// in.
func (r *remote) organizationOf(ctx context.Context, args []string) (string, error) {
	if len(args) > 0 {
		return args[0], nil
	}
	who, err := r.Whoami(ctx)
	return who.Organization, err
}

func (c *command) limitsGet() *cobra.Command {
	return &cobra.Command{
		Use: "get [ORGANIZATION]", Short: "Show the limits of an organization, by default one's own", Args: cobra.MaximumNArgs(1),
		RunE: c.remotely(func(ctx context.Context, r *remote, args []string) error {
			ref, err := r.organizationOf(ctx, args)
			if err != nil {
				return err
			}
			limits, err := r.GetLimits(ctx, ref)
			if err != nil {
				return err
			}
			return c.printLimits(limits)
		}),
	}
}

func (c *command) limitsSet() *cobra.Command {
	var runspaces, perUser, memory, keep int
	var idle, active, keepFor time.Duration
	cmd := &cobra.Command{
		Use: "set [ORGANIZATION]", Short: "Change the limits of an organization, by default one's own", Args: cobra.MaximumNArgs(1),
		Long: "Change the limits that are given and leave the others; 0 goes back to the site's. They are in force when the command\n" +
			"returns. Lowering a number closes nothing that is open. Times reach open runspaces that did not ask for their own.",
		Example: "  remuda limits set --max-runspaces 20 --max-runspaces-per-user 4\n  remuda limits set acme --idle-timeout 30m --keep-for 720h --memory-mb 0",
		RunE: func(cmd *cobra.Command, args []string) error {
			var in api.LimitsUpdate
			given := cmd.Flags().Changed
			assign(given("max-runspaces"), &in.MaxRunspaces, runspaces)
			assign(given("max-runspaces-per-user"), &in.MaxRunspacesPerUser, perUser)
			assign(given("memory-mb"), &in.MemoryMb, memory)
			assign(given("keep-executions"), &in.KeepExecutions, keep)
			for _, t := range []struct {
				flag string
				d    time.Duration
				to   **int
			}{{"idle-timeout", idle, &in.IdleTimeoutS}, {"active-timeout", active, &in.ActiveTimeoutS}, {"keep-for", keepFor, &in.KeepForS}} {
				if t.d < 0 || t.d%time.Second != 0 {
					return usageError("--%s %s is not a number of whole seconds", "write it like 90s, 30m or 720h; 0 is the site's", t.flag, t.d)
				}
				assign(given(t.flag), t.to, int(t.d/time.Second))
			}
			if in == (api.LimitsUpdate{}) {
				return usageError("nothing to change", "give at least one flag, like --max-runspaces 20")
			}
			r, err := c.remote()
			if err != nil {
				return err
			}
			ref, err := r.organizationOf(cmd.Context(), args)
			if err != nil {
				return err
			}
			limits, err := r.UpdateLimits(cmd.Context(), ref, in)
			if err != nil {
				return err
			}
			return c.printLimits(limits)
		},
	}
	cmd.Flags().IntVar(&runspaces, "max-runspaces", 0, "most runspaces that are open at the same time")
	cmd.Flags().IntVar(&perUser, "max-runspaces-per-user", 0, "most of them that one user has open")
	cmd.Flags().DurationVar(&idle, "idle-timeout", 0, "how long a runspace may be idle that did not ask for its own time")
	cmd.Flags().DurationVar(&active, "active-timeout", 0, "how long a script may run in a runspace that did not ask for its own time")
	cmd.Flags().IntVar(&memory, "memory-mb", 0, "MiB of memory of a runspace; its runtime's limit still holds")
	cmd.Flags().IntVar(&keep, "keep-executions", 0, "how many ended executions of each user are kept")
	cmd.Flags().DurationVar(&keepFor, "keep-for", 0, "how long ended executions are kept")
	return cmd
}

func (c *command) printLimits(l api.Limits) error {
	number := func(n *int) string {
		if n == nil {
			return "no limit"
		}
		return strconv.Itoa(*n)
	}
	memory := func(n *int) string {
		if n == nil {
			return "no limit but the runtime's"
		}
		return mib(*n)
	}
	span := func(s *float64) string {
		if s == nil {
			return "no limit"
		}
		return seconds(*s)
	}
	return c.print(l, func(w io.Writer) error {
		f := l.InForce
		t := newTable("LIMIT", "IN FORCE", "SET BY")
		t.add("runspaces", number(f.MaxRunspaces), setBy(l.MaxRunspaces))
		t.add("runspaces per user", number(f.MaxRunspacesPerUser), setBy(l.MaxRunspacesPerUser))
		t.add("idle timeout", span(f.IdleTimeoutS), setBy(l.IdleTimeoutS))
		t.add("active timeout", span(f.ActiveTimeoutS), setBy(l.ActiveTimeoutS))
		t.add("memory", memory(f.MemoryMb), setBy(l.MemoryMb))
		t.add("executions kept per user", number(f.KeepExecutions), setBy(l.KeepExecutions))
		t.add("executions kept for", span(f.KeepForS), setBy(l.KeepForS))
		return t.write(w)
	})
}

func setBy[T any](own *T) string {
	if own == nil {
		return "the site"
	}
	return "the organization"
}
