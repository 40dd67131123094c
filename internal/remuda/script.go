package remuda

import (
	"encoding/json"
	"slices"
	"time"
)

// ScriptID names a stored script ("scr_...").
type ScriptID string

// PrefixScript is the prefix of a ScriptID, without the underscore.
const PrefixScript = "scr"

// NewScriptID returns a fresh script id.
func NewScriptID() ScriptID { return ScriptID(NewID(PrefixScript)) }

// ScriptKind is the form of a stored script's content.
type ScriptKind string

// The kinds of scripts.
const (
	ScriptPython   ScriptKind = "python"
	ScriptNotebook ScriptKind = "notebook" // kept and given back; not run
)

// VariableKind is the type of a script's variable.
type VariableKind string

// The kinds of variables. Values are texts; what a script sees of them is said by
// each kind.
const (
	VariableText   VariableKind = "text"
	VariableNumber VariableKind = "number" // an integer or a float
	VariableDate   VariableKind = "date"   // the text
	VariableTime   VariableKind = "datetime"
	VariableSecret VariableKind = "secret" // a text that is never shown again
	VariableOther  VariableKind = "other"  // the text
)

// VariableKinds lists every kind.
func VariableKinds() []VariableKind {
	return []VariableKind{VariableText, VariableNumber, VariableDate, VariableTime, VariableSecret, VariableOther}
}

// ScriptVariable is a value that a script reads as $name and that each run may
// set.
type ScriptVariable struct {
	ID          string // unique in its script; made when it is ""
	Name        string // of a Python identifier in ASCII
	Kind        VariableKind
	Value       string // used when a run gives none; of Multiple a JSON list of texts
	Description string
	Multiple    bool   // the value is a list
	Prompt      bool   // a client asks its user for it
	Required    bool   // a run is refused without a value
	Nullable    bool   // "" is no value
	Editable    bool   // a run may give another value
	Tag         string // kept and given back, without a meaning
}

// ScriptDefinition is what a user says about a stored script.
type ScriptDefinition struct {
	Name        string // unique in its folder
	Description string
	Folder      string // kept and given back
	Kind        ScriptKind
	Usage       string // kept and given back, as is Result
	Result      string
	Content     string
	Runtime     RuntimeID // "" is the built-in one of the kind's language
	Variables   []ScriptVariable
}

// Clone returns a copy that shares nothing with d.
func (d ScriptDefinition) Clone() ScriptDefinition {
	d.Variables = slices.Clone(d.Variables)
	return d
}

// Script is a stored script.
type Script struct {
	ID           ScriptID
	Organization OrganizationID
	Owner        UserID
	ScriptDefinition
	Revision  int // from 1; every change makes the next
	CreatedAt time.Time
	UpdatedAt time.Time
}

// ScriptPatch changes the fields that are not nil.
type ScriptPatch struct {
	Name        *string
	Description *string
	Folder      *string
	Kind        *ScriptKind
	Usage       *string
	Result      *string
	Content     *string
	Runtime     *RuntimeID
	Variables   *[]ScriptVariable
}

// VariableValue sets a variable for one run, by its id or its name.
type VariableValue struct {
	ID    string
	Value string
}

// ScriptRun is one run: an execution of a stored script, or of a content
// that came with the request.
type ScriptRun struct {
	Organization OrganizationID
	Execution    ExecutionID
	Script       ScriptID // "" when the content came with the request
	Prefix       string   // what $ was rewritten to in the content
	CreatedAt    time.Time
}

// PreparedScript is a stored script that is ready to run in a runspace.
type PreparedScript struct {
	ID       ScriptID
	Name     string
	Language Language
	// Runtime is the one that the script names, or the built-in one.
	Runtime    RuntimeID
	Source     string
	Parameters map[string]json.RawMessage // what its variables are bound to
	// Secrets are the names of the secret variables that it reads and has values of.
	Secrets []string
}

// ScriptAnswer is a value that a user keeps for a variable of a script.
type ScriptAnswer struct {
	Variable string `json:"variable"` // id
	Value    string `json:"value"`
}
