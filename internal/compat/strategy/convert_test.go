package strategy

import (
	"encoding/json"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/remuda-run/remuda/internal/remuda"
)

var someone = remuda.Principal{User: "usr_1", Organization: "org_1", Role: remuda.RoleDeployer, Scope: remuda.ScopeWrite}

// through sends v over the wire.
func through[T any](t interface{ Fatal(...any) }, v any) T {
	var out T
	data, err := json.Marshal(v)
	if err == nil {
		err = json.Unmarshal(data, &out)
	}
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestRuntimeComesBack makes a definition of what is shown of a runtime and wants the
// same definition.
func TestRuntimeComesBack(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		low := rapid.IntRange(0, 9).Draw(t, "min")
		want := remuda.Definition{
			Name: rapid.StringMatching(`[A-Za-z() ]{1,20}`).Draw(t, "name"), Description: rapid.String().Draw(t, "description"), Language: remuda.LanguagePython,
			Version: rapid.StringMatching(`3\.[0-9]{1,2}(\.[0-9])?`).Draw(t, "version"), VersionPolicy: remuda.VersionCompatible, Others: rapid.String().Draw(t, "others"),
			Resources:   remuda.Resources{CPU: rapid.Float64Range(0.01, 64).Draw(t, "cpu"), MemoryMB: rapid.IntRange(16, 1<<20).Draw(t, "memory")},
			ExecTimeout: time.Duration(rapid.IntRange(1, 86400).Draw(t, "timeout")) * time.Second,
			Pool:        remuda.PoolBounds{MinCached: low, MaxCached: low + rapid.IntRange(0, 9).Draw(t, "more")},
			Egress:      remuda.Egress{CIDRs: rapid.SliceOf(rapid.Custom(prefix)).Draw(t, "cidrs"), Names: rapid.SliceOf(rapid.StringMatching(`[a-z]{1,9}\.example`)).Draw(t, "names")},
			Packages: rapid.SliceOf(rapid.Custom(func(t *rapid.T) remuda.Package {
				return remuda.Package{Name: rapid.String().Draw(t, "package"), Version: rapid.String().Draw(t, "of"), Description: rapid.String().Draw(t, "about")}
			})).Draw(t, "packages"),
		}
		shown := runtimeToWire(remuda.Runtime{ID: remuda.NewRuntimeID(), Organization: "org_1", Definition: want, Generation: 1}, ownerWire{}, someone)
		got, err := definition(through[runtimeRequest](t, shown), remuda.VersionCompatible)
		if err != nil || !cmp.Equal(got, want, cmpopts.EquateEmpty(), cmpopts.EquateComparable(netip.Prefix{})) {
			t.Fatalf("%v\n%s", err, cmp.Diff(want, got, cmpopts.EquateEmpty(), cmpopts.EquateComparable(netip.Prefix{})))
		}
	})
}

// prefix draws a range of addresses in its canonical form.
func prefix(t *rapid.T) netip.Prefix {
	if rapid.Bool().Draw(t, "v4") {
		address := netip.AddrFrom4([4]byte(rapid.SliceOfN(rapid.Byte(), 4, 4).Draw(t, "address")))
		return netip.PrefixFrom(address, rapid.IntRange(0, 32).Draw(t, "bits")).Masked()
	}
	address := netip.AddrFrom16([16]byte(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "address")))
	return netip.PrefixFrom(address, rapid.IntRange(0, 128).Draw(t, "bits")).Masked()
}

// TestScriptComesBack does the same for a script; a secret's value does not come.
func TestScriptComesBack(t *testing.T) {
	t.Parallel()
	numbers := []int{0, 1, 2, 3, 4, 5, 4106, 32769}
	rapid.Check(t, func(t *rapid.T) {
		list, err := variables(rapid.SliceOfN(rapid.Custom(func(t *rapid.T) variableWire {
			value, number := rapid.String().Draw(t, "value"), rapid.SampledFrom(numbers).Draw(t, "type")
			w := variableWire{ID: rapid.String().Draw(t, "id"), Name: rapid.String().Draw(t, "name"), Type: &number, Value: &value, Multiple: rapid.Bool().Draw(t, "multiple"), Editable: new(rapid.Bool().Draw(t, "editable"))}
			if rapid.Bool().Draw(t, "tagged") {
				w.ObjectRef, w.TransactionColumn = json.RawMessage(`{"a":[1]}`), json.RawMessage(`"c"`)
			}
			return w
		}), 0, 4).Draw(t, "variables"))
		if err != nil {
			t.Fatal(err)
		}
		kinds := []string{"python", "jupyterNotebook"}
		want := remuda.ScriptDefinition{
			Name: rapid.String().Draw(t, "name"), Description: rapid.String().Draw(t, "description"), Folder: rapid.String().Draw(t, "folder"), Result: "text",
			Kind: scriptKinds[rapid.SampledFrom(kinds).Draw(t, "kind")], Usage: rapid.SampledFrom([]string{"", "dataSource", "transaction"}).Draw(t, "usage"),
			Content: rapid.String().Draw(t, "content"), Variables: list,
		}
		shown := scriptToWire(remuda.Script{ID: remuda.NewScriptID(), Organization: "org_1", ScriptDefinition: want, Revision: 1}, ownerWire{}, someone)
		patch, err := scriptPatch(through[scriptRequest](t, shown))
		got := newScript(patch)
		for i := range want.Variables {
			if want.Variables[i].Kind == remuda.VariableSecret {
				want.Variables = slices.Clone(want.Variables)
				want.Variables[i].Value = ""
			}
		}
		if err != nil || !cmp.Equal(got, want, cmpopts.EquateEmpty()) {
			t.Fatalf("%v\n%s", err, cmp.Diff(want, got, cmpopts.EquateEmpty()))
		}
	})
}

// A change is seen in the dates, although they have whole seconds.
func TestDates(t *testing.T) {
	t.Parallel()
	made := time.Date(2026, 11, 22, 8, 0, 0, 300_000_000, time.FixedZone("x", 3600))
	for changed, want := range map[time.Time]string{
		made:                             "2026-11-22T07:00:00.000+0000",
		made.Add(time.Microsecond):       "2026-11-22T07:00:01.000+0000",
		made.Add(700 * time.Millisecond): "2026-11-22T07:00:01.000+0000",
		made.Add(time.Second):            "2026-11-22T07:00:02.000+0000",
	} {
		if got := modified(made, changed); got != want || created(made) != "2026-11-22T07:00:00.000+0000" {
			t.Errorf("made %s, changed %s: %s, want %s", created(made), changed, got, want)
		}
	}
	seen := map[string]bool{}
	for number := range 3 {
		for _, at := range []time.Time{made, made.Add(time.Microsecond)} {
			seen[versionID("rt_1", number, at)] = true
		}
	}
	if len(seen) != 6 {
		t.Errorf("%d versions of 6", len(seen))
	}
}

func TestCores(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]float64{`"0.2"`: 0.2, `2`: 2, `0.25`: 0.25, `".5"`: 0.5, `"4."`: 4, `5e-1`: 0.5} {
		if got, err := cores(json.RawMessage(raw)); err != nil || got == nil || *got != want {
			t.Errorf("%s: %v, %v", raw, got, err)
		}
	}
	for _, raw := range []string{`"0x1p-2"`, `"inf"`, `"Infinity"`, `"NaN"`, `"1_0"`, `"1e1"`, `"+1"`, `"-1"`, `" 1"`, `"1\n"`, `""`, `"."`, `"1.2.3"`, `0`, `-1`, `1e400`, `true`} {
		if got, err := cores(json.RawMessage(raw)); err == nil {
			t.Errorf("%s is %v", raw, *got)
		}
	}
}

func TestPick(t *testing.T) {
	t.Parallel()
	list := runtimesWire{[]runtimeWire{{ID: "A", Name: "a", ACG: 1}, {ID: "B", Name: "b", ACG: 2}}}
	for fields, want := range map[string]string{
		"id":          `{"runtimes":[{"id":"A"},{"id":"B"}]}`,
		"id,acg,":     `{"runtimes":[{"acg":1,"id":"A"},{"acg":2,"id":"B"}]}`,
		"nothing":     `{"runtimes":[{},{}]}`,
		"runtimes.id": `{"runtimes":[{},{}]}`,
	} {
		v, err := pick(list, fields)
		if got, _ := json.Marshal(v); err != nil || string(got) != want {
			t.Errorf("fields=%s keeps %s, %v; want %s", fields, got, err, want)
		}
	}
	whole, err := pick(list, "runtimes")
	if got, _ := json.Marshal(whole); err != nil || len(got) < 200 {
		t.Errorf("the root's own key keeps %s, %v", got, err)
	}
	none, err := pick(idWire{"A"}, "name")
	if got, _ := json.Marshal(none); err != nil || string(got) != "{}" {
		t.Errorf("got %s, %v", got, err)
	}
}

// FuzzRequests gives any bytes to the decoders of every body, and wants them to make
// an object that can be shown again, or to say what is wrong.
func FuzzRequests(f *testing.F) {
	for _, seed := range []string{
		`{"name":"x","whitelist":["10.0.0.0/8","a.b"],"resource":{"cpu":"0.2","mem":512},"execTimeout":0,"packages":[{"name":"a"}]}`,
		`{"resource":{"cpu":1e400}}`, `{"resource":{"cpu":"NaN"}}`, `{"execTimeout":9223372036854775807,"minCachedInstances":-9223372036854775808}`,
		`{"scriptContent":"cmV0dXJu","variables":[{"name":"a","type":4106,"objectRef":{}}],"scriptType":"python"}`, `{"scriptContent":"\u0000"}`, `{"loginMode":"1e9"}`, `{"loginMode":99999999999999999999}`, `null`, `[]`, `{"fields":1}`,
	} {
		f.Add([]byte(seed), "id,name")
	}
	f.Fuzz(func(t *testing.T, data []byte, fields string) {
		var rt runtimeRequest
		if json.Unmarshal(data, &rt) == nil {
			if d, err := definition(rt, remuda.VersionCompatible); err == nil {
				if _, err := pick(runtimeToWire(remuda.Runtime{Definition: d}, ownerWire{}, someone), fields); err != nil {
					t.Fatalf("%+v cannot be shown: %v", d, err)
				}
			} else if answerOf(err).status != 400 {
				t.Fatalf("%s: %v", data, err)
			}
		}
		var sc scriptRequest
		if json.Unmarshal(data, &sc) == nil {
			if patch, err := scriptPatch(sc); err == nil {
				if _, err := pick(scriptToWire(remuda.Script{ScriptDefinition: newScript(patch)}, ownerWire{}, someone), fields); err != nil {
					t.Fatalf("%+v cannot be shown: %v", patch, err)
				}
			} else if answerOf(err).status != 400 {
				t.Fatalf("%s: %v", data, err)
			}
		}
		var login loginRequest
		if json.Unmarshal(data, &login) == nil {
			if _, err := loginMode(login.LoginMode); err != nil && answerOf(err).status != 400 {
				t.Fatalf("%s: %v", data, err)
			}
		}
		var answers answersWire
		if json.Unmarshal(data, &answers) == nil {
			_ = variableValues(answers.Answers)
		}
	})
}

// Every code of ours has its place in the table, and none is a surprise to a client.
func TestEveryCodeHasAnAnswer(t *testing.T) {
	t.Parallel()
	for _, code := range []remuda.Code{
		remuda.CodeInvalid, remuda.CodeUnauthenticated, remuda.CodeForbidden, remuda.CodeNotFound, remuda.CodeConflict, remuda.CodePrecondition, remuda.CodeTooLarge,
		remuda.CodeUnsupportedType, remuda.CodeExhausted, remuda.CodeDeadline, remuda.CodeCanceled, remuda.CodeUnavailable, remuda.CodeUnsupported, remuda.CodeInternal,
	} {
		if _, ok := answers[code]; !ok {
			t.Errorf("%s has no answer", code)
		}
		err := &remuda.Error{Code: code, Message: "what", Cause: "why", Remedy: "do it", Err: errPrivate{}}
		if text := messageOf(err, answerOf(err).code); text != "what: why. Do it." {
			t.Errorf("%s is told as %q", code, text)
		}
	}
	if a := answerOf(errPrivate{}); a.status != 500 || a.code != codeGeneral {
		t.Errorf("an unknown error is %+v", a)
	}
	if text := messageOf(errPrivate{}, codeGeneral); text != "internal error while serving the request. Look for the request id in the server's log." {
		t.Errorf("an unknown error is told as %q", text)
	}
}

type errPrivate struct{}

func (errPrivate) Error() string { return "private" }
