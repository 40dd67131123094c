package openapi

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/remuda-run/remuda/internal/remuda"
)

// maxFields bounds how many wrong fields one answer names, and maxShown how much
// of a foreign name it repeats.
const (
	maxFields = 64
	maxShown  = 80
)

// Check holds data, which must be valid JSON (that is, json.Unmarshal found no
// syntax error), against s and returns what is wrong with it.
func Check(s *Schema, data []byte) []remuda.FieldError {
	c := checker{scanner: scanner{data: data}}
	c.value(s)
	return c.fields
}

// CheckText holds the text of a parameter against s.
func CheckText(s *Schema, field, value string) []remuda.FieldError {
	c := checker{path: []byte(field)}
	switch {
	case s.Types&(Integer|Number) != 0:
		c.number(s, []byte(value))
	case s.Types&Boolean != 0:
		if value != "true" && value != "false" {
			c.fail("must be true or false")
		}
	case !utf8.ValidString(value):
		c.fail("must be UTF-8")
	default:
		c.text(s, value)
	}
	return c.fields
}

// checker walks a JSON text along a schema.
type checker struct {
	scanner
	path   []byte // of the value that is looked at: "files[0].path"
	fields []remuda.FieldError
}

func (c *checker) fail(format string, args ...any) {
	if len(c.fields) < maxFields {
		c.fields = append(c.fields, remuda.FieldError{Field: string(c.path), Message: fmt.Sprintf(format, args...)})
	}
}

// value looks at the value at the scanner's position and moves behind it.
func (c *checker) value(s *Schema) {
	if s.Types == 0 && s.AnyOf == nil {
		c.skip()
		return
	}
	c.space()
	have := c.kind()
	if s.Types&have == 0 && !(have == Integer && s.Types&Number != 0) {
		if have == Number && s.Types&Integer != 0 {
			c.fail("must be a whole number, written without point and exponent")
		} else {
			c.fail("must be %s, not %s", s.Types, have)
		}
		c.skip()
		return
	}
	switch have {
	case Object:
		c.object(s)
	case Array:
		c.array(s)
	case String:
		c.str(s, c.rawString())
	case Integer, Number:
		c.number(s, c.rawNumber())
	default:
		c.skip()
	}
}

func (c *checker) object(s *Schema) {
	c.pos++ // {
	var seen uint64
	var others map[string]struct{}
	count, base := 0, len(c.path)
	for c.next('}') {
		key := c.key()
		count++
		c.enter(base, key)
		i := s.property(key)
		switch {
		case i >= 0 && seen&(1<<i) != 0:
			c.fail("is given twice")
			c.skip()
		case i >= 0:
			seen |= 1 << i
			c.value(s.Properties[i].Schema)
		case s.Closed:
			c.fail("is not a known field; known are %s", names(s.Properties))
			c.skip()
		default:
			if others == nil {
				others = map[string]struct{}{}
			}
			if _, twice := others[key]; twice {
				c.fail("is given twice")
			}
			others[key] = struct{}{}
			if s.Names != nil {
				c.name(s.Names, key)
			}
			if s.Additional == nil {
				c.skip()
			} else {
				c.value(s.Additional)
			}
		}
		c.path = c.path[:base]
	}
	for i := range s.Properties {
		if s.Properties[i].Required && seen&(1<<i) == 0 {
			c.enter(base, s.Properties[i].Name)
			c.fail("is required")
			c.path = c.path[:base]
		}
	}
	if s.MaxProps >= 0 && count > s.MaxProps {
		c.fail("must have at most %d entries, not %d", s.MaxProps, count)
	}
	if count < s.MinProps {
		c.fail("must have at least %d of the fields %s", s.MinProps, names(s.Properties))
	}
}

// name checks a property's name; what is wrong with it is said of the property.
func (c *checker) name(s *Schema, key string) {
	if s.Pattern != nil && !s.Pattern.MatchString(key) {
		c.fail("has a name that does not match %s", s.Pattern)
		return
	}
	if s.MaxLength >= 0 && utf8.RuneCountInString(key) > s.MaxLength {
		c.fail("has a name of more than %d characters", s.MaxLength)
	}
}

func (c *checker) enter(base int, key string) {
	c.path = c.path[:base]
	if base > 0 {
		c.path = append(c.path, '.')
	}
	c.path = append(c.path, shown(key)...)
}

func (c *checker) array(s *Schema) {
	c.pos++ // [
	count, base := 0, len(c.path)
	for c.next(']') {
		if s.Items == nil {
			c.skip()
		} else {
			c.path = append(strconv.AppendInt(append(c.path[:base], '['), int64(count), 10), ']')
			c.value(s.Items)
			c.path = c.path[:base]
		}
		count++
	}
	if s.MaxItems >= 0 && count > s.MaxItems {
		c.fail("must have at most %d entries, not %d", s.MaxItems, count)
	}
}

// str checks a string from its raw form, between the quotes, and decodes it only
// when that is needed.
func (c *checker) str(s *Schema, raw []byte) {
	plain := s.Pattern == nil && s.Enum == nil && s.Format != "byte" && s.Format != "date-time"
	if plain && (s.MaxLength < 0 || len(raw) <= s.MaxLength) && s.MinLength <= 1 {
		if s.MinLength == 1 && len(raw) == 0 {
			c.fail("must not be empty")
		}
		return
	}
	c.text(s, unquote(raw))
}

func (c *checker) text(s *Schema, value string) {
	if s.Enum != nil && !slices.Contains(s.Enum, value) {
		c.fail("must be one of %s, not %q", strings.Join(s.Enum, ", "), shown(value))
		return
	}
	length := len(value)
	if length > s.MaxLength || length < 4*s.MinLength {
		length = utf8.RuneCountInString(value)
	}
	switch {
	case s.MaxLength >= 0 && length > s.MaxLength:
		c.fail("must have at most %d characters, not %d", s.MaxLength, length)
	case length < s.MinLength && length == 0:
		c.fail("must not be empty")
	case length < s.MinLength:
		c.fail("must have at least %d characters, not %d", s.MinLength, length)
	case s.Pattern != nil && !s.Pattern.MatchString(value):
		c.fail("must match %s", s.Pattern)
	case s.Format == "date-time" && !isTime(value):
		c.fail("must be a time such as 2006-01-02T15:04:05Z")
	case s.Format == "byte" && !isBase64(value):
		c.fail("must be base64 with padding, in the standard alphabet")
	}
}

func (c *checker) number(s *Schema, raw []byte) {
	if s.Types&Integer != 0 && s.Types&Number == 0 {
		if _, err := strconv.ParseInt(string(raw), 10, 64); err != nil {
			c.fail("must be a whole number of at most 64 bits")
			return
		}
	}
	v, err := strconv.ParseFloat(string(raw), 64)
	switch {
	case err != nil:
		c.fail("must be a number that 64 bits can hold")
	case s.Minimum != nil && v < *s.Minimum:
		c.fail("must be at least %v, not %s", *s.Minimum, shown(string(raw)))
	case s.Above != nil && v <= *s.Above:
		c.fail("must be more than %v, not %s", *s.Above, shown(string(raw)))
	case s.Maximum != nil && v > *s.Maximum:
		c.fail("must be at most %s, not %s", strconv.FormatFloat(*s.Maximum, 'f', -1, 64), shown(string(raw)))
	}
}

func isTime(s string) bool {
	_, err := time.Parse(time.RFC3339, s)
	return err == nil
}

func isBase64(s string) bool {
	if strings.ContainsAny(s, "\r\n") || len(s)%4 != 0 {
		return false
	}
	// DecodedLen bytes are written at most; a small window keeps this cheap.
	var buf [3 * 256]byte
	for len(s) > 0 {
		n := min(len(s), 4*256)
		last := n == len(s)
		if _, err := base64.StdEncoding.Decode(buf[:], []byte(s[:n])); err != nil || (!last && s[n-1] == '=') {
			return false
		}
		s = s[n:]
	}
	return true
}

func names(props []Property) string {
	out := make([]string, len(props))
	for i, p := range props {
		out[i] = p.Name
	}
	return strings.Join(out, ", ")
}

// shown bounds a foreign name or value for use in a message.
func shown(s string) string {
	if len(s) <= maxShown {
		return s
	}
	cut := maxShown
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "..."
}

func unquote(raw []byte) string {
	var out string
	quoted := append(append(append(make([]byte, 0, len(raw)+2), '"'), raw...), '"')
	if err := json.Unmarshal(quoted, &out); err != nil {
		return string(raw)
	}
	return out
}
