package app

import (
	"log/slog"
	"path/filepath"
	"time"

	"github.com/remuda-run/remuda/internal/config"
	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/layer"
	"github.com/remuda-run/remuda/internal/remuda"
)

// layersDir is the directory of package layers in the data directory.
const layersDir = "layers"

// newLayers is what installs packages, as the settings say.
func newLayers(c config.Config, eng engine.Engine, log *slog.Logger) (*layer.Maker, error) {
	dir, err := filepath.Abs(filepath.Join(c.Data, layersDir))
	if err != nil {
		return nil, remuda.Internal("finding the data directory", err)
	}
	return layer.New(layer.Options{
		Dir: dir, Engine: eng, Logger: log.With("part", "layers"),
		Settings: layer.Settings{
			PipIndexURL: c.PackagesPipIndexURL, NpmRegistryURL: c.PackagesNpmRegistryURL, AptDir: c.PackagesAptDir,
			Allow: c.PackagesAllow, WheelDir: c.PackagesWheelDir, InternalHosts: c.PackagesInternalHosts,
			BuildTimeout: c.PackagesBuildTimeout, LockTTL: lockTTL(c),
			BuildResources: remuda.Resources{CPU: float64(c.PackagesBuildCores), MemoryMB: c.PackagesBuildMemoryMB, DiskMB: c.PackagesBuildDiskMB},
		},
	})
}

// lockTTL says with a negative time what the setting calls 0: not at all.
func lockTTL(c config.Config) time.Duration {
	if c.PackagesLockTTL == 0 {
		return -1
	}
	return c.PackagesLockTTL
}
