package scripts

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/remuda-run/remuda/internal/remuda"
)

var numberPattern = regexp.MustCompile(`^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]{1,3})?$`)

// encode makes JSON of a variable's value, as its kind says. The error says what
// would be right.
func encode(v remuda.ScriptVariable, value string) (json.RawMessage, error) {
	if !v.Multiple {
		return encodeOne(v.Kind, value)
	}
	var items []string
	if err := json.Unmarshal([]byte(value), &items); err != nil || items == nil {
		return nil, errors.New(`must be a JSON list of texts such as ["a","b"], since the variable takes several`)
	}
	list := make([]json.RawMessage, len(items))
	for i, item := range items {
		one, err := encodeOne(v.Kind, item)
		if err != nil {
			return nil, fmt.Errorf("%w (entry %d)", err, i+1)
		}
		list[i] = one
	}
	return json.Marshal(list)
}

func encodeOne(kind remuda.VariableKind, value string) (json.RawMessage, error) {
	if kind != remuda.VariableNumber {
		return json.Marshal(value)
	}
	text := strings.TrimSpace(value)
	text = strings.TrimPrefix(text, "+")
	if len(text) > 400 || !numberPattern.MatchString(text) {
		return nil, errors.New("must be a number such as 42 or -0.5")
	}
	if _, ok := new(big.Float).SetString(text); !ok {
		return nil, errors.New("must be a number such as 42 or -0.5")
	}
	return json.RawMessage(text), nil
}

var null = json.RawMessage("null")

// values finds the value of every variable that a script reads: what the run
// gives, else what the user has answered, else the variable's own. The result is
// by name.
func values(used []string, variables []remuda.ScriptVariable, given []remuda.VariableValue, answers []remuda.ScriptAnswer) (map[string]json.RawMessage, error) {
	var c checker
	chosen := map[string]string{} // by id
	for _, a := range answers {   // the variable may have changed since
		if v, ok := find(variables, a.Variable); ok && v.ID == a.Variable && v.Editable && v.Kind != remuda.VariableSecret {
			chosen[a.Variable] = a.Value
		}
	}
	for i, g := range given {
		at := fmt.Sprintf("variables[%d]", i)
		v, ok := find(variables, g.ID)
		switch {
		case !ok:
			c.add(at+".id", "is no variable of this script")
		case !v.Editable && g.Value != v.Value:
			c.add(at+".value", "cannot be set: the variable $%s is not editable", v.Name)
		case len(g.Value) > maxValueBytes || !utf8.ValidString(g.Value):
			c.add(at+".value", "must be valid UTF-8 of at most %d bytes", maxValueBytes)
		default:
			chosen[v.ID] = g.Value
		}
	}
	out := map[string]json.RawMessage{}
	for _, v := range variables {
		value, ok := chosen[v.ID]
		if !ok {
			value = v.Value
		}
		if raw := c.value(v, value); raw != nil && slices.Contains(used, v.Name) {
			out[v.Name] = raw
		}
	}
	for _, name := range used {
		if _, ok := find(variables, name); !ok {
			c.add("variables", "has no $%s, which the script reads", name)
		}
	}
	if len(c.fields) > 0 {
		return nil, remuda.Invalid(c.fields...)
	}
	return out, nil
}

// value is the JSON of a variable's value; nil when it is wrong.
func (c *checker) value(v remuda.ScriptVariable, value string) json.RawMessage {
	if value == "" {
		switch {
		case v.Required:
			c.add("variables", "has no value for $%s, which is required", v.Name)
			return nil
		case v.Nullable, v.Multiple, v.Kind == remuda.VariableNumber:
			return null
		}
	}
	raw, err := encode(v, value)
	if err != nil {
		c.add("variables", "has a value for $%s that %s", v.Name, err)
		return nil
	}
	return raw
}

// find returns the variable with an id, or else with a name.
func find(variables []remuda.ScriptVariable, ref string) (remuda.ScriptVariable, bool) {
	i := slices.IndexFunc(variables, func(v remuda.ScriptVariable) bool { return v.ID == ref })
	if i < 0 {
		i = slices.IndexFunc(variables, func(v remuda.ScriptVariable) bool { return v.Name == ref })
	}
	if i < 0 || ref == "" {
		return remuda.ScriptVariable{}, false
	}
	return variables[i], true
}

// checkAnswers returns given as answers to the variables of a script.
func checkAnswers(sc remuda.Script, given []remuda.VariableValue) ([]remuda.ScriptAnswer, error) {
	var c checker
	answers := []remuda.ScriptAnswer{}
	for i, g := range given {
		at := fmt.Sprintf("answers[%d]", i)
		v, ok := find(sc.Variables, g.ID)
		switch {
		case !ok:
			c.add(at+".id", "is no variable of this script")
		case v.Kind == remuda.VariableSecret:
			c.add(at+".value", "cannot be kept: $%s is a secret, which is given with each run", v.Name)
		case !v.Editable:
			c.add(at+".value", "cannot be set: the variable $%s is not editable", v.Name)
		case slices.ContainsFunc(answers, func(a remuda.ScriptAnswer) bool { return a.Variable == v.ID }):
			c.add(at+".id", "is given twice")
		default:
			c.text(at+".value", g.Value, maxValueBytes)
			if g.Value != "" {
				if _, err := encode(v, g.Value); err != nil {
					c.add(at+".value", "%s", err)
				}
			}
			answers = append(answers, remuda.ScriptAnswer{Variable: v.ID, Value: g.Value})
		}
	}
	if len(c.fields) > 0 {
		return nil, remuda.Invalid(c.fields...)
	}
	return answers, nil
}
