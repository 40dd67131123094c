package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"github.com/remuda-run/remuda/api"
	"github.com/remuda-run/remuda/internal/config"
	"github.com/remuda-run/remuda/internal/remuda"
)

func (c *command) getCommand() *cobra.Command {
	f := &fileFlags{}
	var export bool
	cmd := &cobra.Command{
		Use: "get [RUNTIME...]", Short: "List runtimes and how they are, all or those that are named",
		Long: "List runtimes and how they are: all of them, those that are named (by name or id), or those that files declare.\n" +
			"With --export they are written in the form that `remuda apply` reads.",
		Example:           "  remuda get\n  remuda get reports -o json\n  remuda get reports --export > reports.yaml",
		ValidArgsFunction: c.completeRuntimes,
		RunE: c.remotely(func(ctx context.Context, r *remote, args []string) error {
			if export && c.output == outputJSON {
				return usageError("--export writes YAML", "leave out -o json, or --export")
			}
			items, missing := c.chosen(ctx, r, *f, args)
			if items == nil {
				return missing
			}
			if len(items) > 0 || missing == nil {
				if err := c.printRuntimes(items, export); err != nil {
					return err
				}
			}
			return missing
		}),
	}
	f.add(cmd.Flags())
	cmd.Flags().BoolVar(&export, "export", false, "write YAML that `remuda apply` takes, without what is as it would be anyway")
	c.addSettings(cmd.Flags(), config.GroupClient)
	return cmd
}

// chosen are the runtimes that are named as arguments or declared in files, all if
// none is. Those that are there are returned with an error about the others; nil is
// that it could not be found out.
func (c *command) chosen(ctx context.Context, r *remote, f fileFlags, args []string) ([]api.Runtime, error) {
	refs := args
	byFile := len(f.files) > 0
	if byFile {
		if len(args) > 0 {
			return nil, usageError("both names and files are given", "name the runtimes, or give files that declare them")
		}
		want, err := c.readDeclared(f)
		if err != nil {
			return nil, err
		}
		for _, d := range want.runtimes {
			refs = append(refs, d.Name)
		}
	}
	if len(refs) == 0 {
		return r.allRuntimes(ctx, "")
	}
	items := make([]api.Runtime, 0, len(refs))
	var missing []error
	for _, ref := range refs {
		rt, err := r.findRuntime(ctx, ref)
		if err == nil && byFile && rt.Global {
			err = remuda.NotFound("runtime", ref) // a file does not declare the site's own
		}
		if err != nil {
			missing = append(missing, err)
			continue
		}
		items = append(items, rt)
	}
	return items, errors.Join(missing...)
}

func (c *command) printRuntimes(items []api.Runtime, export bool) error {
	if export {
		return exportRuntimes(c.Stdout, items)
	}
	return c.print(api.RuntimeList{Items: items}, func(w io.Writer) error {
		t := newTable("NAME", "STATUS", "LANGUAGE", "GEN", "SERVES", "PACKAGES", "WARM", "UPDATED", "REASON")
		for _, rt := range items {
			name := rt.Name
			if rt.Global {
				name += " (built in)"
			}
			t.add(name, string(rt.Status), languageOf(rt), strconv.Itoa(rt.Generation), servingOf(rt), packagesOf(rt.Packages),
				fmt.Sprintf("%d of %d-%d", rt.Instances.Ready, rt.Pool.MinCached, rt.Pool.MaxCached), ago(time.Now(), rt.UpdatedAt), orDash(brief(deref(rt.Reason))))
		}
		return t.write(w)
	})
}

func languageOf(rt api.Runtime) string {
	version := rt.VersionResolved
	if version == "" {
		version = rt.Version
	}
	return strings.TrimSpace(string(rt.Language) + " " + version)
}

func servingOf(rt api.Runtime) string {
	if rt.ServingGeneration == nil {
		return "none"
	}
	return strconv.Itoa(*rt.ServingGeneration)
}

// packagesOf counts those that are installed.
func packagesOf(list []api.PackageStatus) string {
	if len(list) == 0 {
		return "-"
	}
	n := 0
	for _, p := range list {
		if remuda.PackageState(p.Status) == remuda.PackageInstalled {
			n++
		}
	}
	return fmt.Sprintf("%d/%d", n, len(list))
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}

// exportRuntimes writes runtimes as files declare them.
func exportRuntimes(w io.Writer, items []api.Runtime) error {
	list := &yaml.Node{Kind: yaml.SequenceNode}
	for _, rt := range items {
		n := &yaml.Node{Kind: yaml.MappingNode}
		put(n, "name", rt.Name)
		put(n, "language", string(rt.Language))
		fields := present(rt)
		own, _ := splitSet(othersOf(fields))
		fields[othersField] = own
		usual := wanted(api.RuntimeCreate{Language: rt.Language, Pool: &api.PoolUpdate{MinCached: &rt.Pool.MinCached}})
		for _, ch := range compare("", usual, fields) {
			if ch.Field != "language" {
				put(n, ch.Field, ch.To)
			}
		}
		list.Content = append(list.Content, n)
	}
	root := &yaml.Node{Kind: yaml.MappingNode}
	root.Content = append(root.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: "runtimes"}, list)
	enc := yaml.NewEncoder(w)
	enc.SetIndent(2)
	return errors.Join(enc.Encode(root), enc.Close())
}

// put sets a field of a group; "resources.cpu" is the field cpu of the group
// resources in it.
func put(n *yaml.Node, field string, v any) {
	name, rest, inner := strings.Cut(field, ".")
	if inner {
		n, field = groupOf(n, name), rest
	}
	value := &yaml.Node{}
	if err := value.Encode(v); err != nil {
		panic(err) // what came as JSON is YAML too
	}
	n.Content = append(n.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: field}, value)
}

// groupOf is the group of a name, made if it is not there.
func groupOf(n *yaml.Node, name string) *yaml.Node {
	for i := 0; i < len(n.Content); i += 2 {
		if n.Content[i].Value == name {
			return n.Content[i+1]
		}
	}
	made := &yaml.Node{Kind: yaml.MappingNode}
	n.Content = append(n.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: name}, made)
	return made
}
