package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	python = "/usr/bin/python3"
	// oneLine is what every one-shot measurement runs, ours and the peers'.
	oneLine = "print(1)"
)

// peer is another way to get a fresh sandbox that runs Python and returns.
type peer struct {
	series *Series
	every  int // run in every n-th round, because it is slow
	run    func(ctx context.Context) error
	close  func()
}

// command runs argv and checks that the script really ran.
func command(ctx context.Context, argv ...string) error {
	out, err := exec.CommandContext(ctx, argv[0], argv[1:]...).Output()
	if err != nil {
		if exit, ok := errors.AsType[*exec.ExitError](err); ok {
			return fmt.Errorf("%s: %w: %s", argv[0], err, strings.TrimSpace(string(exit.Stderr)))
		}
		return fmt.Errorf("%s: %w", argv[0], err)
	}
	if strings.TrimSpace(string(out)) != "1" {
		return fmt.Errorf("%s printed %q instead of 1", argv[0], out)
	}
	return nil
}

// peers finds the peers on this machine. dir is for their files.
func peers(ctx context.Context, dir string) []*peer {
	all := []*peer{bwrapPeer(), crunPeer(ctx, dir), runcPeer(ctx, dir), runscPeer(ctx, dir), podmanPeer(dir), dockerPeer(ctx)}
	for _, p := range all {
		if p.series.Missing != "" {
			continue
		}
		if err := p.run(ctx); err != nil { // also warms its caches
			p.series.Missing = "does not run here: " + firstLine(err.Error())
		}
	}
	return all
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}

func missing(name string) *peer {
	return &peer{series: &Series{Name: name, Missing: "not installed"}, close: func() {}}
}

func bwrapPeer() *peer {
	path, err := exec.LookPath("bwrap")
	if err != nil {
		return missing("bwrap")
	}
	argv := []string{path, "--unshare-all", "--die-with-parent", "--ro-bind", "/usr", "/usr"}
	for _, link := range []string{"lib", "lib64", "bin"} {
		argv = append(argv, "--symlink", "usr/"+link, "/"+link)
	}
	argv = append(argv, "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", python, "-c", oneLine)
	return &peer{
		series: &Series{Name: "bwrap", Note: "namespaces only: no cgroup, no syscall filter, no disk quota"},
		every:  1,
		run:    func(ctx context.Context) error { return command(ctx, argv...) },
		close:  func() {},
	}
}

// emptyRoot makes a root file system that only needs /usr mounted on it.
func emptyRoot(dir string) error {
	for _, d := range []string{"usr", "proc", "dev", "sys", "tmp", "etc", "run"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			return err
		}
	}
	for _, link := range []string{"lib", "lib64", "bin"} {
		if err := os.Symlink("usr/"+link, filepath.Join(dir, link)); err != nil && !os.IsExist(err) {
			return err
		}
	}
	return nil
}

func podmanPeer(dir string) *peer {
	path, err := exec.LookPath("podman")
	if err != nil {
		return missing("podman run")
	}
	root := filepath.Join(dir, "podman-rootfs")
	p := &peer{series: &Series{Name: "podman run", Note: "--rootfs, no image to unpack, no network"}, every: 5}
	p.close = func() { // a run that fails leaves its storage mounted on itself
		_ = unix.Unmount(filepath.Join(dir, "podman", "overlay"), unix.MNT_DETACH)
	}
	if err := emptyRoot(root); err != nil {
		p.series.Missing = err.Error()
		return p
	}
	argv := []string{
		path, "--root", filepath.Join(dir, "podman"), "--runroot", filepath.Join(dir, "podman-run"),
		"--cgroup-manager", "cgroupfs", "--events-backend", "none",
	}
	if runc, err := exec.LookPath("runc"); err == nil {
		argv = append(argv, "--runtime", runc) // the default may be crun, which refuses hybrid cgroups
	}
	argv = append(argv, "run", "--rm", "--network", "none",
		"--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1000:1000", "--log-driver", "none", "-v", "/usr:/usr:ro",
		"--rootfs", root, python, "-c", oneLine)
	p.run = func(ctx context.Context) error { return command(ctx, argv...) }
	return p
}

// dockerPeer uses an engine that is already running and an image that is
// already there; it pulls nothing.
func dockerPeer(ctx context.Context) *peer {
	path, err := exec.LookPath("docker")
	if err != nil {
		return missing("docker run")
	}
	p := &peer{series: &Series{Name: "docker run"}, every: 5, close: func() {}}
	out, err := exec.CommandContext(ctx, path, "images", "--format", "{{.Repository}}:{{.Tag}}", "python").Output()
	if err != nil {
		p.series.Missing = "no docker engine is running"
		return p
	}
	image := firstLine(string(out))
	if image == "" {
		p.series.Missing = "no local image named python"
		return p
	}
	p.series.Note = image
	p.run = func(ctx context.Context) error {
		return command(ctx, path, "run", "--rm", "--network", "none", "--pull", "never", image, "python3", "-c", oneLine)
	}
	return p
}
