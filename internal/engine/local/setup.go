package local

import (
	"context"
	"maps"
	"time"

	"golang.org/x/sys/unix"

	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/guest"
	"github.com/remuda-run/remuda/internal/guest/protocol"
	"github.com/remuda-run/remuda/internal/remuda"
)

// The interpreter's user inside the sandbox.
const (
	sandboxUID  = 1000
	sandboxGID  = 1000
	sandboxUser = "user"
	hostname    = "remuda"
)

// driver returns the driver for an interpreter and sees that the root of every
// blank that is made or used from now on has it.
func (e *Engine) driver(ctx context.Context, language remuda.Language, in engine.Interpreter) (guest.Program, error) {
	driver, err := guest.Driver(language, in.Path)
	if err != nil {
		return guest.Program{}, remuda.Errorf(remuda.CodeInvalid, "make a sandbox: %w", err)
	}
	if language == remuda.LanguagePython {
		driver = e.compiled.program(ctx, in.Path, driver)
		e.launcher.Place(driver.Path, string(driver.Source))
	}
	return driver, nil
}

// setup says what a blank is to become.
func (e *Engine) setup(spec engine.Spec, driver guest.Program, quota diskQuota) protocol.Setup {
	linger := spec.Linger
	if e.opts.Ephemeral {
		linger = 0
	}
	return protocol.Setup{
		Hostname: hostname, Prepared: true,
		Mask: masks(), ReadOnly: readOnlyPaths,
		DiskBytes: quota.bytes, DiskInodes: quota.inodes, DiskFD: quota.image,
		UID: sandboxUID, GID: sandboxGID,
		Argv: driver.Argv, Language: string(spec.Language),
		Env: environment(spec.Env, spec.Layers), Cwd: protocol.Workspace,
		Limits: rlimits(spec.Resources), Seccomp: e.filter,
		LingerMS: linger.Milliseconds(),
	}
}

// environment is what every interpreter has, and what the runtime adds.
func environment(own map[string]string, layers []engine.Layer) map[string]string {
	env := map[string]string{
		"HOME": protocol.Workspace,
		"LANG": "C.UTF-8",
		"PATH": "/usr/local/bin:/usr/bin:/bin",
		"USER": sandboxUser, "LOGNAME": sandboxUser,
		"SHELL": "/bin/bash",
		"TERM":  "dumb",
		"TZ":    "UTC",
	}
	maps.Copy(env, own)
	layerEnvironment(env, own, layers)
	return env
}

// rlimits are the limits that cgroups do not have. What cgroups limit is not
// repeated here.
func rlimits(r remuda.Resources) []protocol.Rlimit {
	const mib = 1 << 20
	return []protocol.Rlimit{
		{Resource: unix.RLIMIT_CORE, Value: 0},
		{Resource: unix.RLIMIT_NOFILE, Value: 4096},
		{Resource: unix.RLIMIT_FSIZE, Value: 2 * uint64(r.DiskMB) * mib}, // the quota, which says ENOSPC, comes first
		{Resource: unix.RLIMIT_MEMLOCK, Value: 1 * mib},
		{Resource: unix.RLIMIT_STACK, Value: 8 * mib},
		{Resource: unix.RLIMIT_MSGQUEUE, Value: 800 << 10},
		{Resource: unix.RLIMIT_SIGPENDING, Value: 1024},
		{Resource: unix.RLIMIT_NICE, Value: 0},
		{Resource: unix.RLIMIT_RTPRIO, Value: 0},
		{Resource: unix.RLIMIT_RTTIME, Value: 0},
	}
}

// templateLimits parts the limits of an instance into those that its template
// has too and those that only the instance sets itself. Of the latter the kernel
// counts what a user namespace has for whoever made it as well, up to what that
// process may have: one number for all forks of a template, if it had them.
func templateLimits(all []protocol.Rlimit) (both, own []protocol.Rlimit) {
	for _, l := range all {
		switch l.Resource {
		case unix.RLIMIT_MEMLOCK, unix.RLIMIT_MSGQUEUE, unix.RLIMIT_SIGPENDING:
			own = append(own, l)
		default:
			both = append(both, l)
		}
	}
	return both, own
}

// setupTime is how long a blank may take to become an instance. Interpreters
// start slowly on a busy machine with a small share of the processor.
const setupTime = 60 * time.Second
