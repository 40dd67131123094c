package strictyaml

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/remuda-run/remuda/internal/config"
)

// Aliases can make much of little: what is read of one document, and how deep, is
// bounded.
const (
	maxNodes = 100_000
	maxDepth = 64
)

// reader turns nodes into what encoding/json takes, as a type wants it.
type reader struct {
	places   Places
	problems []Problem
	left     int // nodes that may still be read
	over     bool
}

func typeOf(out any) reflect.Type { return reflect.TypeOf(out).Elem() }

func (r *reader) fail(n *yaml.Node, format string, args ...any) {
	r.problems = append(r.problems, Problem{Line: n.Line, Message: fmt.Sprintf(format, args...)})
}

// overdone counts a node, and says once that there are too many or too deep ones.
func (r *reader) overdone(n *yaml.Node, depth int) bool {
	if r.left--; r.left >= 0 && depth <= maxDepth {
		return false
	}
	if !r.over {
		r.fail(n, "the document has more than %d values, counting aliases, or more than %d levels", maxNodes, maxDepth)
	}
	r.over, r.left = true, 0
	return true
}

// read returns nil for what has no value, and after a problem.
func (r *reader) read(n *yaml.Node, t reflect.Type, path string, depth int) any {
	if r.overdone(n, depth) {
		return nil
	}
	if n.Kind == yaml.AliasNode {
		return r.read(n.Alias, t, path, depth+1)
	}
	if empty(n) {
		return nil
	}
	r.places[path] = n.Line
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch {
	case t.Kind() == reflect.Interface || reflect.PointerTo(t).Implements(unmarshaler):
		return r.free(n, path)
	case t.Kind() == reflect.Struct:
		return r.object(n, t, path, depth)
	case t.Kind() == reflect.Map:
		return r.mapping(n, t, path, depth)
	case t.Kind() == reflect.Slice:
		return r.list(n, t, path, depth)
	default:
		return r.scalar(n, t, path)
	}
}

// place notes where a field's name stands, which is where people look for it.
func (r *reader) place(path string, key *yaml.Node) {
	if _, there := r.places[path]; there {
		r.places[path] = key.Line
	}
}

var unmarshaler = reflect.TypeFor[json.Unmarshaler]()

func empty(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag == "!!null" }

// free is a value whose form the type leaves open.
func (r *reader) free(n *yaml.Node, path string) any {
	var v any
	if err := n.Decode(&v); err != nil {
		r.fail(n, "%s cannot be read: %s", quoted(path), strings.TrimPrefix(err.Error(), "yaml: "))
		return nil
	}
	if _, err := json.Marshal(v); err != nil {
		r.fail(n, "%s has something that JSON does not have: use text for the names of fields, and numbers that end", quoted(path))
		return nil
	}
	return v
}

func (r *reader) object(n *yaml.Node, t reflect.Type, path string, depth int) any {
	known, required := fields(t)
	out := map[string]any{}
	if n.Kind != yaml.MappingNode {
		required = nil // pairs says what is wrong
	}
	for name, value := range r.pairs(n, path, depth) {
		field, ok := known[name]
		if !ok {
			r.fail(value.key, "%s", config.Unknown("field", name, slices.Sorted(maps.Keys(known))))
			continue
		}
		v := r.read(value.node, field, join(path, name), depth+1)
		r.place(join(path, name), value.key)
		if v != nil {
			out[name] = v
		}
	}
	for _, name := range required {
		if _, given := out[name]; !given && !r.broken(join(path, name)) {
			r.fail(n, "%s is required", quoted(join(path, name)))
		}
	}
	return out
}

// broken reports whether there is a field at path that could not be read, which
// has been said.
func (r *reader) broken(path string) bool {
	_, seen := r.places[path]
	return seen
}

// fields are the JSON names of a struct's fields, and those that have no
// omitempty, without which the API has no object.
func fields(t reflect.Type) (known map[string]reflect.Type, required []string) {
	known = map[string]reflect.Type{}
	for f := range t.Fields() {
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "" || name == "-" || !f.IsExported() {
			continue
		}
		known[name] = f.Type
		if !strings.Contains(options, "omitempty") {
			required = append(required, name)
		}
	}
	return known, required
}

func (r *reader) mapping(n *yaml.Node, t reflect.Type, path string, depth int) any {
	out := map[string]any{}
	for name, value := range r.pairs(n, path, depth) {
		v := r.read(value.node, t.Elem(), join(path, name), depth+1)
		r.place(join(path, name), value.key)
		if v == nil && empty(value.node) {
			r.fail(value.key, "%s has no value; write \"\" for an empty text", quoted(join(path, name)))
			continue
		}
		out[name] = v
	}
	return out
}

func (r *reader) list(n *yaml.Node, t reflect.Type, path string, depth int) any {
	if n.Kind != yaml.SequenceNode {
		r.fail(n, "%s takes a list: write each item on a line of its own after a \"- \", or all between [ and ]", quoted(path))
		return nil
	}
	out := make([]any, 0, len(n.Content))
	for i, item := range n.Content {
		at := fmt.Sprintf("%s[%d]", path, i)
		if empty(item) {
			r.fail(item, "%s has no value", quoted(at))
			continue
		}
		out = append(out, r.read(item, t.Elem(), at, depth+1))
	}
	return out
}

func (r *reader) scalar(n *yaml.Node, t reflect.Type, path string) any {
	if n.Kind != yaml.ScalarNode {
		r.fail(n, "%s takes one value, not a group or a list", quoted(path))
		return nil
	}
	switch t.Kind() {
	case reflect.String:
		return n.Value // as it is written
	case reflect.Bool:
		var v bool
		if n.Decode(&v) == nil {
			return v
		}
		r.fail(n, "%s takes true or false, not %q", quoted(path), n.Value)
	case reflect.Float32, reflect.Float64:
		var v float64
		if (n.Tag == "!!int" || n.Tag == "!!float") && n.Decode(&v) == nil && !math.IsNaN(v) && !math.IsInf(v, 0) {
			return v
		}
		r.fail(n, "%s takes a number, not %q", quoted(path), n.Value)
	default:
		var v int64
		if n.Tag == "!!int" && n.Decode(&v) == nil {
			return v
		}
		r.fail(n, "%s takes a whole number, not %q", quoted(path), n.Value)
	}
	return nil
}
