package cli

import (
	"github.com/spf13/cobra"

	"github.com/remuda-run/remuda/internal/bench"
)

func (c *command) benchCommand() *cobra.Command {
	o := bench.Options{}
	cmd := &cobra.Command{
		Use: "bench", Short: "Measure this machine: Remuda, a bare interpreter and the peers that are installed",
		Long: "Measure cold and warm one-shot executions and runspace executions over HTTP against a server of its own,\n" +
			"together with a bare python3 and with bwrap, runc, podman and docker where they are installed. Only the\n" +
			"ratios inside one run mean anything. Needs root.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.Out, o.JSON = c.Stdout, c.output == outputJSON
			return bench.Run(cmd.Context(), o)
		},
	}
	cmd.Flags().IntVar(&o.Rounds, "rounds", 60, "rounds of the loop that measures everything in turn")
	cmd.Flags().IntVar(&o.Warm, "warm", 1000, "executions of the 50/s load on warm instances")
	return cmd
}
