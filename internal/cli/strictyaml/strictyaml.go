package strictyaml

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Problem is something wrong on one line.
type Problem struct {
	Line    int // 0 when it is not known
	Message string
}

// Document is one document of a text.
type Document struct{ root *yaml.Node }

// Parse splits a text into its documents. Those that hold nothing are left out.
func Parse(raw []byte) ([]Document, []Problem) {
	var docs []Document
	dec := yaml.NewDecoder(bytes.NewReader(raw))
	for {
		var n yaml.Node
		err := dec.Decode(&n)
		if errors.Is(err, io.EOF) {
			return docs, nil
		}
		if err != nil {
			return nil, []Problem{syntax(err)}
		}
		if len(n.Content) == 1 && !empty(n.Content[0]) {
			docs = append(docs, Document{root: n.Content[0]})
		}
	}
}

var syntaxLine = regexp.MustCompile(`^yaml: line (\d+): (.*)$`)

// syntax takes the line out of the library's message.
func syntax(err error) Problem {
	m := syntaxLine.FindStringSubmatch(err.Error())
	if m == nil {
		return Problem{Message: strings.TrimPrefix(err.Error(), "yaml: ")}
	}
	line, _ := strconv.Atoi(m[1]) // digits; one too long for a line number is none
	return Problem{Line: line, Message: m[2]}
}

// Line is where the document begins.
func (d Document) Line() int { return d.root.Line }

// Has reports whether the document is a group of fields with the named one among
// them.
func (d Document) Has(name string) bool {
	if d.root.Kind != yaml.MappingNode {
		return false
	}
	for i := 0; i < len(d.root.Content); i += 2 {
		if d.root.Content[i].Value == name {
			return true
		}
	}
	return false
}

// Decode reads the document into out, a pointer to a struct with JSON names, and
// says on which line each field stands. Nothing is in out when there is a problem.
func (d Document) Decode(out any) (Places, []Problem) {
	r := &reader{places: Places{}, left: maxNodes}
	v := r.read(d.root, typeOf(out), "", 0)
	if len(r.problems) > 0 {
		return nil, r.problems
	}
	raw, err := json.Marshal(v)
	if err == nil {
		err = json.Unmarshal(raw, out)
	}
	if err != nil {
		return nil, []Problem{{Line: d.root.Line, Message: strings.TrimPrefix(err.Error(), "json: ")}}
	}
	return r.places, nil
}

// Places are the lines of fields, by their paths: "resources.cpu",
// "egress.cidrs[0]".
type Places map[string]int

// Under is the places below a path, by the rest of their paths.
func (p Places) Under(path string) Places {
	out := Places{}
	for field, line := range p {
		if field == path {
			out[""] = line
		}
		if rest, ok := strings.CutPrefix(field, path+"."); ok {
			out[rest] = line
		}
	}
	return out
}

// Line is where a field stands, or the nearest thing around it; 0 when nothing of
// it is there.
func (p Places) Line(field string) int {
	for {
		if line, ok := p[field]; ok {
			return line
		}
		if field == "" {
			return 0
		}
		field = field[:max(0, strings.LastIndexAny(field, ".["))]
	}
}

// join is the path of a field below another.
func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

// quoted names a field in a message; the whole document has no name.
func quoted(path string) string {
	if path == "" {
		return "the document"
	}
	return fmt.Sprintf("%q", path)
}
