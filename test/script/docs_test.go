package script

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/remuda-run/remuda/test/harness"
)

var block = regexp.MustCompile("(?s)```(sh|text)\n(.*?)```")

// TestWalkThroughRunspaces runs the commands of docs/runspaces.md in one shell against a
// fresh server and wants what the document shows.
func TestWalkThroughRunspaces(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/runspaces.md")
	if err != nil {
		t.Fatal(err)
	}
	const marker = "=== end of block ==="
	var commands strings.Builder
	var shown []string
	for _, match := range block.FindAllStringSubmatch(string(text), -1) {
		if match[1] == "text" {
			shown = append(shown, strings.TrimSpace(match[2]))
		} else {
			commands.WriteString(match[2] + "\nprintf '\\n%s\\n' '" + marker + "'\n")
		}
	}
	s := harness.Start(t)
	cmd := exec.CommandContext(t.Context(), "bash", "-eu", "-o", "pipefail", "-c", commands.String())
	cmd.Dir = t.TempDir()
	cmd.Env = append(cmd.Environ(), "URL="+s.Base, "TOKEN="+s.Token, "no_proxy=*")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("the commands end with %v:\n%s", err, out)
	}
	var got []string
	for part := range strings.SplitSeq(strings.TrimSuffix(string(out), marker+"\n"), marker+"\n") {
		got = append(got, strings.TrimSpace(part))
	}
	if len(shown) < 6 || !cmp.Equal(shown, got) {
		t.Errorf("what is shown differs from what comes (-document +server):\n%s", cmp.Diff(shown, got))
	}
}
