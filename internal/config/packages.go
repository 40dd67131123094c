package config

import (
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

func validatePackages(c Config, check func(key string, ok bool, format string, args ...any)) {
	for key, address := range map[string]string{"packages_pip_index_url": c.PackagesPipIndexURL, "packages_npm_registry_url": c.PackagesNpmRegistryURL} {
		u, err := url.Parse(address)
		check(key, address == "" || (err == nil && u.Host != "" && (u.Scheme == "http" || u.Scheme == "https")), "it is not the address of an index; write it like https://index.example.org/simple")
	}
	check("packages_apt_dir", filepath.IsAbs(c.PackagesAptDir), "%q is not an absolute path", c.PackagesAptDir)
	check("packages_wheel_dir", c.PackagesWheelDir == "" || filepath.IsAbs(c.PackagesWheelDir), "%q is not an absolute path", c.PackagesWheelDir)
	check("packages_build_timeout", c.PackagesBuildTimeout >= time.Second, "%s is less than a second", c.PackagesBuildTimeout)
	check("packages_build_cores", c.PackagesBuildCores >= 1, "it must be at least 1")
	check("packages_build_memory_mb", c.PackagesBuildMemoryMB >= 64, "%d is less than 64", c.PackagesBuildMemoryMB)
	check("packages_build_disk_mb", c.PackagesBuildDiskMB >= 16, "%d is less than 16", c.PackagesBuildDiskMB)
	check("packages_builds", c.PackagesBuilds >= 1 && c.PackagesBuilds <= 64, "%d is not between 1 and 64", c.PackagesBuilds)
	for _, prefix := range c.Interpreters {
		check("interpreters", showable(prefix), "%q is not a clean absolute path that sandboxes may see; it must lie deeper than the root, and not in %s", prefix, strings.Join(private, ", "))
	}
}

// private are the places of a machine that no sandbox is shown.
var private = []string{"/root", "/home", "/var", "/run", "/etc", "/proc", "/sys", "/dev", "/boot", "/tmp"}

// showable reports whether sandboxes may be shown a directory.
func showable(dir string) bool {
	inside := func(place string) bool { return dir == place || strings.HasPrefix(dir, place+"/") }
	return filepath.IsAbs(dir) && filepath.Clean(dir) == dir && strings.Count(dir, "/") > 1 && !slices.ContainsFunc(private, inside)
}
