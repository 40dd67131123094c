package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/engine/keeper"
	"github.com/remuda-run/remuda/internal/engine/local/cgroup"
	"github.com/remuda-run/remuda/internal/engine/local/launch"
	"github.com/remuda-run/remuda/internal/guest/protocol"
	"github.com/remuda-run/remuda/internal/remuda"
)

// probe is one check: it tries, and returns what it saw.
type probe struct {
	name   string
	remedy string
	try    func(context.Context) (detail string, err error)
}

// Check implements engine.Engine.
func (e *Engine) Check(ctx context.Context) []engine.Finding {
	probes := []probe{
		{"root", "start remuda as root", func(context.Context) (string, error) { return checkRoot(os.Geteuid()) }},
		{"kernel", "use Linux 5.14 or later (Debian 12 has 6.1)", checkKernel},
		{"data directory", "give the server a directory on a local file system with more room (--data)", e.checkDataDir},
	}
	probes = append(probes, namespaceProbes(e.launcher)...)
	probes = append(probes,
		probe{"cgroup", "let the server have the controllers cpu, memory and pids, or give it a parent cgroup of its own (cgroup_parent)", e.checkCgroup},
		probe{"disk image", "load the loop and ext4 modules (modprobe loop ext4) and install mkfs.ext4 (Debian: apt install e2fsprogs)", e.checkDisk},
		probe{"interpreters", "install one (Debian: apt install python3 nodejs bash)", e.checkInterpreters},
		probe{"sandbox", "mend the findings above first; if there are none, report this one", e.checkSandbox},
	)
	var findings []engine.Finding
	for _, p := range probes {
		findings = append(findings, p.run(ctx))
	}
	// A server without it serves runtimes that reach nothing; others it refuses.
	network := e.slots.Check(ctx)
	network.Optional = true
	overlay := probe{"packages over /usr", "load the overlay module (modprobe overlay), or do without packages of apt", e.checkOverlay}.run(ctx)
	overlay.Optional = true
	return append(findings, network, overlay)
}

func (p probe) run(ctx context.Context) engine.Finding {
	detail, err := p.try(ctx)
	if err == nil {
		return engine.Finding{Name: p.name, OK: true, Detail: detail}
	}
	f := engine.Finding{Name: p.name, Detail: err.Error(), Remedy: p.remedy}
	if own, ok := errors.AsType[*remuda.Error](err); ok && own.Remedy != "" && own.Code != remuda.CodeInternal {
		f.Remedy = own.Remedy
	}
	return f
}

// Preflight says why New would fail on this machine, as findings, for callers
// that have no engine yet.
func Preflight(ctx context.Context, opts Options) []engine.Finding {
	e, err := New(ctx, opts)
	if err == nil {
		defer func() { _ = e.Close(ctx) }() // a check leaves nothing; Close says so itself
		return e.Check(ctx)
	}
	f := probe{"engine", "see the cause", func(context.Context) (string, error) { return "", err }}.run(ctx)
	return []engine.Finding{f}
}

func checkRoot(euid int) (string, error) {
	if euid != 0 {
		return "", fmt.Errorf("the effective uid is %d", euid)
	}
	return "effective uid 0", nil
}

// checkKernel looks for the newest things that are used without another way:
// mount_setattr on whole trees (5.12) and cgroup.kill (5.14).
func checkKernel(context.Context) (string, error) {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "", fmt.Errorf("uname: %w", err)
	}
	release := unix.ByteSliceToString(u.Release[:])
	// The call is refused for its arguments where it is known.
	err := unix.MountSetattr(-1, "", unix.AT_RECURSIVE, &unix.MountAttr{})
	if errors.Is(err, unix.ENOSYS) {
		return "", fmt.Errorf("linux %s has no mount_setattr", release)
	}
	return "Linux " + release, nil
}

func (e *Engine) checkDataDir(context.Context) (string, error) {
	f, err := keeper.Unnamed(e.dir.disk)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	if _, err := f.Write(make([]byte, 4096)); err != nil {
		return "", fmt.Errorf("write to the data directory: %w", err)
	}
	var st unix.Statfs_t
	if err := unix.Statfs(e.dir.disk, &st); err != nil {
		return "", fmt.Errorf("look at the data directory: %w", err)
	}
	const enough = 256 << 20
	free := int64(st.Bavail) * st.Bsize
	if free < enough {
		return "", fmt.Errorf("%d MiB are free, less than %d", free>>20, enough>>20)
	}
	return fmt.Sprintf("%d MiB free", free>>20), nil
}

// namespaceProbes try each namespace by cloning the keeper's program into it. It
// finds no socket and ends at once.
func namespaceProbes(l *launch.Client) []probe {
	const sysctls = "allow it: sysctl user.max_*_namespaces must not be 0, kernel.unprivileged_userns_clone and AppArmor must not forbid it to root, and a container around the server must be privileged"
	kinds := []struct {
		name string
		flag uintptr
	}{
		{"user", 0}, {"mount", unix.CLONE_NEWNS}, {"pid", unix.CLONE_NEWPID}, {"network", unix.CLONE_NEWNET},
		{"ipc", unix.CLONE_NEWIPC}, {"uts", unix.CLONE_NEWUTS}, {"cgroup", unix.CLONE_NEWCGROUP},
	}
	probes := make([]probe, len(kinds))
	for n, kind := range kinds {
		probes[n] = probe{kind.name + " namespace", sysctls, func(context.Context) (string, error) {
			return "a process was cloned into one", tryClone(l, kind.flag|unix.CLONE_NEWUSER)
		}}
	}
	return probes
}

func tryClone(l *launch.Client, flags uintptr) error {
	ids := []syscall.SysProcIDMap{{ContainerID: 0, HostID: uidBase, Size: uidCount}}
	p, err := os.StartProcess(l.Path(), []string{protocol.KeeperArg0, protocol.LaunchArg}, &os.ProcAttr{
		Dir: "/", Env: []string{},
		Sys: &syscall.SysProcAttr{
			Cloneflags: flags, UidMappings: ids, GidMappings: ids, GidMappingsEnableSetgroups: true,
			Credential: &syscall.Credential{},
		},
	})
	if err != nil {
		return err
	}
	_, err = p.Wait() // how it ended does not matter
	return err
}

// checkCgroup makes a group with limits and reads one back.
func (e *Engine) checkCgroup(context.Context) (string, error) {
	g, err := e.herd.Create("check-" + randomHex(4))
	if err != nil {
		return "", err
	}
	err = g.Limit(cgroup.Limits{CPU: 0.5, Memory: 32 << 20, Pids: 32})
	if err == nil {
		_, err = g.Usage()
	}
	if err == nil {
		var events *os.File
		if events, err = g.OOMEvents(); events != nil {
			_ = events.Close()
		}
	}
	if err := errors.Join(err, g.Remove()); err != nil {
		return "", err
	}
	return fmt.Sprintf("version %d, limits of cpu, memory and pids were set below %s", e.herd.Version(), e.herd.Path()), nil
}

// checkDisk makes a small disk image, mounts it and lets it go.
func (e *Engine) checkDisk(ctx context.Context) (string, error) {
	d, err := e.disks.make(ctx, diskQuota{bytes: 8 << 20, inodes: 256, image: true}, uidBase)
	if err != nil {
		return "", err
	}
	loop := d.loop
	if err := d.release(ctx); err != nil {
		return "", err
	}
	return "an ext4 image was mounted detached through " + loop, nil
}

func (e *Engine) checkInterpreters(ctx context.Context) (string, error) {
	var found []string
	for _, language := range remuda.Languages() {
		list, err := e.versions.list(ctx, language)
		if err != nil {
			return "", err
		}
		for _, in := range list {
			found = append(found, fmt.Sprintf("%s %s", language, in.Version))
		}
	}
	if len(found) == 0 {
		return "", fmt.Errorf("none in %s", strings.Join(e.versions.dirs, " or "))
	}
	return strings.Join(found, ", "), nil
}

// probeScripts do nothing.
var probeScripts = map[remuda.Language]string{
	remuda.LanguageBash: ":", remuda.LanguagePython: "pass", remuda.LanguageNode: "0",
}

// checkSandbox runs a script in a whole sandbox: what no single check covers,
// such as the root file system, the system call filter and the driver.
func (e *Engine) checkSandbox(ctx context.Context) (string, error) {
	language := remuda.Language("")
	for _, l := range []remuda.Language{remuda.LanguageBash, remuda.LanguagePython, remuda.LanguageNode} {
		if list, err := e.versions.list(ctx, l); err == nil && len(list) > 0 {
			language = l
			break
		}
	}
	if language == "" {
		return "", errors.New("there is no interpreter to try it with")
	}
	begun := time.Now()
	in, err := e.versions.interpreter(ctx, language, "")
	if err != nil {
		return "", err
	}
	driver, err := e.driver(ctx, language, in)
	if err != nil {
		return "", err
	}
	b, err := e.makeBlank(ctx)
	if err != nil {
		return "", err
	}
	inst, err := e.newInstance(engine.Spec{
		ID: remuda.NewInstanceID(), Language: language, Environment: remuda.EnvironmentHost,
		Resources: remuda.Resources{CPU: 1, MemoryMB: 256, DiskMB: 16, Pids: 64},
	})
	if err != nil {
		return "", errors.Join(err, b.destroy(ctx))
	}
	if err := inst.become(ctx, b, driver, begun); err != nil {
		return "", errors.Join(err, inst.abandon(ctx))
	}
	res, err := inst.Execute(ctx, engine.Request{ID: remuda.NewExecutionID(), Script: probeScripts[language], Timeout: setupTime}, nil)
	if err := errors.Join(err, inst.Destroy(ctx)); err != nil {
		return "", err
	}
	if res.State != remuda.ExecutionSuccess {
		return "", fmt.Errorf("a script ended as %s: %s", res.State, res.Reason)
	}
	return fmt.Sprintf("a %s sandbox ran a script and is gone", language), nil
}
