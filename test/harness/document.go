package harness

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Document is a document whose commands must do what it shows.
type Document struct {
	Path  string
	Least int                 // so many commands' output it shows at least
	Env   []string            // what its commands find set, beside what the test has
	Alike func(string) string // makes equal what differs from run to run (see Alike); nil if nothing does
	// Update writes what the commands show into the document instead.
	Update bool
}

// Alike makes the words equal that patterns match, and leaves out white space around a
// text. It takes pairs: a pattern, and what stands for all that it matches.
func Alike(pairs ...string) func(string) string {
	patterns := make([]*regexp.Regexp, len(pairs)/2)
	for i := range patterns {
		patterns[i] = regexp.MustCompile(pairs[2*i])
	}
	return func(text string) string {
		for i, pattern := range patterns {
			text = pattern.ReplaceAllLiteralString(text, pairs[2*i+1])
		}
		return strings.TrimSpace(text)
	}
}

var block = regexp.MustCompile("(?s)```(sh|text)\n(.*?)```")

// Run runs the document's blocks of sh in one shell, in an empty directory, and wants
// each to write what the block of text after it shows.
func (d Document) Run(t testing.TB) {
	t.Helper()
	raw, err := os.ReadFile(d.Path)
	if err != nil {
		t.Fatal(err)
	}
	const marker = "=== end of block ==="
	var commands strings.Builder
	var shown []string
	for _, match := range block.FindAllStringSubmatch(string(raw), -1) {
		if match[1] == "sh" {
			commands.WriteString(match[2] + "\nprintf '\\n%s\\n' '" + marker + "'\n")
		} else {
			shown = append(shown, match[2])
		}
	}
	cmd := exec.CommandContext(t.Context(), "bash", "-eu", "-o", "pipefail", "-c", commands.String())
	cmd.Dir = t.TempDir()
	cmd.Env = append(append(cmd.Environ(), "no_proxy=*"), d.Env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("the commands of %s end with %v:\n%s", d.Path, err, out)
	}
	got := strings.Split(strings.TrimSuffix(string(out), "\n"+marker+"\n"), "\n"+marker+"\n")
	if d.Update {
		d.write(t, string(raw), shown, got)
		return
	}
	want, came := d.alike(shown), d.alike(got)
	if len(want) < d.Least || !cmp.Equal(want, came) {
		t.Errorf("what %s shows differs from what comes (-document +server):\n%s", d.Path, cmp.Diff(want, came))
	}
}

// alike are texts as they are compared.
func (d Document) alike(texts []string) []string {
	alike := make([]string, len(texts))
	for i, text := range texts {
		if d.Alike != nil {
			text = d.Alike(text)
		}
		alike[i] = strings.TrimSuffix(text, "\n")
	}
	return alike
}

func (d Document) write(t testing.TB, text string, shown, got []string) {
	t.Helper()
	if len(shown) != len(got) {
		t.Fatalf("%s has %d blocks of commands, and shows %d outputs", d.Path, len(got), len(shown))
	}
	for i, part := range got {
		text = strings.Replace(text, "```text\n"+shown[i]+"```", "```text\n"+strings.TrimSuffix(part, "\n")+"\n```", 1)
	}
	if err := os.WriteFile(d.Path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
