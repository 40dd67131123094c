package cli

import (
	"encoding/json"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"strings"

	"github.com/remuda-run/remuda/api"
	"github.com/remuda-run/remuda/internal/remuda"
	"github.com/remuda-run/remuda/internal/runtimes"
)

// Fields are compared as they are on the wire, by the names of the API's type of a
// change, so that a new field of the API is declared, compared and applied without
// anything here.

// change is a field that is not as it is declared.
type change struct {
	Field string `json:"field"`
	From  any    `json:"from"`
	To    any    `json:"to"`
}

// verb is what apply does to a runtime, or has done.
type verb string

const (
	verbCreate verb = "created"
	verbChange verb = "changed"
	verbKeep   verb = "unchanged"
	// verbRebuild is for what is as it is declared, but could not be built.
	verbRebuild verb = "rebuilt"
	verbDelete  verb = "deleted"
)

// step is what apply would do about one runtime.
type step struct {
	verb     verb
	name     string
	declared *declaration // nil of a deletion
	present  *api.Runtime // nil of a creation
	changes  []change
	fields   map[string]any // what it shall be
}

// planOf compares what is declared with what is there. prune also deletes what an
// earlier apply of the same set made and the files have no more.
func planOf(want declared, all []api.Runtime, prune bool) []step {
	own := map[string]*api.Runtime{}
	for i, rt := range all {
		if !rt.Global { // built-in ones are the site's: a runtime of that name is made beside them
			own[rt.Name] = &all[i]
		}
	}
	plan := make([]step, 0, len(want.runtimes))
	for i := range want.runtimes {
		plan = append(plan, stepFor(&want.runtimes[i], want.set, own[want.runtimes[i].Name]))
		delete(own, want.runtimes[i].Name)
	}
	if !prune {
		return plan
	}
	for _, name := range slices.Sorted(maps.Keys(own)) {
		if _, set := splitSet(othersOf(present(*own[name]))); set != "" && set == want.set {
			plan = append(plan, step{verb: verbDelete, name: name, present: own[name]})
		}
	}
	return plan
}

func stepFor(d *declaration, set string, rt *api.Runtime) step {
	s := step{verb: verbCreate, name: d.Name, declared: d, present: rt, fields: wanted(d.RuntimeCreate)}
	was := map[string]any{}
	if rt != nil {
		s.verb, was = verbKeep, present(*rt)
	}
	markSet(s.fields, was, set)
	s.changes = compare("", was, s.fields)
	if rt == nil {
		s.changes = written(s.changes)
		return s
	}
	switch {
	case len(s.changes) > 0:
		s.verb = verbChange
	case remuda.RuntimeStatus(rt.Status) == remuda.RuntimeError:
		s.verb = verbRebuild
	}
	return s
}

// update is the request that makes the changes: each field that has one, whole.
func (s step) update() (req api.RuntimeUpdate, err error) {
	body := map[string]any{}
	for _, c := range s.changes {
		name, _, _ := strings.Cut(c.Field, ".")
		if name == setField {
			name = othersField
		}
		body[name] = s.fields[name]
	}
	if _, other := body["language"]; other {
		// What belongs to a language goes with it, unless it is said anew.
		maps.Copy(body, s.fields)
	}
	err = convert(body, &req)
	return req, err
}

// create is the request that makes the runtime, with every field: what a field
// that is not in the file means is said here and not left to the server's version.
func (s step) create() (req api.RuntimeCreate, err error) {
	if err := convert(s.fields, &req); err != nil {
		return req, err
	}
	req.Name = s.name
	return req, nil
}

func convert(from, to any) error {
	raw, err := json.Marshal(from)
	if err == nil {
		err = json.Unmarshal(raw, to)
	}
	if err != nil {
		return remuda.Internal("forming a request", err)
	}
	return nil
}

func fieldsOf(v any) map[string]any {
	var out map[string]any
	if err := convert(v, &out); err != nil {
		panic(err) // types of the API are objects
	}
	return out
}

// wanted is every field of a declared runtime but its name; those that are not
// given have their defaults.
func wanted(d api.RuntimeCreate) map[string]any {
	p := remuda.PoolBounds{}
	if d.Pool != nil {
		p = remuda.PoolBounds{MinCached: deref(d.Pool.MinCached)}
	}
	def := runtimes.WithDefaults(remuda.Definition{Pool: p})
	out := fieldsOf(map[string]any{
		"description": "", "version": "", "version_policy": def.VersionPolicy, "environment": def.Environment, "exec_timeout_s": def.ExecTimeout.Seconds(),
		"isolation": def.Isolation, "env": map[string]string{}, "preload": []string{}, "packages": []string{}, othersField: "", "connection_script": "", "disconnect_script": "",
		"egress":    map[string]any{"cidrs": []string{}, "names": []string{}},
		"pool":      map[string]any{"min_cached": def.Pool.MinCached, "max_cached": def.Pool.MaxCached},
		"resources": map[string]any{"cpu": def.Resources.CPU, "memory_mb": def.Resources.MemoryMB, "disk_mb": def.Resources.DiskMB, "pids": def.Resources.Pids},
	})
	overlay(out, fieldsOf(d))
	return canonical(out)
}

// overlay sets what is given, groups field by field.
func overlay(under, over map[string]any) {
	for name, v := range over {
		group, isGroup := v.(map[string]any)
		if base, ok := under[name].(map[string]any); ok && isGroup {
			overlay(base, group)
			continue
		}
		if v != nil {
			under[name] = v
		}
	}
}

// present is every field of a runtime that can be declared, but its name.
func present(rt api.Runtime) map[string]any { return canonical(fieldsOf(rt)) }

// canonical keeps what can be declared, and writes equal things in the same way.
func canonical(fields map[string]any) map[string]any {
	out, _ := prune(fields, reflect.TypeFor[api.RuntimeUpdate]()).(map[string]any)
	delete(out, "name")
	canonicalPackages(out)
	egress, _ := out["egress"].(map[string]any)
	ranges, _ := egress["cidrs"].([]any)
	for i, r := range ranges {
		text, _ := r.(string)
		if p, err := netip.ParsePrefix(text); err == nil {
			ranges[i] = p.String()
		}
	}
	return out
}

// canonicalPackages names every package's manager, and no version where the newest
// is meant.
func canonicalPackages(fields map[string]any) {
	language, _ := fields["language"].(string)
	list, _ := fields["packages"].([]any)
	for _, item := range list {
		p, ok := item.(map[string]any)
		if !ok {
			continue
		}
		if p["manager"] == nil {
			p["manager"] = string(remuda.Language(language).ManagerOf(remuda.Package{}))
		}
		if p["version"] == "latest" {
			delete(p, "version")
		}
	}
}

// prune drops the fields that a type does not have, and, of things in a list, those
// that say nothing.
func prune(v any, t reflect.Type) any {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch v := v.(type) {
	case map[string]any:
		if t.Kind() != reflect.Struct {
			return v
		}
		out := map[string]any{}
		for f := range t.Fields() {
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			if field, ok := v[name]; ok {
				out[name] = prune(field, f.Type)
			}
		}
		return out
	case []any:
		if t.Kind() != reflect.Slice {
			return v
		}
		out := make([]any, len(v))
		for i, item := range v {
			out[i] = prune(item, t.Elem())
			if fields, ok := out[i].(map[string]any); ok {
				maps.DeleteFunc(fields, func(_ string, v any) bool { return v == nil || v == "" })
			}
		}
		return out
	default:
		return v
	}
}

// compare lists the fields that differ, in the order of their names.
func compare(path string, was, shall map[string]any) []change {
	var list []change
	names := map[string]bool{}
	for name := range was {
		names[name] = true
	}
	for name := range shall {
		names[name] = true
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		at := name
		if path != "" {
			at = path + "." + name
		}
		a, b := was[name], shall[name]
		inA, groupA := a.(map[string]any)
		inB, groupB := b.(map[string]any)
		switch {
		case at == othersField:
			list = append(list, compareOthers(was, shall)...)
		case (groupA || a == nil) && (groupB || b == nil) && (groupA || groupB):
			list = append(list, compare(at, inA, inB)...)
		case !reflect.DeepEqual(a, b) && !(nothing(a) && nothing(b)):
			list = append(list, change{Field: at, From: a, To: b})
		}
	}
	return list
}

// nothing reports whether there is no list or an empty one, which mean the same.
func nothing(v any) bool {
	items, isList := v.([]any)
	return v == nil || isList && len(items) == 0
}

// written leaves out of a new runtime's fields those that are empty.
func written(list []change) []change {
	return slices.DeleteFunc(list, func(c change) bool {
		return c.To == "" || nothing(c.To)
	})
}

// What an apply made is known by a mark in the runtime's field `others`, which the
// server keeps without a meaning: its last line.
const (
	othersField = "others"
	setField    = "set"
	setMark     = "remuda.set="
)

// splitSet separates a user's own text from the mark.
func splitSet(others string) (own, set string) {
	head, last := "", others
	if i := strings.LastIndexByte(others, '\n'); i >= 0 {
		head, last = others[:i], others[i+1:]
	}
	if name, ok := strings.CutPrefix(last, setMark); ok {
		return head, name
	}
	return others, ""
}

func joinSet(own, set string) string {
	switch {
	case set == "":
		return own
	case own == "":
		return setMark + set
	default:
		return own + "\n" + setMark + set
	}
}

func othersOf(fields map[string]any) string {
	text, _ := fields[othersField].(string)
	return text
}

// markSet puts the mark on what a runtime shall be. Files without a set leave it to
// the set that it is of.
func markSet(fields, was map[string]any, set string) {
	if set == "" {
		_, set = splitSet(othersOf(was))
	}
	if own, ok := fields[othersField].(string); ok {
		fields[othersField] = joinSet(own, set)
	}
}

func compareOthers(was, shall map[string]any) []change {
	var list []change
	ownWas, setWas := splitSet(othersOf(was))
	own, set := splitSet(othersOf(shall))
	if ownWas != own {
		list = append(list, change{Field: othersField, From: ownWas, To: own})
	}
	if setWas != set {
		list = append(list, change{Field: setField, From: setWas, To: set})
	}
	return list
}
