package runtimes

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/remuda-run/remuda/internal/layer"
	"github.com/remuda-run/remuda/internal/remuda"
)

// Bounds of the packages of a definition.
const (
	maxPackages           = 256
	maxPackageDescription = 4096
	maxOthers             = 64 << 10
)

// packages checks the packages of a definition. can says whether this server
// installs any.
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
	}
	c.fields = append(c.fields, layer.CheckPackages(d.Language, d.Packages)...)
	for i, p := range d.Packages {
		if d.Isolation == remuda.IsolationGVisor && d.Language.ManagerOf(p) == remuda.ManagerApt {
			c.text(fmt.Sprintf("packages[%d].manager", i), "must not be apt: nothing is laid over /usr in sandboxes of the class gvisor; use isolation process")
		}
		if len(p.Description) > maxPackageDescription || !utf8.ValidString(p.Description) {
			c.text(fmt.Sprintf("packages[%d].description", i), fmt.Sprintf("must be valid UTF-8 of at most %d bytes", maxPackageDescription))
		}
	}
}

// statuses are the packages of a definition before anything was tried.
func statuses(d remuda.Definition) []remuda.PackageStatus {
	out := make([]remuda.PackageStatus, len(d.Packages))
	for i, p := range d.Packages {
		p.Manager = d.Language.ManagerOf(p)
		out[i] = remuda.PackageStatus{Package: p, State: remuda.PackageUnknown}
	}
	return out
}

// carried are the packages of a definition with what became of them in a build of
// another one that asks for the same.
func carried(d remuda.Definition, from []remuda.PackageStatus) []remuda.PackageStatus {
	out := statuses(d)
	for i := range out {
		for _, p := range from {
			if samePackage(p, out[i].Manager, out[i].Name) {
				out[i].State, out[i].Resolved, out[i].Message = p.State, p.Resolved, p.Message
			}
		}
	}
	return out
}

func samePackage(p remuda.PackageStatus, manager remuda.PackageManager, name string) bool {
	return p.Manager == manager && layer.CanonicalName(p.Manager, p.Name) == layer.CanonicalName(manager, name)
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
		_, extras, _ := strings.Cut(p.Name, "[")
		out = append(out, string(p.Manager)+":"+layer.CanonicalName(p.Manager, p.Name)+"["+strings.ToLower(strings.ReplaceAll(extras, " ", ""))+"="+version)
	}
	slices.Sort(out)
	return out
}
