package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/guest/protocol"
	"github.com/remuda-run/remuda/internal/remuda"
)

// Folders of a layer, as engine.Layer says.
const (
	layerPython = "python"
	layerNode   = "node/node_modules"
	layerBin    = "bin"
	layerUsr    = "usr"
)

// layerMounts are the mounts of a sandbox's layers, attached nowhere. They are
// made on the machine, because what a sandbox mounts itself it could also change;
// in an instance's own namespace their attributes are locked.
type layerMounts struct {
	targets []string
	fds     []int
}

// openLayers makes the mounts. The caller closes them.
func openLayers(layers []engine.Layer) (_ *layerMounts, err error) {
	m := &layerMounts{}
	defer func() {
		if err != nil {
			m.close()
			m = nil
		}
	}()
	for n, l := range layers {
		if err := m.bind(l.Path, layerPlace(n)); err != nil {
			return nil, missingLayer(l, err)
		}
	}
	if err := m.overlay(below(layers, layerNode), protocol.NodeModules); err != nil {
		return nil, err
	}
	for _, dir := range boundDirs {
		lowers := below(layers, dir)
		if st, err := os.Lstat(dir); len(lowers) == 0 || err != nil || !st.IsDir() {
			continue
		}
		if err := m.overlay(append(lowers, dir), dir); err != nil {
			return nil, err
		}
	}
	if len(m.fds) > protocol.MaxMounts {
		return nil, remuda.Errorf(remuda.CodeInvalid, "%d layers need %d mounts; %d are possible", len(layers), len(m.fds), protocol.MaxMounts)
	}
	return m, nil
}

// layers makes the mounts of an instance and says in its setup where they go. One
// that is forked has its template's.
func (i *Instance) layers(setup *protocol.Setup) (*layerMounts, error) {
	if i.blank.forked {
		return &layerMounts{}, nil
	}
	m, err := openLayers(i.spec.Layers)
	if err != nil {
		return nil, err
	}
	setup.Mounts = m.targets
	return m, nil
}

func (m *layerMounts) close() {
	for _, fd := range m.fds {
		_ = unix.Close(fd)
	}
	m.fds = nil
}

// layerPlace is where a sandbox has its n-th layer.
func layerPlace(n int) string { return protocol.LayerDir + "/" + strconv.Itoa(n) }

// below lists the directories with one name that layers hold.
func below(layers []engine.Layer, name string) []string {
	var dirs []string
	for _, l := range layers {
		if dir := filepath.Join(l.Path, name); isDir(dir) {
			dirs = append(dirs, dir)
		}
	}
	return dirs
}

func isDir(p string) bool {
	st, err := os.Lstat(p)
	return err == nil && st.IsDir()
}

// layerAttr is what every mount of a layer is.
const layerAttr = unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV

// bind makes a mount of a directory.
func (m *layerMounts) bind(dir, target string) error {
	fd, err := unix.OpenTree(unix.AT_FDCWD, dir, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_SYMLINK_NOFOLLOW)
	if err != nil {
		return fmt.Errorf("open %s: %w", dir, err)
	}
	m.fds, m.targets = append(m.fds, fd), append(m.targets, target)
	if err := unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH, &unix.MountAttr{Attr_set: layerAttr, Propagation: unix.MS_PRIVATE}); err != nil {
		return fmt.Errorf("make %s read-only: %w", dir, err)
	}
	return nil
}

// overlay makes a mount of directories laid over each other, the first on top.
func (m *layerMounts) overlay(dirs []string, target string) error {
	switch len(dirs) {
	case 0:
		return nil
	case 1:
		return m.bind(dirs[0], target)
	}
	fd, err := overlayMount(dirs)
	if err != nil {
		return unsupported("packages cannot be laid over "+target, err.Error(), "use a kernel with overlayfs (Linux 5.11 or later), loaded", err)
	}
	m.fds, m.targets = append(m.fds, fd), append(m.targets, target)
	return nil
}

// overlayMount makes the file system: it has no writable part, and the kernel
// reads its directories with our rights and checks those of who asks.
func overlayMount(dirs []string) (int, error) {
	lower := make([]string, len(dirs))
	for n, dir := range dirs {
		if strings.Contains(dir, ",") {
			return -1, fmt.Errorf("the path %s has a comma, which an overlay cannot have", dir)
		}
		lower[n] = strings.NewReplacer(`\`, `\\`, `:`, `\:`).Replace(dir)
	}
	fs, err := unix.Fsopen("overlay", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return -1, fmt.Errorf("open overlayfs: %w", err)
	}
	defer func() { _ = unix.Close(fs) }()
	for _, option := range [][2]string{{"source", "overlay"}, {"lowerdir", strings.Join(lower, ":")}} {
		if err := unix.FsconfigSetString(fs, option[0], option[1]); err != nil {
			return -1, fmt.Errorf("configure overlayfs with %s %s: %w", option[0], option[1], err)
		}
	}
	if err := unix.FsconfigCreate(fs); err != nil {
		return -1, fmt.Errorf("make an overlay of %s: %w", strings.Join(dirs, ", "), err)
	}
	fd, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, layerAttr)
	if err != nil {
		return -1, fmt.Errorf("mount an overlay of %s: %w", strings.Join(dirs, ", "), err)
	}
	return fd, nil
}

// checkOverlay lays one directory over another.
func (e *Engine) checkOverlay(context.Context) (_ string, err error) {
	dir, err := os.MkdirTemp(e.dir.disk, "check-overlay-")
	if err != nil {
		return "", fmt.Errorf("make a directory: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	lower := []string{filepath.Join(dir, "upper"), filepath.Join(dir, "lower")}
	for _, d := range lower {
		if err := os.Mkdir(d, 0o755); err != nil {
			return "", fmt.Errorf("make a directory: %w", err)
		}
	}
	fd, err := overlayMount(lower)
	if err != nil {
		return "", err
	}
	return "overlayfs, made and let go", unix.Close(fd)
}

// missingLayer is the error about a layer that is not there or cannot be had.
func missingLayer(l engine.Layer, err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return &remuda.Error{Code: remuda.CodePrecondition, Message: "the runtime's packages are gone", Cause: fmt.Sprintf("layer %s is not on this machine", l.ID), Remedy: "rebuild the runtime", Err: err}
	}
	return remuda.Internal("opening layer "+string(l.ID), err)
}

// checkLayers refuses what is no layer.
func checkLayers(layers []engine.Layer) []remuda.FieldError {
	for _, l := range layers {
		if l.ID == "" || !filepath.IsAbs(l.Path) || filepath.Clean(l.Path) != l.Path || l.Path == "/" {
			return []remuda.FieldError{{Field: "layers", Message: fmt.Sprintf("layer %q at %q is none", l.ID, l.Path)}}
		}
	}
	return nil
}

// layerEnvironment adds what makes interpreters and shells find the packages. What
// the runtime says of a variable stays in front.
func layerEnvironment(env, own map[string]string, layers []engine.Layer) {
	var modules, programs []string
	for n, l := range layers {
		if isDir(filepath.Join(l.Path, layerPython)) {
			modules = append(modules, path.Join(layerPlace(n), layerPython))
		}
		if isDir(filepath.Join(l.Path, layerBin)) {
			programs = append(programs, path.Join(layerPlace(n), layerBin))
		}
	}
	if len(modules) > 0 {
		if p := own["PYTHONPATH"]; p != "" {
			modules = append([]string{p}, modules...)
		}
		env["PYTHONPATH"] = strings.Join(modules, ":")
	}
	if len(programs) > 0 && own["PATH"] == "" {
		env["PATH"] = strings.Join(append(programs, env["PATH"]), ":")
	}
}
