package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/remuda-run/remuda/api"
	"github.com/remuda-run/remuda/client"
	"github.com/remuda-run/remuda/internal/config"
	"github.com/remuda-run/remuda/internal/remuda"
)

// deleteFlags are the flags of delete.
type deleteFlags struct {
	fileFlags

	drain                    time.Duration
	refuseIfBusy, ignoreGone bool
}

func (c *command) deleteCommand() *cobra.Command {
	f := &deleteFlags{}
	cmd := &cobra.Command{
		Use: "delete RUNTIME...", Short: "Delete runtimes, those that are named or those that files declare",
		Long: "Delete runtimes, by name or id, or those that files declare. One that open runspaces use is not deleted; with\n" +
			"--drain nothing new begins on it, what runs may go on for that long, and then it is deleted with all that is left.",
		Example:           "  remuda delete reports\n  remuda delete -f runtimes.yaml --ignore-missing --drain 30s",
		ValidArgsFunction: c.completeRuntimes,
		RunE: c.remotely(func(ctx context.Context, r *remote, args []string) error {
			return c.deleteRuntimes(ctx, r, f, args)
		}),
	}
	f.add(cmd.Flags())
	cmd.Flags().DurationVar(&f.drain, "drain", 0, "how long what runs may go on, at most 5m; nothing new begins meanwhile (default: refuse while runspaces are open)")
	cmd.Flags().BoolVar(&f.refuseIfBusy, "refuse-if-busy", false, "refuse while anything runs on it, one-shot executions too")
	cmd.Flags().BoolVar(&f.ignoreGone, "ignore-missing", false, "what is not there is deleted already")
	c.addSettings(cmd.Flags(), config.GroupClient)
	return cmd
}

func (c *command) deleteRuntimes(ctx context.Context, r *remote, f *deleteFlags, args []string) error {
	if len(args) == 0 && len(f.files) == 0 {
		return usageError("no runtime is named", "name runtimes, or give files that declare them with -f")
	}
	switch {
	case f.drain > 0 && f.refuseIfBusy:
		return usageError("both --drain and --refuse-if-busy are given", "give one: what runs is waited for, or refused")
	case f.drain < 0:
		return usageError("--drain %s is negative", "write it like 30s", f.drain)
	}
	items, missing := c.chosen(ctx, r, f.fileFlags, args)
	if items == nil {
		return missing
	}
	if f.ignoreGone {
		missing = withoutMissing(missing)
	}
	list := make([]applied, 0, len(items))
	failed := []error{missing}
	for _, rt := range items {
		a := applied{Name: rt.Name, Result: verbDelete, ID: rt.Id, Changes: []change{}}
		a.err = f.remove(ctx, r, rt, args)
		list = append(list, a.ended())
		if c.output == outputJSON {
			continue
		}
		if a.err != nil {
			failed = append(failed, a.err)
			continue
		}
		if _, err := fmt.Fprintf(c.Stdout, "runtime/%s deleted\n", printable(rt.Name)); err != nil {
			return err
		}
	}
	if c.output != outputJSON {
		return errors.Join(failed...)
	}
	if err := c.print(map[string]any{"items": list}, nil); err != nil {
		return err
	}
	for _, a := range list {
		if a.err != nil && missing == nil {
			return exitStatus(ExitFailed) // the list says why
		}
	}
	return missing
}

// remove deletes one; that somebody else has done it meanwhile is no error where
// what is missing is none.
func (f *deleteFlags) remove(ctx context.Context, r *remote, rt api.Runtime, args []string) error {
	if rt.Global && !slices.Contains(args, rt.Id) {
		return &remuda.Error{
			Code: remuda.CodePrecondition, Message: fmt.Sprintf("the runtime %q is the site's own", rt.Name),
			Cause: "every organization uses it", Remedy: "a site administrator who means it names it by its id, " + rt.Id,
		}
	}
	err := r.DeleteRuntimeHow(ctx, rt.Id, client.Deletion{RefuseIfBusy: f.refuseIfBusy, Drain: f.drain})
	if f.ignoreGone && client.IsCode(err, string(remuda.CodeNotFound)) {
		return nil
	}
	return err
}

func withoutMissing(err error) error {
	several, ok := err.(interface{ Unwrap() []error }) // a join of ours
	if !ok {
		return err
	}
	var rest []error
	for _, one := range several.Unwrap() {
		if describe(one).Code != remuda.CodeNotFound {
			rest = append(rest, one)
		}
	}
	return errors.Join(rest...)
}
