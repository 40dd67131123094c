package native

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/remuda-run/remuda/api"
	"github.com/remuda-run/remuda/internal/remuda"
)

// definition fails for what has a form that no definition can hold.
func definition(b api.RuntimeCreate) (remuda.Definition, error) {
	d := remuda.Definition{
		Name: b.Name, Description: value(b.Description), Language: remuda.Language(b.Language), Version: value(b.Version),
		Environment: value(b.Environment), ExecTimeout: time.Duration(value(b.ExecTimeoutS)) * time.Second, Env: b.Env,
		Resources: resources(b.Resources), Preload: b.Preload, Isolation: remuda.Isolation(value(b.Isolation)),
		VersionPolicy: remuda.VersionPolicy(value(b.VersionPolicy)), Packages: packages(b.Packages), Others: value(b.Others),
		ConnectionScript: value(b.ConnectionScript), DisconnectScript: value(b.DisconnectScript),
	}
	if p := b.Pool; p != nil {
		d.Pool = remuda.PoolBounds{MinCached: value(p.MinCached), MaxCached: value(p.MaxCached)}
	}
	if b.Egress != nil {
		var wrong []remuda.FieldError
		if d.Egress, wrong = egress("egress", *b.Egress); len(wrong) > 0 {
			return d, remuda.Invalid(wrong...)
		}
	}
	return d, nil
}

// packages is nil for none, as definitions have it.
func packages(list []api.Package) []remuda.Package {
	if len(list) == 0 {
		return nil
	}
	return each(list, func(p api.Package) remuda.Package {
		return remuda.Package{Name: p.Name, Version: value(p.Version), Description: value(p.Description), Manager: remuda.PackageManager(value(p.Manager))}
	})
}

func resources(r *api.ResourcesUpdate) remuda.Resources {
	if r == nil {
		return remuda.Resources{}
	}
	return remuda.Resources{CPU: value(r.Cpu), MemoryMB: value(r.MemoryMb), DiskMB: value(r.DiskMb), Pids: value(r.Pids)}
}

func identity(who *api.Identity) *remuda.Identity {
	if who == nil {
		return nil
	}
	return &remuda.Identity{Subject: value(who.Subject), Labels: who.Labels}
}

// egress names the ranges that are none. What may be listed is the service's to
// say.
func egress(field string, b api.Egress) (e remuda.Egress, wrong []remuda.FieldError) {
	e.Names = b.Names
	e.CIDRs, wrong = prefixes(field+".cidrs", b.Cidrs)
	return e, wrong
}

func prefixes(field string, list []string) (out []netip.Prefix, wrong []remuda.FieldError) {
	for i, text := range list {
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			wrong = append(wrong, remuda.FieldError{
				Field: fmt.Sprintf("%s[%d]", field, i), Message: fmt.Sprintf("%q is not a range of addresses such as 10.1.0.0/16, 192.0.2.7/32 or 2001:db8::/32", text),
			})
		}
		out = append(out, prefix)
	}
	return out, wrong
}

func runtimePatch(b api.RuntimeUpdate) (remuda.RuntimePatch, error) {
	patch := remuda.RuntimePatch{
		Name: b.Name, Description: b.Description, Version: b.Version, Environment: b.Environment, Preload: b.Preload, Others: b.Others,
		ConnectionScript: b.ConnectionScript, DisconnectScript: b.DisconnectScript,
	}
	if b.Language != nil {
		language := remuda.Language(*b.Language)
		patch.Language = &language
	}
	if b.VersionPolicy != nil {
		policy := remuda.VersionPolicy(*b.VersionPolicy)
		patch.VersionPolicy = &policy
	}
	if b.Packages != nil {
		list := packages(*b.Packages)
		patch.Packages = &list
	}
	if b.Isolation != nil {
		isolation := remuda.Isolation(*b.Isolation)
		patch.Isolation = &isolation
	}
	if r := b.Resources; r != nil {
		patch.CPU, patch.MemoryMB, patch.DiskMB, patch.Pids = r.Cpu, r.MemoryMb, r.DiskMb, r.Pids
	}
	if b.ExecTimeoutS != nil {
		d := time.Duration(*b.ExecTimeoutS) * time.Second
		patch.ExecTimeout = &d
	}
	if p := b.Pool; p != nil {
		patch.MinCached, patch.MaxCached = p.MinCached, p.MaxCached
	}
	if b.Env != nil {
		patch.Env = *b.Env
	}
	if b.Egress != nil {
		e, wrong := egress("egress", *b.Egress)
		if len(wrong) > 0 {
			return patch, remuda.Invalid(wrong...)
		}
		patch.Egress = &e
	}
	return patch, nil
}

func runtimeWire(rt remuda.Runtime) api.Runtime {
	return api.Runtime{
		Id: string(rt.ID), Name: rt.Name, Description: rt.Description, Language: api.Language(rt.Language), Version: rt.Version, Environment: rt.Environment,
		Resources:    api.Resources{Cpu: rt.Resources.CPU, MemoryMb: rt.Resources.MemoryMB, DiskMb: rt.Resources.DiskMB, Pids: rt.Resources.Pids},
		ExecTimeoutS: rt.ExecTimeout.Seconds(), Pool: api.Pool{MinCached: rt.Pool.MinCached, MaxCached: rt.Pool.MaxCached}, Env: orEmpty(rt.Env),
		Preload: orNone(rt.Preload), Isolation: api.Isolation(rt.Isolation), Egress: egressWire(rt.Egress),
		Packages: each(rt.Build.Packages, packageWire), Others: rt.Others, VersionPolicy: api.VersionPolicy(rt.VersionPolicy),
		ConnectionScript: rt.ConnectionScript, DisconnectScript: rt.DisconnectScript,
		Generation: rt.Generation, ServingGeneration: optional(rt.Serving), Status: api.RuntimeStatus(rt.Build.Status), Reason: text(rt.Build.Reason),
		VersionResolved: rt.Build.Version, Layer: text(rt.Build.Layer),
		Instances: api.Instances{Ready: rt.Instances.Ready, Starting: rt.Instances.Starting, Active: rt.Instances.Active},
		Global:    rt.Organization == remuda.GlobalOrganization, CreatedAt: instant(rt.CreatedAt), UpdatedAt: instant(rt.UpdatedAt),
	}
}

func egressWire(e remuda.Egress) api.EgressList {
	return api.EgressList{Cidrs: each(e.CIDRs, netip.Prefix.String), Names: orNone(e.Names)}
}

func packageWire(p remuda.PackageStatus) api.PackageStatus {
	return api.PackageStatus{
		Name: p.Name, Version: p.Version, Description: p.Description, Manager: api.PackageManager(p.Manager),
		Status: api.PackageStatusStatus(p.State), Resolved: text(p.Resolved), Message: text(p.Message),
	}
}

func buildWire(b remuda.Build) api.Build {
	return api.Build{
		Generation: b.Key.Number, Status: api.RuntimeStatus(b.Status), Reason: text(b.Reason), Version: b.Version,
		Packages: each(b.Packages, packageWire), Lock: each(b.Lock.Packages, lockedWire), Layer: text(b.Layer),
		StartedAt: instant(b.StartedAt), EndedAt: instantOrNull(&b.EndedAt),
	}
}

func lockedWire(l remuda.Locked) api.LockedPackage {
	return api.LockedPackage{Manager: api.PackageManager(l.Manager), Name: l.Name, Version: l.Version, Hashes: orNone(l.Hashes)}
}
