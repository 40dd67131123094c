package layer

import (
	"time"

	"github.com/remuda-run/remuda/internal/remuda"
)

// Request is what a layer is wanted for.
type Request struct {
	Organization remuda.OrganizationID
	Language     remuda.Language
	Version      string // of the interpreter, exactly
	Environment  string
	Packages     []remuda.Package
	// Refresh asks the index again although a lock of an equal request is known.
	Refresh bool
}

// Progress hears what becomes of a build while it goes on. Its methods are never
// called at the same time and have to return soon; bytes are theirs only until
// then.
type Progress interface {
	// Log takes a piece of the installer's own words, with its line ends.
	Log(line []byte)
	// Package tells the state of a package that the request asks for. resolved is
	// its exact version once that is known.
	Package(name string, state remuda.PackageState, resolved, message string)
}

// Settings are what the site says about packages.
type Settings struct {
	// PipIndexURL is the site's Python index (PEP 503); "" asks the machine's pip.
	PipIndexURL string
	// NpmRegistryURL is the site's npm registry; "" asks the machine's npm.
	NpmRegistryURL string
	// AptDir holds the sources and keys of apt that are used; "" is /etc/apt.
	AptDir string
	// Allow lists what may be installed: names and globs, of one manager with its
	// name before a colon ("pip:numpy", "apt:python3-*"), of all without. What a
	// package needs has to be listed too. Empty allows everything.
	Allow []string
	// WheelDir is a directory of wheels and sdists that are there without an index.
	WheelDir string
	// BuildTimeout bounds one step of a build; 0 is DefaultBuildTimeout.
	BuildTimeout time.Duration
	// BuildResources bound the sandbox of a build; the zero value is
	// DefaultBuildResources.
	BuildResources remuda.Resources
	// InternalHosts lists hosts ("host" or "host:port") of the server's own network
	// that an index may lead to. The hosts of the indexes themselves need not be
	// listed.
	InternalHosts []string
	// LockTTL is how long an equal request gets the lock that was resolved
	// before; 0 is DefaultLockTTL, negative is not at all.
	LockTTL time.Duration
}

// Defaults of the settings.
const (
	DefaultBuildTimeout = 15 * time.Minute
	DefaultLockTTL      = 24 * time.Hour
)

// DefaultBuildResources are generous: a package may have to be compiled.
func DefaultBuildResources() remuda.Resources {
	return remuda.Resources{CPU: 2, MemoryMB: 2048, DiskMB: 4096, Pids: 512}
}
