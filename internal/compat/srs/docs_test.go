package srs_test

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/remuda-run/remuda/internal/compat/compattest"
)

var block = regexp.MustCompile("(?s)```(sh|text)\n(.*?)```")

// differs is what differs between the run that is shown and this one.
var differs = []struct {
	pattern *regexp.Regexp
	name    string
}{
	{regexp.MustCompile(`\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b`), "ID"},
	{regexp.MustCompile(`\bwc[0-9a-f]{12}\b`), "CONSOLE"},
	{regexp.MustCompile(`"version":"[^"]*"`), "VERSION"},
	{regexp.MustCompile(`\d{4}-\d\d-\d\dT[0-9:.]+\+00:00`), "TIME"},
}

func alike(text string) string {
	for _, d := range differs {
		text = d.pattern.ReplaceAllLiteralString(text, d.name)
	}
	return strings.TrimSpace(text)
}

// TestWalkThroughOfTheDocument runs the commands of docs/srs.md in one shell against a
// fresh server and wants what the document shows.
func TestWalkThroughOfTheDocument(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../../docs/srs.md")
	if err != nil {
		t.Fatal(err)
	}
	var script strings.Builder
	var shown []string
	const marker = "=== end of block ==="
	for _, match := range block.FindAllStringSubmatch(string(text), -1) {
		switch match[1] {
		case "sh":
			script.WriteString(match[2] + "\nprintf '\\n%s\\n' '" + marker + "'\n")
		case "text":
			shown = append(shown, alike(match[2]))
		}
	}
	ada := startReal(t).member("ada", "administrator", "default")
	cmd := exec.CommandContext(t.Context(), "bash", "-eu", "-o", "pipefail", "-c", script.String())
	cmd.Dir = t.TempDir()
	cmd.Env = append(cmd.Environ(), "SRS="+ada.server.Base, "SRS_USER=ada", "SRS_PASSWORD="+compattest.Password, "no_proxy=*")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("the commands end with %v:\n%s", err, out)
	}
	var got []string
	for part := range strings.SplitSeq(strings.TrimSuffix(string(out), marker+"\n"), marker+"\n") {
		got = append(got, alike(part))
	}
	if len(shown) < 8 || !cmp.Equal(shown, got) {
		t.Errorf("what is shown differs from what comes (-document +server):\n%s", cmp.Diff(shown, got))
	}
}
