package native

import (
	"net/http"

	"github.com/remuda-run/remuda/api"
	"github.com/remuda-run/remuda/internal/httpapi"
	"github.com/remuda-run/remuda/internal/remuda"
	"github.com/remuda-run/remuda/internal/scripts"
)

func (e *edge) createScript(c *call) error {
	var body api.ScriptCreate
	if err := c.read(executionLimit, &body); err != nil {
		return err
	}
	d := remuda.ScriptDefinition{
		Name: body.Name, Description: value(body.Description), Folder: value(body.Folder), Kind: remuda.ScriptKind(value(body.Kind)), Content: body.Content,
		Variables: variables(body.Variables),
	}
	if d.Kind == "" {
		d.Kind = remuda.ScriptPython
	}
	var err error
	if d.Runtime, err = e.runtimeID(c, value(body.Runtime)); err != nil {
		return err
	}
	sc, err := e.Scripts.CreateScript(c.ctx(), c.p, d)
	if err != nil {
		return err
	}
	return c.created(http.StatusCreated, "/v1/scripts/"+string(sc.ID), scriptWire(sc))
}

// runtimeID is the id of a runtime that a body or a query names; "" is none.
func (e *edge) runtimeID(c *call, ref string) (remuda.RuntimeID, error) {
	if ref == "" || remuda.IsID(remuda.PrefixRuntime, ref) {
		return remuda.RuntimeID(ref), nil
	}
	rt, err := e.Runtimes.GetRuntime(c.ctx(), c.p, ref)
	return rt.ID, httpapi.Reference("runtime", err)
}

func (e *edge) listScripts(c *call) error {
	items, next, err := e.Scripts.ListScripts(c.ctx(), c.p, c.query.Get("name"), httpapi.Page(c.query))
	if err != nil {
		return err
	}
	return c.reply(http.StatusOK, api.ScriptList{Items: each(items, scriptItemWire), Next: optional(next)})
}

func (e *edge) getScript(c *call) error {
	sc, err := e.Scripts.GetScript(c.ctx(), c.p, c.r.PathValue("script"))
	if err != nil {
		return err
	}
	return c.reply(http.StatusOK, scriptWire(sc))
}

func (e *edge) updateScript(c *call) error {
	var body api.ScriptUpdate
	if err := c.read(executionLimit, &body); err != nil {
		return err
	}
	patch := remuda.ScriptPatch{Name: body.Name, Description: body.Description, Folder: body.Folder, Content: body.Content}
	if body.Kind != nil {
		patch.Kind = new(remuda.ScriptKind(*body.Kind))
	}
	if body.Runtime != nil {
		id, err := e.runtimeID(c, *body.Runtime)
		if err != nil {
			return err
		}
		patch.Runtime = &id
	}
	if body.Variables != nil {
		patch.Variables = new(variables(*body.Variables))
	}
	sc, err := e.Scripts.UpdateScript(c.ctx(), c.p, c.r.PathValue("script"), patch)
	if err != nil {
		return err
	}
	return c.reply(http.StatusOK, scriptWire(sc))
}

func (e *edge) deleteScript(c *call) error {
	if err := e.Scripts.DeleteScript(c.ctx(), c.p, c.r.PathValue("script")); err != nil {
		return err
	}
	return c.noContent()
}

// Argument templates are the same for everybody, so that they need no service.

func (e *edge) listArgumentTemplates(c *call) error {
	return c.reply(http.StatusOK, api.ArgumentTemplateList{Items: each(scripts.Templates(), argumentTemplateWire)})
}

func (e *edge) getArgumentTemplate(c *call) error {
	t, err := scripts.Template(c.r.PathValue("template"))
	if err != nil {
		return err
	}
	return c.reply(http.StatusOK, argumentTemplateWire(t))
}

func (e *edge) fillArgumentTemplate(c *call) error {
	var body api.ArgumentTemplateFill
	if err := c.read(bodyLimit, &body); err != nil {
		return err
	}
	script, err := scripts.FillTemplate(c.r.PathValue("template"), body.Values)
	if err != nil {
		return err
	}
	return c.reply(http.StatusOK, api.ArgumentScript{Script: script})
}
