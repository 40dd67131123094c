package compattest

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
)

// TB is the part of testing.TB that a Spec needs.
type TB interface {
	Helper()
	Errorf(format string, args ...any)
}

// Spec is what a door's OpenAPI document promises.
type Spec struct {
	prefix string
	doc    *openapi3.T

	mu   sync.Mutex
	seen map[string]bool
}

// NewSpec loads a document of a door that is mounted at a prefix. Objects of answers
// have the fields that the document lists and no others, unless it says
// additionalProperties.
func NewSpec(document []byte, prefix string) (*Spec, error) {
	doc, err := openapi3.NewLoader().LoadFromData(document)
	if err != nil {
		return nil, err
	}
	if err := doc.Validate(context.Background()); err != nil {
		return nil, err
	}
	s := &Spec{prefix: prefix, doc: doc, seen: map[string]bool{}}
	for _, op := range s.Operations() {
		for _, r := range op.Responses.Map() {
			for _, media := range r.Value.Content {
				closeObjects(media.Schema)
			}
		}
	}
	return s, nil
}

// closeObjects makes a schema refuse what it does not list. Requests' schemas are
// others and stay open.
func closeObjects(ref *openapi3.SchemaRef) {
	if ref == nil || ref.Value == nil {
		return
	}
	s := ref.Value
	if len(s.Properties) > 0 && s.AdditionalProperties.Has == nil && s.AdditionalProperties.Schema == nil {
		no := false
		s.AdditionalProperties = openapi3.AdditionalProperties{Has: &no}
	}
	for _, child := range s.Properties {
		closeObjects(child)
	}
	closeObjects(s.Items)
}

// Operation is one method on one path of a document.
type Operation struct {
	*openapi3.Operation

	Method string
	Path   string // below the prefix, with {names}
}

// Open reports whether the operation asks for no credentials.
func (o Operation) Open() bool { return o.Security != nil && len(*o.Security) == 0 }

// TakesJSON reports whether the operation has a JSON body.
func (o Operation) TakesJSON() bool {
	return o.RequestBody != nil && o.RequestBody.Value.Content["application/json"] != nil
}

// Operations lists every operation, by path and method.
func (s *Spec) Operations() []Operation {
	var list []Operation
	for path, item := range s.doc.Paths.Map() {
		for method, op := range item.Operations() {
			list = append(list, Operation{op, method, path})
		}
	}
	slices.SortFunc(list, func(a, b Operation) int { return strings.Compare(a.Path+a.Method, b.Path+b.Method) })
	return list
}

// find returns the operation of a request: more literal segments win.
func (s *Spec) find(method, path string) (Operation, bool) {
	rest, ok := strings.CutPrefix(path, s.prefix)
	if !ok {
		return Operation{}, false
	}
	if method == http.MethodHead {
		method = http.MethodGet
	}
	best, bestScore := Operation{}, -1
	for _, op := range s.Operations() {
		if score := fits(op.Path, rest); op.Method == method && score > bestScore {
			best, bestScore = op, score
		}
	}
	return best, bestScore >= 0
}

func fits(pattern, path string) int {
	want, have := strings.Split(pattern, "/"), strings.Split(path, "/")
	if len(want) != len(have) {
		return -1
	}
	score := 0
	for i := range want {
		switch {
		case want[i] == have[i]:
			score++
		case !strings.HasPrefix(want[i], "{") || have[i] == "":
			return -1
		}
	}
	return score
}

// Seen lists the operations and statuses that exchanges have had: "login 204".
func (s *Spec) Seen() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []string
	for name := range s.seen {
		list = append(list, name)
	}
	slices.Sort(list)
	return list
}

// Client returns a client that fails t for every exchange that the document does not
// allow.
func (s *Spec) Client(t TB) *http.Client {
	return &http.Client{Transport: &checked{s, t}}
}

type checked struct {
	*Spec
	t TB
}

// RoundTrip implements http.RoundTripper.
func (c *checked) RoundTrip(r *http.Request) (*http.Response, error) {
	c.t.Helper()
	var sent []byte
	if r.Body != nil {
		var err error
		if sent, err = io.ReadAll(r.Body); err != nil {
			return nil, err
		}
		_ = r.Body.Close()
		r = r.Clone(r.Context())
		r.Body = io.NopCloser(bytes.NewReader(sent))
	}
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	resp.Body = io.NopCloser(bytes.NewReader(body))
	if err != nil {
		return resp, err
	}
	if err := c.check(r, sent, resp, body); err != nil {
		c.t.Errorf("%s %s: %v\n%s", r.Method, r.URL.Path, err, body)
	}
	return resp, nil
}

// check says what of an exchange the document does not have.
func (s *Spec) check(r *http.Request, sent []byte, resp *http.Response, body []byte) error {
	op, ok := s.find(r.Method, r.URL.EscapedPath())
	if !ok {
		if resp.StatusCode < http.StatusBadRequest {
			return fmt.Errorf("answers %d, but the document has no such operation", resp.StatusCode)
		}
		return nil
	}
	s.mu.Lock()
	s.seen[fmt.Sprintf("%s %d", op.OperationID, resp.StatusCode)] = true
	s.mu.Unlock()
	answer := op.Responses.Value(fmt.Sprint(resp.StatusCode))
	if answer == nil {
		return fmt.Errorf("answers %d, which is not documented", resp.StatusCode)
	}
	if err := s.headers(resp.Header, answer.Value.Headers); err != nil {
		return err
	}
	if resp.StatusCode < http.StatusMultipleChoices && strings.HasPrefix(r.Header.Get("Content-Type"), "application/json") && op.TakesJSON() {
		if err := visit(op.RequestBody.Value.Content["application/json"].Schema.Value, sent); err != nil {
			return fmt.Errorf("a body was taken that the document forbids: %w\n%s", err, sent)
		}
	}
	if len(answer.Value.Content) == 0 {
		if len(body) > 0 {
			return fmt.Errorf("has a body, which is not documented")
		}
		return nil
	}
	kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	media := answer.Value.Content[kind]
	switch {
	case media == nil:
		return fmt.Errorf("has content type %q, which is not documented", kind)
	case kind != "application/json" || r.Method == http.MethodHead:
		return nil
	}
	return visit(media.Schema.Value, body)
}

// transportHeaders are net/http's own.
var transportHeaders = []string{"Date", "Content-Length", "Content-Type", "Connection", "Transfer-Encoding"}

func (s *Spec) headers(h http.Header, documented openapi3.Headers) error {
	common, _ := s.doc.Extensions["x-common-headers"].(map[string]any)
	for name := range h {
		known := slices.Contains(transportHeaders, name) || common[name] != nil
		for want := range documented {
			known = known || strings.EqualFold(want, name)
		}
		if !known {
			return fmt.Errorf("the header %s is not documented", name)
		}
	}
	for want, ref := range documented {
		if ref.Value.Required && h.Get(want) == "" {
			return fmt.Errorf("the header %s is documented as always there, and missing", want)
		}
	}
	return nil
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
