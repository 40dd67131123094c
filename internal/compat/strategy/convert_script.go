package strategy

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"unicode/utf8"

	"github.com/remuda-run/remuda/internal/authz"
	"github.com/remuda-run/remuda/internal/remuda"
)

// subtypes of scripts, by what they are used for.
var subtypes = map[string]int{
	"commandManager": 19456, "dataSource": 19459, "transaction": 19460, "pythonSimpleFunction": 19461, "pythonAggFunction": 19462,
	"pythonRelativeFunction": 19463, "pythonNoSortAggFunction": 19464, "pythonNoSortRelativeFunction": 19465,
}

const subtypePython, subtypeNotebook = 19457, 19458

func subtypeOf(sc remuda.Script) int {
	if n, ok := subtypes[sc.Usage]; ok {
		return n
	}
	if sc.Kind == remuda.ScriptNotebook {
		return subtypeNotebook
	}
	return subtypePython
}

var scriptKinds = map[string]remuda.ScriptKind{"python": remuda.ScriptPython, "reserved": remuda.ScriptPython, "jupyterNotebook": remuda.ScriptNotebook}

func decodeContent(text string) (string, error) {
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil || !utf8.Valid(raw) {
		return "", remuda.Invalid(remuda.FieldError{Field: "scriptContent", Message: "must be base64 of a source in UTF-8"})
	}
	return string(raw), nil
}

// scriptPatch makes a change of a request; its runtime is for the caller to find.
func scriptPatch(req scriptRequest) (remuda.ScriptPatch, error) {
	patch := remuda.ScriptPatch{Name: req.Name, Description: req.Description, Folder: req.FolderID, Usage: req.ScriptUsageType, Result: req.ScriptResultType}
	if req.ScriptType != nil {
		patch.Kind = new(scriptKinds[*req.ScriptType])
	}
	if req.ScriptContent != nil {
		content, err := decodeContent(*req.ScriptContent)
		if err != nil {
			return patch, err
		}
		patch.Content = &content
	}
	if req.Variables != nil {
		list, err := variables(*req.Variables)
		if err != nil {
			return patch, err
		}
		patch.Variables = &list
	}
	return patch, nil
}

// newScript is a script of what a request says of it.
func newScript(patch remuda.ScriptPatch) remuda.ScriptDefinition {
	return patch.Apply(remuda.ScriptDefinition{Kind: remuda.ScriptPython})
}

func scriptToCore(sc remuda.Script) scriptCore {
	w := scriptCore{
		Name: sc.Name, ID: remuda.ShortID(sc.ID), Type: typeScript, Subtype: subtypeOf(sc), Description: sc.Description,
		DateCreated: created(sc.CreatedAt), DateModified: modified(sc.CreatedAt, sc.UpdatedAt), FolderID: sc.Folder, ScriptType: "python",
		ScriptContent: base64.StdEncoding.EncodeToString([]byte(sc.Content)), ScriptRuntimeID: defaultRuntime, ScriptUsageType: sc.Usage,
		ScriptResultType: sc.Result, Variables: variablesToWire(sc.Variables),
	}
	if sc.Runtime != "" {
		w.ScriptRuntimeID = remuda.ShortID(sc.Runtime)
	}
	if sc.Kind == remuda.ScriptNotebook {
		w.ScriptType = "jupyterNotebook"
	}
	if w.ScriptResultType == "" {
		w.ScriptResultType = "reserved"
	}
	return w
}

func scriptToWire(sc remuda.Script, owner ownerWire, p remuda.Principal) scriptWire {
	return scriptWire{
		scriptCore: scriptToCore(sc), Version: versionID(string(sc.ID), sc.Revision, sc.UpdatedAt),
		ACG: granted(p, authz.ScriptWrite, sc.Organization), Owner: owner, ACL: []struct{}{},
	}
}

func scriptToItem(sc remuda.Script, p remuda.Principal) scriptItemWire {
	return scriptItemWire{
		scriptCore: scriptToCore(sc), ObjectNames: []struct{}{}, ObjectVersion: versionID(string(sc.ID), sc.Revision, sc.UpdatedAt),
		AccessGranted: granted(p, authz.ScriptWrite, sc.Organization), OwnerID: remuda.ShortID(sc.Owner), ObjectACL: []struct{}{},
	}
}

var variableKinds = map[int]remuda.VariableKind{
	1: remuda.VariableText, 2: remuda.VariableNumber, 3: remuda.VariableDate, 4: remuda.VariableSecret, 5: remuda.VariableTime,
	0: remuda.VariableOther, 4106: remuda.VariableOther, 32769: remuda.VariableOther,
}

// variableTag is what of a variable has no meaning here and is given back.
type variableTag struct {
	Type              int             `json:"type,omitempty"`
	TransactionColumn json.RawMessage `json:"transactionColumn,omitempty"`
	ObjectRef         json.RawMessage `json:"objectRef,omitempty"`
}

func variables(list []variableWire) ([]remuda.ScriptVariable, error) {
	out := make([]remuda.ScriptVariable, 0, len(list))
	for i, w := range list {
		number := 1
		if w.Type != nil {
			number = *w.Type
		}
		kind, ok := variableKinds[number]
		if !ok {
			return nil, remuda.Invalid(remuda.FieldError{Field: fmt.Sprintf("variables[%d].type", i), Message: "must be one of 0, 1, 2, 3, 4, 5, 4106 and 32769"})
		}
		v := remuda.ScriptVariable{
			ID: w.ID, Name: w.Name, Kind: kind, Value: value(w.Value), Description: w.Description, Multiple: w.Multiple, Prompt: w.Prompt,
			Required: w.Required, Nullable: w.Nullable, Editable: w.Editable == nil || *w.Editable,
		}
		tag := variableTag{TransactionColumn: w.TransactionColumn, ObjectRef: w.ObjectRef}
		if kind == remuda.VariableOther {
			tag.Type = number
		}
		raw, err := json.Marshal(tag)
		if err != nil {
			return nil, remuda.Internal("keeping a variable", err)
		}
		if string(raw) != "{}" {
			v.Tag = string(raw)
		}
		out = append(out, v)
	}
	return out, nil
}

func variablesToWire(list []remuda.ScriptVariable) []variableWire {
	out := make([]variableWire, 0, len(list))
	for _, v := range list {
		var tag variableTag
		_ = json.Unmarshal([]byte(v.Tag), &tag) // another door's tag is nothing here
		number := tag.Type
		for n, kind := range variableKinds {
			if kind == v.Kind && kind != remuda.VariableOther {
				number = n
			}
		}
		w := variableWire{
			ID: v.ID, Name: v.Name, Type: &number, Value: &v.Value, Description: v.Description, Multiple: v.Multiple, Prompt: v.Prompt,
			Required: v.Required, Nullable: v.Nullable, Editable: &v.Editable, TransactionColumn: tag.TransactionColumn, ObjectRef: tag.ObjectRef,
		}
		if v.Kind == remuda.VariableSecret {
			w.Value = nil
		}
		out = append(out, w)
	}
	return out
}

// variableValues reads what a run or an answer gives. A secret comes in a member of
// its own.
func variableValues(list []variableValue) []remuda.VariableValue {
	var out []remuda.VariableValue
	for _, w := range list {
		v := remuda.VariableValue{ID: w.ID, Value: value(w.Value)}
		if w.SecretValueInput != nil {
			v.Value = *w.SecretValueInput
		}
		out = append(out, v)
	}
	return out
}

func answersToWire(list []remuda.ScriptAnswer) answersWire {
	w := answersWire{Answers: []variableValue{}}
	for _, a := range list {
		w.Answers = append(w.Answers, variableValue{ID: a.Variable, Value: &a.Value})
	}
	return w
}
