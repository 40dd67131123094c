package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/remuda-run/remuda/api"
	"github.com/remuda-run/remuda/internal/remuda"
)

func (c *command) runspaceCommand() *cobra.Command {
	return c.clientGroup("runspace", "Open runspaces, which keep their state from execution to execution",
		c.runspaceCreate(), c.runspaceList(), c.runspaceGet(), c.runspaceInterrupt(), c.runspaceReset(), c.runspaceDelete(), c.filesCommand())
}

// runspaceFlags say what a new runspace shall be.
type runspaceFlags struct {
	name, init, credentials string
	idle, active            time.Duration
	memory                  int
	connect                 bool
	env                     []string
}

func (c *command) runspaceCreate() *cobra.Command {
	f := &runspaceFlags{}
	cmd := &cobra.Command{
		Use: "create RUNTIME", Short: "Open a runspace and wait until it is ready", Args: cobra.ExactArgs(1),
		Long: "Open a runspace and wait until it is ready. With --connect the runtime's connection script runs first, and its\n" +
			"disconnect script when the runspace closes. The connection script finds the credentials as its parameter\n" +
			"`credentials`; they are read from a file or from standard input, never from the command line, which other users of\n" +
			"the machine can read, and nothing keeps them. The runspace becomes ready also when that script fails: the command says so\n" +
			"and ends with status 1.",
		Example: "  remuda runspace create python --name analysis --idle-timeout 15m\n  remuda exec analysis -c 'x = 41'\n  remuda exec analysis -c 'print(x + 1)'\n" +
			"  remuda runspace create vsphere --connect --credentials-file login.json --active-timeout 1h",
		ValidArgsFunction: c.completeRuntime,
		RunE: func(cmd *cobra.Command, args []string) error {
			req, err := f.request(c, cmd.Flags(), args[0])
			if err != nil {
				return err
			}
			remote, err := c.remote()
			if err != nil {
				return err
			}
			rs, err := remote.openRunspace(cmd.Context(), req)
			if err != nil {
				return err
			}
			return c.printPrepared(cmd.Context(), remote, rs)
		},
	}
	cmd.Flags().StringVar(&f.name, "name", "", "name, unique among the open runspaces")
	cmd.Flags().DurationVar(&f.idle, "idle-timeout", 0, "close it after this long without an execution; 0 is never (default: the organization's or the server's)")
	cmd.Flags().DurationVar(&f.active, "active-timeout", 0, "end it when a script runs for longer; 0 is never (default: the organization's)")
	cmd.Flags().IntVar(&f.memory, "memory-mb", 0, "MiB of memory, at most the runtime's (default: the organization's or the runtime's)")
	cmd.Flags().BoolVar(&f.connect, "connect", false, "run the runtime's connection script before it is ready, and its disconnect script at the end")
	addCredentials(cmd.Flags(), &f.credentials)
	cmd.Flags().StringVar(&f.init, "init", "", "`FILE` with a script to run before it is ready")
	cmd.Flags().StringArrayVarP(&f.env, "env", "e", nil, "environment variable `K=V` (may be repeated)")
	return cmd
}

func addCredentials(flags *pflag.FlagSet, into *string) {
	flags.StringVar(into, "credentials-file", "", "`FILE` with the connection script's credentials, a JSON object of texts; - is standard input")
}

// request reads what the flags name.
func (f *runspaceFlags) request(c *command, flags *pflag.FlagSet, runtime string) (api.RunspaceCreate, error) {
	req := api.RunspaceCreate{Runtime: runtime, Name: optional(f.name)}
	assign(flags.Changed("idle-timeout"), &req.IdleTimeoutS, f.idle.Seconds())
	assign(flags.Changed("active-timeout"), &req.ActiveTimeoutS, f.active.Seconds())
	assign(flags.Changed("memory-mb"), &req.MemoryMb, f.memory)
	assign(f.connect, &req.Connection, true)
	if f.credentials != "" && !f.connect {
		return req, usageError("--credentials-file is for the connection script, which is not asked for", "give --connect too")
	}
	var err error
	if req.Credentials, err = c.readCredentials(f.credentials); err != nil {
		return req, err
	}
	vars, err := c.readEnv(f.env)
	if err != nil {
		return req, err
	}
	if len(vars) > 0 {
		req.Env = vars
	}
	if f.init != "" {
		text, err := readFileLimit(f.init, remuda.MaxScriptBytes, "the init script")
		if err != nil {
			return req, err
		}
		req.InitScript = optional(string(text))
	}
	return req, nil
}

// maxCredentials bounds a file of credentials; the server takes 64 of 64 KiB.
const maxCredentials = 5 << 20

// readCredentials reads a JSON object of texts; nil without a file. What is in it is
// told in no error.
func (c *command) readCredentials(name string) (*api.Credentials, error) {
	var raw []byte
	var err error
	switch name {
	case "":
		return nil, nil //nolint:nilnil // none are given
	case "-":
		raw, err = readLimit(c.Stdin, maxCredentials, "the credentials on standard input")
	default:
		raw, err = readFileLimit(name, maxCredentials, "the credentials")
	}
	if err != nil {
		return nil, err
	}
	out := api.Credentials{}
	if err := json.Unmarshal(raw, &out); err != nil || len(out) == 0 {
		return nil, usageError("the credentials in %s are not a JSON object of texts", `write them like {"user": "ada", "password": "..."}`, name)
	}
	return &out, nil
}

// printPrepared prints a runspace that has been prepared, and says in the exit
// status and on standard error what of it went wrong.
func (c *command) printPrepared(ctx context.Context, r *remote, rs api.Runspace) error {
	if err := c.printRunspace(rs); err != nil {
		return err
	}
	if rs.State == api.RunspaceState(remuda.RunspaceError) {
		return exitStatus(ExitFailed)
	}
	if rs.ConnectionExecution == nil {
		return nil
	}
	ex, err := r.GetExecution(ctx, *rs.ConnectionExecution, 0)
	if err != nil {
		return err
	}
	if remuda.ExecutionState(ex.State) == remuda.ExecutionSuccess {
		return nil
	}
	return &remuda.Error{
		Code: remuda.CodePrecondition, Message: "the runspace is ready, but its connection script ended as " + string(ex.State), Cause: connectionCause(ex),
		Remedy: fmt.Sprintf("`remuda exec get %s` and `remuda exec output %[1]s` say more; `remuda runspace reset` tries again", ex.Id),
	}
}

func connectionCause(ex api.Execution) string {
	if ex.Error != nil {
		return strings.TrimSuffix(ex.Error.Type+": "+ex.Error.Message, ": ")
	}
	return deref(ex.Reason)
}

func (c *command) runspaceInterrupt() *cobra.Command {
	return &cobra.Command{
		Use: "interrupt RUNSPACE...", Short: "Interrupt what runs in runspaces, which keep their variables", Args: cobra.MinimumNArgs(1),
		ValidArgsFunction: c.completeRunspaces,
		RunE: c.remotely(func(ctx context.Context, remote *remote, args []string) error {
			return each(args, func(ref string) error {
				rs, err := remote.findRunspace(ctx, ref)
				if err != nil {
					return err
				}
				_, err = remote.InterruptRunspace(ctx, rs.Id)
				return err
			})
		}),
	}
}

func (c *command) runspaceReset() *cobra.Command {
	var credentials string
	cmd := &cobra.Command{
		Use: "reset RUNSPACE", Short: "Give a runspace a fresh instance with the same files, and wait until it is ready", Args: cobra.ExactArgs(1),
		Long: "Give a runspace a fresh instance with the same workspace, and wait until it is ready. What runs there ends, variables\n" +
			"are gone, its init script and its connection script run again. A connection script that had credentials needs them again.",
		ValidArgsFunction: c.completeRunspace,
		RunE: c.remotely(func(ctx context.Context, remote *remote, args []string) error {
			in := api.RunspaceReset{}
			var err error
			if in.Credentials, err = c.readCredentials(credentials); err != nil {
				return err
			}
			rs, err := remote.findRunspace(ctx, args[0])
			if err != nil {
				return err
			}
			if rs, err = remote.resetRunspace(ctx, rs.Id, in); err != nil {
				return err
			}
			return c.printPrepared(ctx, remote, rs)
		}),
	}
	addCredentials(cmd.Flags(), &credentials)
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
		Use: "get RUNSPACE", Short: "Show a runspace, by name or id", Args: cobra.ExactArgs(1), ValidArgsFunction: c.completeRunspace,
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
		Use: "delete RUNSPACE...", Short: "Close runspaces and end what runs there", Args: cobra.MinimumNArgs(1), ValidArgsFunction: c.completeRunspaces,
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
			"runtime", rs.RuntimeName, "generation", strconv.Itoa(rs.Generation), "instance", orDash(deref(rs.Instance)), "resets", strconv.Itoa(rs.Resets),
			"connection", connectionOf(rs), "memory", memoryOf(rs), "idle timeout", never(rs.IdleTimeoutS), "active timeout", never(rs.ActiveTimeoutS), "last used", ago(time.Now(), deref(rs.LastUsedAt)), "created", ago(time.Now(), rs.CreatedAt))
	})
}

func connectionOf(rs api.Runspace) string {
	if !rs.Connection {
		return "-"
	}
	return "by execution " + cmp.Or(deref(rs.ConnectionExecution), "that has not begun")
}

func memoryOf(rs api.Runspace) string {
	if rs.MemoryMb == nil {
		return "the runtime's"
	}
	return mib(*rs.MemoryMb)
}

// never is a time limit, of which 0 is none.
func never(s float64) string {
	if s == 0 {
		return "never"
	}
	return seconds(s)
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
