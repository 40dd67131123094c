package cli

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/remuda-run/remuda/api"
	"github.com/remuda-run/remuda/client"
	"github.com/remuda-run/remuda/internal/remuda"
)

func (c *command) scriptCommand() *cobra.Command {
	return c.clientGroup("script", "Stored scripts, such as connection scripts of runtimes",
		c.scriptCreate(), c.scriptList(), c.scriptGet(), c.scriptUpdate(), c.scriptDelete())
}

// findScript takes an id, or a name that only one folder has.
func (r *remote) findScript(ctx context.Context, ref string) (api.Script, error) {
	if remuda.IsID(remuda.PrefixScript, ref) || ref == "" {
		return r.GetScript(ctx, ref)
	}
	list, err := r.ListScripts(ctx, ref, client.Page{})
	switch {
	case err != nil:
		return api.Script{}, err
	case len(list.Items) == 0:
		return api.Script{}, &remuda.Error{Code: remuda.CodeNotFound, Message: fmt.Sprintf("no script %q", ref), Remedy: "`remuda script list` names those that there are"}
	case len(list.Items) > 1:
		return api.Script{}, &remuda.Error{Code: remuda.CodeConflict, Message: fmt.Sprintf("several folders have a script %q", ref), Remedy: "give its id; `remuda script list` has it"}
	}
	return r.GetScript(ctx, list.Items[0].Id)
}

// storedFlags are what a script is stored with.
type storedFlags struct {
	description, folder, runtime string
	vars, secrets                []string
}

func (f *storedFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.description, "description", "", "free text")
	flags.StringVar(&f.folder, "folder", "", "folder, in which names are unique")
	flags.StringVarP(&f.runtime, "runtime", "r", "", "runtime by name or id that runs it (default: the built-in one; a connection script runs on its runspace's)")
	flags.StringArrayVar(&f.vars, "var", nil, "variable `NAME=VALUE` that the content reads as $NAME (may be repeated)")
	flags.StringArrayVar(&f.secrets, "secret", nil, "secret variable `NAME=@FILE`, whose value is never shown again (may be repeated)")
}

// variables reads --var and --secret. A secret comes from a file: command lines can be
// read by others.
func (f *storedFlags) variables() ([]api.ScriptVariableWrite, error) {
	var out []api.ScriptVariableWrite
	for _, item := range f.vars {
		name, value, has := strings.Cut(item, "=")
		if !has || !paramName.MatchString(name) {
			return nil, usageError("--var %q is not NAME=VALUE", "write it like --var host=db.example", item)
		}
		out = append(out, api.ScriptVariableWrite{Name: name, Value: &value})
	}
	for _, item := range f.secrets {
		name, file, has := strings.Cut(item, "=@")
		if !has || !paramName.MatchString(name) || file == "" {
			return nil, usageError("--secret %q is not NAME=@FILE", "put the value into a file and write it like --secret key=@key.txt", beforeValue(item))
		}
		raw, err := readFileLimit(file, maxSecret, "the secret "+name)
		if err != nil {
			return nil, err
		}
		kind, value := api.VariableKindSecret, strings.TrimSuffix(string(raw), "\n")
		out = append(out, api.ScriptVariableWrite{Name: name, Kind: &kind, Value: &value})
	}
	return out, nil
}

const maxSecret = 64 << 10

// beforeValue is what of NAME=VALUE may be shown.
func beforeValue(item string) string {
	name, _, has := strings.Cut(item, "=")
	if has {
		return name + "=..."
	}
	return name
}

// content reads a script's file; - is standard input.
func (c *command) content(file string) (string, error) {
	if file == "-" {
		raw, err := readLimit(c.Stdin, remuda.MaxScriptBytes, "the script on standard input")
		return string(raw), err
	}
	raw, err := readFileLimit(file, remuda.MaxScriptBytes, "the script")
	return string(raw), err
}

func (c *command) scriptCreate() *cobra.Command {
	f := &storedFlags{}
	cmd := &cobra.Command{
		Use: "create NAME FILE|-", Short: "Store a Python script", Args: cobra.ExactArgs(2),
		Example: "  remuda script create 'log in' login.py --var host=db.example --secret key=@key.txt\n  remuda runtime update reports --connection-script 'log in'",
		RunE: c.remotely(func(ctx context.Context, r *remote, args []string) error {
			in := api.ScriptCreate{Name: args[0], Description: optional(f.description), Folder: optional(f.folder), Runtime: optional(f.runtime)}
			var err error
			if in.Variables, err = f.variables(); err != nil {
				return err
			}
			if in.Content, err = c.content(args[1]); err != nil {
				return err
			}
			sc, err := r.CreateScript(ctx, in)
			if err != nil {
				return err
			}
			return c.printScript(sc)
		}),
	}
	f.add(cmd.Flags())
	return cmd
}

func (c *command) scriptList() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List stored scripts, newest first", Args: cobra.NoArgs,
		RunE: c.remotely(func(ctx context.Context, r *remote, _ []string) error {
			items, err := pages(0, func(p client.Page) ([]api.ScriptItem, *string, error) {
				l, err := r.ListScripts(ctx, "", p)
				return l.Items, l.Next, err
			})
			if err != nil {
				return err
			}
			return c.print(api.ScriptList{Items: items}, func(w io.Writer) error {
				t := newTable("NAME", "FOLDER", "REVISION", "UPDATED", "ID")
				for _, sc := range items {
					t.add(sc.Name, orDash(sc.Folder), strconv.Itoa(sc.Revision), ago(time.Now(), sc.UpdatedAt), sc.Id)
				}
				return t.write(w)
			})
		}),
	}
}

func (c *command) scriptGet() *cobra.Command {
	var contentOnly bool
	cmd := &cobra.Command{
		Use: "get SCRIPT", Short: "Show a stored script, by name or id", Args: cobra.ExactArgs(1),
		RunE: c.remotely(func(ctx context.Context, r *remote, args []string) error {
			sc, err := r.findScript(ctx, args[0])
			if err != nil {
				return err
			}
			if contentOnly {
				_, err := io.WriteString(c.foreignText(), sc.Content)
				return err
			}
			return c.printScript(sc)
		}),
	}
	cmd.Flags().BoolVar(&contentOnly, "content", false, "print the program text, and nothing else")
	return cmd
}

func (c *command) scriptUpdate() *cobra.Command {
	f := &storedFlags{}
	var name string
	cmd := &cobra.Command{
		Use: "update SCRIPT [FILE|-]", Short: "Change a stored script; every change makes its next revision", Args: cobra.RangeArgs(1, 2),
		Long: "Change what is given of a stored script, and its program text if a file is. --var and --secret together replace all of\n" +
			"its variables.",
		RunE: func(cmd *cobra.Command, args []string) error {
			var in api.ScriptUpdate
			given := cmd.Flags().Changed
			assign(given("name"), &in.Name, name)
			assign(given("description"), &in.Description, f.description)
			assign(given("folder"), &in.Folder, f.folder)
			assign(given("runtime"), &in.Runtime, f.runtime)
			if given("var") || given("secret") {
				list, err := f.variables()
				if err != nil {
					return err
				}
				in.Variables = &list
			}
			if len(args) == 2 {
				text, err := c.content(args[1])
				if err != nil {
					return err
				}
				in.Content = &text
			}
			if in == (api.ScriptUpdate{}) {
				return usageError("nothing to change", "give a file or at least one flag, like --description 'logs in'")
			}
			r, err := c.remote()
			if err != nil {
				return err
			}
			sc, err := r.findScript(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if sc, err = r.UpdateScript(cmd.Context(), sc.Id, in); err != nil {
				return err
			}
			return c.printScript(sc)
		},
	}
	f.add(cmd.Flags())
	cmd.Flags().StringVar(&name, "name", "", "new name")
	return cmd
}

func (c *command) scriptDelete() *cobra.Command {
	return &cobra.Command{
		Use: "delete SCRIPT...", Short: "Delete stored scripts", Args: cobra.MinimumNArgs(1),
		RunE: c.remotely(func(ctx context.Context, r *remote, args []string) error {
			return each(args, func(ref string) error {
				sc, err := r.findScript(ctx, ref)
				if err != nil {
					return err
				}
				return r.DeleteScript(ctx, sc.Id)
			})
		}),
	}
}

func (c *command) printScript(sc api.Script) error {
	return c.print(sc, func(w io.Writer) error {
		list := make([]string, len(sc.Variables))
		for i, v := range sc.Variables {
			switch {
			case v.Kind == api.VariableKindSecret:
				list[i] = v.Name + " (secret)"
			case v.Value == nil:
				list[i] = v.Name
			default:
				list[i] = v.Name + "=" + *v.Value
			}
		}
		return pairs(w, "name", sc.Name, "id", sc.Id, "description", orDash(sc.Description), "folder", orDash(sc.Folder), "revision", strconv.Itoa(sc.Revision),
			"runtime", orDash(deref(sc.Runtime)), "variables", orDash(strings.Join(list, " ")), "content", fmt.Sprintf("%d bytes (--content prints them)", len(sc.Content)),
			"created", ago(time.Now(), sc.CreatedAt), "updated", ago(time.Now(), sc.UpdatedAt))
	})
}
