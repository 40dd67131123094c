package strategy

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/remuda-run/remuda/api"
	"github.com/remuda-run/remuda/internal/httpapi"
	"github.com/remuda-run/remuda/internal/httpapi/openapi"
	"github.com/remuda-run/remuda/internal/remuda"
	"github.com/remuda-run/remuda/internal/scripts"
)

// Services are what this door calls. Every field is required.
type Services struct {
	Logins        Logins
	Sessions      Sessions
	Organizations Organizations
	Runtimes      Runtimes
	Scripts       Scripts
}

// Logins turn credentials into principals.
type Logins interface {
	AuthenticateBasic(ctx context.Context, user, password, organization string) (remuda.Principal, error)
	AuthenticateToken(ctx context.Context, secret string) (remuda.Principal, error)
	AuthenticateSession(ctx context.Context, secret string) (remuda.Principal, error)
	AuthenticateIdentity(ctx context.Context, secret string) (remuda.Principal, error)
}

// Sessions are tokens that live while they are used.
type Sessions interface {
	OpenSession(ctx context.Context, p remuda.Principal, name string, idle time.Duration) (remuda.Token, string, error)
	CloseSession(ctx context.Context, p remuda.Principal) error
	IssueIdentity(ctx context.Context, p remuda.Principal, name string, life time.Duration) (remuda.Token, string, error)
	IssueToken(ctx context.Context, p remuda.Principal, name string, life time.Duration) (remuda.Token, string, error)
}

// Organizations are the projects of this door.
type Organizations interface {
	GetOrganization(ctx context.Context, p remuda.Principal, ref string) (remuda.Organization, error)
	ListMembers(ctx context.Context, p remuda.Principal, ref string) ([]remuda.Member, error)
}

// Runtimes are definitions.
type Runtimes interface {
	CreateRuntime(ctx context.Context, p remuda.Principal, d remuda.Definition) (remuda.Runtime, error)
	ListRuntimes(ctx context.Context, p remuda.Principal, name string, page remuda.Page) ([]remuda.Runtime, string, error)
	UpdateRuntime(ctx context.Context, p remuda.Principal, ref string, patch remuda.RuntimePatch) (remuda.Runtime, error)
	DeleteRuntime(ctx context.Context, p remuda.Principal, ref string, how remuda.Deletion) error
	VersionNames(ctx context.Context, p remuda.Principal, language remuda.Language) ([]string, error)
	ResolveShort(p remuda.Principal, short string) (remuda.Runtime, error)
	Builtin(p remuda.Principal, language remuda.Language) (remuda.Runtime, error)
}

// Scripts are stored scripts and their runs.
type Scripts interface {
	CreateScript(ctx context.Context, p remuda.Principal, d remuda.ScriptDefinition) (remuda.Script, error)
	GetScript(ctx context.Context, p remuda.Principal, ref string) (remuda.Script, error)
	GetScripts(ctx context.Context, p remuda.Principal, refs []string) ([]remuda.Script, error)
	UpdateScript(ctx context.Context, p remuda.Principal, ref string, patch remuda.ScriptPatch) (remuda.Script, error)
	DeleteScript(ctx context.Context, p remuda.Principal, ref string) error
	Answers(ctx context.Context, p remuda.Principal, ref string) (remuda.Script, []remuda.ScriptAnswer, error)
	PutAnswers(ctx context.Context, p remuda.Principal, ref string, given []remuda.VariableValue) ([]remuda.ScriptAnswer, error)
	RunContent(ctx context.Context, p remuda.Principal, e scripts.ContentRun) (remuda.ScriptRun, error)
	RunScript(ctx context.Context, p remuda.Principal, ref string, given []remuda.VariableValue) (remuda.ScriptRun, error)
	RunResult(ctx context.Context, p remuda.Principal, short string) (scripts.Result, error)
	CancelRun(ctx context.Context, p remuda.Principal, short string) error
	History(ctx context.Context, p remuda.Principal, refs []string) ([]scripts.Result, error)
}

// Options are what the door needs besides its services.
type Options struct {
	HTTP httpapi.Options
	// Prefix is where the door is mounted ("/MicroStrategyLibrary").
	Prefix string
	// Versions is what a runtimeVersion stands for.
	Versions remuda.VersionPolicy
	// SessionTimeout is how long a session lives without being used. At least a
	// second.
	SessionTimeout time.Duration
}

// document is the OpenAPI document, parsed once.
var document = sync.OnceValues(func() (*openapi.Document, error) { return openapi.Load(api.Strategy()) })

// edge holds what the handlers need.
type edge struct {
	Services
	options Options
	started time.Time
}

// call is one request on its way through an operation.
type call struct{ *httpapi.Call }

func (c *call) ctx() context.Context { return c.R.Context() }

// Handler returns the door, inside httpapi.Wrap. It fails when the options are
// wrong, or the document and the table of routes do not fit together, which a test
// rules out.
func Handler(s Services, o Options) (http.Handler, error) {
	doc, err := document()
	if err != nil {
		return nil, err
	}
	e := &edge{Services: s, options: o, started: time.Now()}
	table := httpapi.NewTable(doc, refuse)
	for _, rt := range routes {
		table.Handle(rt.pattern, rt.operation, rt.needs == nothing, func(shared *httpapi.Call) error {
			c := &call{shared}
			if err := e.admit(c, rt.needs); err != nil {
				return err
			}
			return rt.handle(e, c)
		})
	}
	h, err := table.Handler(notThere)
	if err != nil {
		return nil, err
	}
	o.HTTP.Refuse = refuse
	return httpapi.Wrap(httpapi.Below(o.Prefix, h, httpapi.NotThere(http.NewServeMux(), notThere)), o.HTTP)
}

// Names of headers and of the cookie.
const (
	headerSession  = "X-MSTR-AuthToken"
	headerIdentity = "X-MSTR-IdentityToken"
	headerProject  = "X-MSTR-ProjectID"
	cookieSession  = "JSESSIONID"
)

// admit checks what the operation needs. The token alone counts; the vendor wants
// the cookie too.
func (e *edge) admit(c *call, what needs) error {
	if what == nothing {
		return nil
	}
	p, err := e.Logins.AuthenticateSession(c.ctx(), c.R.Header.Get(headerSession))
	if err != nil {
		return err
	}
	c.Become(p)
	if what != project {
		return nil
	}
	id := c.R.Header.Get(headerProject)
	switch {
	case id == "":
		return missing(headerProject)
	case !remuda.IsShortID(strings.ToUpper(id)):
		return remuda.Invalid(remuda.FieldError{Field: headerProject, Message: "must be 32 hex digits; GET /api/projects lists the session's project"})
	}
	return nil
}

// Bounds of requests.
const (
	bodyLimit   = 1 << 20
	scriptLimit = 16 << 20
	formLimit   = 64 << 10
)

// form reads a body of type application/x-www-form-urlencoded.
func (c *call) form() (url.Values, error) {
	data, err := io.ReadAll(http.MaxBytesReader(c.W, c.R.Body, formLimit))
	if err != nil {
		return nil, httpapi.BodyError(err)
	}
	httpapi.BodyRead(c.R)
	values, err := url.ParseQuery(string(data))
	if err != nil {
		return nil, remuda.Invalid(remuda.FieldError{Field: "body", Message: "is not a form"})
	}
	return values, nil
}

// id is the object that the path names. Digits of either case are taken.
func (c *call) id() string { return strings.ToUpper(c.R.PathValue("id")) }

// list is a parameter of ids separated by commas. It must be there.
func (c *call) list(name string) ([]string, error) {
	var ids []string
	for part := range strings.SplitSeq(c.R.URL.Query().Get(name), ",") {
		if part = strings.ToUpper(strings.TrimSpace(part)); part != "" {
			ids = append(ids, part)
		}
	}
	if len(ids) == 0 {
		return nil, missing(name)
	}
	return ids, nil
}

// reply answers with a JSON body, of which the parameter fields may keep a part.
func (c *call) reply(status int, v any) error {
	v, err := pick(v, c.R.URL.Query().Get("fields"))
	if err == nil {
		err = httpapi.WriteJSON(c.W, status, v)
	}
	if err != nil {
		return remuda.Internal("encoding the answer", err)
	}
	return nil
}

// created answers with the id of a new object, or with the parameter fields with
// those of the object.
func (c *call) created(id string, object func() (any, error)) error {
	if c.R.URL.Query().Get("fields") == "" {
		return c.reply(http.StatusCreated, idWire{id})
	}
	v, err := object()
	if err != nil {
		return err
	}
	return c.reply(http.StatusCreated, v)
}

func (c *call) noContent() error { return c.Empty(http.StatusNoContent) }
