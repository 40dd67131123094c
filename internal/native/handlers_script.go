package native

import (
	"net/http"

	"github.com/remuda-run/remuda/api"
	"github.com/remuda-run/remuda/internal/scripts"
)

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

func argumentTemplateWire(t scripts.ArgumentTemplate) api.ArgumentTemplate {
	return api.ArgumentTemplate{Id: t.ID, Runtime: t.Runtime, ResultType: t.ResultType, Template: t.Text, Placeholders: orNone(t.Placeholders)}
}
