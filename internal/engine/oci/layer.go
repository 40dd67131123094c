package oci

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/guest/protocol"
	"github.com/remuda-run/remuda/internal/remuda"
)

// maxLayers is for how many layers the root has a place.
const maxLayers = 8

// layerPlace is where a sandbox has its n-th layer.
func layerPlace(n int) string { return filepath.Join(protocol.LayerDir, strconv.Itoa(n)) }

// layerMounts are the mounts of a sandbox's layers. What would have to be laid over
// another directory is refused: that takes an overlay.
func layerMounts(layers []engine.Layer) ([]specs.Mount, error) {
	if len(layers) > maxLayers {
		return nil, remuda.Errorf(remuda.CodeInvalid, "a sandbox of the class gvisor has at most %d layers", maxLayers)
	}
	var mounts []specs.Mount
	modules := 0
	bind := func(from, to string) {
		mounts = append(mounts, specs.Mount{Destination: to, Type: "bind", Source: from, Options: []string{"ro", "bind", "nosuid", "nodev"}})
	}
	for n, l := range layers {
		if _, err := os.Lstat(l.Path); errors.Is(err, fs.ErrNotExist) {
			return nil, &remuda.Error{Code: remuda.CodePrecondition, Message: "the runtime's packages are gone", Cause: "layer " + string(l.ID) + " is not on this machine", Remedy: "rebuild the runtime", Err: err}
		}
		if st, err := os.Lstat(filepath.Join(l.Path, "usr")); err == nil && st.IsDir() {
			return nil, &remuda.Error{
				Code: remuda.CodeUnsupported, Message: "a sandbox of the class gvisor has no packages of apt", Cause: "they are laid over /usr, for isolation \"process\" only",
				Remedy: "use packages of the language, or isolation \"process\"",
			}
		}
		bind(l.Path, layerPlace(n))
		if st, err := os.Lstat(filepath.Join(l.Path, "node/node_modules")); err == nil && st.IsDir() {
			if modules++; modules > 1 {
				return nil, remuda.Errorf(remuda.CodeUnsupported, "a sandbox of the class gvisor has one layer with packages of npm")
			}
			bind(filepath.Join(l.Path, "node/node_modules"), protocol.NodeModules)
		}
	}
	return mounts, nil
}
