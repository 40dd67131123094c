package runtimes

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/remuda-run/remuda/internal/remuda"
)

// Bounds of the packages of a definition.
const (
	maxPackages           = 256
	maxPackageDescription = 4096
	maxOthers             = 64 << 10
)

// packageNames is what the managers call a package.
var packageNames = map[remuda.PackageManager]*regexp.Regexp{
	remuda.ManagerPip: regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._-]{0,126}[A-Za-z0-9])?$`),
	remuda.ManagerNpm: regexp.MustCompile(`^(@[a-z0-9~][a-z0-9._~-]{0,100}/)?[a-z0-9~][a-z0-9._~-]{0,100}$`),
	remuda.ManagerApt: regexp.MustCompile(`^[a-z0-9][a-z0-9+.-]{1,126}$`),
}

// packageVersion is an exact version in the words of any of the managers. What
// begins with a hyphen would be an option.
var packageVersion = regexp.MustCompile(`^[0-9A-Za-z][0-9A-Za-z.!+_~:-]{0,127}$`)

// ManagerOf is the package manager of a language.
func ManagerOf(l remuda.Language) remuda.PackageManager {
	switch l {
	case remuda.LanguagePython:
		return remuda.ManagerPip
	case remuda.LanguageNode:
		return remuda.ManagerNpm
	case remuda.LanguageBash:
		return remuda.ManagerApt
	}
	return ""
}

// canonical is a package's name in the form in which equal names are equal.
func canonical(m remuda.PackageManager, name string) string {
	if m != remuda.ManagerPip {
		return name
	}
	return strings.ToLower(separators.ReplaceAllString(name, "-"))
}

var separators = regexp.MustCompile(`[-_.]+`)

// packages checks the packages of a definition.
func (c *checker) packages(d remuda.Definition, can bool) {
	switch {
	case len(d.Packages) == 0:
		return
	case len(d.Packages) > maxPackages:
		c.text("packages", fmt.Sprintf("has %d elements; at most %d are allowed", len(d.Packages), maxPackages))
		return
	case !can:
		c.text("packages", "must be empty: this server installs none")
		return
	case d.Isolation == remuda.IsolationGVisor:
		c.text("packages", "must be empty: sandboxes of the class gvisor have no layers; use isolation process")
		return
	}
	first := map[string]int{}
	for i, p := range d.Packages {
		field := fmt.Sprintf("packages[%d]", i)
		manager := p.Manager
		if manager == "" {
			manager = ManagerOf(d.Language)
		}
		c.text(field+".manager", checkManager(manager, d.Language))
		if pattern := packageNames[manager]; pattern != nil && !pattern.MatchString(p.Name) {
			c.text(field+".name", fmt.Sprintf("%s is no name of a package of %s", printable(p.Name), manager))
			continue
		}
		name := string(manager) + ":" + canonical(manager, p.Name)
		if n, ok := first[name]; ok {
			c.text(field+".name", fmt.Sprintf("names the same package as packages[%d]", n))
		} else {
			first[name] = i
		}
		if p.Version != "" && !packageVersion.MatchString(p.Version) {
			c.text(field+".version", `must be one exact version of at most 128 characters, such as 1.2.3, or "latest"`)
		}
		if len(p.Description) > maxPackageDescription || !utf8.ValidString(p.Description) {
			c.text(field+".description", fmt.Sprintf("must be valid UTF-8 of at most %d bytes", maxPackageDescription))
		}
	}
}

func checkManager(m remuda.PackageManager, l remuda.Language) string {
	switch {
	case !slices.Contains(remuda.PackageManagers(), m):
		return "must be one of " + list(remuda.PackageManagers())
	case m == ManagerOf(l), m == remuda.ManagerApt:
		return ""
	default:
		return fmt.Sprintf("is not for the language %s, whose packages come from %s or apt", l, ManagerOf(l))
	}
}

// statuses are the packages of a definition before anything was tried.
func statuses(d remuda.Definition) []remuda.PackageStatus {
	out := make([]remuda.PackageStatus, len(d.Packages))
	for i, p := range d.Packages {
		if p.Manager == "" {
			p.Manager = ManagerOf(d.Language)
		}
		out[i] = remuda.PackageStatus{Package: p, State: remuda.PackageUnknown}
	}
	return out
}

// installed are the packages of a definition after a lock was installed.
func installed(d remuda.Definition, lock remuda.Lock) []remuda.PackageStatus {
	out := statuses(d)
	for i := range out {
		p := &out[i]
		p.State = remuda.PackageInstalled
		for _, l := range lock.Packages {
			if l.Manager == p.Manager && canonical(l.Manager, l.Name) == canonical(p.Manager, p.Name) && !l.Build {
				p.Resolved = l.Version
			}
		}
	}
	return out
}

// sameBuild reports whether two definitions ask for the same to be installed, in
// whatever order and words, for one version of the interpreter.
func sameBuild(a, b remuda.Definition) bool {
	return a.Language == b.Language && a.Environment == b.Environment && slices.Equal(wanted(a), wanted(b))
}

// wanted is what a definition wants to be installed, in a form that can be compared.
func wanted(d remuda.Definition) []string {
	var out []string
	for _, p := range statuses(d) {
		version := p.Version
		if version == "" {
			version = "latest"
		}
		out = append(out, string(p.Manager)+":"+canonical(p.Manager, p.Name)+"="+version)
	}
	slices.Sort(out)
	return out
}
