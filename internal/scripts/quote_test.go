package scripts

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// Readers of one quoted text by the rules of a language; false where the script has
// anything else in it.

func readPython(script string) (string, bool) {
	return readEscaped(script, func(rest string) (r rune, n int, ok bool) {
		digits := map[byte]int{'u': 4, 'U': 8}[rest[0]]
		if digits == 0 || len(rest) < 1+digits {
			return 0, 0, false
		}
		v, err := strconv.ParseUint(rest[1:1+digits], 16, 32)
		return rune(v), 1 + digits, err == nil
	})
}

func readNode(script string) (string, bool) {
	inner, ok := strings.CutPrefix(script, "(")
	if !ok || !strings.HasSuffix(inner, ")") {
		return "", false
	}
	return readEscaped(inner[:len(inner)-1], func(rest string) (r rune, n int, ok bool) {
		end := strings.IndexByte(rest, '}')
		if !strings.HasPrefix(rest, "u{") || end < 0 {
			return 0, 0, false
		}
		v, err := strconv.ParseUint(rest[2:end], 16, 32)
		return rune(v), end + 1, err == nil
	})
}

func readEscaped(script string, escape func(rest string) (rune, int, bool)) (string, bool) {
	if len(script) < 2 || script[0] != '"' || script[len(script)-1] != '"' {
		return "", false
	}
	var out strings.Builder
	for s := script[1 : len(script)-1]; s != ""; {
		switch c := s[0]; {
		case c == '"' || c < ' ' || c > '~':
			return "", false
		case c != '\\':
			out.WriteByte(c)
			s = s[1:]
		case len(s) < 2:
			return "", false
		case s[1] == '"' || s[1] == '\\':
			out.WriteByte(s[1])
			s = s[2:]
		default:
			r, n, ok := escape(s[1:])
			if !ok || !utf8.ValidRune(r) {
				return "", false
			}
			out.WriteRune(r)
			s = s[1+n:]
		}
	}
	return out.String(), true
}

func readBash(script string) (string, bool) {
	s, ok := strings.CutPrefix(script, `printf '%s\n' `)
	var out strings.Builder
	for ok && s != "" {
		switch {
		case strings.HasPrefix(s, `\'`):
			out.WriteByte('\'')
			s = s[2:]
		case s[0] == '\'':
			var text string
			if text, s, ok = strings.Cut(s[1:], "'"); ok {
				out.WriteString(text)
			}
		default:
			return "", false
		}
	}
	return out.String(), ok
}

func readPowerShell(script string) (string, bool) {
	isQuote := func(r rune) bool { return strings.ContainsRune("'\u2018\u2019\u201a\u201b", r) }
	s, ok := strings.CutPrefix(script, "Get-Date -Date '")
	if !ok {
		return "", false
	}
	var out strings.Builder
	for s != "" {
		r, n := utf8.DecodeRuneInString(s)
		s = s[n:]
		if isQuote(r) {
			next, n := utf8.DecodeRuneInString(s)
			if s == "" || !isQuote(next) {
				return out.String(), s == ""
			}
			r, s = next, s[n:]
		}
		out.WriteRune(r)
	}
	return "", false // no closing quote
}
