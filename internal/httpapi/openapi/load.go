package openapi

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// loader walks the YAML tree, which unlike decoded maps keeps its order.
type loader struct {
	root    *yaml.Node
	schemas map[string]*Schema // by name; filled before their content is read, so that they may refer to each other
}

// pair is an entry of a mapping.
type pair struct {
	key   string
	value *yaml.Node
}

func entries(n *yaml.Node) []pair {
	if n == nil || n.Kind != yaml.MappingNode {
		return nil
	}
	out := make([]pair, 0, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		out = append(out, pair{n.Content[i].Value, n.Content[i+1]})
	}
	return out
}

func get(n *yaml.Node, path ...string) *yaml.Node {
	for _, key := range path {
		var found *yaml.Node
		for _, e := range entries(n) {
			if e.key == key {
				found = e.value
			}
		}
		n = found
	}
	return n
}

func text(n *yaml.Node, path ...string) string {
	if v := get(n, path...); v != nil && v.Kind == yaml.ScalarNode {
		return strings.TrimSpace(v.Value)
	}
	return ""
}

func list(n *yaml.Node) []string {
	if n == nil || n.Kind != yaml.SequenceNode {
		return nil
	}
	out := make([]string, 0, len(n.Content))
	for _, c := range n.Content {
		out = append(out, c.Value)
	}
	return out
}

func isTrue(n *yaml.Node) bool { return n != nil && n.Value == "true" }

// deref follows a reference inside the document and returns its last name.
func (l *loader) deref(n *yaml.Node) (*yaml.Node, string, error) {
	ref := text(n, "$ref")
	if ref == "" {
		return n, "", nil
	}
	path, ok := strings.CutPrefix(ref, "#/")
	if !ok {
		return nil, "", fmt.Errorf("line %d: reference %q leaves the document", n.Line, ref)
	}
	parts := strings.Split(path, "/")
	target := get(l.root, parts...)
	if target == nil {
		return nil, "", fmt.Errorf("line %d: reference %q leads nowhere", n.Line, ref)
	}
	return target, parts[len(parts)-1], nil
}

func (l *loader) document() (*Document, error) {
	info := get(l.root, "info")
	d := &Document{
		Title: text(info, "title"), Version: text(info, "version"), Summary: text(info, "summary"),
		Description: text(info, "description"), byID: map[string]*Operation{},
	}
	if v := text(l.root, "openapi"); !strings.HasPrefix(v, "3.1.") {
		return nil, fmt.Errorf("openapi is %q, want 3.1", v)
	}
	if t := get(l.root, "tags"); t != nil {
		for _, n := range t.Content {
			d.Tags = append(d.Tags, Tag{text(n, "name"), text(n, "description")})
		}
	}
	for _, e := range entries(get(l.root, "components", "securitySchemes")) {
		d.Schemes = append(d.Schemes, SecurityScheme{e.key, text(e.value, "scheme"), text(e.value, "description")})
	}
	for _, e := range entries(get(l.root, "x-common-headers")) {
		d.CommonHeaders = append(d.CommonHeaders, Header{Name: e.key, Description: e.value.Value})
	}
	for _, e := range entries(get(l.root, "components", "schemas")) {
		s := &Schema{Name: e.key}
		l.schemas[e.key] = s
		d.Schemas = append(d.Schemas, s)
	}
	for _, e := range entries(get(l.root, "components", "schemas")) {
		if err := l.fill(l.schemas[e.key], e.value); err != nil {
			return nil, fmt.Errorf("schema %s: %w", e.key, err)
		}
	}
	for _, e := range entries(get(l.root, "paths")) {
		if err := l.path(d, e.key, e.value); err != nil {
			return nil, fmt.Errorf("%s: %w", e.key, err)
		}
	}
	return d, nil
}

var methods = []string{"get", "put", "post", "delete", "patch"}

func (l *loader) path(d *Document, path string, item *yaml.Node) error {
	for _, e := range entries(item) {
		if !slices.Contains(methods, e.key) {
			if e.key == "parameters" || strings.HasPrefix(e.key, "x-") {
				continue
			}
			return fmt.Errorf("line %d: %q is not understood", e.value.Line, e.key)
		}
		op, err := l.operation(path, item, e)
		if err != nil {
			return fmt.Errorf("%s: %w", e.key, err)
		}
		if op.ID == "" || d.byID[op.ID] != nil {
			return fmt.Errorf("%s: operationId %q is empty or taken", e.key, op.ID)
		}
		d.Operations = append(d.Operations, op)
		d.byID[op.ID] = op
	}
	return nil
}

func (l *loader) operation(path string, item *yaml.Node, e pair) (*Operation, error) {
	n := e.value
	op := &Operation{
		ID: text(n, "operationId"), Method: strings.ToUpper(e.key), Path: path, Greedy: text(item, "x-greedy-parameter"),
		Summary: text(n, "summary"), Description: text(n, "description"), Action: text(n, "x-remuda-action"),
		query: map[string]*Parameter{},
	}
	if tags := list(get(n, "tags")); len(tags) > 0 {
		op.Tag = tags[0]
	}
	security := get(n, "security")
	if security == nil {
		security = get(l.root, "security")
	}
	if security != nil {
		for _, alternative := range security.Content {
			names := []string{}
			for _, s := range entries(alternative) {
				names = append(names, s.key)
			}
			op.Security = append(op.Security, names)
		}
	}
	for _, from := range []*yaml.Node{get(item, "parameters"), get(n, "parameters")} {
		if from == nil {
			continue
		}
		for _, node := range from.Content {
			if err := l.parameter(op, node); err != nil {
				return nil, err
			}
		}
	}
	if body := get(n, "requestBody"); body != nil {
		content, err := l.content(get(body, "content"))
		if err != nil {
			return nil, err
		}
		op.Body = &Body{Description: text(body, "description"), Required: isTrue(get(body, "required")), Content: content}
	}
	for _, r := range entries(get(n, "responses")) {
		response, err := l.response(r)
		if err != nil {
			return nil, fmt.Errorf("response %s: %w", r.key, err)
		}
		op.Responses = append(op.Responses, response)
	}
	return op, nil
}

func (l *loader) parameter(op *Operation, node *yaml.Node) error {
	node, _, err := l.deref(node)
	if err != nil {
		return err
	}
	schema, err := l.schema(get(node, "schema"))
	if err != nil {
		return fmt.Errorf("parameter %s: %w", text(node, "name"), err)
	}
	p := &Parameter{
		Name: text(node, "name"), In: text(node, "in"), Description: text(node, "description"),
		Required: isTrue(get(node, "required")), Schema: schema,
	}
	op.Parameters = append(op.Parameters, p)
	if p.In == "query" {
		op.query[p.Name] = p
	}
	return nil
}

func (l *loader) response(e pair) (*Response, error) {
	node, name, err := l.deref(e.value)
	if err != nil {
		return nil, err
	}
	content, err := l.content(get(node, "content"))
	if err != nil {
		return nil, err
	}
	r := &Response{Name: name, Status: e.key, Description: text(node, "description"), Content: content}
	for _, h := range entries(get(node, "headers")) {
		header, _, err := l.deref(h.value)
		if err != nil {
			return nil, err
		}
		r.Headers = append(r.Headers, Header{Name: h.key, Description: text(header, "description"), Required: isTrue(get(header, "required"))})
	}
	return r, nil
}

func (l *loader) content(n *yaml.Node) ([]Content, error) {
	var out []Content
	for _, e := range entries(n) {
		schema, err := l.schema(get(e.value, "schema"))
		if err != nil {
			return nil, err
		}
		c := Content{Type: e.key, Schema: schema}
		if example := get(e.value, "example"); example != nil {
			if c.Example, err = exampleText(example); err != nil {
				return nil, err
			}
		}
		out = append(out, c)
	}
	return out, nil
}

func exampleText(n *yaml.Node) ([]byte, error) {
	if n.Kind == yaml.ScalarNode {
		return []byte(n.Value), nil
	}
	compact, err := appendJSON(nil, n)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	if err := json.Indent(&out, compact, "", "  "); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

func appendJSONString(b []byte, s string) ([]byte, error) {
	quoted, err := json.Marshal(s)
	return append(b, quoted...), err
}

// appendJSON writes a YAML tree as JSON in the order of the source.
func appendJSON(b []byte, n *yaml.Node) ([]byte, error) {
	var err error
	switch n.Kind {
	case yaml.MappingNode:
		b = append(b, '{')
		for i, e := range entries(n) {
			if i > 0 {
				b = append(b, ',')
			}
			if b, err = appendJSONString(b, e.key); err != nil {
				return nil, err
			}
			b = append(b, ':')
			if b, err = appendJSON(b, e.value); err != nil {
				return nil, err
			}
		}
		return append(b, '}'), nil
	case yaml.SequenceNode:
		b = append(b, '[')
		for i, c := range n.Content {
			if i > 0 {
				b = append(b, ',')
			}
			if b, err = appendJSON(b, c); err != nil {
				return nil, err
			}
		}
		return append(b, ']'), nil
	case yaml.ScalarNode:
		var v any
		if err := n.Decode(&v); err != nil {
			return nil, err
		}
		scalar, err := json.Marshal(v)
		return append(b, scalar...), err
	}
	return nil, fmt.Errorf("line %d: anchors and aliases are not understood", n.Line)
}
