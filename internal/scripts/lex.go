package scripts

import (
	"strings"
	"unicode/utf8"
)

// tokenKind is what a piece of Python is, as far as it matters here.
type tokenKind uint8

const (
	tokenName     tokenKind = iota // identifiers and keywords
	tokenVariable                  // $name
	tokenValue                     // strings and numbers
	tokenOperator                  // everything else; brackets among them
	tokenNewline                   // the end of a line outside of brackets
)

// token is a piece of a source. Text is its own, of a tokenVariable without $.
type token struct {
	kind  tokenKind
	nest  int8 // 1 of an opening bracket, -1 of a closing one
	start int  // offset in the source
	text  string
}

// lexer splits Python into tokens. It never fails: what is no Python is somehow
// split too, for Python itself to complain about.
type lexer struct {
	src    string
	pos    int
	depth  int // of open brackets
	fields int // of formatted strings within which the lexer is
	tokens []token
}

func lex(src string) []token {
	l := &lexer{src: src}
	for l.pos < len(l.src) {
		l.next()
	}
	return l.tokens
}

func (l *lexer) add(kind tokenKind, end int) {
	l.tokens = append(l.tokens, token{kind: kind, start: l.pos, text: l.src[l.pos:end]})
	l.pos = end
}

// next reads one token, or passes over what is none.
func (l *lexer) next() {
	switch c := l.src[l.pos]; {
	case c == '#':
		l.comment()
	case c == '\n' || c == '\r':
		if l.depth == 0 {
			l.add(tokenNewline, l.pos+1)
		} else {
			l.pos++
		}
	case c == '\\' || c == ' ' || c == '\t' || c == '\f':
		l.blank()
	case c == '$' && l.pos+1 < len(l.src) && isNameStart(l.src[l.pos+1]):
		end := l.nameEnd(l.pos + 1)
		l.tokens = append(l.tokens, token{kind: tokenVariable, start: l.pos, text: l.src[l.pos+1 : end]})
		l.pos = end
	case isNameStart(c):
		l.name()
	case c >= '0' && c <= '9' || c == '.' && l.pos+1 < len(l.src) && isDigit(l.src[l.pos+1]):
		l.number()
	case c == '"' || c == '\'':
		l.str("")
	default:
		l.operator()
	}
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// isNameStart takes every byte above ASCII for a letter: what is none, Python
// refuses.
func isNameStart(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_' || c >= utf8.RuneSelf
}

func (l *lexer) nameEnd(i int) int {
	for i < len(l.src) && (isNameStart(l.src[i]) || isDigit(l.src[i])) {
		i++
	}
	return i
}

func (l *lexer) comment() {
	end := strings.IndexAny(l.src[l.pos:], "\r\n")
	if end < 0 {
		end = len(l.src) - l.pos
	}
	l.pos += end
}

// blank passes over spaces, and over the end of a line that a backslash continues.
func (l *lexer) blank() {
	if l.src[l.pos] == '\\' {
		if strings.HasPrefix(l.src[l.pos+1:], "\r\n") {
			l.pos++
		}
		l.pos++
		if l.pos >= len(l.src) || l.src[l.pos] != '\n' && l.src[l.pos] != '\r' {
			return
		}
	}
	l.pos++
}

// name reads a name, or the string that it is the prefix of.
func (l *lexer) name() {
	end := l.nameEnd(l.pos)
	if end < len(l.src) && (l.src[end] == '"' || l.src[end] == '\'') {
		switch prefix := strings.ToLower(l.src[l.pos:end]); prefix {
		case "r", "b", "u", "f", "t", "br", "rb", "fr", "rf", "tr", "rt":
			l.str(prefix)
			return
		}
	}
	l.add(tokenName, end)
}

// number reads a number with whatever clings to it ("1e5", "0x1f", "1.5j"); the
// sign of an exponent is an operator here, which does not matter.
func (l *lexer) number() {
	end := l.pos
	for end < len(l.src) && (isNameStart(l.src[end]) || isDigit(l.src[end]) || l.src[end] == '.') {
		end++
	}
	l.add(tokenValue, end)
}

// str reads a string at whose prefix the lexer stands. What a formatted string
// computes is read as the expressions that it is.
func (l *lexer) str(prefix string) {
	start := l.pos
	at := l.pos + len(prefix)
	quote := l.src[at : at+1]
	if strings.HasPrefix(l.src[at:], strings.Repeat(quote, 3)) {
		quote = strings.Repeat(quote, 3)
	}
	l.tokens = append(l.tokens, token{kind: tokenValue, start: start})
	own := len(l.tokens) - 1
	l.pos = at + len(quote)
	formatted := strings.ContainsAny(prefix, "ft")
	for l.pos < len(l.src) {
		switch c := l.src[l.pos]; {
		case strings.HasPrefix(l.src[l.pos:], quote):
			l.pos += len(quote)
			l.tokens[own].text = l.src[start:l.pos]
			return
		case c == '\\':
			l.escape(formatted, strings.Contains(prefix, "r"))
		case (c == '\n' || c == '\r') && len(quote) == 1: // not closed: Python says so
			l.tokens[own].text = l.src[start:l.pos]
			return
		case formatted && (strings.HasPrefix(l.src[l.pos:], "{{") || strings.HasPrefix(l.src[l.pos:], "}}")):
			l.pos += 2
		case formatted && c == '{' && l.fields < maxNesting:
			l.field(quote)
		default:
			l.pos++
		}
	}
	l.tokens[own].text = l.src[start:]
}

// escape passes over a backslash in a string and what it takes with it. It takes no
// brace of a formatted string, but the one of a character's name.
func (l *lexer) escape(formatted, raw bool) {
	rest := l.src[l.pos+1:]
	switch {
	case formatted && strings.HasPrefix(rest, "{"):
		l.pos++
	case formatted && !raw && strings.HasPrefix(rest, "N{"):
		l.pos += len(`\N{`)
	default:
		l.pos = min(l.pos+2, len(l.src))
	}
}

// maxNesting bounds fields within fields, by their formats or by strings in them.
const maxNesting = 64

// field reads one {...} of a formatted string: an expression, and after a colon a
// format, in which there may be fields again.
func (l *lexer) field(quote string) {
	l.fields++
	defer func() { l.fields-- }()
	l.operator() // the brace, which raises depth
	inside := l.depth
	for l.pos < len(l.src) {
		c := l.src[l.pos]
		switch {
		case c == '}' && l.depth == inside:
			l.operator()
			return
		case c == ':' && l.depth == inside:
			l.pos++
			l.format(quote)
		default:
			l.next()
		}
	}
	l.depth = max(0, inside-1) // not closed: Python says so
}

// format reads the format of a field up to the brace that ends it.
func (l *lexer) format(quote string) {
	for l.pos < len(l.src) {
		switch {
		case strings.HasPrefix(l.src[l.pos:], quote) || l.src[l.pos] == '}':
			return
		case l.src[l.pos] == '{' && l.fields < maxNesting:
			l.field(quote)
		default:
			l.pos++
		}
	}
}

// operators are those of more than one character, the longest first.
var operators = []string{
	"**=", "//=", ">>=", "<<=", "...", "==", "!=", "<=", ">=", ":=", "->", "+=", "-=", "*=", "/=", "%=", "&=", "|=", "^=", "@=", "**", "//", ">>", "<<",
}

func (l *lexer) operator() {
	// The second character tells most of them apart from those of one.
	if l.pos+1 < len(l.src) && strings.IndexByte("=*/<>.", l.src[l.pos+1]) >= 0 {
		for _, op := range operators {
			if strings.HasPrefix(l.src[l.pos:], op) {
				l.add(tokenOperator, l.pos+len(op))
				return
			}
		}
	}
	nest := 0
	switch l.src[l.pos] {
	case '(', '[', '{':
		nest = 1
	case ')', ']', '}':
		nest = -1
	}
	l.depth = max(0, l.depth+nest)
	l.add(tokenOperator, l.pos+1)
	l.tokens[len(l.tokens)-1].nest = int8(nest)
}
