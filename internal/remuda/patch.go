package remuda

import (
	"maps"
	"slices"
)

// set sets a field that a patch has.
func set[T any](field *T, value *T) {
	if value != nil {
		*field = *value
	}
}

// Apply returns d with the fields of p that are set. A new language without
// a version takes the default version, and without packages or preload keeps only
// what is not the old language's.
func (p RuntimePatch) Apply(d Definition) Definition {
	old := d.Language
	d = d.Clone()
	if p.Language != nil && *p.Language != d.Language {
		d.Version = ""
	}
	if p.Version != nil && *p.Version != d.Version {
		d.VersionPolicy = VersionExact
	}
	set(&d.VersionPolicy, p.VersionPolicy)
	set(&d.Name, p.Name)
	set(&d.Description, p.Description)
	set(&d.Language, p.Language)
	set(&d.Version, p.Version)
	set(&d.Environment, p.Environment)
	set(&d.Resources.CPU, p.CPU)
	set(&d.Resources.MemoryMB, p.MemoryMB)
	set(&d.Resources.DiskMB, p.DiskMB)
	set(&d.Resources.Pids, p.Pids)
	set(&d.ExecTimeout, p.ExecTimeout)
	set(&d.Pool.MinCached, p.MinCached)
	set(&d.Pool.MaxCached, p.MaxCached)
	if p.Preload != nil {
		d.Preload = slices.Clone(*p.Preload)
	} else if p.Language != nil && *p.Language != LanguagePython {
		d.Preload = nil // modules of another language
	}
	set(&d.Isolation, p.Isolation)
	if p.Egress != nil {
		d.Egress = p.Egress.Clone()
	}
	if p.Packages != nil {
		d.Packages = slices.Clone(*p.Packages)
	} else if d.Language != old {
		d.Packages = slices.DeleteFunc(d.Packages, func(one Package) bool { return old.ManagerOf(one) != ManagerApt })
		for i := range d.Packages { // said, since the new language's own is another
			d.Packages[i].Manager = ManagerApt
		}
	}
	set(&d.ConnectionScript, p.ConnectionScript)
	set(&d.DisconnectScript, p.DisconnectScript)
	set(&d.Others, p.Others)
	if p.Env != nil {
		d.Env = maps.Clone(p.Env)
	}
	return d
}

// Apply returns d with the fields of p that are set. A secret that comes
// without a value keeps the one it has, since nobody can read it to send it back;
// but other code, a name by which other parts of the code read it, or another
// runtime could tell it, so that it has no value then.
func (p ScriptPatch) Apply(d ScriptDefinition) ScriptDefinition {
	old := d
	d = d.Clone()
	set(&d.Name, p.Name)
	set(&d.Description, p.Description)
	set(&d.Folder, p.Folder)
	set(&d.Kind, p.Kind)
	set(&d.Usage, p.Usage)
	set(&d.Result, p.Result)
	set(&d.Content, p.Content)
	set(&d.Runtime, p.Runtime)
	if p.Variables != nil {
		d.Variables = slices.Clone(*p.Variables)
	}
	keep := d.Content == old.Content && d.Runtime == old.Runtime
	for i := range d.Variables {
		v := &d.Variables[i]
		switch {
		case v.Kind != VariableSecret:
		case p.Variables == nil && !keep:
			v.Value = ""
		case v.Value == "" && keep:
			v.Value = old.secret(*v)
		}
	}
	return d
}

// secret is the value of the secret that v stands for.
func (d ScriptDefinition) secret(v ScriptVariable) string {
	for _, was := range d.Variables {
		if was.Kind == VariableSecret && was.Name == v.Name && (v.ID == "" || was.ID == v.ID) {
			return was.Value
		}
	}
	return ""
}

// Apply returns policy with the fields of p that are set.
func (p PolicyPatch) Apply(policy Policy) Policy {
	policy = policy.Clone()
	if p.Isolations != nil {
		policy.Isolations = slices.Clone(*p.Isolations)
	}
	if p.Allow != nil {
		policy.Network.Allow = slices.Clone(*p.Allow)
	}
	if p.Forbid != nil {
		policy.Network.Forbid = slices.Clone(*p.Forbid)
	}
	set(&policy.MaxInstances, p.MaxInstances)
	return policy
}

// Apply returns l with the fields of p that are set.
func (p LimitsPatch) Apply(l Limits) Limits {
	set(&l.MaxRunspaces, p.MaxRunspaces)
	set(&l.MaxRunspacesPerUser, p.MaxRunspacesPerUser)
	set(&l.IdleTimeout, p.IdleTimeout)
	set(&l.ActiveTimeout, p.ActiveTimeout)
	set(&l.MemoryMB, p.MemoryMB)
	set(&l.KeepExecutions, p.KeepExecutions)
	set(&l.KeepFor, p.KeepFor)
	return l
}
