package archtest

import (
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Lengths of a Go file, generated code aside.
const (
	longFile    = 400 // reported
	tooLongFile = 700 // refused
)

func TestFileLength(t *testing.T) {
	t.Parallel()
	for _, f := range allGoFiles(t) {
		switch {
		case f.generated:
		case f.lines > tooLongFile:
			t.Errorf("%s has %d lines; at most %d: split it by what a reader looks for", f.path, f.lines, tooLongFile)
		case f.lines > longFile:
			t.Logf("%s has %d lines; %d are a lot", f.path, f.lines, longFile)
		}
	}
}

func TestPackageDocs(t *testing.T) {
	t.Parallel()
	documented := map[string]bool{}
	for _, f := range allGoFiles(t) {
		says := !f.generated && f.file.Doc != nil && len(strings.Fields(f.file.Doc.Text())) >= 8
		documented[f.dir] = documented[f.dir] || says
	}
	for dir, ok := range documented {
		if !ok {
			t.Errorf("package %s has no comment that says what it is for: write it in doc.go", dir)
		}
	}
}

// doorFiles are the names a door may have (shared/style.md section 2). Handlers and
// conversions of different nouns may have files of their own, as in internal/native.
var doorFiles = regexp.MustCompile(`^(doc|routes|handlers[a-z0-9_]*|wire|convert(_[a-z0-9]+)?|errors)\.go$|_test\.go$`)

func TestDoorsHaveTheSameFiles(t *testing.T) {
	t.Parallel()
	doors := map[string][]string{}
	for _, f := range allGoFiles(t) {
		rest, ok := strings.CutPrefix(f.dir, "internal/compat/")
		if !ok || strings.HasPrefix(rest, "compattest") {
			continue
		}
		doors[rest] = append(doors[rest], f.name)
		if !doorFiles.MatchString(f.name) {
			t.Errorf("%s: a door has doc, routes, handlers*, wire, convert* and errors, and tests", f.path)
		}
	}
	for door, names := range doors {
		for _, want := range []string{"doc.go", "routes.go", "handlers.go", "wire.go", "convert.go", "errors.go"} {
			if !slices.Contains(names, want) && (want != "handlers.go" || !slices.ContainsFunc(names, isHandlers)) {
				t.Errorf("door %s has no %s", door, want)
			}
		}
	}
}

func isHandlers(name string) bool { return strings.HasPrefix(name, "handlers") }

// The words are put together here, so that this file does not hold them.
var (
	promises   = regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME|XX` + `X|HA` + `CK)\b`)
	registries = regexp.MustCompile(strings.Join([]string{
		`proxy\.gol` + `ang\.org`, `sum\.gol` + `ang\.org`, `deb\.deb` + `ian\.org`, `security\.deb` + `ian\.org`,
		`registry\.npm` + `js\.org`, `npm` + `js\.com`, `py` + `pi\.org`, `pythonhos` + `ted\.org`, `nodesou` + `rce\.com`,
	}, "|"))
)

// textFiles are the endings of the files that people write.
var textFiles = []string{".go", ".md", ".py", ".js", ".sh", ".yaml", ".yml", ".sql", ".txt", ".http", ".mod", ".json", ".html", ".css", "Makefile", "run"}

// vendored are files of others, kept as they were published.
const vendored = "internal/console/assets/xterm/"

func TestNoPromisesAndNoRegistries(t *testing.T) {
	t.Parallel()
	looked := 0
	for _, name := range allPaths(t) {
		if name == "go.sum" || name == "LICENSE" || strings.HasPrefix(name, vendored) || !slices.ContainsFunc(textFiles, func(end string) bool { return strings.HasSuffix(name, end) }) {
			continue
		}
		text, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		looked++
		for i, line := range strings.Split(string(text), "\n") {
			if found := promises.FindString(line); found != "" {
				t.Errorf("%s:%d: %s: do it, or file an issue and say nothing here", name, i+1, found)
			}
			if found := registries.FindString(line); found != "" {
				t.Errorf("%s:%d: names the package registry %s; clients know their registries", name, i+1, found)
			}
		}
	}
	if looked < 20 {
		t.Errorf("looked into %d files only", looked)
	}
}

var markdownLink = regexp.MustCompile(`\]\(([^)\s]+)\)`)

func TestDocumentLinks(t *testing.T) {
	t.Parallel()
	checked := 0
	for _, name := range allPaths(t) {
		if path.Ext(name) != ".md" {
			continue
		}
		text, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range markdownLink.FindAllStringSubmatch(withoutCode(string(text)), -1) {
			target, fragment, _ := strings.Cut(match[1], "#")
			if strings.Contains(target, ":") {
				continue // another machine's
			}
			checked++
			file := name
			if target != "" {
				file = path.Join(path.Dir(name), target)
			}
			if _, err := os.Stat(filepath.Join(root, file)); err != nil {
				t.Errorf("%s links to %s, which is not there", name, match[1])
				continue
			}
			if fragment != "" && path.Ext(file) == ".md" && !slices.Contains(anchors(t, file), fragment) {
				t.Errorf("%s links to %s, but %s has no such heading", name, match[1], file)
			}
		}
	}
	t.Logf("%d relative links lead somewhere", checked)
}

var codeBlock = regexp.MustCompile("(?s)```.*?```|`[^`\n]*`")

func withoutCode(text string) string { return codeBlock.ReplaceAllString(text, "") }

// anchors returns the fragments that the headings of a Markdown file make.
func anchors(t *testing.T, name string) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for line := range strings.Lines(string(text)) {
		heading := strings.TrimLeft(line, "#")
		if heading == line || !strings.HasPrefix(heading, " ") {
			continue
		}
		keep := func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case r == '-' || r == '_' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r > 127:
				return r
			}
			return -1
		}
		list = append(list, strings.Map(keep, strings.ToLower(strings.TrimSpace(heading))))
	}
	return list
}
