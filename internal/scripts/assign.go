package scripts

import "strings"

// assigned returns the first variable of a statement that the statement would give
// another value, nil if there is none.
func assigned(s []token) *token {
	if len(s) == 0 {
		return nil
	}
	if s[0].named("global", "nonlocal", "import", "from", "del") {
		return target(s[1:])
	}
	if t := byPlace(s); t != nil {
		return t
	}
	if t := captured(s); t != nil {
		return t
	}
	if len(s) == 2 && s[0].kind == tokenVariable && s[1].is(":") { // $x: int = 1
		return &s[0]
	}
	depth, start := 0, 0
	for i, t := range s {
		depth += int(t.nest)
		switch {
		case depth > 0 || t.kind != tokenOperator:
		case t.text == "=":
			if t := target(s[start:i]); t != nil {
				return t
			}
			start = i + 1
		case isAugmented(t.text):
			if t := target(s[start:i]); t != nil {
				return t
			}
		}
	}
	return nil
}

// captured returns the first variable to which the pattern of a case block would give
// a value. $x.name and $x(...) in it only read.
func captured(s []token) *token {
	end := len(s) - 1
	if end < 1 || !s[0].named("case") || !s[end].is(":") {
		return nil
	}
	depth := 0
	for i, t := range s[:end] {
		if depth += int(t.nest); depth == 0 && t.named("if") { // a guard, which is no pattern
			return nil
		}
		if t.kind == tokenVariable && !s[i+1].is(".") && !s[i+1].is("(") {
			return &s[i]
		}
	}
	return nil
}

func isAugmented(op string) bool {
	switch op {
	case "==", "!=", "<=", ">=", ":=":
		return false
	}
	return len(op) > 1 && strings.HasSuffix(op, "=")
}

// byPlace finds what the tokens beside a variable make an assignment of, at any
// depth: loops and comprehensions, "as", ":=", parameters, attributes.
func byPlace(s []token) *token {
	for i, t := range s {
		if t.kind == tokenName {
			if t := byWord(t.text, s[i+1:]); t != nil {
				return t
			}
		}
		if t.kind != tokenVariable {
			continue
		}
		after := func(op string) bool { return i+1 < len(s) && s[i+1].is(op) }
		before := func(op string) bool { return i > 0 && s[i-1].is(op) }
		switch {
		case after(":="), before("."), i > 0 && s[i-1].named("def", "class", "type"):
			return &s[i]
		case after("=") && (before("(") || before(",")): // f($x=1)
			return &s[i]
		}
	}
	return nil
}

// byWord finds what a word makes targets or parameters of in the tokens behind it.
func byWord(word string, rest []token) *token {
	switch word {
	case "for":
		return target(until(rest, "in"))
	case "as":
		return target(asTarget(rest))
	case "lambda":
		return parameter(until(rest, ":"))
	case "def":
		if len(rest) > 1 && rest[1].is("(") {
			return parameter(within(rest[2:]))
		}
	}
	return nil
}

// lookAhead bounds how far one token makes us look, so that the work stays
// proportional to the script.
const lookAhead = 64

// until returns the tokens before a word or operator that stands at their own
// depth.
func until(s []token, end string) []token {
	s = s[:min(len(s), lookAhead)]
	depth := 0
	for i, t := range s {
		if depth == 0 && t.text == end && (t.kind == tokenName || t.kind == tokenOperator) {
			return s[:i]
		}
		if depth += int(t.nest); depth < 0 {
			return s[:i]
		}
	}
	return s
}

// within returns the tokens before the bracket that closes the one before them.
func within(s []token) []token {
	s = s[:min(len(s), lookAhead)]
	depth := 0
	for i, t := range s {
		if depth += int(t.nest); depth < 0 {
			return s[:i]
		}
	}
	return s
}

// asTarget returns what follows "as": one thing, or several in brackets.
func asTarget(s []token) []token {
	if len(s) > 0 && s[0].nest > 0 {
		return within(s[1:])
	}
	return until(until(s, ","), ":")
}

// target returns the first variable in a list of targets that is one itself, and
// not only part of one as in $x.name or a[$x].
func target(s []token) *token {
	inside := 0 // brackets of a call or an index, which hold no target
	for i, t := range s {
		n := int(t.nest)
		if n < 0 || n > 0 && (inside > 0 || i > 0 && endsValue(s[i-1])) {
			inside = max(0, inside+n)
		}
		part := i+1 < len(s) && (s[i+1].is(".") || s[i+1].is("[") || s[i+1].is("("))
		if t.kind == tokenVariable && inside == 0 && !part {
			return &s[i]
		}
	}
	return nil
}

// endsValue reports whether a bracket after t is a call or an index.
func endsValue(t token) bool {
	return t.kind == tokenName && !t.named("in", "and", "or", "not", "is", "if", "else", "return", "await", "yield", "lambda") ||
		t.kind == tokenVariable || t.kind == tokenValue || t.is(")") || t.is("]") || t.is("}")
}

// parameter returns the first variable that is the name of a parameter.
func parameter(s []token) *token {
	depth := 0
	for i, t := range s {
		if t.kind == tokenVariable && depth == 0 && (i == 0 || s[i-1].is(",") || s[i-1].is("*") || s[i-1].is("**")) {
			return &s[i]
		}
		depth += int(t.nest)
	}
	return nil
}
