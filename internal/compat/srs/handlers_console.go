package srs

import (
	"net/http"
	"strings"
	"time"

	"github.com/remuda-run/remuda/internal/remuda"
)

// consoleWait is how long a creation with wait waits.
const consoleWait = time.Minute

// createConsole makes a runspace of its own for a console. It lives while its session
// does (compat/srs.md A4).
func (e *edge) createConsole(c *call) error {
	wait, err := flagOf("wait", c.R.URL.Query().Get("wait"))
	if err != nil {
		return err
	}
	rs, err := e.Runspaces.CreateRunspace(c.ctx(), c.P, remuda.RunspaceRequest{Runtime: e.options.Runtime, Session: c.P.Token, Console: true})
	if remuda.ReasonOf(err) == remuda.ReasonTooManyRunspaces {
		return special{error: err, status: http.StatusInternalServerError, code: codeTooManyConsoles, message: codesOfReasons[remuda.ReasonTooManyRunspaces].message}
	}
	if err == nil && wait {
		rs, err = e.Runspaces.WaitRunspace(c.ctx(), c.P, rs.ID, consoleWait)
	}
	if err != nil {
		return err
	}
	v, err := e.console(c, rs)
	if err != nil {
		return err
	}
	return c.ok(v)
}

// console is a console as it is now. Its terminal is opened when somebody looks and
// there is none: its runspace has become ready, the program that was in it has ended,
// or the server is another one.
func (e *edge) console(c *call, rs remuda.Runspace) (consoleWire, error) {
	v := consoleWire{ID: consoleID(rs.ID), State: "creating", CreationTime: timeText(rs.CreatedAt)}
	if rs.State == remuda.RunspaceError {
		v.State, v.Error = "error", runspaceToWire(rs).Error
	}
	if rs.State == remuda.RunspaceError || rs.State == remuda.RunspaceCreating {
		return v, nil
	}
	v.State = "available"
	t, err := e.Terminals.GetTerminal(c.ctx(), c.P, v.ID)
	switch {
	case err == nil && t.EndedAt == nil:
		return v, nil
	case err == nil:
		err = e.Terminals.CloseTerminal(c.ctx(), c.P, v.ID)
	}
	if err != nil && remuda.CodeOf(err) != remuda.CodeNotFound {
		return v, err
	}
	_, _, err = e.Terminals.OpenTerminal(c.ctx(), c.P, remuda.TerminalRequest{Runspace: rs.ID, Alias: v.ID})
	if remuda.CodeOf(err) == remuda.CodeConflict { // somebody else has just opened it, or the runspace is going
		if t, look := e.Terminals.GetTerminal(c.ctx(), c.P, v.ID); look == nil && t.EndedAt == nil {
			return v, nil
		}
	}
	if err == nil {
		return v, nil
	}
	a := answerOf(err)
	v.State, v.Error = "error", &a.body
	return v, nil
}

// consoles are the runspaces of the user's consoles.
func (e *edge) consoles(c *call) ([]remuda.Runspace, error) {
	all, err := e.Runspaces.CurrentRunspaces(c.ctx(), c.P)
	var list []remuda.Runspace
	for _, rs := range all {
		if rs.Console {
			list = append(list, rs)
		}
	}
	return list, err
}

func (e *edge) listConsoles(c *call) error {
	all, err := e.consoles(c)
	if err != nil {
		return err
	}
	list := []consoleWire{}
	for _, rs := range all {
		v, err := e.console(c, rs)
		if err != nil {
			return err
		}
		list = append(list, v)
	}
	return c.ok(list)
}

// findConsole finds the one that the path names.
func (e *edge) findConsole(c *call) (remuda.Runspace, error) {
	id := c.R.PathValue("id")
	all, err := e.consoles(c)
	if err != nil {
		return remuda.Runspace{}, err
	}
	for _, rs := range all {
		if consoleID(rs.ID) == strings.ToLower(id) {
			return rs, nil
		}
	}
	return remuda.Runspace{}, noConsole(id)
}

func (e *edge) getConsole(c *call) error {
	rs, err := e.findConsole(c)
	if err != nil {
		return err
	}
	v, err := e.console(c, rs)
	if err != nil {
		return err
	}
	return c.ok(v)
}

func (e *edge) deleteConsole(c *call) error {
	rs, err := e.findConsole(c)
	if err == nil {
		err = e.end(c, rs)
	}
	if remuda.CodeOf(err) == remuda.CodeNotFound { // documented as 200, 401 and 500 only
		return special{error: err, status: http.StatusInternalServerError, code: codeConsoleDelete, message: messageOf(noConsole(c.R.PathValue("id")))}
	}
	if err != nil {
		return err
	}
	return c.done()
}
