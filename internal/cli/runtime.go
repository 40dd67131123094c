package cli

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/remuda-run/remuda/api"
	"github.com/remuda-run/remuda/internal/cli/strictyaml"
	"github.com/remuda-run/remuda/internal/remuda"
)

func (c *command) runtimeCommand() *cobra.Command {
	return c.clientGroup("runtime", "Define runtimes and look at them",
		c.runtimeCreate(), c.runtimeList(), c.runtimeGet(), c.runtimeUpdate(), c.deleteCommand(), c.runtimeRebuild(), c.runtimeBuilds(), c.runtimeLog(),
		c.runtimeVersions())
}

// runtimeFlags are one flag for every field of a runtime, and a file.
type runtimeFlags struct {
	file string

	name, description, language, version, environment string
	cpu                                               float64
	memory, disk, pids, minCached, maxCached          int
	timeout                                           time.Duration
	env, preload, egress, packages                    []string
	isolation, others, connection, disconnect         string
	noEnv, noPreload, noEgress, noPackages            bool
}

func (f *runtimeFlags) addTo(cmd *cobra.Command) {
	f.add(cmd.Flags())
	complete(cmd, "language", wordList(remuda.Languages())...)
	complete(cmd, "isolation", wordList(remuda.Isolations())...)
}

func (f *runtimeFlags) add(flags *pflag.FlagSet) {
	flags.StringVarP(&f.file, "file", "f", "", "read the definition from a YAML or JSON file with the API's field names, - is standard input; flags win over it")
	flags.StringVar(&f.description, "description", "", "free text")
	flags.StringVarP(&f.language, "language", "l", "", "python, node or bash")
	flags.StringVar(&f.version, "version", "", "version of the interpreter, like 3.11 (default: the machine's)")
	flags.StringVar(&f.environment, "environment", "", "root file system; only host for now")
	flags.Float64Var(&f.cpu, "cpu", 0, "cores, like 0.5")
	flags.IntVar(&f.memory, "memory-mb", 0, "MiB of memory")
	flags.IntVar(&f.disk, "disk-mb", 0, "MiB of workspace and /tmp")
	flags.IntVar(&f.pids, "pids", 0, "processes and threads")
	flags.DurationVar(&f.timeout, "exec-timeout", 0, "wall-clock limit of one execution, whole seconds, like 30s")
	flags.IntVar(&f.minCached, "min-cached", 0, "warm instances kept even when nobody asks")
	flags.IntVar(&f.maxCached, "max-cached", 0, "most warm instances")
	flags.StringArrayVarP(&f.env, "env", "e", nil, "environment variable `K=V` of every instance (may be repeated)")
	flags.StringSliceVar(&f.preload, "preload", nil, "python modules to import before an instance is handed out, like json,numpy (may be repeated)")
	flags.StringArrayVar(&f.packages, "package", nil, "package to install, `NAME[==VERSION]`; apt:NAME is a Debian package (may be repeated)")
	flags.StringVar(&f.connection, "connection-script", "", "stored script, by id or name, that runs before a runspace with --connect is ready; empty is none")
	flags.StringVar(&f.disconnect, "disconnect-script", "", "stored script that runs when such a runspace closes; empty is none")
	flags.StringVar(&f.others, "others", "", "text that is kept and given back, without a meaning")
	flags.StringVar(&f.isolation, "isolation", "", "class of fence: process (default) or gvisor")
	flags.StringSliceVar(&f.egress, "egress", nil, "what may be reached: ranges of addresses and host names, like 10.1.0.0/16,api.example.org (may be repeated; default nothing)")
}

// definition is the file with the flags that were given laid over it. Its type
// is that of an update, in which every field is optional.
func (f *runtimeFlags) definition(c *command, flags *pflag.FlagSet) (api.RuntimeUpdate, error) {
	var d api.RuntimeUpdate
	if f.file != "" {
		if err := c.readDefinition(f.file, &d); err != nil {
			return d, err
		}
	}
	given := func(name string) bool { return flags.Changed(name) }
	assign(given("name"), &d.Name, f.name)
	assign(given("description"), &d.Description, f.description)
	assign(given("language"), &d.Language, api.Language(f.language))
	assign(given("version"), &d.Version, f.version)
	assign(given("environment"), &d.Environment, f.environment)
	if given("exec-timeout") {
		if f.timeout <= 0 || f.timeout%time.Second != 0 {
			return d, usageError("--exec-timeout %s is not a number of whole seconds above 0", "write it like 30s or 5m", f.timeout)
		}
		assign(true, &d.ExecTimeoutS, int(f.timeout/time.Second))
	}
	if given("cpu") || given("memory-mb") || given("disk-mb") || given("pids") {
		if d.Resources == nil {
			d.Resources = &api.ResourcesUpdate{}
		}
		assign(given("cpu"), &d.Resources.Cpu, f.cpu)
		assign(given("memory-mb"), &d.Resources.MemoryMb, f.memory)
		assign(given("disk-mb"), &d.Resources.DiskMb, f.disk)
		assign(given("pids"), &d.Resources.Pids, f.pids)
	}
	if given("min-cached") || given("max-cached") {
		if d.Pool == nil {
			d.Pool = &api.PoolUpdate{}
		}
		assign(given("min-cached"), &d.Pool.MinCached, f.minCached)
		assign(given("max-cached"), &d.Pool.MaxCached, f.maxCached)
	}
	assign(given("isolation"), &d.Isolation, api.Isolation(f.isolation))
	assign(given("others"), &d.Others, f.others)
	assign(given("connection-script"), &d.ConnectionScript, f.connection)
	assign(given("disconnect-script"), &d.DisconnectScript, f.disconnect)
	if len(f.packages) > 0 || f.noPackages {
		assign(true, &d.Packages, packagesFrom(f.packages))
	}
	if len(f.preload) > 0 || f.noPreload {
		assign(true, &d.Preload, f.preload)
	}
	if len(f.egress) > 0 || f.noEgress {
		assign(true, &d.Egress, egressOf(f.egress))
	}
	if len(f.env) > 0 || f.noEnv {
		env, err := c.readEnv(f.env)
		if err != nil {
			return d, err
		}
		assign(true, &d.Env, api.Env(env))
	}
	return d, nil
}

// assign sets *to when a flag was given.
func assign[T any](given bool, to **T, v T) {
	if given {
		*to = &v
	}
}

// readDefinition reads YAML, of which JSON is a part. An unknown field is an error.
func (c *command) readDefinition(name string, d *api.RuntimeUpdate) error {
	raw, err := c.readDeclaredFile(name)
	if err != nil {
		return err
	}
	docs, problems := strictyaml.Parse(raw)
	switch {
	case len(problems) > 0:
	case len(docs) != 1:
		problems = []strictyaml.Problem{{Message: fmt.Sprintf("holds %d documents, and one definition is wanted; `remuda apply` takes several", len(docs))}}
	default:
		_, problems = docs[0].Decode(d)
	}
	if len(problems) == 0 {
		return nil
	}
	wrong := make([]remuda.FieldError, len(problems))
	for i, p := range problems {
		wrong[i] = remuda.FieldError{Field: place(name, p.Line), Message: p.Message}
	}
	return &remuda.Error{Code: remuda.CodeInvalid, Message: "the definition is not valid", Fields: wrong, Remedy: "the fields are those of POST /v1/runtimes: see examples/runtime.yaml"}
}

func (c *command) runtimeCreate() *cobra.Command {
	f := &runtimeFlags{}
	cmd := &cobra.Command{
		Use: "create [NAME]", Short: "Define a runtime", Args: cobra.MaximumNArgs(1),
		Example: "  remuda runtime create small -l python --memory-mb 128 --pids 16 --min-cached 2\n  remuda runtime create -f examples/runtime.yaml",
		RunE: func(cmd *cobra.Command, args []string) error {
			d, err := f.definition(c, cmd.Flags())
			if err != nil {
				return err
			}
			if len(args) == 1 {
				d.Name = &args[0]
			}
			if d.Name == nil || d.Language == nil {
				return usageError("a runtime needs a name and a language", "remuda runtime create NAME --language python, or give both in a file with -f")
			}
			var req api.RuntimeCreate
			if err := convert(d, &req); err != nil { // the fields have the same names
				return err
			}
			remote, err := c.remote()
			if err != nil {
				return err
			}
			rt, err := remote.CreateRuntime(cmd.Context(), req)
			if err != nil {
				return err
			}
			return c.printRuntime(rt)
		},
	}
	f.addTo(cmd)
	return cmd
}

func (c *command) runtimeUpdate() *cobra.Command {
	f := &runtimeFlags{}
	cmd := &cobra.Command{
		Use: "update RUNTIME", Short: "Change a runtime; a change makes its next generation", Args: cobra.ExactArgs(1),
		Long: "Change the fields that are given and leave the others. Anything but a new description makes the next\n" +
			"generation: no warm instance of the one before is handed out once this command has returned.",
		RunE: func(cmd *cobra.Command, args []string) error {
			d, err := f.definition(c, cmd.Flags())
			if err != nil {
				return err
			}
			if d == (api.RuntimeUpdate{}) {
				return usageError("nothing to change", "give at least one field, like --memory-mb 256")
			}
			remote, err := c.remote()
			if err != nil {
				return err
			}
			rt, err := remote.UpdateRuntime(cmd.Context(), args[0], d)
			if err != nil {
				return err
			}
			return c.printRuntime(rt)
		},
	}
	f.addTo(cmd)
	cmd.ValidArgsFunction = c.completeRuntime
	cmd.Flags().StringVar(&f.name, "name", "", "new name")
	cmd.Flags().BoolVar(&f.noEnv, "no-env", false, "remove every environment variable that --env does not give")
	cmd.Flags().BoolVar(&f.noPreload, "no-preload", false, "preload nothing that --preload does not give")
	cmd.Flags().BoolVar(&f.noEgress, "no-egress", false, "let nothing be reached that --egress does not give")
	cmd.Flags().BoolVar(&f.noPackages, "no-packages", false, "install nothing that --package does not give")
	return cmd
}

// packagesFrom reads NAME, NAME==VERSION and MANAGER:NAME.
func packagesFrom(list []string) []api.Package {
	out := make([]api.Package, 0, len(list))
	for _, item := range list {
		var p api.Package
		if manager, rest, ok := strings.Cut(item, ":"); ok && slices.Contains(remuda.PackageManagers(), remuda.PackageManager(manager)) {
			p.Manager, item = optional(api.PackageManager(manager)), rest
		}
		name, version, _ := strings.Cut(item, "==")
		p.Name, p.Version = strings.TrimSpace(name), optional(strings.TrimSpace(version))
		out = append(out, p)
	}
	return out
}

// egressOf tells ranges of addresses, which have a slash, from names.
func egressOf(list []string) api.Egress {
	var e api.Egress
	for _, item := range list {
		if strings.Contains(item, "/") {
			e.Cidrs = append(e.Cidrs, item)
		} else {
			e.Names = append(e.Names, item)
		}
	}
	return e
}

func (c *command) runtimeList() *cobra.Command {
	var name string
	cmd := &cobra.Command{
		Use: "list", Short: "List runtimes, newest first", Args: cobra.NoArgs,
		RunE: c.remotely(func(ctx context.Context, remote *remote, _ []string) error {
			items, err := remote.allRuntimes(ctx, name)
			if err != nil {
				return err
			}
			return c.print(api.RuntimeList{Items: items}, func(w io.Writer) error {
				t := newTable("NAME", "LANGUAGE", "VERSION", "GEN", "CPU", "MEMORY", "DISK", "PIDS", "TIMEOUT", "WARM", "UPDATED", "ID")
				for _, rt := range items {
					name := rt.Name
					if rt.Global {
						name += " (built in)"
					}
					t.add(name, string(rt.Language), orDash(rt.Version), strconv.Itoa(rt.Generation), fmt.Sprint(rt.Resources.Cpu),
						mib(rt.Resources.MemoryMb), mib(rt.Resources.DiskMb), strconv.Itoa(rt.Resources.Pids), seconds(rt.ExecTimeoutS),
						fmt.Sprintf("%d-%d", rt.Pool.MinCached, rt.Pool.MaxCached), ago(time.Now(), rt.UpdatedAt), rt.Id)
				}
				return t.write(w)
			})
		}),
	}
	cmd.Flags().StringVar(&name, "name", "", "only the runtime with this name")
	return cmd
}

func (c *command) runtimeGet() *cobra.Command {
	return &cobra.Command{
		Use: "get RUNTIME", Short: "Show a runtime, by name or id", Args: cobra.ExactArgs(1), ValidArgsFunction: c.completeRuntime,
		RunE: c.remotely(func(ctx context.Context, remote *remote, args []string) error {
			rt, err := remote.findRuntime(ctx, args[0])
			if err != nil {
				return err
			}
			return c.printRuntime(rt)
		}),
	}
}

func (c *command) runtimeVersions() *cobra.Command {
	return &cobra.Command{
		Use: "versions [LANGUAGE]", Short: "List the interpreters that the server's machine has", Args: cobra.MaximumNArgs(1),
		RunE: c.remotely(func(ctx context.Context, remote *remote, args []string) error {
			language := ""
			if len(args) == 1 {
				language = args[0]
			}
			list, err := remote.ListVersions(ctx, api.Language(language))
			if err != nil {
				return err
			}
			return c.print(list, func(w io.Writer) error {
				t := newTable("LANGUAGE", "VERSION", "PATH")
				for _, i := range list.Items {
					t.add(string(i.Language), i.Version, i.Path)
				}
				return t.write(w)
			})
		}),
	}
}

func (c *command) printRuntime(rt api.Runtime) error {
	return c.print(rt, func(w io.Writer) error { return pairs(w, runtimeCells(rt)...) })
}

// runtimeCells are the lines about one runtime.
func runtimeCells(rt api.Runtime) []string {
	return []string{
		"name", rt.Name, "id", rt.Id, "description", orDash(rt.Description),
		"status", string(rt.Status), "reason", orDash(deref(rt.Reason)), "generation", strconv.Itoa(rt.Generation), "serves", servingOf(rt),
		"language", strings.TrimSpace(string(rt.Language) + " " + rt.Version), "interpreter", orDash(rt.VersionResolved), "environment", rt.Environment,
		"packages", packagesOf(rt.Packages), "layer", orDash(deref(rt.Layer)),
		"cpu", fmt.Sprint(rt.Resources.Cpu), "memory", mib(rt.Resources.MemoryMb),
		"disk", mib(rt.Resources.DiskMb), "pids", strconv.Itoa(rt.Resources.Pids), "timeout", seconds(rt.ExecTimeoutS),
		"warm", fmt.Sprintf("%d to %d instances", rt.Pool.MinCached, rt.Pool.MaxCached),
		"instances", fmt.Sprintf("%d warm, %d starting, %d in use", rt.Instances.Ready, rt.Instances.Starting, rt.Instances.Active),
		"environment variables", envText(rt.Env), "preload", orDash(strings.Join(rt.Preload, " ")), "isolation", string(rt.Isolation),
		"egress", orDash(strings.Join(slices.Concat(rt.Egress.Cidrs, rt.Egress.Names), " ")),
		"connection script", orDash(rt.ConnectionScript), "disconnect script", orDash(rt.DisconnectScript),
		"built in", strconv.FormatBool(rt.Global), "created", ago(time.Now(), rt.CreatedAt), "updated", ago(time.Now(), rt.UpdatedAt),
	}
}

func mib(n int) string { return strconv.Itoa(n) + " MiB" }

func seconds(s float64) string {
	return time.Duration(s * float64(time.Second)).String()
}
