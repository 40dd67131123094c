package cli

import (
	"context"
	"errors"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/remuda-run/remuda/api"
	"github.com/remuda-run/remuda/internal/remuda"
)

func (c *command) runspaceCommand() *cobra.Command {
	return c.clientGroup("runspace", "Open runspaces, which keep their state from execution to execution",
		c.runspaceCreate(), c.runspaceList(), c.runspaceGet(), c.runspaceDelete(), c.filesCommand())
}

func (c *command) runspaceCreate() *cobra.Command {
	var name, init string
	var idle time.Duration
	var env []string
	cmd := &cobra.Command{
		Use: "create RUNTIME", Short: "Open a runspace and wait until it is ready", Args: cobra.ExactArgs(1),
		Example: "  remuda runspace create python --name analysis --idle-timeout 15m\n  remuda exec analysis -c 'x = 41'\n  remuda exec analysis -c 'print(x + 1)'",
		RunE: func(cmd *cobra.Command, args []string) error {
			req := api.RunspaceCreate{Runtime: args[0], Name: optional(name)}
			if cmd.Flags().Changed("idle-timeout") {
				s := idle.Seconds()
				req.IdleTimeoutS = &s
			}
			vars, err := c.readEnv(env)
			if err != nil {
				return err
			}
			if len(vars) > 0 {
				req.Env = vars
			}
			if init != "" {
				text, err := readFileLimit(init, remuda.MaxScriptBytes, "the init script")
				if err != nil {
					return err
				}
				req.InitScript = optional(string(text))
			}
			remote, err := c.remote()
			if err != nil {
				return err
			}
			rs, err := remote.openRunspace(cmd.Context(), req)
			if err != nil {
				return err
			}
			if err := c.printRunspace(rs); err != nil {
				return err
			}
			if rs.State == api.RunspaceState(remuda.RunspaceError) {
				return exitStatus(ExitFailed)
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&name, "name", "", "name, unique among the open runspaces")
	cmd.Flags().DurationVar(&idle, "idle-timeout", 0, "close it after this long without an execution; 0 is never (default: the server's)")
	cmd.Flags().StringVar(&init, "init", "", "`FILE` with a script to run before it is ready")
	cmd.Flags().StringArrayVarP(&env, "env", "e", nil, "environment variable `K=V` (may be repeated)")
	return cmd
}

func (c *command) runspaceList() *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use: "list", Short: "List runspaces, newest first", Args: cobra.NoArgs,
		RunE: c.remotely(func(ctx context.Context, remote *remote, _ []string) error {
			items, err := remote.allRunspaces(ctx)
			if err != nil {
				return err
			}
			if !all {
				items = slices.DeleteFunc(items, func(rs api.Runspace) bool { return remuda.RunspaceState(rs.State).Final() })
			}
			return c.print(api.RunspaceList{Items: items}, func(w io.Writer) error {
				t := newTable("NAME", "STATE", "RUNTIME", "GEN", "LAST USED", "CREATED", "ID")
				for _, rs := range items {
					t.add(orDash(rs.Name), string(rs.State), rs.RuntimeName, strconv.Itoa(rs.Generation),
						ago(time.Now(), deref(rs.LastUsedAt)), ago(time.Now(), rs.CreatedAt), rs.Id)
				}
				return t.write(w)
			})
		}),
	}
	cmd.Flags().BoolVarP(&all, "all", "a", false, "closed and failed ones too")
	return cmd
}

func (c *command) runspaceGet() *cobra.Command {
	return &cobra.Command{
		Use: "get RUNSPACE", Short: "Show a runspace, by name or id", Args: cobra.ExactArgs(1),
		RunE: c.remotely(func(ctx context.Context, remote *remote, args []string) error {
			rs, err := remote.findRunspace(ctx, args[0])
			if err != nil {
				return err
			}
			return c.printRunspace(rs)
		}),
	}
}

func (c *command) runspaceDelete() *cobra.Command {
	return &cobra.Command{
		Use: "delete RUNSPACE...", Short: "Close runspaces and end what runs there", Args: cobra.MinimumNArgs(1),
		RunE: c.remotely(func(ctx context.Context, remote *remote, args []string) error {
			return each(args, func(ref string) error {
				rs, err := remote.findRunspace(ctx, ref)
				if err != nil {
					return err
				}
				return remote.DeleteRunspace(ctx, rs.Id)
			})
		}),
	}
}

func (c *command) printRunspace(rs api.Runspace) error {
	return c.print(rs, func(w io.Writer) error {
		return pairs(w,
			"name", orDash(rs.Name), "id", rs.Id, "state", string(rs.State), "error", orDash(deref(rs.Error)),
			"runtime", rs.RuntimeName, "generation", strconv.Itoa(rs.Generation), "instance", orDash(deref(rs.Instance)),
			"idle timeout", seconds(rs.IdleTimeoutS), "last used", ago(time.Now(), deref(rs.LastUsedAt)), "created", ago(time.Now(), rs.CreatedAt))
	})
}

func envText(env map[string]string) string {
	var list []string
	for _, k := range slices.Sorted(maps.Keys(env)) {
		list = append(list, k+"="+env[k])
	}
	return orDash(strings.Join(list, " "))
}

// createNew makes a file that was not there, unless force is set. What belongs
// to somebody is not overwritten by a download.
func createNew(name string, force bool) (*os.File, error) {
	mode := os.O_WRONLY | os.O_CREATE | os.O_EXCL
	if force {
		mode = os.O_WRONLY | os.O_CREATE | os.O_TRUNC
	}
	f, err := os.OpenFile(name, mode, 0o644)
	if errors.Is(err, os.ErrExist) {
		return nil, &remuda.Error{Code: remuda.CodeConflict, Message: name + " exists", Remedy: "give --force to overwrite it, or another name"}
	}
	if err != nil {
		return nil, &remuda.Error{Code: remuda.CodeInvalid, Message: "cannot write the file", Cause: err.Error(), Remedy: "check the path"}
	}
	return f, nil
}
