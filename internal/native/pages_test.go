package native

import (
	"encoding/json"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/remuda-run/remuda/api"
	"github.com/remuda-run/remuda/internal/authz"
	"github.com/remuda-run/remuda/internal/httpapi"
)

// TestRoutesAreTheDocument holds the table of routes against the document in
// both directions, and every operation against the table of rights.
func TestRoutesAreTheDocument(t *testing.T) {
	t.Parallel()
	doc, err := document()
	if err != nil {
		t.Fatal(err)
	}
	patterns := map[string]string{}
	for _, rt := range routes {
		patterns[rt.operation] = rt.pattern
	}
	for _, op := range doc.Operations {
		if patterns[op.ID] != op.Pattern() {
			t.Errorf("operation %s is %q in the document and %q in the table", op.ID, op.Pattern(), patterns[op.ID])
		}
		delete(patterns, op.ID)
		if op.Action != "none" && !authz.Known(authz.Action(op.Action)) {
			t.Errorf("operation %s needs %q, which is no right", op.ID, op.Action)
		}
		// A browser can present no token to a WebSocket: there it is a ticket, inside.
		if strings.HasPrefix(op.Path, "/v1/") && op.ID != "connectTerminal" && !accepts(op, "bearer") {
			t.Errorf("operation %s takes no token", op.ID)
		}
		if accepts(op, "basic") != (op.ID == "createToken" || op.ID == "updateUser") {
			t.Errorf("operation %s: passwords are taken exactly where tokens are made and passwords changed", op.ID)
		}
	}
	for operation := range patterns {
		t.Errorf("route %s is not in the document", operation)
	}
}

func TestDocumentIsServed(t *testing.T) {
	t.Parallel()
	st := stage{}
	h := st.handler(t, httpapi.Options{})
	asJSON := do(h, "GET", "/openapi.json", "", "Authorization", "")
	var doc struct {
		OpenAPI string
		Paths   map[string]any
	}
	if err := json.Unmarshal(asJSON.Body.Bytes(), &doc); err != nil || doc.OpenAPI != "3.1.0" || len(doc.Paths) < 20 {
		t.Errorf("/openapi.json: %v, version %q, %d paths", err, doc.OpenAPI, len(doc.Paths))
	}
	asYAML := do(h, "GET", "/openapi.yaml", "", "Authorization", "")
	if asYAML.Body.String() != string(api.YAML()) {
		t.Error("/openapi.yaml is not the document")
	}
	again := do(h, "GET", "/openapi.yaml", "", "If-None-Match", asYAML.Header().Get("ETag"))
	if again.Code != http.StatusNotModified || again.Body.Len() != 0 {
		t.Errorf("a known ETag is answered with %d and %d bytes", again.Code, again.Body.Len())
	}
}

// TestDocsPageIsSelfContained wants every operation and schema on the page, all
// links inside it to lead somewhere, and nothing from elsewhere.
func TestDocsPageIsSelfContained(t *testing.T) {
	t.Parallel()
	st := stage{}
	w := do(st.handler(t, httpapi.Options{}), "GET", "/docs", "", "Authorization", "")
	html := w.Body.String()
	if out := os.Getenv("REMUDA_DOCS_OUT"); out != "" { // to look at it
		if err := os.WriteFile(out, []byte(html), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	doc, err := document()
	if err != nil {
		t.Fatal(err)
	}
	for _, op := range doc.Operations {
		if !strings.Contains(html, `id="op-`+anchor(op.ID)+`"`) {
			t.Errorf("operation %s is not on the page", op.ID)
		}
	}
	for _, m := range regexp.MustCompile(`href="#([^"]+)"`).FindAllStringSubmatch(html, -1) {
		if !strings.Contains(html, `id="`+m[1]+`"`) {
			t.Errorf("the link to #%s leads nowhere", m[1])
		}
	}
	ids := map[string]bool{}
	for _, m := range regexp.MustCompile(` id="([^"]+)"`).FindAllStringSubmatch(html, -1) {
		if ids[m[1]] {
			t.Errorf("the id %s is there twice", m[1])
		}
		ids[m[1]] = true
	}
	for _, foreign := range []string{"http://", "https://", "<script", "src=", "@import", "url(", "ZgotmplZ", "%!"} {
		if strings.Contains(html, foreign) {
			t.Errorf("the page contains %q", foreign)
		}
	}
	policy := w.Header().Get("Content-Security-Policy")
	if !strings.HasPrefix(policy, "default-src 'none'; style-src 'sha256-") || strings.Contains(policy, "unsafe") {
		t.Errorf("policy %q", policy)
	}
}
