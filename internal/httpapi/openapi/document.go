package openapi

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Document is a parsed OpenAPI document. It is not changed after Load.
type Document struct {
	Title       string
	Version     string
	Summary     string
	Description string
	Tags        []Tag
	Schemes     []SecurityScheme
	Operations  []*Operation // in the order of the document
	Schemas     []*Schema    // the named ones, in the order of the document
	// CommonHeaders are header names and descriptions that any response may
	// carry (x-common-headers).
	CommonHeaders []Header
	byID          map[string]*Operation
}

// Tag groups operations.
type Tag struct{ Name, Description string }

// SecurityScheme is a way to say who is asking.
type SecurityScheme struct{ Name, Scheme, Description string }

// Header is a header of a response.
type Header struct {
	Name        string
	Description string
	Required    bool
}

// Operation is one method on one path.
type Operation struct {
	ID          string
	Method      string // upper case
	Path        string // with {names}
	Greedy      string // the parameter that takes slashes too (x-greedy-parameter), or ""
	Tag         string
	Summary     string
	Description string
	Action      string     // x-remuda-action
	Security    [][]string // alternatives; an empty alternative is nobody
	Parameters  []*Parameter
	Body        *Body
	Responses   []*Response

	query map[string]*Parameter
}

// Parameter is an input outside of the body.
type Parameter struct {
	Name        string
	In          string // path, query or header
	Description string
	Required    bool
	Schema      *Schema
}

// Body is the body of a request.
type Body struct {
	Description string
	Required    bool
	Content     []Content
}

// Response is one answer of an operation.
type Response struct {
	Name        string // of the shared response, or ""
	Status      string
	Description string
	Headers     []Header
	Content     []Content
}

// Content is a body in one media type.
type Content struct {
	Type    string
	Schema  *Schema
	Example []byte // indented JSON, or the text itself; nil if none
}

// Load parses a document. It fails on anything it does not understand.
func Load(source []byte) (*Document, error) {
	var root yaml.Node
	if err := yaml.Unmarshal(source, &root); err != nil {
		return nil, fmt.Errorf("read the OpenAPI document: %w", err)
	}
	if root.Kind != yaml.DocumentNode || len(root.Content) != 1 {
		return nil, fmt.Errorf("read the OpenAPI document: it is not one YAML document")
	}
	l := &loader{root: root.Content[0], schemas: map[string]*Schema{}}
	doc, err := l.document()
	if err != nil {
		return nil, fmt.Errorf("read the OpenAPI document: %w", err)
	}
	return doc, nil
}

// JSON turns a document from YAML into JSON and keeps its order.
func JSON(source []byte) ([]byte, error) {
	var root yaml.Node
	if err := yaml.Unmarshal(source, &root); err != nil || len(root.Content) != 1 {
		return nil, fmt.Errorf("read the OpenAPI document: %w", err)
	}
	var out bytes.Buffer
	compact, err := appendJSON(nil, root.Content[0])
	if err != nil {
		return nil, err
	}
	err = json.Indent(&out, compact, "", " ")
	return out.Bytes(), err
}

// Operation returns the operation with an operationId, or nil.
func (d *Document) Operation(id string) *Operation { return d.byID[id] }

// At returns the operation with an operationId, which has to be at the place that
// a pattern of http.ServeMux says.
func (d *Document) At(pattern, id string) (*Operation, error) {
	op := d.byID[id]
	if op == nil || op.Pattern() != pattern {
		return nil, fmt.Errorf("route %q (%s) is not what the OpenAPI document says", pattern, id)
	}
	return op, nil
}

// Has says what is wrong if an edge's table has not as many routes as there are
// operations.
func (d *Document) Has(routes int) error {
	if routes == len(d.Operations) {
		return nil
	}
	return fmt.Errorf("the OpenAPI document has %d operations and the table of routes %d", len(d.Operations), routes)
}

// Schema returns the named schema, or nil.
func (d *Document) Schema(name string) *Schema {
	for _, s := range d.Schemas {
		if s.Name == name {
			return s
		}
	}
	return nil
}

// JSONBody returns the schema of the operation's JSON body, or nil.
func (o *Operation) JSONBody() *Schema {
	if o.Body == nil {
		return nil
	}
	for _, c := range o.Body.Content {
		if c.Type == "application/json" {
			return c.Schema
		}
	}
	return nil
}

// Response returns the answer documented for a status, or nil.
func (o *Operation) Response(status string) *Response {
	for _, r := range o.Responses {
		if r.Status == status {
			return r
		}
	}
	return nil
}

// Pattern returns the operation as a pattern of http.ServeMux.
func (o *Operation) Pattern() string {
	path := o.Path
	if o.Greedy != "" {
		path = strings.Replace(path, "{"+o.Greedy+"}", "{"+o.Greedy+"...}", 1)
	}
	return o.Method + " " + path
}
