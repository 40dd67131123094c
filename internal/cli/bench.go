package cli

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/remuda-run/remuda/internal/bench"
)

func (c *command) benchCommand() *cobra.Command {
	o := bench.Options{}
	cmd := &cobra.Command{
		Use: "bench", Short: "Measure this machine: Remuda, a bare interpreter and the peers that are installed",
		Long: "Measure cold and warm one-shot executions, runspaces, rates and memory over HTTP against a server of its own,\n" +
			"together with a bare python3, a bare loop of forks, and bwrap, crun, runc, runsc, podman, docker and ipykernel\n" +
			"where they are installed. Only the ratios inside one run mean anything. Needs root.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.Out, o.Progress, o.JSON = c.Stdout, c.Stderr, c.output == outputJSON
			return bench.Run(cmd.Context(), o)
		},
	}
	cmd.Flags().IntVar(&o.Rounds, "rounds", 40, "rounds of the loop that takes one cold start of each in turn")
	cmd.Flags().IntVar(&o.Warm, "warm", 1000, "executions of the 200/s load on warm instances; half as many at 50/s")
	cmd.Flags().IntVar(&o.Instances, "instances", 100, "warm instances at once when memory is measured; 1000 measures the goal instead of extrapolating")
	cmd.Flags().StringSliceVar(&o.Only, "only", nil, "measure only these parts: "+strings.Join(bench.Parts(), ", "))
	return cmd
}
