package compattest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Golden replays the exchanges of every file testdata/*.http, each on a site of its
// own, and compares the answers; with update it writes them down instead.
//
// A file is a list of exchanges. Each begins with "### " and a name; then a line with
// the method and the path below the prefix, headers, an empty line and a body; then
// the answer: a line "HTTP 200", the headers that are shown, an empty line and the
// body, JSON indented. What differs from run to run is a name in double braces: each
// new match of a Volatile becomes {{NAME1}}, {{NAME2}}, which later requests may say;
// every match of a Blurred becomes {{NAME}}.
type Golden struct {
	Prefix string
	// Start makes a site for one file.
	Start func(t *testing.T) *Site
	// Client makes the requests; nil is a plain one.
	Client *http.Client
	// Volatile says what differs from run to run, by the name of its placeholders.
	Volatile map[string]*regexp.Regexp
	// Blurred is what is not told apart.
	Blurred map[string]*regexp.Regexp
	// Known are matches that stay as they are.
	Known []string
	// Headers are shown of answers.
	Headers []string
	// Until repeats a request until its answer satisfies it, by the exchange's name.
	Until map[string]func(Reply) bool
	// Update writes the files.
	Update bool
}

// exchange is one request and its answer in a file.
type exchange struct {
	name, method, path string
	header             []string // lines
	body, answer       string
}

// Run replays every file.
func (g Golden) Run(t *testing.T) {
	t.Helper()
	files, err := filepath.Glob("testdata/*.http")
	if err != nil || len(files) == 0 {
		t.Fatalf("no files testdata/*.http (%v)", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".http"), func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := g.replay(t, parse(t, string(text)))
			if g.Update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(string(text), got); diff != "" {
				t.Errorf("%s differs (-file +server); go test -update writes it anew:\n%s", file, diff)
			}
		})
	}
}

// parse splits a file.
func parse(t *testing.T, text string) []exchange {
	t.Helper()
	var list []exchange
	for _, part := range strings.Split("\n"+text, "\n### ")[1:] {
		part, answer, _ := strings.Cut(part, "\nHTTP ")
		head, body, _ := strings.Cut(part, "\n\n")
		lines := strings.Split(strings.TrimRight(head, "\n"), "\n")
		if len(lines) < 2 {
			t.Fatalf("exchange %q has no request", lines[0])
		}
		x := exchange{name: lines[0], body: strings.TrimRight(body, "\n"), answer: answer}
		x.method, x.path, _ = strings.Cut(lines[1], " ")
		x.header = lines[2:]
		list = append(list, x)
	}
	return list
}

// replay makes the requests and returns the file as it should be.
func (g Golden) replay(t *testing.T, list []exchange) string {
	t.Helper()
	site, names := g.Start(t), &placeholders{golden: g, values: map[string]string{}}
	client := g.Client
	if client == nil {
		client = &http.Client{}
	}
	var out strings.Builder
	for i, x := range list {
		header := http.Header{}
		for _, line := range x.header {
			name, value, ok := strings.Cut(line, ": ")
			if !ok {
				t.Fatalf("exchange %q: %q is no header", x.name, line)
			}
			header.Add(name, names.fill(value))
		}
		reply := site.Send(client, x.method, g.Prefix+names.fill(x.path), header, names.fill(x.body))
		if until := g.Until[x.name]; until != nil {
			for deadline := Deadline(); !until(reply) && deadline.Left(); {
				reply = site.Send(client, x.method, g.Prefix+names.fill(x.path), header, names.fill(x.body))
			}
		}
		if i > 0 {
			out.WriteString("\n")
		}
		fmt.Fprintf(&out, "### %s\n%s %s\n", x.name, x.method, x.path)
		for _, line := range x.header {
			fmt.Fprintln(&out, line)
		}
		if x.body != "" {
			fmt.Fprintf(&out, "\n%s\n", x.body)
		}
		fmt.Fprintf(&out, "\nHTTP %d\n", reply.Status)
		for _, name := range g.Headers {
			for _, v := range reply.Header.Values(name) {
				fmt.Fprintf(&out, "%s: %s\n", name, names.hide(v))
			}
		}
		if len(reply.Body) > 0 {
			fmt.Fprintf(&out, "\n%s\n", names.hide(indented(reply.Body)))
		}
	}
	return out.String()
}

func indented(body []byte) string {
	var out bytes.Buffer
	if json.Indent(&out, bytes.TrimSpace(body), "", "  ") != nil {
		return string(body)
	}
	return out.String()
}

// placeholders stand for what differs from run to run.
type placeholders struct {
	golden Golden
	values map[string]string // by name
}

// fill puts values in the place of names.
func (p *placeholders) fill(text string) string {
	for name, value := range p.values {
		text = strings.ReplaceAll(text, "{{"+name+"}}", value)
	}
	return text
}

// hide puts names in the place of values.
func (p *placeholders) hide(text string) string {
	for name, pattern := range p.golden.Blurred {
		text = pattern.ReplaceAllLiteralString(text, "{{"+name+"}}")
	}
	kinds := make([]string, 0, len(p.golden.Volatile))
	for kind := range p.golden.Volatile {
		kinds = append(kinds, kind)
	}
	slices.Sort(kinds)
	for _, kind := range kinds {
		text = p.golden.Volatile[kind].ReplaceAllStringFunc(text, func(match string) string {
			if slices.Contains(p.golden.Known, match) {
				return match
			}
			for name, value := range p.values {
				if value == match && strings.TrimRight(name, "0123456789") == kind {
					return "{{" + name + "}}"
				}
			}
			n := 1
			for p.values[fmt.Sprint(kind, n)] != "" {
				n++
			}
			p.values[fmt.Sprint(kind, n)] = match
			return fmt.Sprintf("{{%s%d}}", kind, n)
		})
	}
	return text
}
