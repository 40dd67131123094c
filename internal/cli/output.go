package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// outputFormat is the value of -o.
type outputFormat string

const (
	outputTable outputFormat = "table"
	outputJSON  outputFormat = "json"
)

// String implements pflag.Value.
func (f *outputFormat) String() string {
	if *f == "" {
		return string(outputTable)
	}
	return string(*f)
}

// Set implements pflag.Value.
func (f *outputFormat) Set(s string) error {
	switch outputFormat(s) {
	case outputTable, outputJSON:
		*f = outputFormat(s)
		return nil
	default:
		return fmt.Errorf("%q is neither table nor json", s)
	}
}

// Type implements pflag.Value.
func (f *outputFormat) Type() string { return "table|json" }

// print writes v as JSON with -o json, and otherwise lets human write it.
func (c *command) print(v any, human func(w io.Writer) error) error {
	if c.output == outputJSON {
		enc := json.NewEncoder(c.Stdout)
		enc.SetIndent("", "  ")
		enc.SetEscapeHTML(false)
		return enc.Encode(v)
	}
	return human(c.Stdout)
}

// table is rows of cells under a header.
type table struct {
	header []string
	rows   [][]string
}

func newTable(header ...string) *table { return &table{header: header} }

func (t *table) add(cells ...string) { t.rows = append(t.rows, cells) }

// write aligns the columns with two spaces between; the last one is not padded.
func (t *table) write(w io.Writer) error {
	widths := make([]int, len(t.header))
	all := append([][]string{t.header}, t.rows...)
	for _, row := range all {
		for i, cell := range row {
			row[i] = printable(cell)
			widths[i] = max(widths[i], utf8.RuneCountInString(row[i]))
		}
	}
	var b strings.Builder
	for _, row := range all {
		var line strings.Builder
		for i, cell := range row {
			line.WriteString(cell)
			line.WriteString(strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell)+2))
		}
		b.WriteString(strings.TrimRight(line.String(), " "))
		b.WriteByte('\n')
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// printable keeps a name or message that somebody else chose from moving the
// cursor or breaking the table.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || (r >= 0x7f && r < 0xa0) || r == utf8.RuneError {
			return '?'
		}
		return r
	}, s)
}

// foreignText is standard output for a text that somebody else wrote. A terminal gets
// it without what would control the terminal, a file or a pipe as it is.
func (c *command) foreignText() io.Writer {
	if isTerminal(c.Stdout) {
		return &plainWriter{w: c.Stdout}
	}
	return c.Stdout
}

// plainWriter passes on lines and tabs, and the rest as printable does.
type plainWriter struct {
	w    io.Writer
	rest []byte // the beginning of a character whose end has not come yet
}

// Write implements io.Writer.
func (p *plainWriter) Write(data []byte) (int, error) {
	text := slices.Concat(p.rest, data)
	end := len(text)
	for i := end - 1; i >= max(0, end-utf8.UTFMax); i-- {
		if utf8.RuneStart(text[i]) {
			if !utf8.FullRune(text[i:]) {
				end = i
			}
			break
		}
	}
	p.rest = bytes.Clone(text[end:])
	var out strings.Builder
	for i, line := range strings.Split(string(text[:end]), "\n") {
		if i > 0 {
			out.WriteByte('\n')
		}
		for n, cell := range strings.Split(line, "\t") {
			if n > 0 {
				out.WriteByte('\t')
			}
			out.WriteString(printable(cell))
		}
	}
	if _, err := io.WriteString(p.w, out.String()); err != nil {
		return 0, err
	}
	return len(data), nil
}

// pairs writes "name  value" lines of one object.
func pairs(w io.Writer, cells ...string) error {
	width := 0
	for i := 0; i < len(cells); i += 2 {
		width = max(width, len(cells[i]))
	}
	for i := 0; i+1 < len(cells); i += 2 {
		if _, err := fmt.Fprintf(w, "%-*s  %s\n", width, cells[i], printable(cells[i+1])); err != nil {
			return err
		}
	}
	return nil
}

// ago is how long before now t was, for people.
func ago(now, t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	d := now.Sub(t)
	if d < 0 {
		return "in " + short(-d)
	}
	return short(d) + " ago"
}

// short is a duration with one or two digits of its largest unit.
func short(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return fmt.Sprintf("%dus", d.Microseconds())
	case d < time.Second:
		return fmt.Sprintf("%dms", d.Milliseconds())
	case d < 10*time.Second:
		return fmt.Sprintf("%.1fs", d.Seconds())
	case d < 2*time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	default:
		return fmt.Sprintf("%dd", int(d.Hours()/24))
	}
}

// brief is the beginning of a text's first line, for a table's last column.
func brief(s string) string {
	const most = 80
	line, more, _ := strings.Cut(s, "\n")
	if runes := []rune(line); len(runes) > most {
		return string(runes[:most]) + "..."
	}
	if more != "" {
		return line + "..."
	}
	return line
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
