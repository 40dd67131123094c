package srs

import (
	"net/http"
	"slices"

	"github.com/remuda-run/remuda/internal/remuda"
)

// Names of the executions that the server runs by itself (compat/srs.md A4).
const (
	connectionName = "powerclivclogin"
	disconnectName = "disconnectallservers"
)

func (e *edge) createRunspace(c *call) error {
	var req runspaceCreate
	if err := c.read(bodyLimit, &req); err != nil {
		return err
	}
	rs, err := e.Runspaces.CreateRunspace(c.ctx(), c.P, e.runspaceRequest(c.P, req))
	if err != nil {
		return err
	}
	v := runspaceToWire(rs)
	v.State = string(remuda.RunspaceCreating) // as the vendor answers, though it may be ready (compat/srs.md, own example)
	return c.accepted("/api/runspaces/"+v.ID, v)
}

func (e *edge) runspaceRequest(p remuda.Principal, req runspaceCreate) remuda.RunspaceRequest {
	r := remuda.RunspaceRequest{
		Runtime: e.options.Runtime, Label: value(req.Name), Session: p.Token, RunConnection: bool(req.RunConnection), ConnectionIfAny: true,
		Credentials: req.Credentials,
	}
	if r.RunConnection {
		r.ConnectionScript, r.DisconnectScript = e.options.ConnectionScript, e.options.DisconnectScript
		r.ConnectionName, r.DisconnectName = connectionName, disconnectName
	}
	return r
}

func (e *edge) listRunspaces(c *call) error {
	list, err := e.Runspaces.CurrentRunspaces(c.ctx(), c.P)
	if err != nil {
		return err
	}
	return c.ok(each(slices.DeleteFunc(list, isConsole), runspaceToWire))
}

func isConsole(rs remuda.Runspace) bool { return rs.Console }

func (e *edge) getRunspace(c *call) error {
	rs, err := e.runspace(c, c.R.PathValue("id"))
	if err != nil {
		return err
	}
	return c.ok(runspaceToWire(rs))
}

// runspace finds what a client calls by an id.
func (e *edge) runspace(c *call, id string) (remuda.Runspace, error) {
	rs, err := e.Runspaces.CurrentRunspace(c.ctx(), c.P, runspaceUUID(id))
	if remuda.CodeOf(err) == remuda.CodeNotFound || err == nil && rs.Console {
		return rs, noRunspace(id)
	}
	return rs, err
}

func (e *edge) deleteRunspace(c *call) error {
	id := c.R.PathValue("id")
	rs, err := e.runspace(c, id)
	if err == nil {
		err = e.end(c, rs)
	}
	if remuda.CodeOf(err) == remuda.CodeNotFound { // documented as 200, 401 and 500 only (compat/srs.md A7.2)
		return special{error: noRunspace(id), status: http.StatusInternalServerError, code: codeRunspaceDelete, message: messageOf(noRunspace(id))}
	}
	if err != nil {
		return err
	}
	return c.done()
}

// end closes a runspace, and takes one that had ended in error from what is shown.
func (e *edge) end(c *call, rs remuda.Runspace) error {
	if err := e.Runspaces.DeleteRunspace(c.ctx(), c.P, rs.ID); err != nil {
		return err
	}
	return e.Runspaces.DismissRunspace(c.ctx(), c.P, rs.ID)
}
