package srs

import (
	"fmt"

	"github.com/remuda-run/remuda/internal/remuda"
	"github.com/remuda-run/remuda/internal/scripts"
)

func (*edge) listTemplates(c *call) error { return c.ok(each(scripts.Templates(), templateToWire)) }

func (*edge) getTemplate(c *call) error {
	id := c.R.PathValue("id")
	t, err := scripts.Template(id)
	if remuda.CodeOf(err) == remuda.CodeNotFound {
		return noTemplate(id)
	}
	if err != nil {
		return err
	}
	return c.ok(templateToWire(t))
}

// createScript echoes the template's id, where the vendor's server puts the template's
// text (compat/srs.md A7.4).
func (*edge) createScript(c *call) error {
	var req argumentScript
	if err := c.read(bodyLimit, &req); err != nil {
		return err
	}
	fills, err := fillsOf(req)
	if err != nil {
		return err
	}
	script, err := scripts.FillTemplate(req.TemplateID, fills)
	if remuda.CodeOf(err) == remuda.CodeNotFound {
		return noTemplate(req.TemplateID)
	}
	if err != nil {
		return err
	}
	req.Script = script
	return c.ok(req)
}

// fillsOf turns the lists of values into maps. A placeholder has one list of values in
// each.
func fillsOf(req argumentScript) ([]map[string][]string, error) {
	fills := make([]map[string][]string, len(req.Lists))
	for i, list := range req.Lists {
		fills[i] = make(map[string][]string, len(list.Values))
		for j, v := range list.Values {
			if _, twice := fills[i][v.Name]; twice {
				return nil, remuda.Invalid(remuda.FieldError{
					Field: fmt.Sprintf("template_placeholder_value_list[%d].values[%d].placeholder_name", i, j), Message: "is given twice",
				})
			}
			fills[i][v.Name] = v.Values
		}
	}
	return fills, nil
}
