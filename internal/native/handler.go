package native

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"sync"

	"github.com/remuda-run/remuda/api"
	"github.com/remuda-run/remuda/internal/httpapi"
	"github.com/remuda-run/remuda/internal/httpapi/openapi"
	"github.com/remuda-run/remuda/internal/remuda"
)

// document is the OpenAPI document, parsed once.
var document = sync.OnceValues(func() (*openapi.Document, error) { return openapi.Load(api.YAML()) })

// edge holds what the handlers need.
type edge struct {
	Services
	options httpapi.Options
	doc     *openapi.Document
	pages   func() (pages, error) // made when first asked for
	// strangers has one place for each connection that has shown no ticket yet.
	strangers chan struct{}
}

// call is one request on its way through an operation.
type call struct {
	w     http.ResponseWriter
	r     *http.Request
	op    *openapi.Operation
	query url.Values
	p     remuda.Principal // zero where nobody has to say who they are
}

func (c *call) ctx() context.Context { return c.r.Context() }

// Handler returns the native edge: /v1, /healthz, /readyz, /metrics, /docs and
// the OpenAPI document, inside httpapi.Wrap. Every field of s is required. It
// fails when the options are wrong, or the embedded OpenAPI document and the
// table of routes do not fit together, which a test rules out.
func Handler(s Services, o httpapi.Options) (http.Handler, error) {
	doc, err := document()
	if err != nil {
		return nil, err
	}
	e := &edge{Services: s, options: o, doc: doc, strangers: make(chan struct{}, maxStrangers)}
	e.pages = sync.OnceValues(func() (pages, error) { return renderPages(doc, o.Version) })
	mux := http.NewServeMux()
	mux.Handle("/", httpapi.NotFound(mux))
	// Without this the mux answers for methods that the list of files does not
	// have with a redirect to the files below.
	mux.Handle("/v1/runspaces/{runspace}/files", httpapi.NotFound(mux))
	for _, rt := range routes {
		op, err := doc.At(rt.pattern, rt.operation)
		if err != nil {
			return nil, err
		}
		if rt.operation == "metrics" && o.Metrics == nil {
			continue
		}
		mux.Handle(rt.pattern, e.serve(op, rt.handle))
	}
	if err := doc.Has(len(routes)); err != nil {
		return nil, err
	}
	return httpapi.Wrap(mux, o)
}

// serve makes the http.Handler of an operation: who is asking, is what surrounds
// the body as the document says, then the operation itself.
func (e *edge) serve(op *openapi.Operation, handle func(*edge, *call) error) http.Handler {
	basic := accepts(op, "basic")
	open := len(op.Security) == 0 || (op.ID == "metrics" && e.options.MetricsOpen)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := &call{w: w, r: r, op: op}
		if !open {
			var err error
			if c.p, err = e.authenticate(w, r, basic); err != nil {
				httpapi.WriteError(w, r, err)
				return
			}
		}
		query, fields := op.CheckRequest(r)
		if len(fields) > 0 {
			httpapi.WriteError(w, r, remuda.Invalid(fields...))
			return
		}
		c.query = query
		if err := handle(e, c); err != nil {
			httpapi.WriteError(w, r, err)
		}
	})
}

func accepts(op *openapi.Operation, scheme string) bool {
	return slices.ContainsFunc(op.Security, func(alternative []string) bool { return slices.Contains(alternative, scheme) })
}

// authenticate makes a principal of the Authorization header. Passwords are
// taken only where the operation says so.
func (e *edge) authenticate(w http.ResponseWriter, r *http.Request, basic bool) (remuda.Principal, error) {
	p, err := e.principal(w, r, basic)
	if err != nil {
		if remuda.CodeOf(err) == remuda.CodeUnauthenticated {
			httpapi.SetChallenge(w.Header(), basic)
		}
		return remuda.Principal{}, err
	}
	p.RequestID = httpapi.RequestID(r.Context())
	httpapi.SetPrincipal(r.Context(), p)
	return p, nil
}

func (e *edge) principal(w http.ResponseWriter, r *http.Request, basic bool) (remuda.Principal, error) {
	if token, ok := httpapi.BearerToken(r.Header); ok {
		return e.Authenticator.AuthenticateToken(r.Context(), token)
	}
	user, password, ok := r.BasicAuth()
	if !basic || !ok || len(r.Header["Authorization"]) != 1 {
		return remuda.Principal{}, httpapi.Challenge(w.Header(), basic)
	}
	return e.Authenticator.AuthenticateBasic(r.Context(), user, password, r.Header.Get("Remuda-Organization"))
}

// Bodies of requests have at most so many bytes.
const (
	bodyLimit      = 1 << 20
	executionLimit = 32 << 20
)

// read decodes the JSON body of the request.
func (c *call) read(limit int64, into any) error {
	return httpapi.ReadJSON(c.w, c.r, c.op.JSONBody(), limit, into)
}

// reply answers with a JSON body.
func (c *call) reply(status int, v any) error {
	if err := httpapi.WriteJSON(c.w, status, v); err != nil {
		return remuda.Internal("encoding the answer", err)
	}
	return nil
}

// created answers with a new object and its place.
func (c *call) created(status int, location string, v any) error {
	c.w.Header().Set("Location", location)
	return c.reply(status, v)
}

func (c *call) noContent() error {
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}
