package srs_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
)

// The document at the vendor's path is the one that answers are held against, and the
// page shows all of it.
func TestSwagger(t *testing.T) {
	t.Parallel()
	s := start(t)
	c := mustSpec(t).Client(t)
	document := s.Send(c, http.MethodGet, "/swagger/srs/swagger.json", nil, "")
	doc, err := openapi3.NewLoader().LoadFromData(document.Body)
	if err != nil {
		t.Fatal(err)
	}
	if err := doc.Validate(t.Context(), openapi3.EnableExamplesValidation()); err != nil {
		t.Error(err)
	}
	page := s.Send(c, http.MethodGet, "/swagger", nil, "")
	if policy := page.Header.Get("Content-Security-Policy"); !strings.Contains(policy, "default-src 'none'") || strings.Contains(policy, "unsafe") {
		t.Errorf("the policy is %q", policy)
	}
	operations := 0
	for path, item := range doc.Paths.Map() {
		for _, op := range item.Operations() {
			operations++
			if op.Summary == "" || len(op.Tags) != 1 || op.Extensions["x-remuda-action"] == nil {
				t.Errorf("%s wants a summary, a tag and x-remuda-action", op.OperationID)
			}
			if !strings.Contains(string(page.Body), `id="`+op.OperationID+`"`) || !strings.Contains(string(page.Body), path) {
				t.Errorf("the page lacks %s", op.OperationID)
			}
		}
	}
	for _, id := range []string{ // compat/srs.md A1
		"create-runspace", "list-runspaces", "get-runspace", "delete-runspace", "create-script-execution", "list-script-executions", "get-script-execution",
		"cancel-script-execution", "get-script-execution-output", "get-script-execution-stream", "login", "logout", "get-product-about-info",
		"list-argument-scripts-templates", "get-argument-scripts-template", "create-argument-scripts-script",
	} {
		if !strings.Contains(string(document.Body), `"`+id+`"`) {
			t.Errorf("the document lacks %s", id)
		}
	}
	if operations < 30 {
		t.Errorf("there are %d operations", operations)
	}
}

// What a client does wrong is no error of the server's in its log, although the vendor
// has 500 for it.
func TestLog(t *testing.T) {
	t.Parallel()
	s := start(t)
	c, h := mustSpec(t).Client(t), login(t, s, "operator.ours")
	if r := s.Send(c, http.MethodDelete, "/api/runspaces/"+missingSpace, h, ""); r.Status != http.StatusInternalServerError {
		t.Fatalf("it answers %d", r.Status)
	}
	log := s.Log()
	if !strings.Contains(log, "status=500") {
		t.Errorf("the log says nothing of it:\n%s", log)
	}
	if strings.Contains(log, "level=ERROR") {
		t.Errorf("the log says\n%s", log)
	}
}
