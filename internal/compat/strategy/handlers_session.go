package strategy

import (
	"encoding/json"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/remuda-run/remuda/api"
	"github.com/remuda-run/remuda/internal/authz"
	"github.com/remuda-run/remuda/internal/remuda"
)

// Ways to log in, by the vendor's numbers.
const (
	modeStandard = 1
	modeDelegate = -1
	modeAPIToken = 4096
)

// How long what is no session lives.
const (
	identityLife = 5 * time.Minute
	apiTokenLife = 365 * 24 * time.Hour
)

// Names of tokens that this door makes, as /v1 lists them.
const (
	sessionName  = "strategy-session"
	identityName = "strategy-identity"
	apiTokenName = "strategy-api-token"
)

func (e *edge) login(c *call) error {
	var req loginRequest
	kind, _, _ := mime.ParseMediaType(c.R.Header.Get("Content-Type"))
	if kind == "application/x-www-form-urlencoded" {
		form, err := c.form()
		if err != nil {
			return err
		}
		req = loginRequest{Username: formValue(form, "username"), Password: formValue(form, "password"), IdentityToken: formValue(form, "identityToken")}
		if form.Has("loginMode") {
			req.LoginMode, _ = json.Marshal(form.Get("loginMode")) // a text; cannot fail
		}
	} else if err := c.Read(bodyLimit, &req); err != nil {
		return err
	}
	p, err := e.authenticate(c, req)
	if err != nil {
		return loginFailed(err)
	}
	return e.open(c, p)
}

func formValue(form map[string][]string, name string) *string {
	if v, ok := form[name]; ok && len(v) > 0 {
		return &v[0]
	}
	return nil
}

// authenticate finds out who logs in.
func (e *edge) authenticate(c *call, req loginRequest) (remuda.Principal, error) {
	mode, err := loginMode(req.LoginMode)
	if err != nil {
		return remuda.Principal{}, err
	}
	user := value(req.Username)
	switch mode {
	case modeStandard:
		name, organization, _ := strings.Cut(user, "@")
		return e.Logins.AuthenticateBasic(c.ctx(), name, value(req.Password), organization)
	case modeAPIToken:
		return e.Logins.AuthenticateToken(c.ctx(), user)
	case modeDelegate:
		return e.Logins.AuthenticateIdentity(c.ctx(), value(req.IdentityToken))
	}
	return remuda.Principal{}, &remuda.Error{
		Code: remuda.CodeUnsupported, Message: "login mode " + strconv.Itoa(mode) + " is not supported",
		Remedy: "log in with a name and password (1), an API token as username (4096) or an identity token (-1)",
	}
}

// loginMode reads a number, or its digits in a text. Absent is the standard mode.
func loginMode(raw json.RawMessage) (int, error) {
	text := strings.Trim(string(raw), `"`)
	if text == "" || text == "null" {
		return modeStandard, nil
	}
	mode, err := strconv.Atoi(text)
	if err != nil {
		return 0, remuda.Invalid(remuda.FieldError{Field: "loginMode", Message: "must be a number"})
	}
	return mode, nil
}

// open opens a session and tells its token.
func (e *edge) open(c *call, p remuda.Principal) error {
	c.Become(p)
	_, secret, err := e.Sessions.OpenSession(c.ctx(), c.P, sessionName, e.options.SessionTimeout)
	if err != nil {
		return err
	}
	e.tell(c, secret)
	return c.noContent()
}

// tell sets the header and the cookie of a session; "" takes the cookie back.
func (e *edge) tell(c *call, secret string) {
	h := c.W.Header()
	cookie := http.Cookie{ //nolint:gosec // Secure where the connection is: without TLS it would never come back
		Name: cookieSession, Value: secret, Path: e.options.Prefix, HttpOnly: true, Secure: c.R.TLS != nil, SameSite: http.SameSiteStrictMode,
	}
	if secret == "" {
		cookie.MaxAge = -1
	} else {
		h[headerSession] = []string{secret} // in the vendor's own case
	}
	h.Set("Set-Cookie", cookie.String())
}

func (e *edge) delegate(c *call) error {
	var req loginRequest
	if err := c.Read(bodyLimit, &req); err != nil {
		return err
	}
	mode, err := loginMode(req.LoginMode)
	if err != nil {
		return err
	}
	if len(req.LoginMode) > 0 && mode != modeDelegate {
		return remuda.Invalid(remuda.FieldError{Field: "loginMode", Message: "must be -1 here"})
	}
	p, err := e.Logins.AuthenticateIdentity(c.ctx(), value(req.IdentityToken))
	if err != nil {
		return loginFailed(err)
	}
	return e.open(c, p)
}

func (e *edge) logout(c *call) error {
	if err := e.Sessions.CloseSession(c.ctx(), c.P); err != nil {
		return err
	}
	e.tell(c, "")
	return c.noContent()
}

func (e *edge) token(c *call) error {
	secret := ""
	if cookie, err := c.R.Cookie(cookieSession); err == nil {
		secret = cookie.Value
	}
	p, err := e.Logins.AuthenticateSession(c.ctx(), secret)
	if err != nil {
		return err
	}
	c.Become(p)
	e.tell(c, secret)
	return c.noContent()
}

func (e *edge) createIdentityToken(c *call) error {
	_, secret, err := e.Sessions.IssueIdentity(c.ctx(), c.P, identityName, identityLife)
	if err != nil {
		return err
	}
	c.W.Header()[headerIdentity] = []string{secret}
	c.W.WriteHeader(http.StatusCreated)
	return nil
}

func (e *edge) checkIdentityToken(c *call) error {
	secret := c.R.Header.Get(headerIdentity)
	p, err := e.Logins.AuthenticateIdentity(c.ctx(), secret)
	if err != nil {
		return err
	}
	c.Become(p)
	c.W.Header()[headerIdentity] = []string{secret}
	c.W.WriteHeader(http.StatusOK)
	return nil
}

func (e *edge) createAPIToken(c *call) error {
	_, secret, err := e.Sessions.IssueToken(c.ctx(), c.P, apiTokenName, apiTokenLife)
	if err != nil {
		return err
	}
	return c.reply(http.StatusCreated, apiTokenWire{secret})
}

func (e *edge) session(c *call) error {
	return c.reply(http.StatusOK, sessionWire{
		Locale: 1033, MaxSearch: 3, WorkingSet: 10, Timeout: int64(e.options.SessionTimeout / time.Second),
		ID: remuda.ShortID(c.P.User), FullName: c.P.UserName, Initials: initials(c.P.UserName),
	})
}

// keepSession has nothing left to do: the session was prolonged when it was
// recognized.
func (*edge) keepSession(c *call) error { return c.noContent() }

func (*edge) userInfo(c *call) error {
	return c.reply(http.StatusOK, userInfoWire{ID: remuda.ShortID(c.P.User), FullName: c.P.UserName, Initials: initials(c.P.UserName), Username: c.P.UserName})
}

func (*edge) privileges(c *call) error {
	var list []privilegeWire
	for _, known := range knownPrivileges {
		allowed := authz.Check(c.P, known.action, c.P.Organization) == nil
		list = append(list, privilegeWire{
			ID: known.id, Name: known.name, Description: known.description, IsUserLevelAllowed: allowed,
			Projects: []projectPrivilege{{ID: remuda.ShortID(c.P.Organization), IsAllowed: allowed}},
		})
	}
	return c.reply(http.StatusOK, privilegesWire{list})
}

func (e *edge) status(c *call) error {
	up := time.Since(e.started)
	return c.reply(http.StatusOK, statusWire{
		UpSince: e.started.UnixMilli(), UpTime: up.Milliseconds(), UpTimeText: up.Truncate(time.Second).String(),
		WebVersion: vendorVersion, IServerVersion: vendorVersion, MinMobileCompatibleVersion: vendorVersion,
		IsIServerConfigured: true, DeploymentType: "remuda",
	})
}

func (*edge) openapiYAML(c *call) error {
	data := api.Strategy()
	h := c.W.Header()
	h.Set("Content-Type", "application/yaml")
	h.Set("Content-Length", strconv.Itoa(len(data)))
	_, _ = c.W.Write(data) // a client that went away is not an error of ours
	return nil
}

// projects lists the session's organization; nothing for a site administrator who
// is a member of none.
func (e *edge) projects(c *call) error {
	list := []projectWire{}
	org, err := e.Organizations.GetOrganization(c.ctx(), c.P, string(c.P.Organization))
	if err == nil {
		list = append(list, projectToWire(org))
	} else if remuda.CodeOf(err) != remuda.CodeNotFound {
		return err
	}
	return c.reply(http.StatusOK, list)
}
