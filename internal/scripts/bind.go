package scripts

import (
	"crypto/sha256"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/remuda-run/remuda/internal/remuda"
)

// namePattern is what follows $. Together with a prefix it must be a name that an
// execution's parameter may have.
var namePattern = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,47}$`)

// bound is a script that was rewritten.
type bound struct {
	source string
	prefix string   // what $ was rewritten to, "" when there was nothing to rewrite
	used   []string // the variables that it reads
}

// bind rewrites every $name outside of strings and comments. Lines keep their
// numbers. field is the place that an error names.
func bind(field, source string) (bound, error) {
	if !strings.Contains(source, "$") {
		return bound{source: source}, nil
	}
	tokens := lex(source)
	if err := check(field, source, tokens); err != nil {
		return bound{}, err
	}
	b := bound{prefix: unusedPrefix(source)}
	seen := map[string]bool{}
	var out strings.Builder
	last := 0
	for _, t := range tokens {
		if t.kind != tokenVariable {
			continue
		}
		if !seen[t.text] {
			if len(seen) == maxVariables {
				return bound{}, invalid(field, source, t, fmt.Sprintf("is one variable too many: a script has at most %d", maxVariables))
			}
			seen[t.text] = true
			b.used = append(b.used, t.text)
		}
		out.WriteString(source[last:t.start])
		out.WriteString(b.prefix)
		last = t.start + 1
	}
	if len(b.used) == 0 {
		return bound{source: source}, nil
	}
	out.WriteString(source[last:])
	b.source = out.String()
	return b, nil
}

// unusedPrefix is a beginning of names that the source does not have anywhere.
func unusedPrefix(source string) string {
	prefix := "_var_"
	for n := 1; strings.Contains(source, prefix); n++ {
		if prefix = fmt.Sprintf("_var%d_", n); n == 16 {
			// Somebody does this on purpose. No source can hold its own hash.
			return fmt.Sprintf("_var%x_", sha256.Sum256([]byte(source)))[:15] + "_"
		}
	}
	return prefix
}

// unbind undoes the rewriting in a text that a script made, such as a traceback.
func unbind(text, prefix string) string {
	if prefix == "" {
		return text
	}
	return strings.ReplaceAll(text, prefix, "$")
}

// check refuses names that cannot be bound, and assignments.
func check(field, source string, tokens []token) error {
	for _, t := range tokens {
		if t.kind == tokenVariable && !namePattern.MatchString(t.text) {
			return invalid(field, source, t, "is not the name of a variable: use at most 48 ASCII letters, digits and underscores")
		}
	}
	for _, statement := range statements(tokens) {
		if t := assigned(statement); t != nil {
			return invalid(field, source, *t, "is assigned to; a variable of a script can only be read: assign to a name without $")
		}
	}
	return nil
}

func invalid(field, source string, t token, what string) error {
	name := t.text
	if len(name) > 64 {
		name = name[:64] + "..."
	}
	line := 1 + strings.Count(source[:t.start], "\n")
	return remuda.Invalid(remuda.FieldError{Field: field, Message: fmt.Sprintf("has $%s in line %d, which %s", name, line, what)})
}

// statements splits tokens where a statement ends: at the end of a line, at a
// semicolon, and after the colon of a compound statement, which stays at its end.
func statements(tokens []token) [][]token {
	var list [][]token
	depth, start, lambdas := 0, 0, 0
	for i, t := range tokens {
		depth = max(0, depth+int(t.nest))
		if depth > 0 {
			continue
		}
		switch {
		case t.kind == tokenName && t.text == "lambda":
			lambdas++
			continue
		case t.is(":") && lambdas > 0:
			lambdas--
			continue
		case t.kind != tokenNewline && !t.is(";") && !t.is(":"):
			continue
		}
		list, start, lambdas = append(list, tokens[start:i+1]), i+1, 0
	}
	return append(list, tokens[start:])
}

func (t token) is(operator string) bool { return t.kind == tokenOperator && t.text == operator }

func (t token) named(words ...string) bool {
	return t.kind == tokenName && slices.Contains(words, t.text)
}
