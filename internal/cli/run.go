package cli

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/remuda-run/remuda/internal/app"
	"github.com/remuda-run/remuda/internal/config"
	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/remuda"
	"github.com/remuda-run/remuda/internal/runtimes"
)

// runFlags are the flags of run beside those of every script.
type runFlags struct {
	scriptFlags

	runtime   string
	isolation string
	resources remuda.Resources // of a sandbox in this process, or at most so much on a server
	egress    []string
	noEgress  bool
}

func (c *command) runCommand() *cobra.Command {
	f := &runFlags{}
	cmd := &cobra.Command{
		Use:   "run [flags] [SCRIPT|-] [--] [ARG...]",
		Short: "Run a script once, in a fresh sandbox",
		Long: "Run a script once, in a fresh sandbox that is destroyed afterwards.\n\n" +
			"The language comes from -r, else from the file's extension (.py .js .mjs .cjs .sh .bash) or its #! line,\n" +
			"else it is python. Without a file, or with -, the script is read from standard input; otherwise standard input\n" +
			"is the script's, unless it is a terminal. It is read to its end first. Output comes as it is written.\n\n" +
			"With REMUDA_URL and REMUDA_TOKEN (or --url, --token) set the server runs the script; without them this process\n" +
			"does, which needs root. The exit status is the script's; 124 is the time limit, 137 killed (the reason is on\n" +
			"standard error), 130 canceled, 125 that the script did not run or its end is not known.",
		Example: "  remuda run script.py -- one two\n  remuda run -c 'print(6 * 7)'\n  remuda run -r node --timeout 5s -e DEBUG=1 -p n=3 --file in.csv script.js < input.txt",
		RunE: func(cmd *cobra.Command, args []string) error {
			f.coded = cmd.Flags().Changed("code")
			return noResult(c.run(cmd.Context(), f, args))
		},
	}
	f.add(cmd.Flags())
	cmd.Flags().StringVarP(&f.runtime, "runtime", "r", "", "runtime by name or id; without a server: python, node or bash")
	cmd.Flags().Float64Var(&f.resources.CPU, "cpu", 0, "cores; on a server at most the runtime's (default: the runtime's, 1 without a server)")
	cmd.Flags().IntVar(&f.resources.MemoryMB, "memory-mb", 0, "MiB of memory, as --cpu (default without a server 512)")
	cmd.Flags().IntVar(&f.resources.DiskMB, "disk-mb", 0, "MiB of workspace and /tmp, as --cpu (default without a server 256); needs a cold start")
	cmd.Flags().IntVar(&f.resources.Pids, "pids", 0, "processes and threads, as --cpu (default without a server 128)")
	cmd.Flags().StringVar(&f.isolation, "isolation", "", "without a server: class of isolation, process or gvisor; on a server the runtime has it")
	cmd.Flags().StringSliceVar(&f.egress, "egress", nil, "on a server: of what the runtime may reach, only these ranges of addresses and host names (may be repeated)")
	cmd.Flags().BoolVar(&f.noEgress, "no-egress", false, "on a server: reach nothing that --egress does not give")
	c.addSettings(cmd.Flags(), config.GroupClient, config.GroupEngine)
	if err := cmd.RegisterFlagCompletionFunc("runtime", func(cmd *cobra.Command, _ []string, begun string) ([]string, cobra.ShellCompDirective) {
		return c.completeRuntimes(cmd, nil, begun)
	}); err != nil {
		panic(err) // the flag is above
	}
	return cmd
}

func (c *command) run(ctx context.Context, f *runFlags, args []string) error {
	loaded, err := c.settings()
	if err != nil {
		return err
	}
	s, err := c.readScript(&f.scriptFlags, args)
	if err != nil {
		return err
	}
	if f.runtime == "" {
		language, known := s.language()
		if !known {
			language = remuda.LanguagePython
		}
		f.runtime = string(language)
	}
	if loaded.Config.URL == "" {
		return c.runLocal(ctx, loaded.Config, f, s)
	}
	if f.isolation != "" {
		return usageError("--isolation is not for a server", "choose a runtime of that class with -r")
	}
	s.limits = f.resources
	if len(f.egress) > 0 || f.noEgress {
		e := egressOf(f.egress)
		s.egress = &e
	}
	return c.runRemote(ctx, loaded.Config, f.runtime, "", s)
}

// runLocal runs the script in this process.
func (c *command) runLocal(ctx context.Context, conf config.Config, f *runFlags, s *script) error {
	language := remuda.Language(f.runtime)
	if !slices.Contains(remuda.Languages(), language) {
		return usageError("-r %q is not a language, and no server is configured that could know a runtime of that name", "give -r python, node or bash, or set REMUDA_URL and REMUDA_TOKEN", f.runtime)
	}
	if len(f.egress) > 0 {
		return usageError("--egress needs a server", "a sandbox of this process reaches nothing; set REMUDA_URL and REMUDA_TOKEN for a runtime that does")
	}
	if r := f.resources; r.CPU < 0 || r.MemoryMB < 0 || r.DiskMB < 0 || r.Pids < 0 {
		return usageError("a limit is negative", "leave it out for the default")
	}
	if s.title != "" {
		return usageError("--name is for executions of a server", "leave it out, or set REMUDA_URL and REMUDA_TOKEN")
	}
	class := remuda.Isolation(f.isolation)
	if f.isolation != "" && !slices.Contains(remuda.Isolations(), class) {
		return usageError("--isolation %q is no class of isolation", "give process or gvisor, or leave it out", f.isolation)
	}
	definition := runtimes.WithDefaults(remuda.Definition{Name: f.runtime, Language: language, Isolation: class, Resources: f.resources})
	if s.timeout > 0 {
		definition.ExecTimeout = s.timeout
	}
	if s.subject != "" {
		raw, err := json.Marshal(remuda.Identity{Subject: s.subject})
		if err != nil {
			return err
		}
		s.env[remuda.EnvIdentity] = string(raw)
	}
	run := app.LocalRun{
		Definition: definition, Files: s.files,
		Request: engine.Request{Script: s.text, Args: s.args, Parameters: s.parameters, Stdin: s.stdin, Env: s.env, Timeout: definition.ExecTimeout, Streams: s.streams, Objects: s.objects},
	}
	out := c.newOutput()
	ex, err := app.RunLocal(ctx, app.LocalOptions{Config: conf, Logger: c.quietLogger(conf), Hurry: c.hurry}, run, out.sink)
	if err != nil {
		return localError(ctx, err)
	}
	return c.conclude(wireExecution(ex), out, &definition)
}

// localError adds what to do when a sandbox could not be made.
func localError(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return canceledStatus(ctx)
	}
	ours, ok := errors.AsType[*remuda.Error](err)
	if ok && ours.Remedy != "" {
		return err
	}
	return &remuda.Error{Code: remuda.CodeOf(err), Message: err.Error(), Remedy: "`remuda doctor` tries everything that a sandbox needs and says what to mend"}
}

// canceledStatus is the exit status after a signal.
func canceledStatus(ctx context.Context) error {
	if s, ok := errors.AsType[signalError](context.Cause(ctx)); ok {
		if n, ok := s.signal.(syscall.Signal); ok {
			return exitStatus(128 + int(n))
		}
	}
	return exitStatus(ExitCanceled)
}
