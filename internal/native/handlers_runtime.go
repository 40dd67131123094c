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
	wait, err := httpapi.ParseWait(c.query.Get("wait"))
	if err != nil {
		return err
	}
	var rt remuda.Runtime
	if ref := c.r.PathValue("runtime"); wait > 0 {
		rt, err = e.Runtimes.WaitRuntime(c.ctx(), c.p, ref, wait)
	} else {
		rt, err = e.Runtimes.GetRuntime(c.ctx(), c.p, ref)
	}
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
	drain, err := httpapi.ParseDuration("drain", c.query.Get("drain"))
	if err != nil {
		return err
	}
	how := remuda.Deletion{RefuseIfBusy: c.query.Get("refuse_if_busy") == "true", Drain: drain}
	if err := e.Runtimes.DeleteRuntime(c.ctx(), c.p, c.r.PathValue("runtime"), how); err != nil {
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
