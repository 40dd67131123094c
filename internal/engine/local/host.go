package local

import (
	"context"
	"log/slog"
	"sync"

	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/engine/local/seccomp"
	"github.com/remuda-run/remuda/internal/guest"
	"github.com/remuda-run/remuda/internal/guest/protocol"
	"github.com/remuda-run/remuda/internal/remuda"
)

// Host is the environment "host" for another engine on this machine: its
// interpreters, their drivers, and what of the machine a sandbox sees. A sandbox
// finds the same there, whatever engine made it.
type Host struct {
	versions     *versionCache
	interpreters []string
	compiled     *compiledDrivers
}

// NewHost looks at nothing yet. interpreters are as in Options.
func NewHost(log *slog.Logger, interpreters []string) *Host {
	return &Host{versions: newVersionCache(interpreters), interpreters: interpreters, compiled: newCompiledDrivers(log)}
}

// Versions is engine.Engine's.
func (h *Host) Versions(ctx context.Context, environment string, language remuda.Language) ([]engine.Interpreter, error) {
	if environment != "" && environment != remuda.EnvironmentHost {
		return nil, remuda.NotFound("environment", environment)
	}
	return h.versions.list(ctx, language)
}

// Interpreter chooses one by all of its version or the beginning of it, or the
// default for "".
func (h *Host) Interpreter(ctx context.Context, language remuda.Language, version string) (engine.Interpreter, error) {
	return h.versions.interpreter(ctx, language, version)
}

// Driver returns the driver for an interpreter, to be put at its path in the
// sandbox.
func (h *Host) Driver(ctx context.Context, language remuda.Language, in engine.Interpreter) (guest.Program, error) {
	driver, err := guest.Driver(language, in.Path)
	if err != nil {
		return guest.Program{}, remuda.Errorf(remuda.CodeInvalid, "make a sandbox: %w", err)
	}
	if language == remuda.LanguagePython {
		driver = h.compiled.program(ctx, in.Path, driver)
	}
	return driver, nil
}

// Root is the read-only part of a sandbox's root: binds, links and files.
func (h *Host) Root() protocol.Root {
	return hostRoot("# this sandbox has no network\n", h.interpreters)
}

// hostFilter is the system call filter of every sandbox.
var hostFilter = sync.OnceValues(seccomp.Program)

// CheckSpec refuses what would be a sandbox without a limit.
func CheckSpec(spec engine.Spec) error { return checkSpec(spec) }

// SetupOf is what concerns the interpreter in the Setup of a sandbox: all but its
// root and how long it lingers.
func SetupOf(spec engine.Spec, driver guest.Program) (protocol.Setup, error) {
	filter, err := hostFilter()
	if err != nil {
		return protocol.Setup{}, unsupported("there is no system call filter for this machine", err.Error(), "use an amd64 or arm64 machine", err)
	}
	quota := quotaOf(spec.Resources)
	return protocol.Setup{
		Hostname: hostname, DiskBytes: quota.bytes, DiskInodes: quota.inodes, UID: sandboxUID, GID: sandboxGID,
		Argv: driver.Argv, Language: string(spec.Language), Env: environment(spec.Env, spec.Layers), Cwd: protocol.Workspace,
		Limits: rlimits(spec.Resources), Seccomp: filter,
	}, nil
}
