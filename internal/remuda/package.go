package remuda

import "time"

// PackageManager installs packages of one kind.
type PackageManager string

// The package managers.
const (
	ManagerPip PackageManager = "pip"
	ManagerNpm PackageManager = "npm"
	ManagerApt PackageManager = "apt"
)

// PackageManagers lists every package manager.
func PackageManagers() []PackageManager {
	return []PackageManager{ManagerPip, ManagerNpm, ManagerApt}
}

// ManagerOf is what installs p in a runtime of the language.
func (l Language) ManagerOf(p Package) PackageManager {
	switch {
	case p.Manager != "":
		return p.Manager
	case l == LanguagePython:
		return ManagerPip
	case l == LanguageNode:
		return ManagerNpm
	default:
		return ManagerApt
	}
}

// Package is one package that a runtime's instances have installed.
type Package struct {
	Name        string
	Version     string // "" or "latest" is the newest
	Description string
	Manager     PackageManager // "" is the language's own
}

// PackageState says what became of a package.
type PackageState string

// The states of a package.
const (
	PackageUnknown      PackageState = "unknown" // nothing has been tried
	PackageInstalling   PackageState = "installing"
	PackageInstalled    PackageState = "installed"
	PackageNotInstalled PackageState = "not_installed" // Message says why
)

// PackageStatus is a package of a generation and what became of it.
type PackageStatus struct {
	Package
	State    PackageState
	Resolved string // the version installed
	Message  string // why it is not installed
}

// Locked is one resolved package of a lock: asked for, or needed by one that was.
type Locked struct {
	Manager PackageManager
	Name    string   // in the manager's canonical form
	Version string   // exact
	Hashes  []string // "sha256:<hex>" or npm's "sha512-<base64>", sorted; one of them must match
	// Asked says that the definition names it; others are needed by one that is.
	Asked bool
	// Build says that it is used to build others and is not in the layer.
	Build bool
}

// Lock records everything that a layer is installed from. Equal locks make equal
// layers.
type Lock struct {
	Language    Language
	Version     string // of the interpreter
	Environment string
	Packages    []Locked // sorted by manager, then name
}

// LayerID names a layer by the hash of the lock it was built from: 64 hex digits.
type LayerID string

// RuntimeStatus says whether a runtime serves what its definition asks for.
type RuntimeStatus string

// The states of a runtime.
const (
	RuntimeUnknown RuntimeStatus = "unknown"
	RuntimeReady   RuntimeStatus = "ready"
	RuntimeBusy    RuntimeStatus = "busy"  // a build is under way; the last good generation serves, if there is one
	RuntimeError   RuntimeStatus = "error" // the last build failed; the last good generation serves, if there is one
)

// Build is the making of one generation: resolving, installing, and what became
// of it.
type Build struct {
	Key       GenerationKey
	Status    RuntimeStatus // busy, ready or error
	Reason    string        // why it is in error
	Version   string        // of the interpreter that Definition.Version was found to mean
	Packages  []PackageStatus
	Lock      Lock
	Layer     LayerID // "" is none
	StartedAt time.Time
	EndedAt   time.Time // zero while busy
}
