package strictyaml_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/remuda-run/remuda/internal/cli/strictyaml"
)

type inner struct {
	CPU  *float64 `json:"cpu,omitempty"`
	Pids *int     `json:"pids,omitempty"`
}

type thing struct {
	Name  string                     `json:"name"`
	Text  *string                    `json:"text,omitempty"`
	On    *bool                      `json:"on,omitempty"`
	In    *inner                     `json:"in,omitempty"`
	Env   map[string]string          `json:"env,omitempty"`
	Words []string                   `json:"words,omitempty"`
	Parts []inner                    `json:"parts,omitempty"`
	Any   map[string]json.RawMessage `json:"any,omitempty"`
}

func TestDecode(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		yaml, want string // want as JSON
		problems   []string
	}{
		"every kind": {
			yaml: "name: a\ntext: 3.10\non: true\nin: {cpu: 1, pids: 0x10}\nenv:\n  A: 08\n  B: yes\n  C: \"\"\nwords: [x, 1]\nparts:\n- cpu: 0.5\nany: {k: [1, {a: b}]}\n",
			want: `{"name":"a","text":"3.10","on":true,"in":{"cpu":1,"pids":16},"env":{"A":"08","B":"yes","C":""},"words":["x","1"],"parts":[{"cpu":0.5}],"any":{"k":[1,{"a":"b"}]}}`,
		},
		"JSON":             {yaml: `{"name": "a", "in": {"cpu": 1e1}}`, want: `{"name":"a","in":{"cpu":10}}`},
		"nothing given":    {yaml: "name: a\ntext:\nenv:\nwords: ~\n", want: `{"name":"a"}`},
		"aliases":          {yaml: "name: &n a\ntext: *n\nin: &i {cpu: 1}\nparts: [*i, *i]\n", want: `{"name":"a","text":"a","in":{"cpu":1},"parts":[{"cpu":1},{"cpu":1}]}`},
		"merges":           {yaml: "name: a\nin: &i {cpu: 1, pids: 2}\nparts:\n- <<: *i\n- {<<: *i, pids: 3}\n- {<<: [{pids: 4}, *i]}\n", want: `{"name":"a","in":{"cpu":1,"pids":2},"parts":[{"cpu":1,"pids":2},{"cpu":1,"pids":3},{"cpu":1,"pids":4}]}`},
		"unknown field":    {yaml: "name: a\nin:\n  cpus: 1\n  zzzzzzz: 1\n", problems: []string{`3: unknown field "cpus"; did you mean "cpu"?`, `4: unknown field "zzzzzzz"`}},
		"missing":          {yaml: "\ntext: x\n", problems: []string{`2: "name" is required`}},
		"missing value":    {yaml: "name:\n", problems: []string{`1: "name" is required`}},
		"twice":            {yaml: "name: a\nname: b\n", problems: []string{`2: "name" is given twice`}},
		"text for number":  {yaml: "name: a\nin: {cpu: lots, pids: 1.5}\n", problems: []string{`2: "in.cpu" takes a number, not "lots"`, `2: "in.pids" takes a whole number, not "1.5"`}},
		"quoted number":    {yaml: "name: a\nin: {cpu: \"1\"}\n", problems: []string{`2: "in.cpu" takes a number, not "1"`}},
		"no finite number": {yaml: "name: a\nin: {cpu: .inf}\n", problems: []string{`2: "in.cpu" takes a number, not ".inf"`}},
		"truth":            {yaml: "name: a\non: yes please\n", problems: []string{`2: "on" takes true or false, not "yes please"`}},
		"text for list":    {yaml: "name: a\nwords: x\n", problems: []string{`2: "words" takes a list`}},
		"list for text":    {yaml: "name: [a]\n", problems: []string{`1: "name" takes one value, not a group or a list`}},
		"text for group":   {yaml: "name: a\nin: x\n", problems: []string{`2: "in" takes a group of fields`}},
		"list for all":     {yaml: "- name: a\n", problems: []string{`1: the document takes a group of fields`}},
		"empty item":       {yaml: "name: a\nwords:\n-\n- b\n", problems: []string{`3: "words[0]" has no value`}},
		"empty variable":   {yaml: "name: a\nenv:\n  A:\n", problems: []string{`3: "env.A" has no value; write "" for an empty text`}},
		"merge of a text":  {yaml: "name: a\nin: {<<: x}\n", problems: []string{`2: "in" takes a group of fields`}},
		"name is a list":   {yaml: "[a]: b\nname: c\n", problems: []string{`1: the name of a field of the document is not a text`}},
		"endless alias":    {yaml: "name: a\nany: &x {y: *x}\n", problems: []string{`cannot be read`}},
		"endless merge":    {yaml: "name: a\nin: &x {<<: *x}\n", problems: []string{"values, counting aliases"}},
		"text no JSON has": {yaml: "name: a\nany: {x: .nan}\n", problems: []string{`2: "any.x" has something that JSON does not have`}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			docs, problems := strictyaml.Parse([]byte(c.yaml))
			if len(docs) != 1 || len(problems) > 0 {
				t.Fatalf("%d documents, %v", len(docs), problems)
			}
			var got thing
			_, problems = docs[0].Decode(&got)
			check(t, problems, c.problems)
			if c.want == "" {
				return
			}
			raw, err := json.Marshal(got)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, string(raw)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func check(t *testing.T, problems []strictyaml.Problem, want []string) {
	t.Helper()
	var said []string
	for _, p := range problems {
		said = append(said, fmt.Sprintf("%d: %s", p.Line, p.Message))
	}
	ok := len(said) == len(want)
	for i := 0; ok && i < len(want); i++ {
		ok = strings.Contains(said[i], want[i])
	}
	if !ok {
		t.Errorf("problems %q, want %q", said, want)
	}
}

func TestParse(t *testing.T) {
	t.Parallel()
	docs, problems := strictyaml.Parse([]byte("# nothing\n---\nname: a\n---\n---\n~\n---\nname: b\ntext: c\n"))
	if len(problems) > 0 || len(docs) != 2 || docs[0].Line() != 3 || docs[1].Line() != 8 {
		t.Errorf("%d documents (%v), %v", len(docs), docs, problems)
	}
	if !docs[1].Has("text") || docs[0].Has("text") || docs[0].Has("a") {
		t.Error("Has does not tell which fields are there")
	}
	for text, want := range map[string]string{
		"a: [1\nb: 2\n": "1: did not find expected ',' or ']'",
		"a: b: c\n":     "mapping values are not allowed in this context",
		"\x01":          "control characters are not allowed",
		"a: *x\n":       "unknown anchor",
	} {
		if docs, problems := strictyaml.Parse([]byte(text)); len(docs) > 0 || len(problems) != 1 {
			t.Errorf("%q: %v, %v", text, docs, problems)
		} else {
			check(t, problems, []string{want})
		}
	}
}

func TestPlaces(t *testing.T) {
	t.Parallel()
	docs, _ := strictyaml.Parse([]byte("name: a\nin:\n  cpu: 1\nwords:\n- x\n- y\nparts:\n- cpu: 1\n  pids: 2\n"))
	var got thing
	places, problems := docs[0].Decode(&got)
	check(t, problems, nil)
	for field, want := range map[string]int{"": 1, "in.cpu": 3, "in.pids": 2, "words[1]": 6, "words[7]": 4, "words": 4, "in": 2, "parts[0].pids": 9, "absent": 1, "absent.deep[3].x": 1} {
		if line := places.Line(field); line != want {
			t.Errorf("%q is on line %d, want %d", field, line, want)
		}
	}
	below := places.Under("parts[0]")
	if below.Line("pids") != 9 || below.Line("") != 8 || len(below) != 3 {
		t.Errorf("below parts[0]: %v", below)
	}
}

// A little text must not become much.
func TestManyAliases(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	b.WriteString("name: a\nany:\n  a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n")
	for i := range 12 {
		fmt.Fprintf(&b, "  a%d: &a%d [%s]\n", i+1, i+1, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d, ", i), 10), ", "))
	}
	docs, _ := strictyaml.Parse([]byte(b.String()))
	var got thing
	if _, problems := docs[0].Decode(&got); len(problems) == 0 {
		t.Error("ten to the power of thirteen values were read")
	}
	docs, _ = strictyaml.Parse([]byte("name: a\nin: &i {cpu: 1}\nparts: [" + strings.Repeat("*i, ", 60_000) + "]\n"))
	_, problems := docs[0].Decode(&got)
	check(t, problems, []string{"more than 100000 values"})
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte("name: a\nin: &i {cpu: 1, <<: {pids: 2}}\nparts: [*i]\nany: {x: [1]}\n"))
	f.Add([]byte("a: &a [*a]\n---\n{<<: [*a]}"))
	f.Add([]byte("name: !!binary aGk=\nenv: {1: 2, ~: x}\nwords: !x [y]"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		docs, problems := strictyaml.Parse(raw)
		if len(problems) > 0 && len(docs) > 0 {
			t.Error("documents of a text that is none")
		}
		for _, d := range docs {
			var got thing
			places, problems := d.Decode(&got)
			if len(problems) == 0 && places.Line("name") == 0 {
				t.Errorf("%q: a required field is nowhere", raw)
			}
		}
	})
}
