package srs

import (
	"slices"
	"strings"

	"github.com/remuda-run/remuda/internal/remuda"
)

// maxListed is how many executions a list has at most; there is no paging here.
const maxListed = 1000

func (e *edge) createExecution(c *call) error {
	var body executionCreate
	if err := c.read(scriptLimit, &body); err != nil {
		return err
	}
	rs, err := e.runspace(c, body.RunspaceID)
	if err != nil {
		return err
	}
	req, err := executionRequest(rs, body)
	if err != nil {
		return err
	}
	ex, err := e.Executions.SubmitExecution(c.ctx(), c.P, req, 0)
	if err != nil {
		return runRefused(err, body.RunspaceID)
	}
	v := executionToWire(ex)
	v.State, v.Reason, v.EndTime = stateRunning, "", "" // as documented, also when it has ended meanwhile
	return c.accepted("/api/script-executions/"+v.ID, v)
}

func (e *edge) listExecutions(c *call) error {
	skip, err := flagOf("skipSystemExecutions", c.R.URL.Query().Get("skipSystemExecutions"))
	if err != nil {
		return err
	}
	filter := remuda.ExecutionFilter{Owner: c.P.User, NoSystem: skip, InRunspace: true}
	var list []executionWire
	for page := (remuda.Page{Limit: 200}); ; {
		some, next, err := e.Executions.ListExecutions(c.ctx(), c.P, filter, page)
		if err != nil {
			return err
		}
		list = append(list, each(some, executionToWire)...)
		if next == "" || len(list) >= maxListed {
			return c.ok(append([]executionWire{}, list...))
		}
		page.Cursor = next
	}
}

func (e *edge) getExecution(c *call) error {
	ex, err := e.execution(c)
	if err != nil {
		return err
	}
	return c.ok(executionToWire(ex))
}

// execution finds the one that the path names.
func (e *edge) execution(c *call) (remuda.Execution, error) {
	id := c.R.PathValue("id")
	ex, err := e.Executions.ExecutionByUUID(c.ctx(), c.P, id)
	if remuda.CodeOf(err) == remuda.CodeNotFound || err == nil && ex.Runspace == "" { // one-shot ones are not seen here
		return ex, noScript(id)
	}
	return ex, err
}

// cancelExecution leaves one that has ended alone (compat/srs.md A4).
func (e *edge) cancelExecution(c *call) error {
	ex, err := e.execution(c)
	if err != nil {
		return err
	}
	if !ex.State.Final() {
		_, err = e.Executions.CancelExecution(c.ctx(), c.P, ex.ID)
	}
	if remuda.CodeOf(err) == remuda.CodeConflict {
		if ex, err := e.execution(c); err == nil && ex.State.Final() {
			return c.done()
		}
	}
	if err != nil {
		return err
	}
	return c.done()
}

// output answers with one text, or with a JSON text for each object. While the script
// runs it is what there is so far, and [] when that is nothing.
func (e *edge) output(c *call) error {
	ex, err := e.execution(c)
	if err != nil {
		return err
	}
	var list []string
	if ex.Objects {
		list, _, err = e.Executions.OutputObjects(c.ctx(), c.P, ex.ID)
	} else {
		var text string
		var ended bool
		if text, ended, err = e.Executions.OutputText(c.ctx(), c.P, ex.ID); ended || text != "" {
			list = []string{text}
		}
	}
	if err != nil {
		return e.gone(c, err)
	}
	return c.ok(append([]string{}, list...))
}

// gone says of an execution that went between two looks at it that it is not there.
func (e *edge) gone(c *call, err error) error {
	if remuda.CodeOf(err) == remuda.CodeNotFound {
		return noScript(c.R.PathValue("id"))
	}
	return err
}

// lastMessages are what a stream shows (compat/srs.md A4). /v1 has all of them.
const lastMessages = 50

func (e *edge) stream(c *call) error {
	kind := remuda.Stream(strings.ToLower(c.R.PathValue("type")))
	if !slices.Contains(remuda.MessageStreams(), kind) {
		return remuda.Invalid(remuda.FieldError{Field: "type", Message: "must be information, error, warning, debug or verbose"})
	}
	ex, err := e.execution(c)
	if err != nil {
		return err
	}
	list, _, _, err := e.Executions.StreamRecords(c.ctx(), c.P, ex.ID, kind, remuda.StreamPage{Last: lastMessages})
	if err != nil {
		return e.gone(c, err)
	}
	return c.ok(each(list, recordToWire))
}
