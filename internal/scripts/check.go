package scripts

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/remuda-run/remuda/internal/remuda"
)

// Bounds of a stored script.
const (
	maxName        = 250
	maxDescription = 4096
	maxWord        = 250 // folder, usage, result, tags
	maxVariables   = 256
	maxValueBytes  = 64 << 10
)

// checker collects wrong fields.
type checker struct{ fields []remuda.FieldError }

func (c *checker) add(field, format string, args ...any) {
	c.fields = append(c.fields, remuda.FieldError{Field: field, Message: fmt.Sprintf(format, args...)})
}

func (c *checker) text(field, s string, limit int) {
	if len(s) > limit || !utf8.ValidString(s) || strings.ContainsRune(s, 0) {
		c.add(field, "must be valid UTF-8 of at most %d bytes without NUL characters", limit)
	}
}

// valid returns d with ids for its variables, or an error that names every wrong
// field.
func (s *Service) valid(p remuda.Principal, d remuda.ScriptDefinition) (remuda.ScriptDefinition, error) {
	d = d.Clone()
	var c checker
	c.name("name", d.Name)
	c.text("description", d.Description, maxDescription)
	for field, word := range map[string]string{"folder": d.Folder, "usage": d.Usage, "result": d.Result} {
		c.text(field, word, maxWord)
	}
	if d.Kind != remuda.ScriptPython && d.Kind != remuda.ScriptNotebook {
		c.add("kind", "must be python or notebook")
	}
	c.content("content", d.Content)
	c.variables(d.Variables)
	if len(c.fields) == 0 && d.Kind == remuda.ScriptPython {
		if _, err := bind("content", d.Content); err != nil {
			return d, err
		}
	}
	if len(c.fields) > 0 {
		return d, remuda.Invalid(c.fields...)
	}
	if d.Runtime != "" {
		if _, err := s.runtimes.Resolve(p, string(d.Runtime)); err != nil {
			return d, err
		}
	}
	return d, nil
}

func (c *checker) name(field, name string) {
	switch {
	case name == "":
		c.add(field, "is required")
	case len(name) > maxName || !utf8.ValidString(name) || strings.TrimSpace(name) != name || strings.ContainsFunc(name, unicode.IsControl):
		c.add(field, "must be 1 to %d bytes of UTF-8 without control characters, and without spaces at its ends", maxName)
	}
}

func (c *checker) content(field, content string) {
	if len(content) > remuda.MaxScriptBytes {
		c.add(field, "has %d bytes; at most %d are allowed", len(content), remuda.MaxScriptBytes)
	} else if !utf8.ValidString(content) {
		c.add(field, "must be UTF-8")
	}
}

// variables checks them, and gives an id to those that have none.
func (c *checker) variables(list []remuda.ScriptVariable) {
	if len(list) > maxVariables {
		c.add("variables", "has %d entries; at most %d are allowed", len(list), maxVariables)
		return
	}
	seen := map[string]bool{}
	for i := range list {
		v, at := &list[i], fmt.Sprintf("variables[%d]", i)
		if v.ID == "" {
			v.ID = newVariableID()
		}
		if !namePattern.MatchString(v.Name) {
			c.add(at+".name", "must be a name of at most 48 ASCII letters, digits and underscores that does not begin with a digit")
		}
		for _, key := range []string{"id " + v.ID, "name " + v.Name} {
			if seen[key] {
				c.add(at, "has the same %s as another variable", key)
			}
			seen[key] = true
		}
		if !slices.Contains(remuda.VariableKinds(), v.Kind) {
			c.add(at+".type", "is no type of variables")
		}
		c.text(at+".id", v.ID, 64)
		c.text(at+".value", v.Value, maxValueBytes)
		c.text(at+".description", v.Description, maxDescription)
		c.text(at+".tag", v.Tag, maxValueBytes)
		if v.Value != "" {
			if _, err := encode(*v, v.Value); err != nil {
				c.add(at+".value", "%s", err)
			}
		}
	}
}

func newVariableID() string {
	raw := make([]byte, 16)
	_, _ = rand.Read(raw) // never fails
	return strings.ToUpper(hex.EncodeToString(raw))
}

func same(a, b remuda.ScriptDefinition) bool {
	if len(a.Variables) == 0 && len(b.Variables) == 0 {
		a.Variables, b.Variables = nil, nil
	}
	return reflect.DeepEqual(a, b)
}
