package oci

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/remuda-run/remuda/internal/guest/protocol"
)

// keeperCapabilities is what the keeper needs, inside its container, until its
// sandbox is set up: mounts and the interpreter's user, limits and files. They
// mean nothing outside of gVisor.
var keeperCapabilities = []string{
	"CAP_SYS_ADMIN", "CAP_SYS_RESOURCE", "CAP_SETPCAP", "CAP_SETUID", "CAP_SETGID", "CAP_CHOWN", "CAP_FOWNER", "CAP_KILL", "CAP_DAC_OVERRIDE",
}

// bundleOf is the container of every sandbox with this root.
func bundleOf(r *root, hostname string) *specs.Spec {
	mounts := []specs.Mount{{Destination: "/proc", Type: "proc", Source: "proc"}}
	kinds := []specs.LinuxNamespaceType{specs.PIDNamespace, specs.NetworkNamespace, specs.IPCNamespace, specs.UTSNamespace, specs.MountNamespace}
	namespaces := make([]specs.LinuxNamespace, len(kinds))
	for n, kind := range kinds {
		namespaces[n].Type = kind
	}
	return &specs.Spec{
		Version:  specs.Version,
		Hostname: hostname,
		Root:     &specs.Root{Path: r.path, Readonly: true},
		Process: &specs.Process{
			Args: []string{keeperPath, protocol.ContainedArg},
			Env:  []string{"GOMAXPROCS=1"},
			Cwd:  "/",
			Capabilities: &specs.LinuxCapabilities{
				Bounding: keeperCapabilities, Effective: keeperCapabilities, Permitted: keeperCapabilities,
			},
		},
		Mounts: append(mounts, r.mounts...),
		Linux:  &specs.Linux{Namespaces: namespaces},
	}
}

// writeBundle makes the directory of a container.
func writeBundle(dir string, spec *specs.Spec) error {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return fmt.Errorf("make a bundle: %w", err)
	}
	content, err := json.Marshal(spec)
	if err != nil {
		return fmt.Errorf("make a bundle: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "config.json"), content, 0o600); err != nil {
		return fmt.Errorf("make a bundle: %w", err)
	}
	return nil
}
