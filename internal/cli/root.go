package cli

import (
	"context"
	"errors"
	"log/slog"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/remuda-run/remuda/internal/config"
	"github.com/remuda-run/remuda/internal/remuda"
)

// command is one run of the program.
type command struct {
	*Env

	hurry   <-chan struct{} // closed at the second signal
	started bool            // the command line was understood
	output  outputFormat
	file    string // --config
	flags   map[string]*settingFlag
}

// execute runs the command tree.
func (c *command) execute(ctx context.Context) error {
	root := c.tree()
	root.SetArgs(c.Args)
	ran, err := root.ExecuteContextC(ctx)
	if err == nil {
		return nil
	}
	// What cobra itself refuses (an unknown command, a missing argument) comes
	// without a type of ours.
	var ours *remuda.Error
	var status exitStatus
	var known *statusError
	if !c.started && !errors.As(err, &ours) && !errors.As(err, &status) && !errors.As(err, &known) {
		err = usageError("%s", "see `"+ran.CommandPath()+" --help`", strings.TrimSpace(strings.ReplaceAll(err.Error(), "\n", " ")))
		if ran.Parent() == root && (ran.Name() == "run" || ran.Name() == "exec") {
			return noResult(err) // 2 could be the script's
		}
	}
	return err
}

// tree builds the whole command tree.
func (c *command) tree() *cobra.Command {
	c.flags = map[string]*settingFlag{}
	root := &cobra.Command{
		Use:   "remuda",
		Short: "Fresh, fenced interpreters on demand",
		Long: "Remuda keeps runtimes saddled: define one once, and whoever has the right gets a fresh,\n" +
			"fenced, never-used interpreter from it at once.\n\n" +
			"`remuda run script.py` runs a script in a sandbox of its own: on the server that REMUDA_URL\n" +
			"and REMUDA_TOKEN name or, with none configured, in this process (as root).",
		SilenceErrors: true, SilenceUsage: true,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		PersistentPreRunE: func(*cobra.Command, []string) error {
			c.started = true
			return nil
		},
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: false},
	}
	root.SetIn(c.Stdin)
	root.SetOut(c.Stdout)
	root.SetErr(c.Stderr)
	root.PersistentFlags().StringVar(&c.file, "config", "", "settings file (REMUDA_CONFIG; else the first of ~/.config/remuda/remuda.yaml and /etc/remuda/remuda.yaml)")
	root.PersistentFlags().VarP(&c.output, "output", "o", "form of what is printed: table or json")
	complete(root, "output", string(outputTable), string(outputJSON))
	c.addSettings(root.PersistentFlags(), config.GroupCommon)
	root.AddCommand(
		c.serveCommand(), c.runCommand(), c.execCommand(), c.attachCommand(), c.applyCommand(), c.diffCommand(), c.getCommand(), c.describeCommand(), c.waitCommand(), c.deleteCommand(),
		c.runtimeCommand(), c.runspaceCommand(), c.streamsCommand(), c.scriptCommand(),
		c.tokenCommand(), c.userCommand(), c.organizationCommand(), c.limitsCommand(), c.auditCommand(),
		c.doctorCommand(), c.benchCommand(), c.configCommand(), c.versionCommand(),
	)
	return root
}

// settingFlag is the flag of one setting. Settings of the same key on different
// commands are different flags; only the one on the command that runs is set.
type settingFlag struct {
	setting config.Setting
	text    string
	given   bool
	into    map[string]*settingFlag
}

// String implements pflag.Value.
func (f *settingFlag) String() string {
	if f.given {
		return f.text
	}
	return f.setting.Default
}

// Set implements pflag.Value. A wrong value is reported with all the other
// wrong settings, so any text is taken here.
func (f *settingFlag) Set(text string) error {
	f.text, f.given = text, true
	f.into[f.setting.Key] = f
	return nil
}

// Type implements pflag.Value.
func (f *settingFlag) Type() string {
	if f.setting.Kind == "yes or no" {
		return "bool"
	}
	return f.setting.Kind
}

// addSettings adds a flag for each setting of the groups.
func (c *command) addSettings(flags *pflag.FlagSet, groups ...config.Group) {
	for _, s := range config.Settings() {
		for _, g := range groups {
			if s.Group == g && s.Flag != "" {
				c.addFlag(flags, s)
			}
		}
	}
}

// addSetting adds the flag of one setting.
func (c *command) addSetting(flags *pflag.FlagSet, key string) {
	for _, s := range config.Settings() {
		if s.Key == key {
			c.addFlag(flags, s)
		}
	}
}

func (c *command) addFlag(flags *pflag.FlagSet, s config.Setting) {
	flag := flags.VarPF(&settingFlag{setting: s, into: c.flags}, s.Flag, "", s.Help+" ("+s.Env+")")
	if s.Kind == "yes or no" {
		flag.NoOptDefVal = "true"
	}
}

// settings loads the settings for the command that runs.
func (c *command) settings() (*config.Loaded, error) {
	given := map[string]string{}
	for key, f := range c.flags {
		given[key] = f.text
	}
	file := c.file
	if file == "" {
		file, _ = c.lookup("REMUDA_CONFIG")
	}
	loaded, err := config.Load(config.Sources{File: file, SearchPaths: config.SearchPaths(c.lookup), Environ: c.Environ, Flags: given})
	if err != nil {
		return nil, &statusError{status: ExitUsage, err: err}
	}
	return loaded, nil
}

// logger writes to standard error in the form that the settings say.
func (c *command) logger(s config.Config) *slog.Logger {
	var level slog.Level
	_ = level.UnmarshalText([]byte(s.LogLevel)) // was checked with the settings
	o := &slog.HandlerOptions{Level: level}
	if s.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(c.Stderr, o))
	}
	return slog.New(slog.NewTextHandler(c.Stderr, o))
}

// quietLogger is for commands whose standard error belongs to a script or to a
// person: only what somebody asked for by setting a level, else warnings.
func (c *command) quietLogger(s config.Config) *slog.Logger {
	if s.LogLevel == config.Default().LogLevel {
		s.LogLevel = "warn"
	}
	return c.logger(s)
}

// clientGroup is a group whose commands talk to a server.
func (c *command) clientGroup(use, short string, subs ...*cobra.Command) *cobra.Command {
	cmd := group(use, short, subs...)
	c.addSettings(cmd.PersistentFlags(), config.GroupClient)
	return cmd
}

// group is a command that only holds others.
func group(use, short string, subs ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{
		Use: use, Short: short, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(subs...)
	return cmd
}
