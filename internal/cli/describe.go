package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/remuda-run/remuda/api"
	"github.com/remuda-run/remuda/internal/config"
	"github.com/remuda-run/remuda/internal/remuda"
)

// described is a runtime with the build of its current generation, as -o json
// prints it.
type described struct {
	Runtime api.Runtime `json:"runtime"`
	Set     string      `json:"set,omitempty"`
	Build   *api.Build  `json:"build"`
	// Log is the end of what the installers said, of a build that failed.
	Log []string `json:"log,omitempty"`
}

// describedLog is how many lines of a failed build's log are shown.
const describedLog = 20

func (c *command) describeCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "describe RUNTIME...", Short: "Show everything about runtimes: definition, packages, build, what went wrong", Args: cobra.MinimumNArgs(1),
		Long: "Show everything about runtimes, by name or id: the definition, which generation serves, what became of each package,\n" +
			"and of a build that failed the end of its log.",
		ValidArgsFunction: c.completeRuntimes,
		RunE: c.remotely(func(ctx context.Context, r *remote, args []string) error {
			items := []described{}
			missing := each(args, func(ref string) error {
				d, err := describeRuntime(ctx, r, ref)
				if err == nil {
					items = append(items, d)
				}
				return err
			})
			return errors.Join(c.print(map[string]any{"items": items}, func(w io.Writer) error { return writeDescribed(w, items) }), missing)
		}),
	}
	c.addSettings(cmd.Flags(), config.GroupClient)
	return cmd
}

func describeRuntime(ctx context.Context, r *remote, ref string) (described, error) {
	rt, err := r.findRuntime(ctx, ref)
	if err != nil {
		return described{}, err
	}
	d := described{Runtime: rt}
	_, d.Set = splitSet(othersOf(present(rt)))
	b, err := r.GetBuild(ctx, rt.Id, rt.Generation)
	if err != nil {
		return described{}, err
	}
	d.Build = &b
	if remuda.RuntimeStatus(b.Status) == remuda.RuntimeError {
		d.Log, err = r.endOfLog(ctx, rt.Id, b.Generation, describedLog)
	}
	return d, err
}

func writeDescribed(w io.Writer, items []described) error {
	for i, d := range items {
		if i > 0 {
			if _, err := fmt.Fprintln(w); err != nil {
				return err
			}
		}
		if err := d.write(w); err != nil {
			return err
		}
	}
	return nil
}

func (d described) write(w io.Writer) error {
	cells := append(runtimeCells(d.Runtime), "set", orDash(d.Set))
	if b := d.Build; b != nil {
		cells = append(cells, "build", buildText(*b))
	}
	if err := pairs(w, cells...); err != nil {
		return err
	}
	if len(d.Runtime.Packages) > 0 {
		t := newTable("PACKAGE", "ASKED FOR", "MANAGER", "STATUS", "INSTALLED", "WHY NOT")
		for _, p := range d.Runtime.Packages {
			asked := p.Version
			if asked == "" {
				asked = "latest"
			}
			t.add(p.Name, asked, string(p.Manager), string(p.Status), orDash(deref(p.Resolved)), orDash(brief(deref(p.Message))))
		}
		if _, err := fmt.Fprintln(w); err != nil {
			return err
		}
		if err := t.write(w); err != nil {
			return err
		}
	}
	if len(d.Log) == 0 {
		return nil
	}
	if _, err := fmt.Fprintf(w, "\nend of the log of build %d:\n", d.Build.Generation); err != nil {
		return err
	}
	for _, line := range d.Log {
		if _, err := fmt.Fprintf(w, "  %s\n", printable(line)); err != nil {
			return err
		}
	}
	return nil
}

// buildText says how a build went.
func buildText(b api.Build) string {
	text := fmt.Sprintf("%s, begun %s", b.Status, ago(time.Now(), b.StartedAt))
	if b.EndedAt != nil {
		text += ", took " + short(b.EndedAt.Sub(b.StartedAt))
	}
	if n := len(b.Lock); n > 0 {
		text += fmt.Sprintf(", %d packages with what they need", n)
	}
	return text
}

// lines splits what was said into lines, without the empty end.
func lines(text string) []string {
	text = strings.TrimRight(strings.ReplaceAll(text, "\r\n", "\n"), "\n")
	if text == "" {
		return nil
	}
	return strings.Split(text, "\n")
}
