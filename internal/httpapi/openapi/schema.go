package openapi

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Type is a set of JSON types.
type Type uint8

// The JSON types. Integer is a number without point and exponent.
const (
	Null Type = 1 << iota
	Boolean
	Integer
	Number
	String
	Array
	Object
)

var typeNames = []struct {
	t    Type
	name string
}{
	{Object, "object"}, {Array, "array"}, {String, "string"}, {Integer, "integer"}, {Number, "number"}, {Boolean, "boolean"}, {Null, "null"},
}

// String names the types for a message: "string or null".
func (t Type) String() string {
	var names []string
	for _, e := range typeNames {
		if t&e.t != 0 {
			names = append(names, e.name)
		}
	}
	if len(names) == 0 {
		return "any value"
	}
	return strings.Join(names, " or ")
}

// Schema is what a value must be.
type Schema struct {
	Name        string // of the shared schema, or ""
	Description string
	Types       Type // 0 is any
	Format      string
	Enum        []string
	Pattern     *regexp.Regexp
	MinLength   int
	MaxLength   int // -1 is none, as of the other maxima
	Minimum     *float64
	Maximum     *float64
	Above       *float64 // exclusiveMinimum
	MaxItems    int
	Items       *Schema
	MinProps    int
	MaxProps    int
	Properties  []Property // in the order of the document
	Required    []string
	Closed      bool    // additionalProperties: false
	Additional  *Schema // of the properties that are not listed; nil is any
	Names       *Schema // propertyNames
	AnyOf       []*Schema
	Default     string
}

// Property is a listed property of an object.
type Property struct {
	Name     string
	Required bool
	Schema   *Schema
}

// keywords that say nothing about what is valid, or that only tools read.
var annotations = []string{"description", "title", "example", "contentMediaType", "$ref"}

func (l *loader) schema(n *yaml.Node) (*Schema, error) {
	if n == nil {
		return &Schema{MaxLength: -1, MaxItems: -1, MaxProps: -1}, nil
	}
	if ref := text(n, "$ref"); ref != "" {
		_, name, err := l.deref(n)
		if err != nil {
			return nil, err
		}
		target := l.schemas[name]
		if target == nil {
			return nil, fmt.Errorf("line %d: %q is not a schema", n.Line, ref)
		}
		return target, nil
	}
	s := &Schema{}
	return s, l.fill(s, n)
}

func (l *loader) fill(s *Schema, n *yaml.Node) error {
	s.MaxLength, s.MaxItems, s.MaxProps = -1, -1, -1
	s.Description = text(n, "description")
	for _, e := range entries(n) {
		if err := l.keyword(s, e); err != nil {
			return fmt.Errorf("line %d: %s: %w", e.value.Line, e.key, err)
		}
	}
	for i := range s.Properties {
		s.Properties[i].Required = slices.Contains(s.Required, s.Properties[i].Name)
	}
	for _, name := range s.Required {
		if s.property(name) < 0 {
			return fmt.Errorf("line %d: required property %q is not listed", n.Line, name)
		}
	}
	if len(s.Properties) > 64 {
		return fmt.Errorf("line %d: more than 64 properties", n.Line) // the check keeps them in a bit set
	}
	return nil
}

func (l *loader) keyword(s *Schema, e pair) (err error) {
	switch e.key {
	case "type":
		s.Types, err = parseTypes(e.value)
	case "format":
		s.Format = e.value.Value
	case "enum":
		s.Enum = list(e.value)
	case "pattern":
		s.Pattern, err = regexp.Compile(e.value.Value)
	case "minLength":
		s.MinLength, err = strconv.Atoi(e.value.Value)
	case "maxLength":
		s.MaxLength, err = strconv.Atoi(e.value.Value)
	case "minimum":
		s.Minimum, err = parseNumber(e.value.Value)
	case "maximum":
		s.Maximum, err = parseNumber(e.value.Value)
	case "exclusiveMinimum":
		s.Above, err = parseNumber(e.value.Value)
	case "maxItems":
		s.MaxItems, err = strconv.Atoi(e.value.Value)
	case "items":
		s.Items, err = l.schema(e.value)
	case "minProperties":
		s.MinProps, err = strconv.Atoi(e.value.Value)
	case "maxProperties":
		s.MaxProps, err = strconv.Atoi(e.value.Value)
	case "required":
		s.Required = list(e.value)
	case "properties":
		for _, p := range entries(e.value) {
			child, err := l.schema(p.value)
			if err != nil {
				return err
			}
			s.Properties = append(s.Properties, Property{Name: p.key, Schema: child})
		}
	case "additionalProperties":
		if e.value.Kind == yaml.ScalarNode {
			s.Closed = e.value.Value == "false"
			return nil
		}
		s.Additional, err = l.schema(e.value)
	case "propertyNames":
		s.Names, err = l.schema(e.value)
	case "anyOf":
		for _, c := range e.value.Content {
			child, err := l.schema(c)
			if err != nil {
				return err
			}
			s.AnyOf = append(s.AnyOf, child)
		}
	case "default":
		s.Default = e.value.Value
	default:
		if !slices.Contains(annotations, e.key) && !strings.HasPrefix(e.key, "x-") {
			return fmt.Errorf("this keyword is not understood")
		}
	}
	return err
}

func (s *Schema) property(name string) int {
	for i := range s.Properties {
		if s.Properties[i].Name == name {
			return i
		}
	}
	return -1
}

func parseTypes(n *yaml.Node) (Type, error) {
	names := list(n)
	if n.Kind == yaml.ScalarNode {
		names = []string{n.Value}
	}
	var t Type
	for _, name := range names {
		i := slices.IndexFunc(typeNames, func(e struct {
			t    Type
			name string
		}) bool {
			return e.name == name
		})
		if i < 0 {
			return 0, fmt.Errorf("%q is no type", name)
		}
		t |= typeNames[i].t
	}
	return t, nil
}

func parseNumber(s string) (*float64, error) {
	v, err := strconv.ParseFloat(s, 64)
	return &v, err
}
