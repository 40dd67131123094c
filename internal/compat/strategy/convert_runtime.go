package strategy

import (
	"encoding/json"
	"fmt"
	"math"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/remuda-run/remuda/internal/authz"
	"github.com/remuda-run/remuda/internal/remuda"
)

func isDefault(rt remuda.Runtime) bool {
	return rt.Organization == remuda.GlobalOrganization && rt.Name == string(remuda.LanguagePython)
}

func runtimeToWire(rt remuda.Runtime, owner ownerWire, p remuda.Principal) runtimeWire {
	w := runtimeWire{
		Name: rt.Name, ID: remuda.ShortID(rt.ID), Type: typeRuntime, Subtype: subtypeRuntime, Description: rt.Description,
		DateCreated: created(rt.CreatedAt), DateModified: modified(rt.CreatedAt, rt.UpdatedAt), Version: versionID(string(rt.ID), rt.Generation, rt.UpdatedAt),
		ACG: granted(p, authz.RuntimeWrite, rt.Organization), Owner: owner, ACL: []struct{}{}, Whitelist: whitelist(rt.Egress), Packages: packagesToWire(rt),
		Resource: resourceWire{CPU: strconv.FormatFloat(rt.Resources.CPU, 'f', -1, 64), Mem: rt.Resources.MemoryMB}, RuntimeVersion: rt.Version,
		ExecTimeout: int64(rt.ExecTimeout / time.Second), Others: rt.Others, Status: statusToWire(rt.Build.Status), Message: rt.Build.Reason,
		MinCachedInstances: rt.Pool.MinCached, MaxCachedInstances: rt.Pool.MaxCached,
	}
	if w.RuntimeVersion == "" {
		w.RuntimeVersion = rt.Build.Version
	}
	if rt.Organization == remuda.GlobalOrganization {
		w.Owner = administrator
	}
	if isDefault(rt) {
		w.ID, w.Name = defaultRuntime, defaultName
		standard := packageWire{Name: "python", Version: rt.Build.Version, Description: "the interpreter and its standard library", Status: string(remuda.PackageInstalled)}
		w.Packages = append([]packageWire{standard}, w.Packages...)
	}
	return w
}

func statusToWire(s remuda.RuntimeStatus) string {
	if s == "" {
		return string(remuda.RuntimeUnknown)
	}
	return string(s)
}

func whitelist(e remuda.Egress) []string {
	list := make([]string, 0, len(e.CIDRs)+len(e.Names))
	for _, prefix := range e.CIDRs {
		list = append(list, prefix.String())
	}
	return append(list, e.Names...)
}

// packagesToWire joins what was asked for with what has become of it.
func packagesToWire(rt remuda.Runtime) []packageWire {
	list := make([]packageWire, 0, len(rt.Packages))
	for i, asked := range rt.Packages {
		w := packageWire{Name: asked.Name, Version: asked.Version, Description: asked.Description, Status: string(remuda.PackageUnknown)}
		if i < len(rt.Build.Packages) && rt.Build.Packages[i].Name == asked.Name {
			became := rt.Build.Packages[i]
			w.Status = string(became.State)
			if became.Message != "" {
				w.Message = &became.Message
			}
		}
		list = append(list, w)
	}
	return list
}

// cachedByDefault is how many idle instances a runtime keeps at most that says
// nothing of it.
const cachedByDefault = 2

// definition makes a runtime's definition of a request.
func definition(req runtimeRequest, versions remuda.VersionPolicy) (remuda.Definition, error) {
	patch, err := runtimePatch(req, versions)
	if err != nil {
		return remuda.Definition{}, err
	}
	d := remuda.Definition{Language: remuda.LanguagePython, Pool: remuda.PoolBounds{MaxCached: cachedByDefault}, VersionPolicy: versions}
	d = patch.Apply(d)
	if patch.MaxCached == nil {
		d.Pool.MaxCached = max(d.Pool.MaxCached, d.Pool.MinCached)
	}
	return d, nil
}

// defaultTimeout is what an execTimeout of 0 stands for.
const defaultTimeout = 60 * time.Second

// runtimePatch makes a change of a request. It refuses what has no meaning here;
// what is out of bounds, the service refuses.
func runtimePatch(req runtimeRequest, versions remuda.VersionPolicy) (remuda.RuntimePatch, error) {
	patch := remuda.RuntimePatch{Name: req.Name, Description: req.Description, Others: req.Others}
	var wrong []remuda.FieldError
	if req.RuntimeVersion != nil {
		patch.Version, patch.VersionPolicy = req.RuntimeVersion, &versions
	}
	if req.Resource != nil {
		cpu, err := cores(req.Resource.CPU)
		wrong = append(wrong, err...)
		patch.CPU, patch.MemoryMB = cpu, whole(req.Resource.Mem)
	}
	if req.ExecTimeout != nil {
		timeout := time.Duration(*req.ExecTimeout) * time.Second
		if timeout == 0 {
			timeout = defaultTimeout
		}
		patch.ExecTimeout = &timeout
	}
	patch.MinCached, patch.MaxCached = whole(req.MinCachedInstances), whole(req.MaxCachedInstances)
	if req.Whitelist != nil {
		egress, err := destinations(*req.Whitelist)
		wrong = append(wrong, err...)
		patch.Egress = &egress
	}
	if req.Packages != nil {
		packages := make([]remuda.Package, 0, len(*req.Packages))
		for _, p := range *req.Packages {
			packages = append(packages, remuda.Package{Name: p.Name, Version: p.Version, Description: p.Description})
		}
		patch.Packages = &packages
	}
	if len(wrong) > 0 {
		return patch, remuda.Invalid(wrong...)
	}
	return patch, nil
}

func whole(n *int64) *int {
	if n == nil {
		return nil
	}
	return new(int(min(max(*n, math.MinInt32), math.MaxInt32)))
}

// cores reads a text such as "0.2", or a number.
func cores(raw json.RawMessage) (*float64, []remuda.FieldError) {
	text := string(raw)
	if text == "" || text == "null" {
		return nil, nil
	}
	if raw[0] == '"' && (json.Unmarshal(raw, &text) != nil || strings.Trim(text, "0123456789.") != "") {
		text = "" // ParseFloat takes more than numbers as people write them
	}
	v, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsNaN(v) || math.IsInf(v, 0) || v <= 0 {
		return nil, []remuda.FieldError{{Field: "resource.cpu", Message: `must be a number of cores above 0 in a text, such as "0.2"`}}
	}
	return &v, nil
}

// destinations reads a whitelist: ranges of addresses, and as our extension host
// names.
func destinations(list []string) (remuda.Egress, []remuda.FieldError) {
	egress := remuda.Egress{CIDRs: []netip.Prefix{}}
	var wrong []remuda.FieldError
	for i, text := range list {
		prefix, err := netip.ParsePrefix(text)
		_, addressErr := netip.ParseAddr(text)
		switch {
		case err == nil:
			egress.CIDRs = append(egress.CIDRs, prefix)
		case addressErr != nil && strings.Contains(text, ".") && !strings.Contains(text, "/") && strings.ContainsFunc(text, isLetter):
			egress.Names = append(egress.Names, text)
		default:
			wrong = append(wrong, remuda.FieldError{
				Field: fmt.Sprintf("whitelist[%d]", i), Message: "must be a range of addresses such as 10.10.10.0/24, 192.0.2.7/32 or 2001:db8::/32, or a host name with a dot",
			})
		}
	}
	return egress, wrong
}

func isLetter(c rune) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' }
