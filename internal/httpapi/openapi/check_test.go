package openapi_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/remuda-run/remuda/api"
	"github.com/remuda-run/remuda/internal/httpapi/openapi"
)

func load(t testing.TB) *openapi.Document {
	t.Helper()
	doc, err := openapi.Load(api.YAML())
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

const small = `{"runtime":"python","script":"print(1 + 1)","timeout_s":10,"parameters":{"x":[1,{"y":null}]}}`

// bodies are what the check and kin-openapi are compared on.
var bodies = []struct {
	schema, body string
	wrong        []string // the fields that are named, in any order
}{
	{"ExecutionCreate", small, nil},
	{"ExecutionCreate", ` { "runtime" : "p" , "args" : [ ] , "env" : { } , "files" : [ ] } `, nil},
	{"ExecutionCreate", `{"runtime":"p","parameters":{"x":"\"}]","y":"\\"},"script":"\\\"{"}`, nil},
	{"ExecutionCreate", `{"\u0072untime":"p"}`, nil},
	{"ExecutionCreate", `{}`, []string{"runtime"}},
	{"ExecutionCreate", `[]`, []string{""}},
	{"ExecutionCreate", `null`, []string{""}},
	{"ExecutionCreate", `"x"`, []string{""}},
	{"ExecutionCreate", `{"runtime":""}`, []string{"runtime"}},
	{"ExecutionCreate", `{"runtime":null}`, []string{"runtime"}},
	{"ExecutionCreate", `{"runtime":"p","x":1,"y":{"z":[]}}`, []string{"x", "y"}},
	{"ExecutionCreate", `{"runtime":"p","args":["a",1,null]}`, []string{"args[1]", "args[2]"}},
	{"ExecutionCreate", `{"runtime":"p","timeout_s":604801}`, []string{"timeout_s"}},
	{"ExecutionCreate", `{"runtime":"p","timeout_s":1e3}`, nil},
	{"ExecutionCreate", `{"runtime":"p","timeout_s":"1"}`, []string{"timeout_s"}},
	{"ExecutionCreate", `{"runtime":"p","env":{"A B":"x"}}`, []string{"env.A B"}},
	{"ExecutionCreate", `{"runtime":"p","files":[{}]}`, []string{"files[0].path"}},
	{"ExecutionCreate", `{"runtime":"p","files":{}}`, []string{"files"}},
	{"RunspaceExecutionCreate", `{"runtime":"p"}`, []string{"runtime"}},
	{"RuntimeCreate", `{"name":"é","language":"bash","resources":{"pids":1}}`, nil},
	{"RuntimeCreate", `{"name":"` + strings.Repeat("é", 250) + `","language":"bash"}`, nil},
	{"RuntimeCreate", `{"name":"` + strings.Repeat("é", 251) + `","language":"bash"}`, []string{"name"}},
	{"RuntimeCreate", `{"name":"` + strings.Repeat(`\u00e9`, 250) + `","language":"bash"}`, nil},
	{"RuntimeCreate", `{"name":"x","language":"ba\u0073h"}`, nil},
	{"RuntimeCreate", `{"name":"x","language":"Bash","resources":{"cpu":0,"pids":1.5,"disk_mb":0}}`, []string{"language", "resources.cpu", "resources.pids", "resources.disk_mb"}},
	{"RuntimeUpdate", `{}`, []string{""}},
	{"RuntimeUpdate", `{"name":"` + strings.Repeat("n", 251) + `"}`, []string{"name"}},
	{"RunspaceCreate", `{"runtime":"x","name":"` + strings.Repeat("n", 64) + `"}`, []string{"name"}},
	{"OrganizationCreate", `{"name":"` + strings.Repeat("n", 64) + `"}`, []string{"name"}},
	{"TokenCreate", `{"name":"` + strings.Repeat("n", 63) + `"}`, nil},
	{"TokenCreate", `{"name":"` + strings.Repeat("n", 64) + `"}`, []string{"name"}},
	{"UserCreate", `{"name":"` + strings.Repeat("n", 64) + `","password":"y"}`, []string{"name"}},
	{"TokenCreate", `{"name":"x","expires_at":null}`, nil},
	{"TokenCreate", `{"name":"x","expires_at":"2027-01-01T00:00:00Z","scope":"all"}`, []string{"scope"}},
	{"TokenCreate", `{"name":"x","expires_at":"2027-13-01T00:00:00Z"}`, []string{"expires_at"}},
	{"UserCreate", `{"name":"x","password":"y","site_admin":"yes"}`, []string{"site_admin"}},
}

func TestCheck(t *testing.T) {
	t.Parallel()
	doc := load(t)
	for _, tc := range bodies {
		fields := openapi.Check(doc.Schema(tc.schema), []byte(tc.body))
		got := map[string]bool{}
		for _, f := range fields {
			got[f.Field] = true
			if f.Message == "" {
				t.Errorf("%s %s: %q is wrong without a reason", tc.schema, tc.body, f.Field)
			}
		}
		for _, want := range tc.wrong {
			if !got[want] {
				t.Errorf("%s %s: %q is not named; named are %v", tc.schema, tc.body, want, fields)
			}
		}
		if len(got) != len(tc.wrong) {
			t.Errorf("%s %s: named are %v, want %q", tc.schema, tc.body, fields, tc.wrong)
		}
	}
}

// TestCheckAgreesWithKin compares the verdicts on every body above with those of
// a complete JSON Schema implementation.
func TestCheckAgreesWithKin(t *testing.T) {
	t.Parallel()
	doc, kin := load(t), loadKin(t)
	for _, tc := range bodies {
		ours := len(openapi.Check(doc.Schema(tc.schema), []byte(tc.body))) == 0
		if err := visitKin(kin, tc.schema, tc.body); (err == nil) != ours {
			t.Errorf("%s %s: we say valid is %v, kin says %v", tc.schema, tc.body, ours, err)
		}
	}
}

func loadKin(t testing.TB) *openapi3.T {
	t.Helper()
	kin, err := openapi3.NewLoader().LoadFromData(api.YAML())
	if err != nil {
		t.Fatal(err)
	}
	return kin
}

func visitKin(kin *openapi3.T, schema, body string) error {
	var v any
	dec := json.NewDecoder(strings.NewReader(body))
	dec.UseNumber()
	if err := dec.Decode(&v); err != nil {
		return err
	}
	return kin.Components.Schemas[schema].Value.VisitJSON(v, openapi3.EnableJSONSchema2020(), openapi3.MultiErrors())
}

func TestErrorsAreBounded(t *testing.T) {
	t.Parallel()
	var body bytes.Buffer
	body.WriteString(`{"runtime":"p"`)
	for i := range 10_000 {
		body.WriteString(`,"` + strings.Repeat("x", 200) + string(rune('a'+i%26)) + `":1`)
	}
	body.WriteString("}")
	fields := openapi.Check(load(t).Schema("ExecutionCreate"), body.Bytes())
	if len(fields) != 64 || len(fields[0].Field) > 100 {
		t.Errorf("%d fields are named, the first with %d bytes", len(fields), len(fields[0].Field))
	}
}

func TestCheckRequest(t *testing.T) {
	t.Parallel()
	doc := load(t)
	for _, tc := range []struct {
		operation, query string
		wrong            []string
	}{
		{"listExecutions", "", nil},
		{"listExecutions", "limit=200&cursor=x&state=lost", nil},
		{"listExecutions", "limit=201", []string{"limit"}},
		{"listExecutions", "limit=+1", nil}, // a space in a query; refused below
		{"listExecutions", "limit=", []string{"limit"}},
		{"listExecutions", "limit=0x1", []string{"limit"}},
		{"listExecutions", "limit=99999999999999999999", []string{"limit"}},
		{"listExecutions", "z=1&a=2", []string{"a", "z"}},
		{"listExecutions", "cursor=%ff", []string{"cursor"}},
		{"listExecutions", "%zz", []string{""}},
		{"getExecutionOutput", "after=-1&limit=4194305", []string{"after", "limit"}},
		{"whoami", "x", []string{"x"}},
	} {
		if tc.query == "limit=+1" {
			tc.wrong = []string{"limit"}
		}
		r := httptest.NewRequest(http.MethodGet, "/x?"+tc.query, nil)
		r.SetPathValue("execution", "ex_1")
		_, fields := doc.Operation(tc.operation).CheckRequest(r)
		var got []string
		for _, f := range fields {
			got = append(got, f.Field)
		}
		if strings.Join(got, ",") != strings.Join(tc.wrong, ",") {
			t.Errorf("%s?%s: named are %v, want %q", tc.operation, tc.query, fields, tc.wrong)
		}
	}
}

// TestLoadRefuses wants a document that is not understood in full to be refused.
func TestLoadRefuses(t *testing.T) {
	t.Parallel()
	source := string(api.YAML())
	for name, change := range map[string][2]string{
		"other version":     {"openapi: 3.1.0", "openapi: 3.0.3"},
		"unknown keyword":   {"minProperties: 1", "dependentRequired: {}"},
		"dangling":          {"#/components/schemas/Env", "#/components/schemas/Absent"},
		"outside":           {"#/components/schemas/Env", "other.yaml"},
		"bad pattern":       {"^[A-Za-z_]", "(^[A-Za-z_]"},
		"unknown type":      {"type: boolean", "type: bool"},
		"operationId twice": {"operationId: listExecutions", "operationId: createExecution"},
		"unknown method":    {"    patch:", "    trace:"},
		"unlisted required": {"required: [user, user_name, role]", "required: [user, nobody]"},
	} {
		if !strings.Contains(source, change[0]) {
			t.Fatalf("%s: the document has no %q", name, change[0])
		}
		if _, err := openapi.Load([]byte(strings.Replace(source, change[0], change[1], 1))); err == nil {
			t.Errorf("%s: the document is taken", name)
		}
	}
	if _, err := openapi.Load([]byte("\t")); err == nil {
		t.Error("no YAML is taken")
	}
}

// FuzzCheck wants the walk to end, to stay inside its input and to agree with
// encoding/json on what a valid body is.
func FuzzCheck(f *testing.F) {
	for _, tc := range bodies {
		f.Add(tc.body)
	}
	f.Add(`{"runtime":"p","parameters":{"a":` + strings.Repeat("[", 200) + strings.Repeat("]", 200) + `}}`)
	doc := load(f)
	kin := loadKin(f)
	f.Fuzz(func(t *testing.T, body string) {
		fields := openapi.Check(doc.Schema("ExecutionCreate"), []byte(body)) // must end, valid or not
		if !json.Valid([]byte(body)) || len(fields) > 0 {
			return
		}
		// What we let pass kin must too. Not the other way around: we refuse
		// names that are given twice.
		if err := visitKin(kin, "ExecutionCreate", body); err != nil {
			t.Errorf("%s passes, kin says %v", body, err)
		}
	})
}

func FuzzCheckText(f *testing.F) {
	doc := load(f)
	params := doc.Operation("getExecutionOutput").Parameters
	f.Add("1")
	f.Add("-1")
	f.Fuzz(func(t *testing.T, value string) {
		for _, p := range params {
			for _, field := range openapi.CheckText(p.Schema, p.Name, value) {
				if field.Field != p.Name || len(field.Message) > 1000 {
					t.Errorf("%q: %+v", value, field)
				}
			}
		}
	})
}

func BenchmarkCheckSmall(b *testing.B) {
	schema := load(b).Schema("ExecutionCreate")
	data := []byte(small)
	b.ReportAllocs()
	for b.Loop() {
		if fields := openapi.Check(schema, data); fields != nil {
			b.Fatal(fields)
		}
	}
}

func BenchmarkKinSmall(b *testing.B) {
	kin := loadKin(b)
	b.ReportAllocs()
	for b.Loop() {
		if err := visitKin(kin, "ExecutionCreate", small); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCheckLarge(b *testing.B) {
	schema := load(b).Schema("ExecutionCreate")
	data := []byte(`{"runtime":"p","script":"` + strings.Repeat(`print(\"x\")\n`, 500_000) + `"}`)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		if fields := openapi.Check(schema, data); fields != nil {
			b.Fatal(fields)
		}
	}
}

func BenchmarkLoad(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := openapi.Load(api.YAML()); err != nil {
			b.Fatal(err)
		}
	}
}
