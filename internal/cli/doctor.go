package cli

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/remuda-run/remuda/internal/app"
	"github.com/remuda-run/remuda/internal/config"
)

func (c *command) doctorCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "doctor", Short: "Try everything that sandboxes need on this machine, and say what to mend",
		Long: "Try every mechanism that sandboxes need, by using it, and say what is missing and how to mend it. Nothing is\n" +
			"left behind. The exit status is 1 when something is missing; `remuda serve` would refuse to start.",
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
			failed := 0
			for _, f := range findings {
				if !f.OK {
					failed++
				}
			}
			if err := c.print(findings, func(w io.Writer) error {
				for _, f := range findings {
					verdict := "OK"
					if !f.OK {
						verdict = "FAIL"
					}
					line := fmt.Sprintf("%-4s  %s", verdict, f.Name)
					if f.Detail != "" {
						line += ": " + f.Detail
					}
					if _, err := fmt.Fprintln(w, printable(line)); err != nil {
						return err
					}
					if !f.OK && f.Remedy != "" {
						if _, err := fmt.Fprintln(w, "      remedy: "+printable(f.Remedy)); err != nil {
							return err
						}
					}
				}
				return nil
			}); err != nil {
				return err
			}
			if failed > 0 {
				return exitStatus(ExitFailed)
			}
			return nil
		},
	}
	c.addSettings(cmd.Flags(), config.GroupEngine)
	return cmd
}
