package cli

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/remuda-run/remuda/client"
	"github.com/remuda-run/remuda/internal/remuda"
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
	ctx, cancel := context.WithTimeout(contextOf(cmd), completeWait)
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

// completeRunspaces completes names of open runspaces that are not on the command
// line yet, and the ids of those without a name.
func (c *command) completeRunspaces(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
	r, err := c.remote()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	ctx, cancel := context.WithTimeout(contextOf(cmd), completeWait)
	defer cancel()
	items, err := r.allRunspaces(ctx)
	if err != nil {
		return nil, cobra.ShellCompDirectiveError | cobra.ShellCompDirectiveNoFileComp
	}
	var names []string
	for _, rs := range items {
		name := cmp.Or(rs.Name, rs.Id)
		if !remuda.RunspaceState(rs.State).Final() && strings.HasPrefix(name, begun) && !slices.Contains(args, name) {
			names = append(names, cobra.CompletionWithDesc(name, string(rs.State)+" on "+printable(rs.RuntimeName)))
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// completeRunspace completes the one runspace that a command takes first.
func (c *command) completeRunspace(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return c.completeRunspaces(cmd, args, begun)
}

// completeExecution completes the execution that a command takes first, of the
// newest ones; words are what may come after it.
func (c *command) completeExecution(words ...string) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
		if len(args) == 1 {
			return words, cobra.ShellCompDirectiveNoFileComp
		}
		r, err := c.remote()
		if err != nil || len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		ctx, cancel := context.WithTimeout(contextOf(cmd), completeWait)
		defer cancel()
		items, err := r.someExecutions(ctx, client.ExecutionFilter{}, 20)
		if err != nil {
			return nil, cobra.ShellCompDirectiveError | cobra.ShellCompDirectiveNoFileComp
		}
		var ids []string
		for _, ex := range items {
			if strings.HasPrefix(ex.Id, begun) {
				ids = append(ids, cobra.CompletionWithDesc(ex.Id, printable(strings.TrimSpace(string(ex.State)+" "+ex.Name))))
			}
		}
		return ids, cobra.ShellCompDirectiveNoFileComp
	}
}

func contextOf(cmd *cobra.Command) context.Context {
	if ctx := cmd.Context(); ctx != nil {
		return ctx
	}
	return context.Background()
}

// complete offers fixed values for a flag.
func complete(cmd *cobra.Command, flag string, values ...string) {
	if err := cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp)); err != nil {
		panic(err) // the flag is not there
	}
}
