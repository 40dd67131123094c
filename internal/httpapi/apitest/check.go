package apitest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/remuda-run/remuda/api"
)

// TB is the part of testing.TB that is needed.
type TB interface {
	Helper()
	Errorf(format string, args ...any)
}

// document is the native API, once for all tests of a binary.
var document = sync.OnceValues(func() (*openapi3.T, error) {
	doc, err := openapi3.NewLoader().LoadFromData(api.YAML())
	if err != nil {
		return nil, err
	}
	if err := doc.Validate(context.Background()); err != nil {
		return nil, err
	}
	// The published document lets answers grow. Tests must not: here an object
	// has the fields that it lists and no others.
	for _, ref := range doc.Components.Schemas {
		closeObject(ref.Value)
	}
	return doc, nil
})

func closeObject(s *openapi3.Schema) {
	if s == nil {
		return
	}
	if len(s.Properties) > 0 && s.AdditionalProperties.Has == nil && s.AdditionalProperties.Schema == nil {
		no := false
		s.AdditionalProperties = openapi3.AdditionalProperties{Has: &no}
	}
	for _, child := range s.Properties {
		closeObject(child.Value)
	}
}

// exchange is one request and its answer.
type exchange struct {
	t       TB
	name    string
	op      *openapi3.Operation // nil: the document has no such operation
	reqBody []byte
	reqType string
}

func begin(t TB, r *http.Request, body []byte) (*exchange, error) {
	doc, err := document()
	if err != nil {
		return nil, fmt.Errorf("apitest: load the OpenAPI document: %w", err)
	}
	x := &exchange{t: t, name: r.Method + " " + r.URL.Path, reqBody: body, reqType: r.Header.Get("Content-Type")}
	method := r.Method
	if method == http.MethodHead {
		method = http.MethodGet
	}
	if item := match(doc, r.URL.EscapedPath()); item != nil {
		x.op = item.GetOperation(method)
	}
	return x, nil
}

// match finds the path of the document that an URL's path belongs to: more
// literal segments win, and the parameter "path" takes slashes.
func match(doc *openapi3.T, path string) *openapi3.PathItem {
	var best *openapi3.PathItem
	bestScore := -1
	for pattern, item := range doc.Paths.Map() {
		if score := matchScore(strings.Split(pattern, "/"), strings.Split(path, "/"), item); score > bestScore {
			best, bestScore = item, score
		}
	}
	return best
}

func matchScore(pattern, path []string, item *openapi3.PathItem) int {
	greedy, _ := item.Extensions["x-greedy-parameter"].(string)
	score := 0
	for i, want := range pattern {
		switch {
		case i >= len(path):
			return -1
		case greedy != "" && want == "{"+greedy+"}":
			return score
		case strings.HasPrefix(want, "{"):
			if path[i] == "" {
				return -1
			}
		case want != path[i]:
			return -1
		default:
			score++
		}
	}
	if len(path) != len(pattern) {
		return -1
	}
	return score
}

func (x *exchange) errorf(format string, args ...any) {
	x.t.Helper()
	x.t.Errorf("apitest: "+x.name+": "+format, args...)
}

// transportHeaders are net/http's own and are not for the document.
var transportHeaders = []string{"Date", "Content-Length", "Content-Type", "Connection", "Transfer-Encoding", "Vary"}

// header checks status and headers and returns the schema of the body, if the
// document gives one for its type.
func (x *exchange) header(status int, h http.Header) (schema *openapi3.Schema, kind string) {
	x.t.Helper()
	kind, _, _ = mime.ParseMediaType(h.Get("Content-Type"))
	doc, _ := document()
	problem := doc.Components.Schemas["Problem"].Value
	if h.Get("X-Request-Id") == "" {
		x.errorf("the answer has no X-Request-Id")
	}
	if x.op == nil {
		switch status {
		case http.StatusNotFound, http.StatusBadRequest, http.StatusMethodNotAllowed, http.StatusForbidden:
		default:
			x.errorf("answers %d, but the document has no such operation", status)
		}
		x.names(h, nil, status == http.StatusMethodNotAllowed)
		return problem, kind
	}
	ref := x.op.Responses.Value(fmt.Sprint(status))
	if ref == nil {
		x.errorf("answers %d, which is not documented", status)
		return nil, kind
	}
	x.names(h, ref.Value.Headers, false)
	if status == http.StatusNoContent || status == http.StatusNotModified {
		return nil, ""
	}
	media := ref.Value.Content[kind]
	if media == nil {
		x.errorf("answers %d with content type %q, which is not documented", status, h.Get("Content-Type"))
		return nil, kind
	}
	return media.Schema.Value, kind
}

func (x *exchange) names(h http.Header, documented openapi3.Headers, allow bool) {
	x.t.Helper()
	doc, _ := document()
	common, _ := doc.Extensions["x-common-headers"].(map[string]any)
	known := func(name string) bool {
		if _, ok := common[name]; ok || slices.Contains(transportHeaders, name) || (allow && name == "Allow") {
			return true
		}
		for want := range documented {
			if strings.EqualFold(want, name) {
				return true
			}
		}
		return false
	}
	for name := range h {
		if !known(name) {
			x.errorf("the header %s is not documented", name)
		}
	}
	for want, ref := range documented {
		if ref.Value.Required && h.Get(want) == "" {
			x.errorf("the header %s is documented as always there, and missing", want)
		}
	}
}

// json checks a whole JSON body.
func (x *exchange) json(schema *openapi3.Schema, body []byte) {
	x.t.Helper()
	if schema == nil {
		return
	}
	if err := visit(schema, body); err != nil {
		x.errorf("the answer is not as documented: %v\n%s", err, body)
	}
}

func visit(schema *openapi3.Schema, body []byte) error {
	var v any
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.UseNumber()
	if err := dec.Decode(&v); err != nil {
		return fmt.Errorf("no JSON: %w", err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return fmt.Errorf("more than one JSON value")
	}
	return schema.VisitJSON(v, openapi3.EnableJSONSchema2020(), openapi3.MultiErrors())
}

// request checks what the server took: a body that it accepted must be one that
// the document allows.
func (x *exchange) request(status int) {
	x.t.Helper()
	if status >= 300 || x.op == nil || x.op.RequestBody == nil {
		return
	}
	media := x.op.RequestBody.Value.Content["application/json"]
	if media == nil || (len(x.reqBody) == 0 && !x.op.RequestBody.Value.Required) {
		return
	}
	if err := visit(media.Schema.Value, x.reqBody); err != nil {
		x.errorf("the server took a body that the document forbids: %v\n%s", err, x.reqBody)
	}
}

// events checks a stream of events as it comes.
type events struct {
	x       *exchange
	pending []byte
}

func (e *events) write(b []byte) {
	e.x.t.Helper()
	e.pending = append(e.pending, b...)
	for {
		i := bytes.Index(e.pending, []byte("\n\n"))
		if i < 0 {
			return
		}
		e.event(string(e.pending[:i]))
		e.pending = e.pending[i+2:]
	}
}

func (e *events) event(text string) {
	e.x.t.Helper()
	doc, _ := document()
	var name, data string
	for line := range strings.SplitSeq(text, "\n") {
		field, content, _ := strings.Cut(line, ": ")
		switch field {
		case "event":
			name = content
		case "data":
			data = content
		case "id", ":", "":
		default:
			e.x.errorf("line %q of an event is not understood", line)
		}
	}
	schemas := map[string]string{"output": "OutputRecord", "end": "Execution"}
	if e.x.op != nil {
		switch e.x.op.OperationID {
		case "getBuildLog":
			schemas = map[string]string{"output": "OutputRecord", "build": "Build", "end": "Build"}
		case "getStream":
			schemas = map[string]string{"message": "StreamRecord", "end": "Execution"}
		}
	}
	switch {
	case name == "" && data == "": // a heartbeat
	case schemas[name] == "":
		e.x.errorf("event %q is not documented", name)
	default:
		e.x.json(doc.Components.Schemas[schemas[name]].Value, []byte(data))
	}
}
