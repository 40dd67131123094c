package cli

import (
	"io"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/remuda-run/remuda/internal/app"
	"github.com/remuda-run/remuda/internal/store"
)

// auditVerified is what `audit verify -o json` prints.
type auditVerified struct {
	Items []store.AuditEnd `json:"items"`
}

func (c *command) auditCommand() *cobra.Command {
	return group("audit", "Look after the audit log", c.auditVerify())
}

func (c *command) auditVerify() *cobra.Command {
	cmd := &cobra.Command{
		Use: "verify", Short: "Check that no entry of the audit log was edited, removed, added or moved",
		Long: "Recompute the chain of hashes of every organization's audit log in the database of --data, and print where each\n" +
			"ends. Nothing is changed, and the server may be running. The exit status is 1 when a log was altered; the error\n" +
			"names the first entry that is not as it was written.\n\n" +
			"Whoever can write the database can also compute a whole new chain: keep the printed hashes somewhere else. A log\n" +
			"only grows, so an entry of the same number must have the same hash for ever.",
		Example: "  remuda audit verify --data /var/lib/remuda",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			loaded, err := c.settings()
			if err != nil {
				return err
			}
			ends, err := app.VerifyAudit(cmd.Context(), loaded.Config)
			if err != nil {
				return err
			}
			return c.print(auditVerified{Items: ends}, func(w io.Writer) error {
				t := newTable("ORGANIZATION", "ENTRIES", "HASH OF THE NEWEST")
				for _, e := range ends {
					t.add(string(e.Organization), strconv.FormatInt(e.Entries, 10), orDash(e.Hash))
				}
				return t.write(w)
			})
		},
	}
	c.addSetting(cmd.Flags(), "data")
	return cmd
}
