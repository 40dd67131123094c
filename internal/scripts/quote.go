package scripts

import (
	"fmt"
	"strings"
)

// quoting says how texts are written in a language so that nothing in them means
// anything there.
type quoting struct {
	quote func(string) string
	// list writes several texts where one is expected.
	open, comma, close string
	// each surrounds several arguments, one on a line; "" is nothing.
	first, between, last string
}

var (
	quotePowerShell = quoting{quote: powerShellText, comma: ",", between: "\n"}
	quotePython     = quoting{quote: pythonText, open: "[", comma: ", ", close: "]", first: "[\n", between: ",\n", last: ",\n]"}
	quoteNode       = quoting{quote: nodeText, open: "[", comma: ", ", close: "]", first: "[\n", between: ",\n", last: ",\n]"}
	quoteBash       = quoting{quote: bashText, comma: " ", between: "\n"}
)

// values writes one text, or a list of several.
func (q quoting) values(texts []string) string {
	quoted := make([]string, len(texts))
	for i, text := range texts {
		quoted[i] = q.quote(text)
	}
	if len(quoted) == 1 {
		return quoted[0]
	}
	return q.open + strings.Join(quoted, q.comma) + q.close
}

// join writes one argument, or a list of several.
func (q quoting) join(items []string) string {
	if len(items) == 1 {
		return items[0]
	}
	return q.first + strings.Join(items, q.between) + q.last
}

// powerShellText is a text in single quotes, in which nothing has a meaning but a
// quote. PowerShell takes the typographic ones for quotes too: about_Quoting_Rules,
// and CodeGeneration.EscapeSingleQuotedStringContent, which doubles the same five.
func powerShellText(s string) string {
	var out strings.Builder
	out.WriteByte('\'')
	for _, r := range s {
		out.WriteRune(r)
		switch r {
		case '\'', '\u2018', '\u2019', '\u201a', '\u201b':
			out.WriteRune(r)
		}
	}
	out.WriteByte('\'')
	return out.String()
}

// bashText is a text in single quotes, which end and begin again around each quote
// in it.
func bashText(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// pythonText is a literal in ASCII: neither the encoding of the script nor what
// counts as the end of a line matters then.
func pythonText(s string) string {
	return asciiText(s, func(out *strings.Builder, r rune) {
		if r > 0xffff {
			fmt.Fprintf(out, `\U%08x`, r)
			return
		}
		fmt.Fprintf(out, `\u%04x`, r)
	})
}

// nodeText is a literal in ASCII.
func nodeText(s string) string {
	return asciiText(s, func(out *strings.Builder, r rune) { fmt.Fprintf(out, `\u{%x}`, r) })
}

func asciiText(s string, escape func(*strings.Builder, rune)) string {
	var out strings.Builder
	out.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			out.WriteByte('\\')
			out.WriteRune(r)
		case r < ' ' || r > '~':
			escape(&out, r)
		default:
			out.WriteRune(r)
		}
	}
	out.WriteByte('"')
	return out.String()
}
