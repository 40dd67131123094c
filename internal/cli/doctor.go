package cli

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/remuda-run/remuda/internal/app"
	"github.com/remuda-run/remuda/internal/config"
	"github.com/remuda-run/remuda/internal/engine"
)

func (c *command) doctorCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "doctor", Short: "Try everything that sandboxes need on this machine, and say what to mend",
		Long: "Try every mechanism that sandboxes need, by using it, and say what is missing and how to mend it. Nothing is\n" +
			"left behind. The exit status is 1 when something is missing without which `remuda serve` would refuse to start;\n" +
			"what it starts without, such as the isolation class gvisor, is marked NONE.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			loaded, err := c.settings()
			if err != nil {
				return err
			}
			findings, err := app.Doctor(cmd.Context(), loaded.Config, c.quietLogger(loaded.Config))
			if err != nil {
				return err
			}
			if err := c.print(findings, func(w io.Writer) error { return writeFindings(w, findings) }); err != nil {
				return err
			}
			if slices.ContainsFunc(findings, func(f engine.Finding) bool { return !f.OK && !f.Optional }) {
				return exitStatus(ExitFailed)
			}
			return nil
		},
	}
	c.addSettings(cmd.Flags(), config.GroupEngine)
	return cmd
}

func writeFindings(w io.Writer, findings []engine.Finding) error {
	var b strings.Builder
	for _, f := range findings {
		verdict := "OK"
		switch {
		case !f.OK && f.Optional:
			verdict = "NONE"
		case !f.OK:
			verdict = "FAIL"
		}
		line := fmt.Sprintf("%-4s  %s", verdict, f.Name)
		if f.Detail != "" {
			line += ": " + f.Detail
		}
		b.WriteString(printable(line) + "\n")
		if !f.OK && f.Remedy != "" {
			b.WriteString("      remedy: " + printable(f.Remedy) + "\n")
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}
