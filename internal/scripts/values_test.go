package scripts

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/remuda-run/remuda/internal/remuda"
)

func TestValues(t *testing.T) {
	t.Parallel()
	v := func(name string, kind remuda.VariableKind, value string) remuda.ScriptVariable {
		return remuda.ScriptVariable{ID: "id-" + name, Name: name, Kind: kind, Value: value, Editable: true}
	}
	required, fixed, list, nullable, secret := v("r", remuda.VariableText, ""), v("f", remuda.VariableText, "fixed"), v("l", remuda.VariableNumber, `["1"]`), v("z", remuda.VariableText, ""), v("s", remuda.VariableSecret, "own")
	required.Required, fixed.Editable, list.Multiple, nullable.Nullable = true, false, true, true
	all := []remuda.ScriptVariable{v("t", remuda.VariableText, "a\"é"), v("n", remuda.VariableNumber, " +1.50e2"), required, fixed, list, nullable, secret}
	names := []string{"t", "n", "r", "f", "l", "z", "s"}
	for _, c := range []struct {
		name    string
		given   []remuda.VariableValue
		answers []remuda.ScriptAnswer
		used    []string
		want    string // name=JSON, sorted
		wrong   string // part of the error
	}{
		{name: "given", given: []remuda.VariableValue{{ID: "id-r", Value: "x"}, {ID: "l", Value: `["2","-0.5"]`}}, used: names, want: `f="fixed" l=[2,-0.5] n=1.50e2 r="x" s="own" t="a\"é" z=null`},
		{name: "only what is read", given: []remuda.VariableValue{{ID: "id-r", Value: "x"}}, used: []string{"n"}, want: `n=1.50e2`},
		{name: "answered", answers: []remuda.ScriptAnswer{{Variable: "id-r", Value: "mine"}, {Variable: "id-t", Value: "t"}}, given: []remuda.VariableValue{{ID: "t", Value: "given"}}, used: []string{"r", "t"}, want: `r="mine" t="given"`},
		{name: "answers that do not count any more", answers: []remuda.ScriptAnswer{{Variable: "id-r", Value: "mine"}, {Variable: "id-f", Value: "other"}, {Variable: "id-s", Value: "other"}, {Variable: "gone", Value: "x"}}, used: []string{"f", "s"}, want: `f="fixed" s="own"`},
		{name: "missing", used: names, wrong: "$r, which is required"},
		{name: "not editable", given: []remuda.VariableValue{{ID: "r", Value: "x"}, {ID: "f", Value: "other"}}, wrong: "$f is not editable"},
		{name: "the value it has", given: []remuda.VariableValue{{ID: "r", Value: "x"}, {ID: "f", Value: "fixed"}}, used: []string{"f"}, want: `f="fixed"`},
		{name: "no number", given: []remuda.VariableValue{{ID: "r", Value: "x"}, {ID: "n", Value: "0x10"}}, wrong: "must be a number"},
		{name: "no list", given: []remuda.VariableValue{{ID: "r", Value: "x"}, {ID: "l", Value: "1"}}, wrong: "JSON list of texts"},
		{name: "a wrong entry", given: []remuda.VariableValue{{ID: "r", Value: "x"}, {ID: "l", Value: `["1","b"]`}}, wrong: "entry 2"},
		{name: "null for a list", given: []remuda.VariableValue{{ID: "r", Value: "x"}, {ID: "l", Value: `null`}}, wrong: "JSON list of texts"},
		{name: "unknown", given: []remuda.VariableValue{{ID: "r", Value: "x"}, {ID: "q"}, {ID: ""}}, wrong: "is no variable"},
		{name: "undeclared", given: []remuda.VariableValue{{ID: "r", Value: "x"}}, used: []string{"q"}, wrong: "has no $q"},
		{name: "too long", given: []remuda.VariableValue{{ID: "r", Value: strings.Repeat("x", maxValueBytes+1)}}, wrong: "at most"},
		{name: "no UTF-8", given: []remuda.VariableValue{{ID: "r", Value: "\xff"}}, wrong: "UTF-8"},
	} {
		got, err := values(c.used, all, c.given, c.answers)
		var told []string
		for _, name := range slices.Sorted(maps.Keys(got)) {
			if !json.Valid(got[name]) {
				t.Errorf("%s: %s is no JSON", c.name, got[name])
			}
			told = append(told, name+"="+string(got[name]))
		}
		if text := strings.Join(told, " "); c.wrong == "" && (err != nil || text != c.want) {
			t.Errorf("%s: got %s, %v; want %s", c.name, text, err, c.want)
		}
		if c.wrong != "" && (remuda.CodeOf(err) != remuda.CodeInvalid || !strings.Contains(err.Error()+fieldsOf(err), c.wrong)) {
			t.Errorf("%s: got %v, want a refusal that says %q", c.name, err, c.wrong)
		}
	}
}

func fieldsOf(err error) string {
	e, ok := err.(*remuda.Error) //nolint:errorlint // the type itself is made here
	if !ok {
		return ""
	}
	var all []string
	for _, f := range e.Fields {
		all = append(all, f.Field+" "+f.Message)
	}
	return strings.Join(all, "; ")
}

// FuzzEncode wants every value to become JSON or to be refused.
func FuzzEncode(f *testing.F) {
	for _, seed := range []string{"1", "-0", "1e999", "1e-999", "+1", "00", "0x1", "NaN", `["1"]`, `[1]`, "\xff", "null", strings.Repeat("9", 500)} {
		f.Add(seed, true)
		f.Add(seed, false)
	}
	f.Fuzz(func(t *testing.T, value string, multiple bool) {
		for _, kind := range remuda.VariableKinds() {
			raw, err := encode(remuda.ScriptVariable{Kind: kind, Multiple: multiple}, value)
			if err == nil && !json.Valid(raw) {
				t.Fatalf("%q of kind %s became %q", value, kind, raw)
			}
		}
	})
}
