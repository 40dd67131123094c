package api_test

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/remuda-run/remuda/api"
)

// TestDocumentIsValid holds the document, its references and all of its
// examples against OpenAPI 3.1.
func TestDocumentIsValid(t *testing.T) {
	t.Parallel()
	doc, err := openapi3.NewLoader().LoadFromData(api.YAML())
	if err != nil {
		t.Fatal(err)
	}
	if err := doc.Validate(context.Background(), openapi3.EnableExamplesValidation()); err != nil {
		t.Fatal(err)
	}
	if !doc.IsOpenAPI31OrLater() {
		t.Errorf("the document says openapi %s, want 3.1", doc.OpenAPI)
	}
}

// TestEveryOperationIsDescribed keeps the document readable: an operation
// without words, or an answer without a body's schema, is not described.
func TestEveryOperationIsDescribed(t *testing.T) {
	t.Parallel()
	doc, err := openapi3.NewLoader().LoadFromData(api.YAML())
	if err != nil {
		t.Fatal(err)
	}
	for path, item := range doc.Paths.Map() {
		for method, op := range item.Operations() {
			name := method + " " + path
			if op.OperationID == "" || op.Summary == "" || len(op.Tags) != 1 {
				t.Errorf("%s: wants an operationId, a summary and one tag", name)
			}
			if _, ok := op.Extensions["x-remuda-action"]; !ok {
				t.Errorf("%s: wants x-remuda-action, the right that it needs", name)
			}
			if op.Security == nil && !strings.HasPrefix(path, "/v1/") {
				t.Errorf("%s: is outside /v1 and wants its own security", name)
			}
			for status, ref := range op.Responses.Map() {
				if len(ref.Value.Content) == 0 && status != "101" && status != "204" && status != "304" {
					t.Errorf("%s: answer %s has no content", name, status)
				}
			}
		}
	}
}

// TestOneShotIsRunspaceExecutionPlusRuntime holds together the two schemas that
// differ by where the script runs, what narrows an instance of its own, and what
// needs one that scripts come to in turn.
func TestOneShotIsRunspaceExecutionPlusRuntime(t *testing.T) {
	t.Parallel()
	doc, err := openapi3.NewLoader().LoadFromData(api.YAML())
	if err != nil {
		t.Fatal(err)
	}
	one := doc.Components.Schemas["ExecutionCreate"].Value
	in := doc.Components.Schemas["RunspaceExecutionCreate"].Value
	for _, field := range []string{"runtime", "limits", "egress"} {
		delete(one.Properties, field)
	}
	for _, field := range []string{"queue", "parameter_scripts"} {
		delete(in.Properties, field)
	}
	one.Required, one.Description, in.Description = nil, "", ""
	a, errA := one.MarshalJSON()
	b, errB := in.MarshalJSON()
	if errA != nil || errB != nil {
		t.Fatal(errA, errB)
	}
	if !bytes.Equal(a, b) {
		t.Errorf("the schemas differ in more than runtime, limits and egress, and queue and parameter_scripts:\n%s\n%s", a, b)
	}
}

// TestGeneratedTypesAreCurrent regenerates the types and compares.
func TestGeneratedTypesAreCurrent(t *testing.T) {
	t.Parallel()
	tool, err := filepath.Abs("../.bin/oapi-codegen")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(tool); err != nil {
		t.Skip("no .bin/oapi-codegen: make generate installs it")
	}
	dir := t.TempDir()
	out, config := filepath.Join(dir, "types.gen.go"), filepath.Join(dir, "config.yaml")
	settings, err := os.ReadFile("oapi-codegen.yaml")
	if err != nil {
		t.Fatal(err)
	}
	settings = bytes.Replace(settings, []byte("output: types.gen.go"), []byte("output: "+out), 1)
	if err := os.WriteFile(config, settings, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(tool, "-config", config, "openapi.yaml")
	if msg, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("oapi-codegen: %v\n%s", err, msg)
	}
	want, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	have, err := os.ReadFile("types.gen.go")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(have, want) {
		t.Error("types.gen.go is not what openapi.yaml generates: run go generate ./api")
	}
}
