package native

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"encoding/hex"
	"html/template"
	"strconv"
	"strings"
	"unicode"

	"github.com/remuda-run/remuda/api"
	"github.com/remuda-run/remuda/internal/httpapi/openapi"
)

// page is a text that is made once, when the server starts.
type page struct {
	body   []byte
	kind   string
	etag   string
	policy string // Content-Security-Policy, if not the common one
}

type pages struct{ json, yaml, html page }

//go:embed docs.html
var docsTemplate string

//go:embed docs.css
var docsStyle string

func newPage(kind string, body []byte) page {
	sum := sha256.Sum256(body)
	return page{body: body, kind: kind, etag: `"` + hex.EncodeToString(sum[:8]) + `"`}
}

// renderPages makes the three forms of the OpenAPI document.
func renderPages(doc *openapi.Document, version string) (pages, error) {
	tmpl, err := template.New("docs").Funcs(template.FuncMap{
		"prose": prose, "inline": inline, "rule": rule, "kind": schemaType, "anchor": anchor, "tagged": tagged(doc), "credentials": credentials, "words": words,
		"list4": func(a ...string) []string { return a },
	}).Parse(docsTemplate)
	if err != nil {
		return pages{}, err
	}
	var html bytes.Buffer
	err = tmpl.Execute(&html, struct {
		*openapi.Document
		Server string
		Style  template.CSS
	}{doc, version, template.CSS(docsStyle)}) //nolint:gosec // our own embedded file
	if err != nil {
		return pages{}, err
	}
	asJSON, err := openapi.JSON(api.YAML())
	if err != nil {
		return pages{}, err
	}
	docs := newPage("text/html; charset=utf-8", html.Bytes())
	// Only this very style sheet; no script, no image, nothing from elsewhere.
	sum := sha256.Sum256([]byte(docsStyle))
	docs.policy = "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
	return pages{json: newPage("application/json", asJSON), yaml: newPage("application/yaml", api.YAML()), html: docs}, nil
}

// inline shows `code` and *emphasis* of a description; all else is escaped.
func inline(s string) template.HTML {
	var out strings.Builder
	for i, part := range strings.Split(s, "`") {
		escaped := template.HTMLEscapeString(part)
		if i%2 == 1 {
			out.WriteString("<code>" + escaped + "</code>")
			continue
		}
		for j, piece := range strings.Split(escaped, "**") {
			if j%2 == 1 {
				piece = "<strong>" + piece + "</strong>"
			}
			out.WriteString(piece)
		}
	}
	return template.HTML(out.String()) //nolint:gosec // escaped above
}

// prose makes paragraphs.
func prose(s string) template.HTML {
	var out strings.Builder
	for paragraph := range strings.SplitSeq(strings.TrimSpace(s), "\n\n") {
		if paragraph != "" {
			out.WriteString("<p>" + string(inline(paragraph)) + "</p>\n")
		}
	}
	return template.HTML(out.String()) //nolint:gosec // escaped by inline
}

// tagged returns the operations of a tag.
func tagged(doc *openapi.Document) func(string) []*openapi.Operation {
	return func(tag string) []*openapi.Operation {
		var out []*openapi.Operation
		for _, op := range doc.Operations {
			if op.Tag == tag {
				out = append(out, op)
			}
		}
		return out
	}
}

func credentials(op *openapi.Operation) string {
	var ways []string
	for _, alternative := range op.Security {
		switch {
		case len(alternative) == 0:
			ways = append(ways, "none on loopback")
		case alternative[0] == "bearer":
			ways = append(ways, "a token")
		default:
			ways = append(ways, "name and password")
		}
	}
	if len(ways) == 0 {
		return "nobody has to say who they are"
	}
	return strings.Join(ways, ", or ")
}

// anchor is the place of a named schema or operation on the page.
func anchor(name string) string { return strings.ToLower(name) }

// words takes a name in camel case apart: "TooLarge" is "Too large".
func words(name string) string {
	var out strings.Builder
	for i, c := range name {
		if i > 0 && unicode.IsUpper(c) {
			out.WriteByte(' ')
			c = unicode.ToLower(c)
		}
		out.WriteRune(c)
	}
	return out.String()
}

// typed is a type in words, with the schema that it links to, if any.
type typed struct {
	Before, Link, After string
}

func schemaType(s *openapi.Schema) typed {
	switch {
	case s == nil:
		return typed{Before: "any value"}
	case s.Name != "":
		return typed{Link: s.Name}
	case len(s.AnyOf) == 2:
		t := schemaType(s.AnyOf[0])
		t.After += " or null"
		return t
	case s.Types&openapi.Array != 0 && s.Items != nil:
		t := schemaType(s.Items)
		t.Before = "list of " + t.Before
		return t
	case s.Types&openapi.Object != 0 && s.Additional != nil:
		t := schemaType(s.Additional)
		t.Before = "object of " + t.Before
		return t
	}
	name := s.Types.String()
	switch s.Format {
	case "date-time":
		name = strings.Replace(name, "string", "time", 1)
	case "byte":
		name = strings.Replace(name, "string", "base64", 1)
	}
	return typed{Before: name}
}

// rule says in words what else a value must be.
func rule(s *openapi.Schema) string {
	if s == nil || s.Name != "" {
		return ""
	}
	var rules []string
	add := func(text string) { rules = append(rules, text) }
	if len(s.Enum) > 0 {
		add("one of " + strings.Join(s.Enum, ", "))
	}
	if s.Minimum != nil {
		add("at least " + number(*s.Minimum))
	}
	if s.Above != nil {
		add("more than " + number(*s.Above))
	}
	if s.Maximum != nil {
		add("at most " + number(*s.Maximum))
	}
	if s.MinLength > 0 {
		add("not empty")
	}
	if s.MaxLength >= 0 && s.Types == openapi.String {
		add("at most " + strconv.Itoa(s.MaxLength) + " characters")
	}
	if s.MaxItems >= 0 {
		add("at most " + strconv.Itoa(s.MaxItems) + " entries")
	}
	if s.MaxProps >= 0 {
		add("at most " + strconv.Itoa(s.MaxProps) + " entries")
	}
	if s.Pattern != nil {
		add("matches " + s.Pattern.String())
	}
	if s.Default != "" {
		add("default " + s.Default)
	}
	return strings.Join(rules, "; ")
}

func number(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }
