package srs

import (
	"strings"

	"github.com/remuda-run/remuda/internal/remuda"
)

// challenge is what a login without credentials gets. Clients of the vendor send
// theirs only after they have seen it (compat/srs.md A2).
const challenge = `Basic realm="SRS endpoint"`

// sessionName is the name of the tokens that this door makes, as /v1 lists them.
const sessionName = "srs-session"

// basic finds out who logs in. Of SIGN, which needs a single sign-on, nothing is
// promised, so the challenge does not name it.
func (e *edge) basic(c *call) (remuda.Principal, error) {
	user, password, ok := c.R.BasicAuth()
	if !ok || len(c.R.Header["Authorization"]) != 1 {
		c.W.Header()["WWW-Authenticate"] = []string{challenge}
		return remuda.Principal{}, &remuda.Error{
			Code: remuda.CodeUnauthenticated, Message: "the request says not who is asking", Cause: "the Authorization header is missing or of another kind",
			Remedy: "send a name and password (HTTP Basic)",
		}
	}
	p, err := e.authenticate(c, user, password)
	if remuda.CodeOf(err) == remuda.CodeUnauthenticated {
		c.W.Header()["WWW-Authenticate"] = []string{challenge}
	}
	if remuda.CodeOf(err) == remuda.CodeExhausted {
		err = tooManyGuesses(err)
	}
	return p, err
}

// authenticate takes user, and user@organization.
func (e *edge) authenticate(c *call, user, password string) (remuda.Principal, error) {
	organization := ""
	if i := strings.LastIndexByte(user, '@'); i > 0 {
		user, organization = user[:i], user[i+1:]
	}
	return e.Logins.AuthenticateBasic(c.ctx(), user, password, organization)
}

func (e *edge) login(c *call) error {
	_, secret, err := e.Sessions.OpenUUIDSession(c.ctx(), c.P, sessionName, e.options.SessionTimeout)
	if err != nil {
		return err
	}
	c.W.Header()[headerKey] = []string{secret}
	return c.done()
}

func (e *edge) logout(c *call) error {
	if err := e.Sessions.CloseSession(c.ctx(), c.P); err != nil {
		return err
	}
	return c.done()
}
