package remuda

import (
	"net/netip"
	"reflect"
	"testing"
	"time"
)

// sample is a value of a type that is none of those that something has by default.
func sample(t *testing.T, of reflect.Type) reflect.Value {
	t.Helper()
	v := reflect.New(of).Elem()
	switch of.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(of.Elem()))
		v.Elem().Set(sample(t, of.Elem()))
	case reflect.String:
		v.SetString("patched")
	case reflect.Int, reflect.Int64:
		v.SetInt(77)
	case reflect.Float64:
		v.SetFloat(7.5)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(of, 1, 1))
		v.Index(0).Set(sample(t, of.Elem()))
	case reflect.Map:
		v.Set(reflect.MakeMap(of))
		v.SetMapIndex(sample(t, of.Key()), sample(t, of.Elem()))
	case reflect.Struct:
		if of == reflect.TypeFor[netip.Prefix]() {
			return reflect.ValueOf(netip.MustParsePrefix("192.0.2.0/24"))
		}
		for i := range of.NumField() {
			if of.Field(i).Type.Kind() != reflect.Bool {
				v.Field(i).Set(sample(t, of.Field(i).Type))
			}
		}
	default:
		t.Fatalf("no sample of %s", of)
	}
	return v
}

// everyField applies a patch of one field after the other: each changes what it is
// applied to, so that none can be forgotten, and none leaves everything as it is.
func everyField[Patch, Thing any](t *testing.T, base Thing, apply func(Patch, Thing) Thing) {
	t.Helper()
	var none Patch
	if got := apply(none, base); !reflect.DeepEqual(got, base) {
		t.Errorf("an empty %T makes %+v of %+v", none, got, base)
	}
	of := reflect.TypeFor[Patch]()
	for i := range of.NumField() {
		var patch Patch
		reflect.ValueOf(&patch).Elem().Field(i).Set(sample(t, of.Field(i).Type))
		if got := apply(patch, base); reflect.DeepEqual(got, base) {
			t.Errorf("%T.%s changes nothing", patch, of.Field(i).Name)
		}
	}
}

func TestEveryFieldOfAPatchIsApplied(t *testing.T) {
	t.Parallel()
	everyField(t, Definition{Name: "r", Language: LanguagePython, Version: "3.11", Preload: []string{"json"}}, RuntimePatch.Apply)
	everyField(t, ScriptDefinition{Name: "s", Content: "1"}, ScriptPatch.Apply)
	everyField(t, Limits{MaxRunspaces: 3, IdleTimeout: time.Minute}, LimitsPatch.Apply)
	everyField(t, Policy{MaxInstances: 3}, PolicyPatch.Apply)
}

// TestPatchesShareNothing changes what a patched thing has, and wants the one before to
// be as it was.
func TestPatchesShareNothing(t *testing.T) {
	t.Parallel()
	before := Definition{Env: map[string]string{"A": "1"}, Preload: []string{"json"}, Packages: []Package{{Name: "numpy"}}}
	after := RuntimePatch{Name: new("x")}.Apply(before)
	after.Env["A"], after.Preload[0], after.Packages[0].Name = "2", "csv", "scipy"
	if before.Env["A"] != "1" || before.Preload[0] != "json" || before.Packages[0].Name != "numpy" {
		t.Errorf("the definition before is %+v", before)
	}
	list := []ScriptVariable{{Name: "a"}}
	changed := ScriptPatch{Variables: &list}.Apply(ScriptDefinition{})
	changed.Variables[0].Name = "b"
	if list[0].Name != "a" {
		t.Error("the patch's own list is changed")
	}
}

// TestSecretsStayWithTheirCode covers what becomes of a secret that comes without its
// value.
func TestSecretsStayWithTheirCode(t *testing.T) {
	t.Parallel()
	secret := func(name, value string) ScriptVariable {
		return ScriptVariable{ID: "V", Name: name, Kind: VariableSecret, Value: value}
	}
	d := ScriptDefinition{Content: "use($key)", Variables: []ScriptVariable{secret("key", "s3cr3t")}}
	for name, tc := range map[string]struct {
		patch ScriptPatch
		want  string
	}{
		"nothing of it changes":    {ScriptPatch{Name: new("n")}, "s3cr3t"},
		"it comes without a value": {ScriptPatch{Variables: &[]ScriptVariable{secret("key", "")}}, "s3cr3t"},
		"another value":            {ScriptPatch{Variables: &[]ScriptVariable{secret("key", "new")}}, "new"},
		"another name":             {ScriptPatch{Variables: &[]ScriptVariable{secret("other", "")}}, ""},
		"other code":               {ScriptPatch{Content: new("print($key)")}, ""},
		"other code, and the list": {ScriptPatch{Content: new("print($key)"), Variables: &[]ScriptVariable{secret("key", "")}}, ""},
		"another runtime":          {ScriptPatch{Runtime: new(RuntimeID("rt_2"))}, ""},
		"other code, new value":    {ScriptPatch{Content: new("print($key)"), Variables: &[]ScriptVariable{secret("key", "new")}}, "new"},
	} {
		if got := tc.patch.Apply(d).Variables[0].Value; got != tc.want {
			t.Errorf("%s: the secret is %q, want %q", name, got, tc.want)
		}
	}
}
