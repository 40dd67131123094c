package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/remuda-run/remuda/internal/config"
)

// documentation returns docs/cli.md and docs/configuration.md as they follow
// from the command tree and the settings. A test keeps the files equal to it.
func documentation() (commands, configuration string) {
	root := (&command{Env: &Env{}}).tree()
	root.InitDefaultCompletionCmd()
	var b strings.Builder
	b.WriteString("# The command line\n\n" +
		"Made from the program by `go test ./internal/cli -run TestDocumentation -update`; do not edit.\n\n" +
		"Results go to standard output, errors and the log to standard error. An error says what happened, why, and what to do:\n\n" +
		"```\nerror: what: why\nremedy: what to do\n```\n\n" +
		"`-o json` prints the objects of the API (docs: `/docs` of a server) and errors as one JSON object.\n\n" +
		"## Exit statuses\n\n| status | meaning |\n|---|---|\n")
	for _, s := range []struct {
		status int
		text   string
	}{
		{ExitOK, "done"},
		{ExitFailed, "it could not be done; the reason is on standard error"},
		{ExitUsage, "the command line or a setting is wrong (125 with `run` and `exec`); nothing was done"},
		{ExitTimeLimit, "`run`, `exec`: the script was over its time limit"},
		{ExitNoResult, "`run`, `exec`: the script did not run, or its end is not known"},
		{ExitCanceled, "`run`, `exec`: canceled by Ctrl-C or by somebody else (143 when this process got SIGTERM)"},
		{ExitKilled, "`run`, `exec`: killed; the reason is on standard error"},
	} {
		fmt.Fprintf(&b, "| %d | %s |\n", s.status, s.text)
	}
	b.WriteString("\nAnything else from `run` and `exec` is the script's own status.\n\n## Flags of every command\n\n```\n" + flagText(root.PersistentFlags()) + "```\n")
	document(&b, root)
	return b.String(), configurationText()
}

func document(b *strings.Builder, parent *cobra.Command) {
	for _, cmd := range parent.Commands() {
		if cmd.Hidden || cmd.Name() == "help" {
			continue
		}
		fmt.Fprintf(b, "\n## %s\n\n%s.\n", cmd.CommandPath(), cmd.Short)
		if cmd.Long != "" {
			fmt.Fprintf(b, "\n%s\n", strings.TrimSpace(cmd.Long))
		}
		if cmd.Runnable() {
			fmt.Fprintf(b, "\n```\n%s\n```\n", cmd.UseLine())
		}
		if cmd.Example != "" {
			fmt.Fprintf(b, "\n```\n%s\n```\n", strings.TrimRight(unindent(cmd.Example), "\n"))
		}
		if text := flagText(cmd.NonInheritedFlags()); text != "" && cmd.Name() != "completion" && parent.Name() != "completion" {
			fmt.Fprintf(b, "\n```\n%s```\n", text)
		}
		if cmd.Name() != "completion" {
			document(b, cmd)
		}
	}
}

// flagText is the usage of the flags without the one for help.
func flagText(flags *pflag.FlagSet) string {
	shown := pflag.NewFlagSet("", pflag.ContinueOnError)
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Name != "help" {
			shown.AddFlag(f)
		}
	})
	return shown.FlagUsages()
}

func unindent(s string) string {
	return strings.TrimPrefix(strings.ReplaceAll(s, "\n  ", "\n"), "  ")
}

func configurationText() string {
	var b strings.Builder
	b.WriteString("# Settings\n\n" +
		"Made from the program by `go test ./internal/cli -run TestDocumentation -update`; do not edit.\n\n" +
		"A setting comes from its default, the settings file, a `REMUDA_*` variable or a flag; the later one wins. The key `log_level`\n" +
		"of the file is the variable `REMUDA_LOG_LEVEL` and the flag `--log-level`. `remuda config show` prints every value and where it came\n" +
		"from. An unknown key is an error that names the place and the nearest known key.\n\n" +
		"The file is the one that `--config` or `REMUDA_CONFIG` names, else the first of `~/.config/remuda/remuda.yaml` (or\n" +
		"`$XDG_CONFIG_HOME/remuda/remuda.yaml`) and `/etc/remuda/remuda.yaml` that exists; never one in the working directory. examples/remuda.yaml\n" +
		"is one to start from.\n\n" +
		"Variables with the prefix that are no settings are ignored: `REMUDA_CONFIG`, what Kubernetes gives pods for a service named\n" +
		"remuda (`REMUDA_SERVICE_*`, `REMUDA_PORT*`), and the tests' own `REMUDA_BIN` and `REMUDA_TEST_*`.\n")
	for _, g := range []struct {
		group config.Group
		title string
	}{
		{config.GroupCommon, "Every command"},
		{config.GroupServer, "The server (`remuda serve`)"},
		{config.GroupEngine, "What makes sandboxes (`serve`, `doctor`, `run` without a server)"},
		{config.GroupClient, "Clients"},
	} {
		fmt.Fprintf(&b, "\n## %s\n\n| key | kind | default | meaning |\n|---|---|---|---|\n", g.title)
		for _, s := range config.Settings() {
			if s.Group != g.group {
				continue
			}
			help := s.Help
			if s.Flag == "" {
				help += " (no flag: arguments are visible to every process)"
			}
			value := "none"
			if s.Default != "" {
				value = "`" + s.Default + "`"
			}
			fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", s.Key, s.Kind, value, help)
		}
	}
	return b.String()
}
