package cli

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// completeWait bounds how long a shell waits for the server to complete a name.
const completeWait = 3 * time.Second

// completeRuntimes completes names of runtimes that are not on the command line
// yet. Without a server there is nothing to offer.
func (c *command) completeRuntimes(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
	r, err := c.remote()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	ctx := cmd.Context()
	if ctx == nil {
		ctx = context.Background()
	}
	ctx, cancel := context.WithTimeout(ctx, completeWait)
	defer cancel()
	items, err := r.allRuntimes(ctx, "")
	if err != nil {
		return nil, cobra.ShellCompDirectiveError | cobra.ShellCompDirectiveNoFileComp
	}
	var names []string
	for _, rt := range items {
		if strings.HasPrefix(rt.Name, begun) && !slices.Contains(args, rt.Name) {
			names = append(names, cobra.CompletionWithDesc(rt.Name, printable(firstLine(rt.Description))))
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// completeRuntime completes the one runtime that a command takes.
func (c *command) completeRuntime(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return c.completeRuntimes(cmd, args, begun)
}

// complete offers fixed values for a flag.
func complete(cmd *cobra.Command, flag string, values ...string) {
	if err := cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp)); err != nil {
		panic(err) // the flag is not there
	}
}
