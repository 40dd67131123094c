package native

import (
	"net/http"

	"github.com/remuda-run/remuda/api"
	"github.com/remuda-run/remuda/internal/httpapi"
	"github.com/remuda-run/remuda/internal/remuda"
)

func (e *edge) createRuntime(c *call) error {
	var body api.RuntimeCreate
	if err := c.read(bodyLimit, &body); err != nil {
		return err
	}
	d, err := definition(body)
	if err != nil {
		return err
	}
	rt, err := e.Runtimes.CreateRuntime(c.ctx(), c.p, d)
	if err != nil {
		return err
	}
	return c.created(http.StatusCreated, "/v1/runtimes/"+string(rt.ID), runtimeWire(rt))
}

func (e *edge) listRuntimes(c *call) error {
	items, next, err := e.Runtimes.ListRuntimes(c.ctx(), c.p, c.query.Get("name"), httpapi.Page(c.query))
	if err != nil {
		return err
	}
	return c.reply(http.StatusOK, api.RuntimeList{Items: each(items, runtimeWire), Next: optional(next)})
}

func (e *edge) getRuntime(c *call) error {
	rt, err := e.Runtimes.GetRuntime(c.ctx(), c.p, c.r.PathValue("runtime"))
	if err != nil {
		return err
	}
	return c.reply(http.StatusOK, runtimeWire(rt))
}

func (e *edge) updateRuntime(c *call) error {
	var body api.RuntimeUpdate
	if err := c.read(bodyLimit, &body); err != nil {
		return err
	}
	patch, err := runtimePatch(body)
	if err != nil {
		return err
	}
	rt, err := e.Runtimes.UpdateRuntime(c.ctx(), c.p, c.r.PathValue("runtime"), patch)
	if err != nil {
		return err
	}
	return c.reply(http.StatusOK, runtimeWire(rt))
}

func (e *edge) deleteRuntime(c *call) error {
	if err := e.Runtimes.DeleteRuntime(c.ctx(), c.p, c.r.PathValue("runtime")); err != nil {
		return err
	}
	return c.noContent()
}

func (e *edge) listVersions(c *call) error {
	languages := remuda.Languages()
	if only := c.query.Get("language"); only != "" {
		languages = []remuda.Language{remuda.Language(only)}
	}
	list := api.InterpreterList{Items: []api.Interpreter{}}
	for _, language := range languages {
		found, err := e.Runtimes.RuntimeVersions(c.ctx(), c.p, language)
		if err != nil {
			return err
		}
		list.Items = append(list.Items, each(found, interpreterWire)...)
	}
	return c.reply(http.StatusOK, list)
}
