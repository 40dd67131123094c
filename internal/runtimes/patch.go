package runtimes

import (
	"maps"
	"slices"

	"github.com/remuda-run/remuda/internal/layer"
	"github.com/remuda-run/remuda/internal/remuda"
)

// apply returns d with the fields of patch that are set. A new language without
// a version takes the default version: the old one is another language's.
func apply(d remuda.Definition, patch remuda.RuntimePatch) remuda.Definition {
	language := d.Language
	d = d.Clone()
	if patch.Language != nil && *patch.Language != d.Language {
		d.Version = ""
	}
	if patch.Version != nil && *patch.Version != d.Version {
		d.VersionPolicy = remuda.VersionExact
	}
	set(&d.VersionPolicy, patch.VersionPolicy)
	set(&d.Name, patch.Name)
	set(&d.Description, patch.Description)
	set(&d.Language, patch.Language)
	set(&d.Version, patch.Version)
	set(&d.Environment, patch.Environment)
	set(&d.Resources.CPU, patch.CPU)
	set(&d.Resources.MemoryMB, patch.MemoryMB)
	set(&d.Resources.DiskMB, patch.DiskMB)
	set(&d.Resources.Pids, patch.Pids)
	set(&d.ExecTimeout, patch.ExecTimeout)
	set(&d.Pool.MinCached, patch.MinCached)
	set(&d.Pool.MaxCached, patch.MaxCached)
	if patch.Preload != nil {
		d.Preload = slices.Clone(*patch.Preload)
	} else if patch.Language != nil && *patch.Language != remuda.LanguagePython {
		d.Preload = nil // modules of another language
	}
	set(&d.Isolation, patch.Isolation)
	if patch.Egress != nil {
		d.Egress = patch.Egress.Clone()
	}
	if patch.Packages != nil {
		d.Packages = slices.Clone(*patch.Packages)
	} else if patch.Language != nil && *patch.Language != language {
		d.Packages = slices.DeleteFunc(d.Packages, func(p remuda.Package) bool { return layer.ManagerOf(language, p) != remuda.ManagerApt })
		for i := range d.Packages { // said, since the new language's own is another
			d.Packages[i].Manager = remuda.ManagerApt
		}
	}
	set(&d.Others, patch.Others)
	if patch.Env != nil {
		d.Env = maps.Clone(patch.Env)
	}
	return d
}

func set[T any](field *T, value *T) {
	if value != nil {
		*field = *value
	}
}
