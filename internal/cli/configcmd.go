package cli

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/remuda-run/remuda/internal/config"
)

// shownSetting is one setting as `config show -o json` prints it.
type shownSetting struct {
	Key    string `json:"key"`
	Value  string `json:"value"`
	Origin string `json:"origin"`
	Place  string `json:"place,omitempty"`
	Env    string `json:"env"`
	Flag   string `json:"flag,omitempty"`
}

func (c *command) configCommand() *cobra.Command {
	show := &cobra.Command{
		Use: "show", Short: "Print every setting, its value and where it came from",
		Long: "Print every setting, its value and where it came from. The flags of `serve` and of the clients\n" +
			"may be given, to see what they would do. Secrets are not shown, only whether they are set.",
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			loaded, err := c.settings()
			if err != nil {
				return err
			}
			return c.printSettings(loaded)
		},
	}
	c.addSettings(show.Flags(), config.GroupServer, config.GroupEngine, config.GroupClient)
	return group("config", "Look at the settings", show)
}

func (c *command) printSettings(loaded *config.Loaded) error {
	list := make([]shownSetting, 0, len(loaded.Values))
	t := newTable("SETTING", "VALUE", "FROM")
	for _, v := range loaded.Values {
		s := shownSetting{Key: v.Key, Value: v.Text, Origin: v.Origin, Place: v.Detail, Env: v.Env}
		if v.Flag != "" {
			s.Flag = "--" + v.Flag
		}
		list = append(list, s)
		from := v.Origin
		if v.Detail != "" {
			from = v.Detail
		}
		t.add(v.Key, orDash(v.Text), from)
	}
	return c.print(list, func(w io.Writer) error {
		if loaded.File != "" {
			if _, err := fmt.Fprintf(w, "file: %s\n\n", printable(loaded.File)); err != nil {
				return err
			}
		}
		return t.write(w)
	})
}
