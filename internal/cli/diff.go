package cli

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/remuda-run/remuda/internal/config"
)

// Exit statuses of diff, which are those of diff(1).
const (
	ExitDiffers = 1 // diff: apply would change something
	ExitTrouble = 2 // diff: it could not be found out
)

func (c *command) diffCommand() *cobra.Command {
	f := &fileFlags{}
	var prune bool
	cmd := &cobra.Command{
		Use: "diff -f FILE", Short: "Show what apply would change", Args: cobra.NoArgs,
		Long: "Show what `remuda apply` of the same files would change, and change nothing. The exit status is 0 when it would\n" +
			"change nothing, 1 when it would change something, and 2 when that could not be found out.",
		Example: "  remuda diff -f runtimes.yaml && echo nothing to do",
		RunE: func(cmd *cobra.Command, _ []string) error {
			err := c.diff(cmd.Context(), *f, prune)
			if _, differs := err.(exitStatus); err == nil || differs { //nolint:errorlint // ours, never wrapped
				return err
			}
			return &statusError{status: ExitTrouble, err: err}
		},
	}
	f.add(cmd.Flags())
	f.addSet(cmd.Flags())
	cmd.Flags().BoolVar(&prune, "prune", false, "also what apply --prune would delete")
	c.addSettings(cmd.Flags(), config.GroupClient)
	return cmd
}

func (c *command) diff(ctx context.Context, f fileFlags, prune bool) error {
	r, err := c.remote()
	if err != nil {
		return err
	}
	plan, err := c.plan(ctx, r, f, prune)
	if err != nil {
		return err
	}
	list := []applied{}
	for _, s := range plan {
		if s.verb != verbKeep {
			a := s.begin()
			a.DryRun = true
			list = append(list, a)
		}
	}
	err = c.print(map[string]any{"differs": len(list) > 0, "items": list}, func(w io.Writer) error {
		for _, a := range list {
			if err := writeDifference(w, a); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil && len(list) > 0 {
		return exitStatus(ExitDiffers)
	}
	return err
}

func writeDifference(w io.Writer, a applied) error {
	what := map[verb]string{
		verbCreate: "is not there", verbChange: fmt.Sprintf("differs from generation %d", a.Generation), verbDelete: "is declared no more",
		verbRebuild: "could not be built, and would be built again",
	}[a.Result]
	if a.Place != "" {
		what += " (" + a.Place + ")"
	}
	if _, err := fmt.Fprintf(w, "runtime/%s %s\n", printable(a.Name), printable(what)); err != nil {
		return err
	}
	if a.Result == verbCreate {
		for _, ch := range a.Changes {
			if _, err := fmt.Fprintf(w, "  + %s: %s\n", printable(ch.Field), shown(ch.To)); err != nil {
				return err
			}
		}
		return nil
	}
	return writeChanges(w, a.Changes)
}
