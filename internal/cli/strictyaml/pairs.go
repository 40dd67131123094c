package strictyaml

import (
	"iter"

	"go.yaml.in/yaml/v3"
)

// pair is a field of a group.
type pair struct{ key, node *yaml.Node }

// pairs are the fields of a group in their order, each name once: what stands in
// the group itself, then what its merge keys bring.
func (r *reader) pairs(n *yaml.Node, path string, depth int) iter.Seq2[string, pair] {
	return func(yield func(string, pair) bool) {
		for _, p := range r.gather(n, path, depth, map[string]bool{}) {
			if !yield(p.key.Value, p) {
				return
			}
		}
	}
}

func (r *reader) gather(n *yaml.Node, path string, depth int, seen map[string]bool) []pair {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if r.overdone(n, depth) {
		return nil
	}
	if n.Kind != yaml.MappingNode {
		r.fail(n, "%s takes a group of fields, like `name: value`", quoted(path))
		return nil
	}
	var list []pair
	var merged []*yaml.Node
	own := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		switch {
		case key.Tag == "!!merge":
			merged = append(merged, value)
		case key.Kind != yaml.ScalarNode:
			r.fail(key, "the name of a field of %s is not a text", quoted(path))
		case own[key.Value]:
			r.fail(key, "%s is given twice", quoted(join(path, key.Value)))
		case !seen[key.Value]:
			own[key.Value], seen[key.Value] = true, true
			list = append(list, pair{key, value})
		default:
			own[key.Value] = true // what merges it has its own
		}
	}
	for _, m := range merged {
		list = append(list, r.merge(m, path, depth+1, seen)...)
	}
	return list
}

// merge is what a merge key brings: of one group, or of several, of which the
// first that has a field gives it.
func (r *reader) merge(n *yaml.Node, path string, depth int, seen map[string]bool) []pair {
	if n.Kind != yaml.SequenceNode {
		return r.gather(n, path, depth, seen)
	}
	var list []pair
	for _, one := range n.Content {
		list = append(list, r.gather(one, path, depth, seen)...)
	}
	return list
}
