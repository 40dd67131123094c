package cli

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/remuda-run/remuda/api"
	"github.com/remuda-run/remuda/internal/remuda"
)

// drawDeclared draws any definition that a file can hold.
func drawDeclared(t *rapid.T, label string) api.RuntimeCreate {
	texts := rapid.SliceOfN(rapid.StringMatching(`[a-z]{1,3}`), 0, 3)
	number := rapid.Ptr(rapid.IntRange(0, 3), true)
	d := api.RuntimeCreate{
		Name: "a", Language: rapid.SampledFrom([]api.Language{"python", "node", "bash"}).Draw(t, label+" language"),
		Description: rapid.Ptr(rapid.String(), true).Draw(t, label+" description"), Version: rapid.Ptr(rapid.StringMatching(`3(\.\d)?`), true).Draw(t, label+" version"),
		ExecTimeoutS: number.Draw(t, label+" timeout"), Preload: texts.Draw(t, label+" preload"),
		Env:    rapid.MapOfN(rapid.StringMatching(`[A-B]`), rapid.String(), 0, 2).Draw(t, label+" env"),
		Others: rapid.Ptr(rapid.StringMatching(`[ab\n]*`), true).Draw(t, label+" others"),

		ConnectionScript: rapid.Ptr(rapid.StringMatching(`[ab]?`), true).Draw(t, label+" connection"), DisconnectScript: rapid.Ptr(rapid.StringMatching(`[ab]?`), true).Draw(t, label+" disconnect"),
	}
	if rapid.Bool().Draw(t, label+" has resources") {
		d.Resources = &api.ResourcesUpdate{Cpu: rapid.Ptr(rapid.Float64Range(0, 2), true).Draw(t, label+" cpu"), Pids: number.Draw(t, label+" pids")}
	}
	if rapid.Bool().Draw(t, label+" has a pool") {
		d.Pool = &api.PoolUpdate{MinCached: number.Draw(t, label+" min"), MaxCached: number.Draw(t, label+" max")}
	}
	if rapid.Bool().Draw(t, label+" has egress") {
		d.Egress = &api.Egress{Cidrs: rapid.SliceOf(rapid.SampledFrom([]string{"10.0.0.0/8", "2001:DB8::/32"})).Draw(t, label+" cidrs"), Names: texts.Draw(t, label+" names")}
	}
	for _, name := range texts.Draw(t, label+" packages") {
		d.Packages = append(d.Packages, api.Package{Name: name, Version: rapid.Ptr(rapid.SampledFrom([]string{"", "latest", "1.0"}), true).Draw(t, label+" package")})
	}
	return d
}

// stored is a runtime as the server gives back what it was sent, changed by a
// request of the other kind.
func stored(t *rapid.T, fields, request any) api.Runtime {
	rt := api.Runtime{Id: "rt_x", Status: api.RuntimeStatusReady, Generation: 1}
	for _, v := range []any{fields, request} {
		body := fieldsOf(v)
		list, _ := body["packages"].([]any)
		for _, item := range list {
			if p, ok := item.(map[string]any); ok {
				p["status"], p["resolved"], p["message"] = "installed", "1.0", nil
			}
		}
		if body["packages"] != nil {
			rt.Packages = nil // replaced as a whole, as env and egress are below
		}
		if err := convert(body, &rt); err != nil {
			t.Fatal(err)
		}
		if env, ok := body["env"]; ok {
			rt.Env = nil
			if err := convert(env, &rt.Env); err != nil {
				t.Fatal(err)
			}
		}
		if _, ok := body["egress"]; ok {
			rt.Egress = api.EgressList{}
			if err := convert(body["egress"], &rt.Egress); err != nil {
				t.Fatal(err)
			}
		}
	}
	return rt
}

// What create sends is what is declared, and what update sends makes of any runtime
// what is declared: the next plan has nothing to do.
func TestAppliedIsUnchanged(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		set := rapid.SampledFrom([]string{"", "s"}).Draw(t, "set")
		first := declared{set: set, runtimes: []declaration{{RuntimeCreate: drawDeclared(t, "first")}}}
		step := planOf(first, nil, true)[0]
		made, err := step.create()
		if err != nil || step.verb != verbCreate {
			t.Fatalf("%s, %v", step.verb, err)
		}
		rt := stored(t, made, nil)
		if again := planOf(first, []api.Runtime{rt}, true); again[0].verb != verbKeep || len(again) != 1 {
			t.Fatalf("after create: %+v", again[0].changes)
		}
		second := declared{set: rapid.SampledFrom([]string{"", "s", "t"}).Draw(t, "second set"), runtimes: []declaration{{RuntimeCreate: drawDeclared(t, "second")}}}
		step = planOf(second, []api.Runtime{rt}, false)[0]
		if step.verb == verbKeep {
			return
		}
		request, err := step.update()
		if err != nil {
			t.Fatal(err)
		}
		if again := planOf(second, []api.Runtime{stored(t, rt, request)}, false); again[0].verb != verbKeep {
			t.Fatalf("after update: %+v", again[0].changes)
		}
	})
}

// An update names only what differs.
func TestUpdateIsSmall(t *testing.T) {
	t.Parallel()
	was := api.RuntimeCreate{Name: "a", Language: "python", Env: api.Env{"A": "1"}, Preload: []string{"json"}}
	made, err := planOf(declared{runtimes: []declaration{{RuntimeCreate: was}}}, nil, false)[0].create()
	if err != nil {
		t.Fatal(err)
	}
	var rt api.Runtime
	if err := convert(made, &rt); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(*api.RuntimeCreate)
		want   string
	}{
		"text":          {func(d *api.RuntimeCreate) { d.Description = optional("x") }, `{"description":"x"}`},
		"variable gone": {func(d *api.RuntimeCreate) { d.Env = nil }, `{"env":{}}`},
		"list gone":     {func(d *api.RuntimeCreate) { d.Preload = nil }, `{"preload":[]}`},
		"one limit":     {func(d *api.RuntimeCreate) { d.Resources = &api.ResourcesUpdate{Pids: optional(7)} }, `{"resources":{"cpu":1,"disk_mb":256,"memory_mb":512,"pids":7}}`},
	} {
		d := was
		c.change(&d)
		request, err := planOf(declared{runtimes: []declaration{{RuntimeCreate: d}}}, []api.Runtime{rt}, false)[0].update()
		if err != nil {
			t.Fatal(err)
		}
		raw, err := json.Marshal(request)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c.want, string(raw)); diff != "" {
			t.Errorf("%s (-want +got)\n%s", name, diff)
		}
	}
	// What belongs to a language goes with it on the server, so all is said anew.
	d := was
	d.Language = "node"
	request, err := planOf(declared{runtimes: []declaration{{RuntimeCreate: d}}}, []api.Runtime{rt}, false)[0].update()
	if err != nil || request.Preload == nil || request.Version == nil || request.Packages == nil {
		t.Errorf("a change of language sends %+v, %v", request, err)
	}
}

func TestPrunesItsOwnSet(t *testing.T) {
	t.Parallel()
	runtime := func(name, others string, global bool) api.Runtime {
		return api.Runtime{Name: name, Others: others, Global: global, Id: "rt_" + name}
	}
	all := []api.Runtime{
		runtime("kept", "remuda.set=s", false), runtime("mine", "remuda.set=s", false), runtime("mine-too", "text\nremuda.set=s", false),
		runtime("hand", "", false), runtime("other", "remuda.set=t", false), runtime("near", "remuda.set=ss", false),
		runtime("early", "remuda.set=s\ntext", false), runtime("site", "remuda.set=s", true),
	}
	want := declared{set: "s", runtimes: []declaration{{RuntimeCreate: api.RuntimeCreate{Name: "kept", Language: "bash"}}}}
	deleted := func(want declared, prune bool) []string {
		names := []string{}
		for _, s := range planOf(want, all, prune) {
			if s.verb == verbDelete {
				names = append(names, s.name)
			}
		}
		return names
	}
	if got := deleted(want, true); !slices.Equal(got, []string{"mine", "mine-too"}) {
		t.Errorf("prunes %v", got)
	}
	if got := deleted(want, false); len(got) > 0 {
		t.Errorf("prunes %v without being asked", got)
	}
	want.set = ""
	if got := deleted(want, true); len(got) > 0 {
		t.Errorf("prunes %v without a set", got)
	}
}

func TestSetMark(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		own := rapid.StringMatching(`([a-z=.]*\n?)*`).Draw(t, "own")
		set := rapid.StringMatching(`[a-z]{1,3}`).Draw(t, "set")
		if gotOwn, gotSet := splitSet(joinSet(own, set)); gotOwn != own || gotSet != set {
			t.Fatalf("%q of %q came back as %q of %q", own, set, gotOwn, gotSet)
		}
	})
}

// Every example is one that apply takes, and together they are one set.
func TestExampleRuntimes(t *testing.T) {
	t.Parallel()
	c := &command{Env: &Env{Stdin: strings.NewReader("")}}
	got, err := c.readDeclared(fileFlags{files: []string{"../../examples/runtimes", "../../examples/runtime.yaml"}})
	if err != nil {
		t.Fatal(describe(err))
	}
	if got.set != "examples" || len(got.runtimes) < 5 {
		t.Errorf("the examples are %d runtimes of the set %q", len(got.runtimes), got.set)
	}
}

// The fields that docs/declarative.md lists are those that there are.
func TestDeclarativeDocument(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile(filepath.Join("../../docs", "declarative.md"))
	if err != nil {
		t.Fatal(err)
	}
	fields := wanted(api.RuntimeCreate{Name: "a", Language: "python"})
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		if !strings.Contains(string(raw), "`"+name+"`") {
			t.Errorf("the document does not tell of %q", name)
		}
	}
	for _, l := range remuda.Languages() {
		if !strings.Contains(string(raw), string(l)) {
			t.Errorf("the document does not tell of the language %s", l)
		}
	}
}
