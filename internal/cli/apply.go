package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/remuda-run/remuda/api"
	"github.com/remuda-run/remuda/client"
	"github.com/remuda-run/remuda/internal/config"
	"github.com/remuda-run/remuda/internal/remuda"
)

// applied is what apply has done about one runtime, or with --dry-run would do, as
// -o json prints it.
type applied struct {
	Name       string   `json:"name"`
	Result     verb     `json:"result"`
	DryRun     bool     `json:"dry_run,omitempty"`
	Place      string   `json:"place,omitempty"` // file and line; none of what the files have no more
	ID         string   `json:"id,omitempty"`
	Generation int      `json:"generation,omitempty"`
	Status     string   `json:"status,omitempty"` // of its build
	Changes    []change `json:"changes"`
	Error      *problem `json:"error,omitempty"`

	err     error
	runtime *api.Runtime // as it is on the server; nil of what is not there
}

// verbFailed is the result of a step that the server refused.
const verbFailed verb = "failed"

// applyFlags are the flags of apply.
type applyFlags struct {
	fileFlags

	dryRun, prune, noWait bool
	timeout               time.Duration
}

func (c *command) applyCommand() *cobra.Command {
	f := &applyFlags{}
	cmd := &cobra.Command{
		Use: "apply -f FILE", Short: "Make runtimes what files say, and change nothing where they are so already", Args: cobra.NoArgs,
		Long: "Make runtimes what files say: create those that are not there, change those that are otherwise, build\n" +
			"those again whose build failed, leave the rest.\n" +
			"A field that a file does not have gets its default, also if it had another value before. All files are read and\n" +
			"checked before anything is changed; then each runtime is applied by itself, and one that the server refuses does\n" +
			"not keep the others from being applied (exit status 1). Builds of packages are waited for. See docs/declarative.md.",
		Example: "  remuda apply -f runtimes.yaml --dry-run\n  remuda apply -f runtimes.yaml\n  remuda apply -f runtimes/ --set reports --prune",
		RunE: c.remotely(func(ctx context.Context, r *remote, _ []string) error {
			if f.timeout < 0 {
				return usageError("--timeout %s is negative", "write it like 10m; 0 is without an end", f.timeout)
			}
			return c.apply(ctx, r, f)
		}),
	}
	f.fileFlags.add(cmd.Flags())
	f.addSet(cmd.Flags())
	cmd.Flags().BoolVar(&f.dryRun, "dry-run", false, "say what would be done, and do nothing")
	cmd.Flags().BoolVar(&f.prune, "prune", false, "delete the runtimes that an earlier apply of the same set made and that the files have no more")
	cmd.Flags().BoolVar(&f.noWait, "no-wait", false, "do not wait for builds, which the command wait does")
	cmd.Flags().DurationVar(&f.timeout, "timeout", 30*time.Minute, "the longest to wait for builds; 0 is without an end")
	c.addSettings(cmd.Flags(), config.GroupClient)
	return cmd
}

// plan reads the files and compares them with the server.
func (c *command) plan(ctx context.Context, r *remote, f fileFlags, prune bool) ([]step, error) {
	want, err := c.readDeclared(f)
	if err != nil {
		return nil, err
	}
	if prune && want.set == "" {
		return nil, usageError("--prune needs the name of the set that the files are", "give --set NAME, or write `set: NAME` beside `runtimes:` in a file: only what an apply of that set made is deleted")
	}
	all, err := r.allRuntimes(ctx, "")
	if err != nil {
		return nil, err
	}
	return planOf(want, all, prune), nil
}

func (c *command) apply(ctx context.Context, r *remote, f *applyFlags) error {
	plan, err := c.plan(ctx, r, f.fileFlags, f.prune)
	if err != nil {
		return err
	}
	list := make([]applied, 0, len(plan))
	for _, s := range plan {
		if ctx.Err() != nil {
			return &remuda.Error{
				Code: remuda.CodeCanceled, Message: "stopped before everything was applied", Cause: context.Cause(ctx).Error(),
				Remedy: fmt.Sprintf("apply again: it goes on with runtime/%s and leaves what is done as it is", s.name),
			}
		}
		a := s.begin()
		switch {
		case f.dryRun:
			a.DryRun = true
		case s.verb == verbDelete && slices.ContainsFunc(list, applied.failed):
			a.err = &remuda.Error{
				Code: remuda.CodePrecondition, Message: "it was not deleted",
				Cause: "a runtime before it could not be applied", Remedy: "mend that and apply again",
			}
		default:
			a.err = s.do(ctx, r, &a)
		}
		list = append(list, a.ended())
		if err := c.printApplied(list[len(list)-1]); err != nil {
			return err
		}
	}
	if !f.dryRun && !f.noWait {
		if err := c.awaitApplied(ctx, r, list, f.timeout); err != nil {
			return err
		}
	}
	if c.output == outputJSON {
		if err := c.print(map[string]any{"items": list}, nil); err != nil {
			return err
		}
	}
	if slices.ContainsFunc(list, applied.failed) {
		return exitStatus(ExitFailed)
	}
	return nil
}

// awaitApplied waits for the builds of what was applied, also of what was so
// already, and notes those that failed.
func (c *command) awaitApplied(ctx context.Context, r *remote, list []applied, timeout time.Duration) error {
	var items []api.Runtime
	var of []int
	for i, a := range list {
		if !a.failed() && a.runtime != nil && remuda.RuntimeStatus(a.runtime.Status) != remuda.RuntimeReady {
			items, of = append(items, *a.runtime), append(of, i)
		}
	}
	if len(items) == 0 {
		return nil
	}
	items, err := c.awaitBuilds(ctx, r, items, timeout)
	if err != nil {
		return err
	}
	for n, rt := range items {
		a := &list[of[n]]
		a.have(rt)
		if remuda.RuntimeStatus(rt.Status) != remuda.RuntimeReady {
			a.err = notBuilt(rt)
			*a = a.ended()
		}
		if c.output == outputJSON {
			continue
		}
		if err := c.printBuilt(c.Stdout, rt); err != nil {
			return err
		}
	}
	return nil
}

func (s step) begin() applied {
	a := applied{Name: s.name, Result: s.verb, Changes: s.changes}
	if a.Changes == nil {
		a.Changes = []change{}
	}
	if s.declared != nil {
		a.Place = s.declared.where("")
	}
	if s.present != nil {
		a.have(*s.present)
	}
	return a
}

// have notes how a runtime is on the server.
func (a *applied) have(rt api.Runtime) {
	a.runtime, a.ID, a.Generation, a.Status = &rt, rt.Id, rt.Generation, string(rt.Status)
}

func (a applied) failed() bool { return a.err != nil }

func (a applied) ended() applied {
	if a.err != nil {
		p := describe(a.err)
		a.Result, a.Error = verbFailed, &p
	}
	return a
}

// do does one step on the server.
func (s step) do(ctx context.Context, r *remote, a *applied) error {
	var rt api.Runtime
	var err error
	switch s.verb {
	case verbCreate:
		var req api.RuntimeCreate
		if req, err = s.create(); err == nil {
			rt, err = r.CreateRuntime(ctx, req)
		}
	case verbChange:
		var req api.RuntimeUpdate
		if req, err = s.update(); err == nil {
			rt, err = r.UpdateRuntime(ctx, s.present.Id, req)
		}
	case verbRebuild:
		rt, err = r.RebuildRuntime(ctx, s.present.Id, false)
	case verbDelete:
		a.runtime = nil
		err = r.DeleteRuntime(ctx, s.present.Id)
		if client.IsCode(err, string(remuda.CodeNotFound)) {
			err = nil // what somebody else has deleted is deleted
		}
		return err
	case verbKeep, verbFailed:
		return nil
	}
	if err != nil {
		return s.placed(err)
	}
	a.have(rt)
	return nil
}

// placed adds to the fields that the server finds wrong the lines on which they
// stand.
func (s step) placed(err error) error {
	p, ok := errors.AsType[*client.Problem](err)
	if !ok || len(p.Fields) == 0 {
		return err
	}
	q := *p
	q.Title = "the server does not take what is declared" // it named the field, without the line
	q.Fields = make([]client.FieldError, len(p.Fields))
	fields := slices.Clone(p.Fields)
	slices.SortStableFunc(fields, func(a, b client.FieldError) int {
		return s.declared.places.Line(a.Field) - s.declared.places.Line(b.Field)
	})
	for i, f := range fields {
		q.Fields[i] = client.FieldError{Field: s.declared.where(f.Field), Message: strings.TrimSpace(f.Field + " " + f.Message)}
	}
	return &q
}

// printApplied writes a line about one runtime, and lines about what was changed.
func (c *command) printApplied(a applied) error {
	if c.output == outputJSON {
		return nil // all in one, at the end
	}
	if a.failed() {
		_, _ = fmt.Fprintf(c.Stderr, "runtime/%s failed\n", printable(a.Name))
		writeProblem(c.Stderr, *a.Error)
		return nil
	}
	if _, err := fmt.Fprintf(c.Stdout, "runtime/%s %s\n", printable(a.Name), a.said()); err != nil {
		return err
	}
	if a.Result != verbChange {
		return nil
	}
	return writeChanges(c.Stdout, a.Changes)
}

func (a applied) said() string {
	would := map[verb]string{verbCreate: "would be created", verbChange: "would be changed", verbKeep: "is unchanged", verbRebuild: "would be built again", verbDelete: "would be deleted"}
	switch {
	case a.DryRun:
		return would[a.Result] + " (dry run)"
	case a.Result == verbCreate || a.Result == verbChange || a.Result == verbRebuild:
		return fmt.Sprintf("%s (generation %d)", a.Result, a.Generation)
	default:
		return string(a.Result)
	}
}

func writeChanges(w io.Writer, list []change) error {
	for _, ch := range list {
		if _, err := fmt.Fprintf(w, "  %s: %s -> %s\n", printable(ch.Field), shown(ch.From), shown(ch.To)); err != nil {
			return err
		}
	}
	return nil
}

// items are the things of a list for people. Packages are written as --package of
// `runtime create` takes them.
func items(list []any) []string {
	out := make([]string, len(list))
	for i, v := range list {
		fields, ok := v.(map[string]any)
		if !ok {
			out[i] = shown(v)
			continue
		}
		out[i] = fmt.Sprintf("%v:%v", fields["manager"], fields["name"])
		if version := fields["version"]; version != nil {
			out[i] += fmt.Sprintf("==%v", version)
		}
		out[i] = printable(out[i])
	}
	return out
}

// shown is a value of a field for people.
func shown(v any) string {
	switch v := v.(type) {
	case nil:
		return "(none)"
	case string:
		if v == "" {
			return `""`
		}
		return printable(strings.ReplaceAll(v, "\n", `\n`))
	case []any:
		return "[" + strings.Join(items(v), ", ") + "]"
	default:
		var b strings.Builder
		enc := json.NewEncoder(&b)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(v); err != nil {
			return fmt.Sprint(v)
		}
		return printable(strings.TrimSpace(b.String()))
	}
}
