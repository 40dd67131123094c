package native

import (
	"net/http"
	"time"

	"github.com/remuda-run/remuda/api"
	"github.com/remuda-run/remuda/internal/httpapi"
	"github.com/remuda-run/remuda/internal/remuda"
	"github.com/remuda-run/remuda/internal/runspaces"
)

func (e *edge) createRunspace(c *call) error {
	wait, err := httpapi.ParseWait(c.query.Get("wait"))
	if err != nil {
		return err
	}
	var body api.RunspaceCreate
	// Its init_script may be as large as a script.
	if err := c.read(executionLimit, &body); err != nil {
		return err
	}
	req, err := runspaceRequest(body)
	if err != nil {
		return err
	}
	rs, err := e.Runspaces.CreateRunspace(c.ctx(), c.p, req)
	if err != nil {
		return httpapi.Reference("runtime", err)
	}
	status, err := e.prepared(c, &rs, wait)
	if err != nil {
		return err
	}
	return c.created(status, "/v1/runspaces/"+string(rs.ID), runspaceWire(rs))
}

// prepared waits until rs has left the state creating, at most for wait, and
// returns the status of the answer.
func (e *edge) prepared(c *call, rs *remuda.Runspace, wait time.Duration) (int, error) {
	if wait > 0 && rs.State == remuda.RunspaceCreating {
		var err error
		if *rs, err = e.Runspaces.WaitRunspace(c.ctx(), c.p, rs.ID, wait); err != nil {
			return 0, err
		}
	}
	if rs.State == remuda.RunspaceCreating {
		return http.StatusAccepted, nil
	}
	return http.StatusOK, nil
}

func (e *edge) interruptRunspace(c *call) error {
	rs, err := e.Runspaces.InterruptRunspace(c.ctx(), c.p, remuda.RunspaceID(c.r.PathValue("runspace")))
	if err != nil {
		return err
	}
	return c.reply(http.StatusAccepted, runspaceWire(rs))
}

func (e *edge) resetRunspace(c *call) error {
	wait, err := httpapi.ParseWait(c.query.Get("wait"))
	if err != nil {
		return err
	}
	var body api.RunspaceReset
	if c.r.ContentLength != 0 {
		if err := c.read(bodyLimit, &body); err != nil {
			return err
		}
	}
	req := runspaces.ResetRequest{Credentials: passedOn(body.Credentials)}
	rs, err := e.Runspaces.ResetRunspace(c.ctx(), c.p, remuda.RunspaceID(c.r.PathValue("runspace")), req)
	if err != nil {
		return err
	}
	status, err := e.prepared(c, &rs, wait)
	if err != nil {
		return err
	}
	return c.reply(status, runspaceWire(rs))
}

func (e *edge) listRunspaces(c *call) error {
	items, next, err := e.Runspaces.ListRunspaces(c.ctx(), c.p, httpapi.Page(c.query))
	if err != nil {
		return err
	}
	return c.reply(http.StatusOK, api.RunspaceList{Items: each(items, runspaceWire), Next: optional(next)})
}

func (e *edge) getRunspace(c *call) error {
	wait, err := httpapi.ParseWait(c.query.Get("wait"))
	if err != nil {
		return err
	}
	id := remuda.RunspaceID(c.r.PathValue("runspace"))
	var rs remuda.Runspace
	if wait > 0 {
		rs, err = e.Runspaces.WaitRunspace(c.ctx(), c.p, id, wait)
	} else {
		rs, err = e.Runspaces.GetRunspace(c.ctx(), c.p, id)
	}
	if err != nil {
		return err
	}
	return c.reply(http.StatusOK, runspaceWire(rs))
}

func (e *edge) deleteRunspace(c *call) error {
	if err := e.Runspaces.DeleteRunspace(c.ctx(), c.p, remuda.RunspaceID(c.r.PathValue("runspace"))); err != nil {
		return err
	}
	return c.noContent()
}
