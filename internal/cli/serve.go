package cli

import (
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/remuda-run/remuda/internal/app"
	"github.com/remuda-run/remuda/internal/config"
)

func (c *command) serveCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "serve", Short: "Run the server",
		Long: "Run the server, as root. The first start makes the database and the user admin, with the password from\n" +
			"REMUDA_ADMIN_PASSWORD or a random one that is printed once. Plain HTTP is served on loopback only.\n\n" +
			"On standard output it prints where it listens, once it is ready; with --log-format json each line is one JSON\n" +
			"object. The log goes to standard error. SIGTERM and SIGINT drain: no new work, one-shot executions may go on for\n" +
			"--drain-timeout, and open runspaces are left to the next start (--runspace-on-stop). A second signal ends all at once.",
		Example: "  remuda serve --data /var/lib/remuda --listen 127.0.0.1:8080\n  remuda serve --listen :8443 --tls-cert cert.pem --tls-key key.pem",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			loaded, err := c.settings()
			if err != nil {
				return err
			}
			logger := c.logger(loaded.Config)
			return app.Serve(cmd.Context(), app.ServerOptions{
				Config: loaded.Config, Logger: logger, Version: c.Version, Hurry: c.hurry,
				Announce: func(a app.Announcement) { c.announce(loaded.Config, a) },
			})
		},
	}
	c.addSettings(cmd.Flags(), config.GroupServer, config.GroupEngine)
	return cmd
}

// announce prints what whoever started the server must know.
func (c *command) announce(conf config.Config, a app.Announcement) {
	if conf.LogFormat == "json" || c.output == outputJSON {
		_ = json.NewEncoder(c.Stdout).Encode(a) //nolint:gosec,errchkjson // showing the password once is what this is for
		return
	}
	switch a.Event {
	case app.EventAdminCreated:
		_, _ = fmt.Fprintf(c.Stdout, "user %s was made; its password is shown only now: %s\n", a.User, a.Password)
	case app.EventListening:
		_, _ = fmt.Fprintf(c.Stdout, "listening on %s\n", a.URL)
	}
}
