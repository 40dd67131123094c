package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// ociPeer runs the line in a container of an OCI runtime, from a bundle with a
// read-only root. Its containers have a number of their own each.
func ociPeer(ctx context.Context, name, note, path, dir string, every int, flags ...string) *peer {
	p := &peer{series: &Series{Name: name, Note: note}, every: every, close: func() {}}
	bundle := filepath.Join(dir, name)
	if err := ociBundle(ctx, path, bundle); err != nil {
		p.series.Missing = firstLine(err.Error())
		return p
	}
	argv := append([]string{path, "--root", filepath.Join(dir, name+"-state")}, flags...)
	var n atomic.Int64
	p.run = func(ctx context.Context) error {
		id := fmt.Sprintf("remuda-bench-%d-%d", os.Getpid(), n.Add(1))
		return command(ctx, append(slices.Clip(argv), "run", "--bundle", bundle, id)...)
	}
	return p
}

// ociBundle writes a bundle from a runtime's own default specification.
func ociBundle(ctx context.Context, path, bundle string) error {
	if err := emptyRoot(filepath.Join(bundle, "rootfs")); err != nil {
		return fmt.Errorf("make bundle: %w", err)
	}
	spec := exec.CommandContext(ctx, path, "spec")
	spec.Dir = bundle
	if out, err := spec.CombinedOutput(); err != nil {
		return fmt.Errorf("%s spec: %w: %s", filepath.Base(path), err, out)
	}
	file := filepath.Join(bundle, "config.json")
	raw, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("read bundle: %w", err)
	}
	var config map[string]any
	if err := json.Unmarshal(raw, &config); err != nil {
		return fmt.Errorf("read bundle: %w", err)
	}
	process, ok := config["process"].(map[string]any)
	if !ok {
		return errors.New("the specification has no process")
	}
	process["terminal"] = false
	process["args"] = []string{python, "-c", oneLine}
	mounts, _ := config["mounts"].([]any)
	config["mounts"] = append(mounts, map[string]any{
		"destination": "/usr", "source": "/usr", "type": "bind", "options": []string{"rbind", "ro"},
	})
	if raw, err = json.Marshal(config); err != nil {
		return fmt.Errorf("write bundle: %w", err)
	}
	return os.WriteFile(file, raw, 0o600)
}

func runcPeer(ctx context.Context, dir string) *peer {
	path, err := exec.LookPath("runc")
	if err != nil {
		return missing("runc")
	}
	return ociPeer(ctx, "runc", "read-only root, default limits and filter", path, dir, 1)
}

// crunPeer hides the v2 mount of a hybrid machine from crun, which refuses to
// run beside a controller that is bound there.
func crunPeer(ctx context.Context, dir string) *peer {
	const unified = "/sys/fs/cgroup/unified"
	path, err := exec.LookPath("crun")
	if err != nil {
		return missing("crun")
	}
	p := ociPeer(ctx, "crun", "read-only root, default limits and filter", path, dir, 1)
	raw, err := os.ReadFile(unified + "/cgroup.controllers")
	if p.series.Missing != "" || err != nil || strings.TrimSpace(string(raw)) == "" {
		return p
	}
	p.series.Note += "; this machine's v2 mount hidden from it"
	threads := make(chan func())
	run := p.run
	for range runtime.NumCPU() {
		go withoutMount(unified, threads)
	}
	p.run = func(ctx context.Context) error {
		done := make(chan error)
		threads <- func() { done <- run(ctx) }
		return <-done
	}
	p.close = func() { close(threads) }
	return p
}

// withoutMount runs functions on a thread that has mounts of its own, without
// the one at path. What they start inherits that. The thread ends with the channel.
func withoutMount(path string, functions <-chan func()) {
	runtime.LockOSThread() // never unlocked: no other goroutine may get this thread
	err := unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS)
	if err == nil {
		err = unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
	}
	if err == nil {
		_ = unix.Unmount(path, unix.MNT_DETACH) // where it fails, the peer says what it does not like
	}
	for f := range functions {
		f()
	}
}

// runscPeer is gVisor, from PATH or from where `make` puts programs.
func runscPeer(ctx context.Context, dir string) *peer {
	var path string
	for _, candidate := range []string{"runsc", ".bin/runsc", "bin/runsc"} {
		found, err := exec.LookPath(candidate)
		if err != nil {
			continue
		}
		if path, err = filepath.Abs(found); err == nil {
			break
		}
	}
	if path == "" {
		return missing("runsc (gVisor)")
	}
	return ociPeer(ctx, "runsc", "gVisor, systrap, its own cgroup ignored", path, dir, 5,
		"--ignore-cgroups", "--network=none", "--platform=systrap")
}
