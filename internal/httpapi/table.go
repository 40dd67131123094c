package httpapi

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/remuda-run/remuda/internal/authn"
	"github.com/remuda-run/remuda/internal/httpapi/openapi"
	"github.com/remuda-run/remuda/internal/remuda"
)

// Table is the routes of an edge, held against its document: every operation has one
// handler, at the place that the document says. Make it with NewTable, fill it with
// Handle, end with Handler.
type Table struct {
	doc    *openapi.Document
	refuse func(w http.ResponseWriter, r *http.Request, err error)
	mux    *http.ServeMux
	count  int
	errs   []error
}

// NewTable returns an empty table. refuse answers with an error in the edge's form.
func NewTable(doc *openapi.Document, refuse func(w http.ResponseWriter, r *http.Request, err error)) *Table {
	return &Table{doc: doc, refuse: refuse, mux: http.NewServeMux()}
}

// Handle gives an operation its handler. The pattern is that of the document, written
// down twice so that an edge's list of routes can be read alone. open says that the
// operation asks for no credentials.
func (t *Table) Handle(pattern, operation string, open bool, handle func(*Call) error) {
	t.count++
	op, err := t.doc.At(pattern, operation)
	if err == nil && open != (len(op.Security) == 0) {
		err = fmt.Errorf("route %q (%s) asks for other credentials than the OpenAPI document says", pattern, operation)
	}
	if err != nil {
		t.errs = append(t.errs, err)
		return
	}
	t.mux.Handle(pattern, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := &Call{W: w, R: r.WithContext(authn.WithAddress(r.Context(), clientAddress(r))), Op: op}
		if err := handle(c); err != nil {
			t.refuse(w, c.R, err)
		}
	}))
}

// Handler returns what serves the table: nothing answers for paths and methods that
// it does not have, as for NotThere. It fails when the routes and the document do not
// fit together, which a test of the edge rules out.
func (t *Table) Handler(nothing func(w http.ResponseWriter, r *http.Request, allowed []string)) (http.Handler, error) {
	t.mux.Handle("/", NotThere(t.mux, nothing))
	return t.mux, errors.Join(append(t.errs, t.doc.Has(t.count))...)
}

// clientAddress is the client's network address, without its port.
func clientAddress(r *http.Request) string {
	if i := strings.LastIndexByte(r.RemoteAddr, ':'); i >= 0 {
		return strings.Trim(r.RemoteAddr[:i], "[]")
	}
	return r.RemoteAddr
}

// Below serves h at a prefix, which must be written as it is: one in another encoding
// would confuse the two forms of a path. Everything else goes to otherwise.
func Below(prefix string, h, otherwise http.Handler) http.Handler {
	stripped := http.StripPrefix(prefix, h)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasPrefix(r.URL.EscapedPath(), prefix+"/") {
			otherwise.ServeHTTP(w, r)
			return
		}
		stripped.ServeHTTP(w, r)
	})
}

// Call is one request on its way through an operation of a Table. An edge embeds it
// into a type of its own for what is its own.
type Call struct {
	W  http.ResponseWriter
	R  *http.Request
	Op *openapi.Operation
	P  remuda.Principal // zero where nobody has to say who they are
}

// maxComment is how much of a client's reason goes to the audit log.
const maxComment = 1024

// Become notes who is asking.
func (c *Call) Become(p remuda.Principal) {
	p.RequestID = RequestID(c.R.Context())
	c.P = p
	SetPrincipal(c.R.Context(), p)
}

// Comment notes why, for the audit log.
func (c *Call) Comment(text string) {
	if len(text) > maxComment {
		text = strings.ToValidUTF8(text[:maxComment], "")
	}
	c.P.Comment = text
}

// Read decodes the JSON body of the request, as ReadJSON does.
func (c *Call) Read(limit int64, into any) error {
	return ReadJSON(c.W, c.R, c.Op.JSONBody(), limit, into)
}

// Reply answers with a JSON body.
func (c *Call) Reply(status int, v any) error {
	if err := WriteJSON(c.W, status, v); err != nil {
		return remuda.Internal("encoding the answer", err)
	}
	return nil
}

// Empty answers without a body.
func (c *Call) Empty(status int) error {
	c.W.WriteHeader(status)
	return nil
}
