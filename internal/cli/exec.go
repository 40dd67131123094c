package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/remuda-run/remuda/api"
	"github.com/remuda-run/remuda/client"
	"github.com/remuda-run/remuda/internal/remuda"
)

func (c *command) execCommand() *cobra.Command {
	f := &execFlags{}
	cmd := c.clientGroup("exec [flags] RUNSPACE [flags] [SCRIPT|-] [--] [ARG...]", "Run a script in a runspace, and look at executions",
		c.execList(), c.execGet(), c.execCancel(), c.execOutput(), c.execText(), c.execObjects())
	cmd.Long = "Run a script in a runspace, where it finds what the ones before it left. The runspace is given by name or id\n" +
		"(by id if it is named like one of the subcommands). While another script runs there it is refused, or waits for its turn\n" +
		"with --queue. Everything else is as with `remuda run`.\n\n" +
		"A parameter is a value (-p), what a script evaluates to (--param-script), or both: then that script finds the value as\n" +
		"`argument`. These scripts run first, in their order, in the same interpreter; when one fails, the script is not run."
	cmd.Example = "  remuda exec analysis -c 'x = 41'\n  remuda exec analysis step2.py -- --fast\n  remuda exec analysis --code-file uploaded.py\n" +
		"  remuda exec analysis -p day='\"2026-11-22\"' --param-script day='__import__(\"datetime\").date.fromisoformat(argument)' -c 'print(day.year)'"
	cmd.ValidArgsFunction = c.completeRunspace
	cmd.Args = cobra.ArbitraryArgs
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return noResult(usageError("no runspace", "remuda exec RUNSPACE SCRIPT; `remuda runspace list` names the open ones"))
		}
		runspace, rest := args[0], args[1:]
		// Flags end at the runspace, as everywhere where a command follows; some
		// may come after it too.
		if len(rest) > 0 && strings.HasPrefix(rest[0], "-") && rest[0] != "-" {
			if err := cmd.Flags().Parse(rest); err != nil {
				if errors.Is(err, pflag.ErrHelp) {
					return cmd.Help()
				}
				return noResult(usageError("%s", "see `remuda exec --help`", err))
			}
			rest = cmd.Flags().Args()
		}
		f.coded = cmd.Flags().Changed("code")
		return noResult(c.exec(cmd.Context(), runspace, f, rest))
	}
	f.add(cmd.Flags())
	cmd.Flags().StringVar(&f.codeFile, "code-file", "", "run this file of the workspace, instead of a script from here")
	cmd.Flags().BoolVar(&f.queue, "queue", false, "wait for its turn while another script runs there")
	cmd.Flags().StringArrayVar(&f.paramScripts, "param-script", nil, "parameter `name=@FILE` or name=CODE: what this script evaluates to (may be repeated)")
	return cmd
}

// execFlags are the flags of exec.
type execFlags struct {
	scriptFlags

	codeFile     string
	queue        bool
	paramScripts []string
}

// parameterScripts reads name=@FILE and name=CODE. A value of the same name becomes
// what that script sees.
func (s *script) parameterScripts(list []string) error {
	total := 0
	for _, item := range list {
		name, code, has := strings.Cut(item, "=")
		if !has || !paramName.MatchString(name) || code == "" || code == "@" {
			return usageError("--param-script %q is neither name=@FILE nor name=CODE", "write it like --param-script day=@day.py or --param-script n='2 * 21'", item)
		}
		if file, ok := strings.CutPrefix(code, "@"); ok {
			text, err := readFileLimit(file, remuda.MaxScriptBytes, "the script of parameter "+name)
			if err != nil {
				return err
			}
			code = string(text)
		}
		if slices.ContainsFunc(s.scripts, func(p api.ParameterScript) bool { return p.Name == name }) {
			return usageError("--param-script %s is given twice", "give each parameter one script", name)
		}
		if total += len(code); total > remuda.MaxScriptBytes {
			return usageError("the scripts of parameters have more than %d MiB together", "put the data into the workspace with `remuda runspace files put`", remuda.MaxScriptBytes>>20)
		}
		s.scripts = append(s.scripts, api.ParameterScript{Name: name, Script: code, Value: s.parameters[name]})
		delete(s.parameters, name)
	}
	return nil
}

func (c *command) exec(ctx context.Context, ref string, f *execFlags, args []string) error {
	loaded, err := c.settings()
	if err != nil {
		return err
	}
	if f.codeFile != "" {
		if f.coded {
			return usageError("both -c and --code-file are given", "give one of them")
		}
		f.code, f.coded = "", true // nothing to be read from here
	}
	s, err := c.readScript(&f.scriptFlags, args)
	if err != nil {
		return err
	}
	s.codeFile, s.queue = f.codeFile, f.queue
	if err := s.parameterScripts(f.paramScripts); err != nil {
		return err
	}
	remote, err := c.remoteOf(loaded.Config)
	if err != nil {
		return err
	}
	rs, err := remote.findRunspace(ctx, ref)
	if err != nil {
		return err
	}
	return c.runRemote(ctx, loaded.Config, "", rs.Id, s)
}

func (c *command) execList() *cobra.Command {
	var runspace, runtime, state string
	var limit int
	var noSystem bool
	cmd := &cobra.Command{
		Use: "list", Short: "List executions, newest first", Args: cobra.NoArgs,
		RunE: c.remotely(func(ctx context.Context, remote *remote, _ []string) error {
			if runspace != "" {
				rs, err := remote.findRunspace(ctx, runspace)
				if err != nil {
					return err
				}
				runspace = rs.Id
			}
			items, err := remote.someExecutions(ctx, client.ExecutionFilter{Runspace: runspace, Runtime: runtime, State: api.ExecutionState(state), NoSystem: noSystem}, limit)
			if err != nil {
				return err
			}
			return c.print(api.ExecutionList{Items: items}, func(w io.Writer) error {
				t := newTable("STATE", "EXIT", "KILLED BY", "RUNTIME", "WALL", "CPU", "MEMORY", "CREATED", "ID", "NAME")
				for _, ex := range items {
					exit := "-"
					if ex.ExitCode != nil {
						exit = strconv.Itoa(*ex.ExitCode)
					}
					t.add(string(ex.State), exit, orDash(string(deref(ex.KilledBy))), ex.RuntimeName, wall(ex.Usage.WallS), wall(ex.Usage.CpuS),
						fmt.Sprintf("%.0f MiB", ex.Usage.PeakMemoryMb), ago(time.Now(), ex.CreatedAt), ex.Id, named(ex))
				}
				return t.write(w)
			})
		}),
	}
	cmd.Flags().StringVar(&runspace, "runspace", "", "only those of this runspace (name or id)")
	cmd.Flags().StringVarP(&runtime, "runtime", "r", "", "only those of this runtime (name or id)")
	cmd.Flags().StringVar(&state, "state", "", "only those in this state")
	cmd.Flags().BoolVar(&noSystem, "no-system", false, "leave out what the server ran by itself, such as connection scripts")
	cmd.Flags().IntVarP(&limit, "limit", "n", 50, "at most so many; 0 is all")
	return cmd
}

// named is the name of an execution for people.
func named(ex api.Execution) string {
	name := orDash(ex.Name)
	if ex.System {
		name += " (system)"
	}
	return name
}

func wall(s float64) string { return short(time.Duration(s * float64(time.Second))) }

func (c *command) execGet() *cobra.Command {
	return &cobra.Command{
		Use: "get EXECUTION", Short: "Show an execution and its result", Args: cobra.ExactArgs(1), ValidArgsFunction: c.completeExecution(),
		RunE: c.remotely(func(ctx context.Context, remote *remote, args []string) error {
			ex, err := remote.GetExecution(ctx, args[0], 0)
			if err != nil {
				return err
			}
			return c.printExecution(ex)
		}),
	}
}

func (c *command) execCancel() *cobra.Command {
	return &cobra.Command{
		Use: "cancel EXECUTION...", Short: "Interrupt executions", Args: cobra.MinimumNArgs(1),
		RunE: c.remotely(func(ctx context.Context, remote *remote, args []string) error {
			return each(args, func(id string) error {
				_, err := remote.CancelExecution(ctx, id)
				return err
			})
		}),
	}
}

func (c *command) execOutput() *cobra.Command {
	var follow bool
	var after int64
	cmd := &cobra.Command{
		Use: "output EXECUTION", Short: "Print what an execution wrote, each stream to its own", Args: cobra.ExactArgs(1), ValidArgsFunction: c.completeExecution(),
		RunE: c.remotely(func(ctx context.Context, remote *remote, args []string) error {
			out := c.newOutput()
			page, err := remote.output(ctx, args[0], after, follow, func(r api.OutputRecord) error { return out.sink(recordOf(r)) })
			if err != nil {
				return err
			}
			if out.keep {
				for _, r := range out.records {
					page.Records = append(page.Records, wireRecord(r))
				}
				return c.print(page, nil)
			}
			if page.CutBytes > 0 {
				out.note(fmt.Sprintf("remuda: %d bytes of output over the limit were cut", page.CutBytes))
			}
			return nil
		}),
	}
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on until the execution has ended")
	cmd.Flags().Int64Var(&after, "after", 0, "only records with a greater number")
	return cmd
}

func (c *command) execText() *cobra.Command {
	return &cobra.Command{
		Use: "text EXECUTION", Short: "Print what an execution has put out as one text, its value included", Args: cobra.ExactArgs(1), ValidArgsFunction: c.completeExecution(),
		RunE: c.remotely(func(ctx context.Context, remote *remote, args []string) error {
			said, err := remote.GetText(ctx, args[0])
			if err != nil {
				return err
			}
			return c.print(said, func(io.Writer) error {
				_, err := fmt.Fprintln(c.foreignText(), said.Text)
				return err
			})
		}),
	}
}

func (c *command) execObjects() *cobra.Command {
	return &cobra.Command{
		Use: "objects EXECUTION", Short: "Print what an execution has put out as objects, a line of JSON each", Args: cobra.ExactArgs(1), ValidArgsFunction: c.completeExecution(),
		Long: "Print the lines of an execution's standard output and, if it ran with --objects, what it evaluated to, as objects:\n" +
			"a line of JSON each, with type, interfaces and value.",
		RunE: c.remotely(func(ctx context.Context, remote *remote, args []string) error {
			list, err := remote.GetObjects(ctx, args[0])
			if err != nil {
				return err
			}
			return c.print(list, func(io.Writer) error {
				enc := json.NewEncoder(c.foreignText())
				enc.SetEscapeHTML(false)
				for _, o := range list.Objects {
					if err := enc.Encode(o); err != nil {
						return err
					}
				}
				return nil
			})
		}),
	}
}

func (c *command) printExecution(ex api.Execution) error {
	return c.print(ex, func(w io.Writer) error {
		cells := []string{
			"id", ex.Id, "name", named(ex), "state", string(ex.State), "reason", orDash(deref(ex.Reason)), "killed by", orDash(string(deref(ex.KilledBy))),
			"runtime", fmt.Sprintf("%s, generation %d", ex.RuntimeName, ex.Generation), "runspace", orDash(deref(ex.Runspace)),
			"instance", orDash(deref(ex.Instance)), "fresh", strconv.FormatBool(ex.Fresh),
			"warm", strconv.FormatBool(ex.Warm), "narrowed", orDash(strings.Join(ex.Narrowed, " ")),
		}
		if ex.ColdReason != nil {
			cells = append(cells, "cold because", *ex.ColdReason)
		}
		if ex.ExitCode != nil {
			cells = append(cells, "exit code", strconv.Itoa(*ex.ExitCode))
		}
		if ex.Value != nil {
			cells = append(cells, "value", ex.Value.Text)
			for media, data := range ex.Value.Rich {
				cells = append(cells, "value as "+media, fmt.Sprintf("%d bytes of base64 (-o json shows them)", len(data)))
			}
		}
		cells = append(cells,
			"used", fmt.Sprintf("%s of cpu, %s of time, %.1f MiB of memory", wall(ex.Usage.CpuS), wall(ex.Usage.WallS), ex.Usage.PeakMemoryMb),
			"output", fmt.Sprintf("%d bytes kept, %d cut", ex.OutputBytes, ex.OutputCutBytes),
			"stages", stages(ex.TimingsUs), "created", ago(time.Now(), ex.CreatedAt))
		if err := pairs(w, cells...); err != nil {
			return err
		}
		if ex.Error != nil {
			_, err := fmt.Fprintf(w, "\n%s\n", multiline(ex.Error.Traceback))
			return err
		}
		return nil
	})
}

// stageOrder is the order in which stages happen.
var stageOrder = []string{"queue", "lease", "create", "fence", "interpreter", "send", "run", "record", "total"}

func stages(us map[string]int64) string {
	var list []string
	for _, name := range stageOrder {
		if v, ok := us[name]; ok {
			list = append(list, fmt.Sprintf("%s %dus", name, v))
		}
	}
	return orDash(strings.Join(list, ", "))
}

// multiline is printable for a text of several lines.
func multiline(s string) string {
	lines := strings.Split(strings.TrimRight(s, "\n"), "\n")
	for i, line := range lines {
		lines[i] = printable(strings.ReplaceAll(line, "\t", "    "))
	}
	return strings.Join(lines, "\n")
}
