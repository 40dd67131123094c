package srs

import (
	"context"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/remuda-run/remuda/api"
	"github.com/remuda-run/remuda/internal/httpapi"
	"github.com/remuda-run/remuda/internal/httpapi/openapi"
	"github.com/remuda-run/remuda/internal/remuda"
)

// Services are what this door calls. Every field is required.
type Services struct {
	Logins     Logins
	Sessions   Sessions
	Runspaces  Runspaces
	Executions Executions
	Terminals  Terminals
	Limits     Limits
	Audit      Audit
}

// Logins turn credentials into principals.
type Logins interface {
	AuthenticateBasic(ctx context.Context, user, password, organization string) (remuda.Principal, error)
	// AuthenticateSession also prolongs the session.
	AuthenticateSession(ctx context.Context, secret string) (remuda.Principal, error)
}

// Sessions are tokens that live while they are used.
type Sessions interface {
	// OpenUUIDSession makes one whose secret is a UUID.
	OpenUUIDSession(ctx context.Context, p remuda.Principal, name string, idle time.Duration) (remuda.Token, string, error)
	CloseSession(ctx context.Context, p remuda.Principal) error
}

// Runspaces are leases on instances.
type Runspaces interface {
	// CreateRunspace returns at once, in state creating or ready.
	CreateRunspace(ctx context.Context, p remuda.Principal, req remuda.RunspaceRequest) (remuda.Runspace, error)
	// CurrentRunspaces lists the open ones, and those that ended in error lately and
	// were not deleted since, newest first.
	CurrentRunspaces(ctx context.Context, p remuda.Principal) ([]remuda.Runspace, error)
	// CurrentRunspace is the one of those that a UUID stands for.
	CurrentRunspace(ctx context.Context, p remuda.Principal, uuid string) (remuda.Runspace, error)
	// WaitRunspace returns when the runspace has left creating, or after d.
	WaitRunspace(ctx context.Context, p remuda.Principal, id remuda.RunspaceID, d time.Duration) (remuda.Runspace, error)
	DeleteRunspace(ctx context.Context, p remuda.Principal, id remuda.RunspaceID) error
	// DismissRunspace takes one that ended in error from the current ones.
	DismissRunspace(ctx context.Context, p remuda.Principal, id remuda.RunspaceID) error
}

// Executions are script runs.
type Executions interface {
	SubmitExecution(ctx context.Context, p remuda.Principal, req remuda.ExecutionRequest, wait time.Duration) (remuda.Execution, error)
	// ExecutionByUUID is GetExecution by the UUID that stands for an id.
	ExecutionByUUID(ctx context.Context, p remuda.Principal, uuid string) (remuda.Execution, error)
	ListExecutions(ctx context.Context, p remuda.Principal, filter remuda.ExecutionFilter, page remuda.Page) ([]remuda.Execution, string, error)
	CancelExecution(ctx context.Context, p remuda.Principal, id remuda.ExecutionID) (remuda.Execution, error)
	// OutputText is what the script has written, and its value; so far, unless it has
	// ended.
	OutputText(ctx context.Context, p remuda.Principal, id remuda.ExecutionID) (text string, ended bool, err error)
	OutputObjects(ctx context.Context, p remuda.Principal, id remuda.ExecutionID) (objects []string, ended bool, err error)
	StreamRecords(ctx context.Context, p remuda.Principal, id remuda.ExecutionID, stream remuda.Stream, page remuda.StreamPage) ([]remuda.StreamRecord, int64, bool, error)
}

// Terminals are programs with a terminal in runspaces.
type Terminals interface {
	OpenTerminal(ctx context.Context, p remuda.Principal, req remuda.TerminalRequest) (remuda.Terminal, remuda.TerminalTicket, error)
	// GetTerminal finds one by its alias.
	GetTerminal(ctx context.Context, p remuda.Principal, ref string) (remuda.Terminal, error)
	CloseTerminal(ctx context.Context, p remuda.Principal, ref string) error
}

// Limits are what an organization's administrators bound.
type Limits interface {
	GetLimits(ctx context.Context, p remuda.Principal, ref string) (own, inForce remuda.Limits, err error)
	UpdateLimits(ctx context.Context, p remuda.Principal, ref string, patch remuda.LimitsPatch) (own, inForce remuda.Limits, err error)
}

// Audit is the record of an organization.
type Audit interface {
	List(ctx context.Context, p remuda.Principal, page remuda.Page) ([]remuda.AuditEntry, string, error)
}

// Options are what the door needs besides its services.
type Options struct {
	HTTP httpapi.Options
	// Runtime is what runspaces are of, by name; an organization may have one of its
	// own with that name.
	Runtime string
	// ConnectionScript and DisconnectScript are stored scripts of the organization, by
	// name or id, for runspaces that ask for them; "" is what the runtime has.
	ConnectionScript, DisconnectScript string
	// SessionTimeout is how long a session lives without being used. At least a
	// second.
	SessionTimeout time.Duration
}

// document is the OpenAPI document, parsed once.
var document = sync.OnceValues(func() (*openapi.Document, error) { return openapi.Load(api.SRS()) })

// edge holds what the handlers need.
type edge struct {
	Services
	options Options
	pages   func() (pages, error) // made when first asked for
}

// call is one request on its way through an operation.
type call struct{ *httpapi.Call }

func (c *call) ctx() context.Context { return c.R.Context() }

// prefixes are what this door serves.
var prefixes = []string{"/api/", "/admin/", "/swagger/"}

// Serves reports whether a path is this door's.
func Serves(path string) bool {
	for _, prefix := range prefixes {
		if path == strings.TrimSuffix(prefix, "/") || strings.HasPrefix(path, prefix) {
			return true
		}
	}
	return false
}

// Handler returns the door, inside httpapi.Wrap. It fails when the options are
// wrong, or the document and the table of routes do not fit together, which a test
// rules out.
func Handler(s Services, o Options) (http.Handler, error) {
	doc, err := document()
	if err != nil {
		return nil, err
	}
	e := &edge{Services: s, options: o, pages: sync.OnceValues(renderPages)}
	table := httpapi.NewTable(doc, refuse)
	for _, rt := range routes {
		table.Handle(rt.pattern, rt.operation, rt.needs == nothing, func(shared *httpapi.Call) error {
			c := &call{shared}
			err := e.admit(c, rt.needs)
			if err == nil {
				err = rt.handle(e, c)
			}
			return failed(err, rt.failure)
		})
	}
	h, err := table.Handler(notThere)
	if err != nil {
		return nil, err
	}
	o.HTTP.Refuse = refuse
	return httpapi.Wrap(asWritten(h), o.HTTP)
}

// asWritten refuses paths whose beginning is in another encoding than this door's
// prefixes.
func asWritten(h http.Handler) http.Handler {
	otherwise := httpapi.NotThere(http.NewServeMux(), notThere)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !Serves(r.URL.EscapedPath()) {
			otherwise.ServeHTTP(w, r)
			return
		}
		h.ServeHTTP(w, r)
	})
}

// headerKey is written as it is: the vendor's shell client looks for these very
// letters (compat/srs.md A9).
const headerKey = "X-SRS-API-KEY"

// Listener returns a listener that forgives a carriage return at the end of a key, as
// the vendor's shell client sends it that cuts the key out of an answer's headers. It is
// for connections without TLS.
func Listener(l net.Listener) net.Listener { return httpapi.TolerateReturns(l, headerKey, "/api/") }

// admit checks what the operation needs. What a session does is its user's alone.
func (e *edge) admit(c *call, what needs) error {
	var p remuda.Principal
	var err error
	switch what {
	case nothing:
		return nil
	case password:
		p, err = e.basic(c)
	case key:
		p, err = e.Logins.AuthenticateSession(c.ctx(), c.key())
		p.OwnOnly = true
		if remuda.CodeOf(err) == remuda.CodeUnauthenticated {
			err = noSession(err)
		}
	}
	if err != nil {
		return err
	}
	c.Become(p)
	return nil
}

// key is the session's. Of two nobody knows which one counts.
func (c *call) key() string {
	values := c.R.Header.Values(headerKey)
	if len(values) != 1 {
		return ""
	}
	return strings.ToLower(values[0])
}

// Bounds of bodies.
const (
	bodyLimit   = 4 << 20
	scriptLimit = 16 << 20
)

// read decodes the JSON body of the request. One without a body at all is wrong, and
// not of the wrong type.
func (c *call) read(limit int64, into any) error {
	if c.R.ContentLength == 0 && c.R.Header.Get("Content-Type") == "" {
		return remuda.Invalid(remuda.FieldError{Message: "the body is empty; a JSON object is wanted"})
	}
	return c.Read(limit, into)
}

// ok answers with a JSON body.
func (c *call) ok(v any) error { return c.Reply(http.StatusOK, v) }

// accepted answers with what was begun, and where it is.
func (c *call) accepted(location string, v any) error {
	c.W.Header().Set("Location", location)
	return c.Reply(http.StatusAccepted, v)
}

// done answers without a body.
func (c *call) done() error { return c.Empty(http.StatusOK) }
