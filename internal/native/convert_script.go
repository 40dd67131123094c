package native

import (
	"github.com/remuda-run/remuda/api"
	"github.com/remuda-run/remuda/internal/remuda"
	"github.com/remuda-run/remuda/internal/scripts"
)

func scriptWire(sc remuda.Script) api.Script {
	return api.Script{
		Id: string(sc.ID), Name: sc.Name, Description: sc.Description, Folder: sc.Folder, Kind: api.ScriptKind(sc.Kind), Content: sc.Content,
		Runtime: text(sc.Runtime), Variables: each(sc.Variables, variableWire), Owner: string(sc.Owner), Revision: sc.Revision,
		CreatedAt: instant(sc.CreatedAt), UpdatedAt: instant(sc.UpdatedAt),
	}
}

func scriptItemWire(sc remuda.Script) api.ScriptItem {
	return api.ScriptItem{
		Id: string(sc.ID), Name: sc.Name, Folder: sc.Folder, Owner: string(sc.Owner), Revision: sc.Revision,
		CreatedAt: instant(sc.CreatedAt), UpdatedAt: instant(sc.UpdatedAt),
	}
}

// variableWire never shows a secret.
func variableWire(v remuda.ScriptVariable) api.ScriptVariable {
	out := api.ScriptVariable{
		Id: v.ID, Name: v.Name, Kind: api.VariableKind(v.Kind), Description: v.Description, Multiple: v.Multiple, Prompt: v.Prompt,
		Required: v.Required, Nullable: v.Nullable, Editable: v.Editable, Tag: v.Tag,
	}
	if v.Kind != remuda.VariableSecret {
		out.Value = optional(v.Value)
	}
	return out
}

func variables(list []api.ScriptVariableWrite) []remuda.ScriptVariable {
	return each(list, func(v api.ScriptVariableWrite) remuda.ScriptVariable {
		out := remuda.ScriptVariable{
			ID: value(v.Id), Name: v.Name, Kind: remuda.VariableKind(value(v.Kind)), Value: value(v.Value), Description: value(v.Description),
			Multiple: value(v.Multiple), Prompt: value(v.Prompt), Required: value(v.Required), Nullable: value(v.Nullable), Editable: true, Tag: value(v.Tag),
		}
		if v.Kind == nil {
			out.Kind = remuda.VariableText
		}
		if v.Editable != nil {
			out.Editable = *v.Editable
		}
		return out
	})
}

func argumentTemplateWire(t scripts.ArgumentTemplate) api.ArgumentTemplate {
	return api.ArgumentTemplate{Id: t.ID, Runtime: t.Runtime, ResultType: t.ResultType, Template: t.Text, Placeholders: orNone(t.Placeholders)}
}
